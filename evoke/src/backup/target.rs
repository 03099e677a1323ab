//! Where a backup goes: a tar, packed or not, or a folder; whole under its name or not there.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use super::{
    BackupError,
    archive::{self, HEAD, MANIFEST, Manifest},
};

/// What the draft's name ends with until the backup is whole.
const DRAFT: &str = ".part";

/// A backup that is being written; removed unless it becomes whole.
pub(super) struct Draft {
    target: PathBuf,
    draft: PathBuf,
    is_whole: bool,
}

impl Draft {
    /// Nothing is there yet.
    pub(super) fn new(target: &Path) -> Result<Self, BackupError> {
        let mut draft = OsString::from(target);
        draft.push(DRAFT);
        let draft = PathBuf::from(draft);
        for path in [target, &draft] {
            if path.symlink_metadata().is_ok() {
                return Err(BackupError::Exists(path.display().to_string()));
            }
        }
        Ok(Self { target: target.to_owned(), draft, is_whole: false })
    }

    /// Writes what comes, checked, and gives it its name.
    pub(super) fn fill(mut self, from: impl Read) -> Result<Manifest, BackupError> {
        let failed = |path: &Path| BackupError::io(format!("write {}", path.display()));
        let name = self.target.display().to_string();
        let manifest = if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
            let file = self.file().map_err(failed(&self.draft))?;
            let packed = GzEncoder::new(io::BufWriter::new(file), Compression::fast());
            let (manifest, packed) = through(from, packed)?;
            let file = packed.finish().and_then(|file| file.into_inner().map_err(Into::into));
            file.and_then(|file| file.sync_all()).map_err(failed(&self.draft))?;
            manifest
        } else if name.ends_with(".tar") {
            let (manifest, file) = through(from, self.file().map_err(failed(&self.draft))?)?;
            file.sync_all().map_err(failed(&self.draft))?;
            manifest
        } else {
            self.folder(from)?
        };
        let parent = self.target.parent().filter(|it| !it.as_os_str().is_empty());
        fs::rename(&self.draft, &self.target)
            .and_then(|()| File::open(parent.unwrap_or(Path::new(".")))?.sync_all())
            .map_err(failed(&self.target))?;
        self.is_whole = true;
        Ok(manifest)
    }

    fn file(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.draft)
    }

    /// One file for each entry.
    fn folder(&self, from: impl Read) -> Result<Manifest, BackupError> {
        let root = &self.draft;
        let failed = |path: &Path| BackupError::io(format!("write {}", path.display()));
        let make = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(root).map_err(failed(root))?;
        let manifest = archive::read(from, "what the hub sends", &mut |name, content| {
            let path = root.join(name);
            path.parent().map_or(Ok(()), make).map_err(failed(&path))?;
            store(&path, content).map_err(failed(&path))
        })?;
        for (name, text) in
            [(HEAD, archive::head()), (MANIFEST, serde_json::to_vec_pretty(&manifest))]
        {
            let path = root.join(name);
            let text = text.map_err(io::Error::from).map_err(failed(&path))?;
            store(&path, &mut text.as_slice()).map_err(failed(&path))?;
        }
        Ok(manifest)
    }
}

/// Copies all of a tar while it is checked.
fn through<W: Write>(from: impl Read, to: W) -> Result<(Manifest, W), BackupError> {
    let mut tee = Tee { from, to };
    let manifest = archive::read(&mut tee, "what the hub sends", &mut |_, _| Ok(()))?;
    // The blocks of the end come after the manifest.
    io::copy(&mut tee, &mut io::sink()).map_err(BackupError::io("write the backup"))?;
    Ok((manifest, tee.to))
}

/// Writes a new file, durably, readable by its owner only.
pub(super) fn store(path: &Path, content: &mut dyn Read) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(content, &mut file)?;
    file.sync_all()
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_whole {
            // One of the two is there, or neither.
            drop(fs::remove_file(&self.draft));
            drop(fs::remove_dir_all(&self.draft));
        }
    }
}

/// Writes what is read.
struct Tee<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(into)?;
        self.to.write_all(into.get(..got).unwrap_or_default())?;
        Ok(got)
    }
}
