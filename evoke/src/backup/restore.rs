//! A data directory made of a backup: whole, checked, and a log of its own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, Read, Seek as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown},
    path::Path,
};

use evoke_store::Load;

use super::{
    BackupError,
    archive::{self, HEAD, MANIFEST, Manifest, Take},
    target::store,
};
use crate::directory::{Directory, RESTORING};

/// First bytes of what gzip packed.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Stores that a backup has the records of, and their files.
const STORES: &[(&str, &str)] =
    &[("entities", "entities.redb"), ("activations", "activations.redb")];

/// What was restored.
pub(super) struct Restored {
    pub(super) manifest: Manifest,
    /// What was wrong with the log when it was copied.
    pub(super) damage: Vec<String>,
}

/// Restores into a directory that is empty or not there, and leaves it so where that fails. As long
/// as it goes on, and after a crash in it, no hub takes the directory.
pub(super) fn restore(from: &Path, to: &Path) -> Result<Restored, BackupError> {
    if fs::read_dir(to).is_ok_and(|mut inside| inside.next().is_some()) {
        return Err(BackupError::NotEmpty(to.display().to_string()));
    }
    let input = Input::open(from)?;
    let was_there = to.exists();
    let directory = Directory::open(to)?;
    let restored = fill(&directory, input);
    if restored.is_err() {
        clear(directory.path(), was_there).map_err(BackupError::io("clear what was restored"))?;
    }
    restored
}

/// Takes away what was restored.
fn clear(root: &Path, was_there: bool) -> io::Result<()> {
    if !was_there {
        return fs::remove_dir_all(root);
    }
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }?;
    }
    Ok(())
}

fn fill(directory: &Directory, input: Input<'_>) -> Result<Restored, BackupError> {
    let failed = |name: &str| BackupError::io(format!("write {}", directory.join(name).display()));
    let mark = directory.join(RESTORING);
    store(&mark, &mut io::empty()).map_err(failed(RESTORING))?;
    let mut loads = BTreeMap::new();
    let manifest = input.read(&mut |name, content| put(directory, &mut loads, name, content))?;
    for (name, file) in STORES {
        match loads.remove(*name) {
            Some(load) => load,
            None => Load::create(&directory.join(file))?,
        }
        .finish()?;
    }
    let log = directory.join("log");
    let report = evoke_event_log::verify::verify(&log)?;
    evoke_event_log::restored(&log, report.next)?;
    let damage = report.segments.iter().flat_map(|segment| &segment.damage);
    let damage = damage.map(ToString::to_string).collect();
    directory.keep_version()?;
    give_to_owner(directory.path()).map_err(failed("."))?;
    fs::remove_file(&mark)
        .and_then(|()| File::open(directory.path())?.sync_all())
        .map_err(failed(RESTORING))?;
    Ok(Restored { manifest, damage })
}

/// Puts one entry where it belongs.
fn put(
    directory: &Directory,
    loads: &mut BTreeMap<String, Load>,
    name: &str,
    content: &mut dyn Read,
) -> Result<(), BackupError> {
    let strange = || BackupError::NoBackup(name.to_owned(), "nothing of this name is kept".into());
    if let Some(records) = name.strip_prefix("records/") {
        let (store, _) = records.split_once('/').ok_or_else(strange)?;
        let (_, file) = STORES.iter().find(|(it, _)| *it == store).ok_or_else(strange)?;
        if !loads.contains_key(store) {
            loads.insert(store.to_owned(), Load::create(&directory.join(file))?);
        }
        let chunk = archive::small(content).map_err(|error| BackupError::Cut(error.to_string()))?;
        return loads.get_mut(store).map_or(Ok(()), |load| Ok(load.add(&chunk)?));
    }
    let place = name.strip_prefix("data/").ok_or_else(strange)?;
    let is_kept = match place.split_once('/') {
        None => super::source::FILES.contains(&place),
        Some(("log", file)) => evoke_event_log::is_of_a_copy(file),
        Some((folder, _)) => folder == "code",
    };
    if !is_kept {
        return Err(strange());
    }
    let path = directory.join(place);
    let failed = || BackupError::io(format!("write {}", path.display()));
    if let Some(folder) = path.parent() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).map_err(failed())?;
    }
    store(&path, content).map_err(failed())
}

/// What root restores belongs to whom the directory belongs to.
fn give_to_owner(root: &Path) -> io::Result<()> {
    let about = fs::metadata(root)?;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let its = fs::symlink_metadata(&path)?;
            if (its.uid(), its.gid()) != (about.uid(), about.gid()) {
                chown(&path, Some(about.uid()), Some(about.gid()))?;
            }
            if its.is_dir() {
                folders.push(path);
            }
        }
        File::open(&folder)?.sync_all()?;
    }
    Ok(())
}

/// A backup in one of its forms.
enum Input<'a> {
    Folder(&'a Path),
    Tar(BufReader<File>, &'a Path),
    Packed(BufReader<File>, &'a Path),
}

impl<'a> Input<'a> {
    fn open(from: &'a Path) -> Result<Self, BackupError> {
        let failed = || BackupError::io(format!("read {}", from.display()));
        if from.is_dir() {
            let head = fs::read(from.join(HEAD)).map_err(|error| {
                BackupError::NoBackup(from.display().to_string(), format!("{HEAD}: {error}"))
            })?;
            archive::check_head(&head, &from.display().to_string())?;
            return Ok(Self::Folder(from));
        }
        let mut file = File::open(from).map_err(failed())?;
        let mut first = [0; 2];
        let got = file.read(&mut first).map_err(failed())?;
        file.rewind().map_err(failed())?;
        let reader = BufReader::with_capacity(1 << 20, file);
        if got == first.len() && first == GZIP {
            return Ok(Self::Packed(reader, from));
        }
        Ok(Self::Tar(reader, from))
    }

    fn read(self, take: &mut Take<'_>) -> Result<Manifest, BackupError> {
        match self {
            Self::Tar(file, path) => archive::read(file, &path.display().to_string(), take),
            Self::Packed(file, path) => {
                let unpacked = flate2::bufread::GzDecoder::new(file);
                archive::read(unpacked, &path.display().to_string(), take)
            }
            Self::Folder(root) => {
                let text = fs::read(root.join(MANIFEST))
                    .map_err(|error| BackupError::Cut(format!("{MANIFEST}: {error}")))?;
                let manifest = archive::manifest(&text)?;
                let mut seen = Vec::new();
                for entry in &manifest.entries {
                    let file = File::open(root.join(&entry.name));
                    let mut file =
                        file.map_err(|error| BackupError::Cut(format!("{}: {error}", entry.name)))?;
                    seen.push(archive::pass(&entry.name, entry.bytes, &mut file, take)?);
                }
                archive::check(manifest, &seen)
            }
        }
    }
}
