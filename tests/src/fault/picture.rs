//! Names and files of a data directory at one moment, by identity and not by path: the live one, the durable one, the one seen.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file, by the number it has in the live directory (`gone:…` where it is there no more).
    File(String),
    /// A directory, by its number (`<number>.<count>` where it is there no more).
    Dir(String),
    /// A symbolic link and its target.
    Link(OsString),
}

/// The names of one directory.
pub type Names = BTreeMap<OsString, Entry>;

/// A tree of names, and where each file's content can be read.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Names by directory.
    pub dirs: BTreeMap<String, Names>,
    /// A path to the content, by file.
    pub files: BTreeMap<String, PathBuf>,
    /// Sizes that a file was set to since it was last synced.
    pub sizes: BTreeMap<String, Vec<u64>>,
}

impl Picture {
    /// The directory as it stands. Sockets and other specials are left out: they do not outlive a power cut.
    ///
    /// # Errors
    /// What reading the tree says.
    pub fn of_live(root: &Path) -> io::Result<Self> {
        let mut picture = Self::default();
        let mut todo = vec![root.to_path_buf()];
        while let Some(dir) = todo.pop() {
            let id = fs::metadata(&dir)?.ino().to_string();
            let mut names = Names::new();
            for item in fs::read_dir(&dir)? {
                let path = item?.path();
                let meta = fs::symlink_metadata(&path)?;
                let number = meta.ino().to_string();
                let entry = if meta.is_file() {
                    picture.files.insert(number.clone(), path.clone());
                    Entry::File(number)
                } else if meta.is_dir() {
                    todo.push(path.clone());
                    Entry::Dir(number)
                } else if meta.is_symlink() {
                    Entry::Link(fs::read_link(&path)?.into_os_string())
                } else {
                    continue;
                };
                names.insert(name_of(&path), entry);
            }
            picture.dirs.insert(id, names);
        }
        Ok(picture)
    }

    /// A picture the preloaded library keeps (`side/durable` or `side/seen`).
    ///
    /// # Errors
    /// What reading the tree says.
    pub fn of_kept(kept: &Path) -> io::Result<Self> {
        let mut picture = Self::default();
        let mut known = BTreeMap::new();
        for item in fs::read_dir(kept.join("inodes"))? {
            let path = item?.path();
            let id = name_of(&path).to_string_lossy().into_owned();
            known.insert(fs::metadata(&path)?.ino(), id.clone());
            picture.files.insert(id, path);
        }
        for item in fs::read_dir(kept.join("sizes")).into_iter().flatten() {
            let path = item?.path();
            let lines = fs::read_to_string(&path)?;
            let sizes = lines.lines().filter_map(|line| line.parse().ok()).collect();
            picture.sizes.insert(name_of(&path).to_string_lossy().into_owned(), sizes);
        }
        for item in fs::read_dir(kept.join("dirs"))? {
            let dir = item?.path();
            let mut names = Names::new();
            for item in fs::read_dir(&dir)? {
                let path = item?.path();
                let meta = fs::symlink_metadata(&path)?;
                let entry = if meta.is_file() {
                    let id =
                        known.entry(meta.ino()).or_insert_with(|| format!("gone:{}", meta.ino()));
                    picture.files.entry(id.clone()).or_insert_with(|| path.clone());
                    Entry::File(id.clone())
                } else {
                    link_entry(&fs::read_link(&path)?)?
                };
                names.insert(name_of(&path), entry);
            }
            picture.dirs.insert(name_of(&dir).to_string_lossy().into_owned(), names);
        }
        Ok(picture)
    }

    /// The names of a directory; none where it is not known.
    #[must_use]
    pub fn names(&self, dir: &str) -> Names {
        self.dirs.get(dir).cloned().unwrap_or_default()
    }
}

/// `dir:<id>` or `link:<target>`, as the library writes them.
fn link_entry(target: &Path) -> io::Result<Entry> {
    let bytes = target.as_os_str().as_bytes();
    if let Some(id) = bytes.strip_prefix(b"dir:") {
        return Ok(Entry::Dir(String::from_utf8_lossy(id).into_owned()));
    }
    let link = bytes.strip_prefix(b"link:").ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("`{}` is no kept name", target.display()),
        )
    })?;
    Ok(Entry::Link(OsString::from_vec(link.to_vec())))
}

fn name_of(path: &Path) -> OsString {
    path.file_name().unwrap_or(OsStr::new("")).to_os_string()
}
