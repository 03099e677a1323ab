//! What each part of a data directory takes on disk.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Bytes on disk by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// The event log, with its spare segment.
    pub(super) log: u64,
    /// Activation records, what dropped ones have left taken off.
    pub(super) records: u64,
    /// All else: entities, code, checkpoints, the reserve.
    pub(super) rest: u64,
}

/// Folders of the data directory that are counted; a sandbox's own are not kept.
const FOLDERS: [&str; 2] = ["code", "checkpoints"];
const LOG: &str = "log";
const RECORDS: &str = "activations.redb";

impl Usage {
    /// Counts. `free` bytes of the file of records are not in use.
    pub(super) fn of(path: &Path, free: u64) -> io::Result<Self> {
        let mut usage = Self { log: folder(&path.join(LOG))?, ..Self::default() };
        for name in FOLDERS {
            usage.rest += folder(&path.join(name))?;
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(about) = entry.metadata() else { continue };
            if !about.is_file() {
                continue;
            }
            if entry.file_name() == RECORDS {
                usage.records = taken(&about).saturating_sub(free);
            } else {
                usage.rest += taken(&about);
            }
        }
        Ok(usage)
    }

    pub(super) fn total(&self) -> u64 {
        self.log.saturating_add(self.records).saturating_add(self.rest)
    }
}

/// Bytes of all files below; one that goes meanwhile is not counted.
fn folder(path: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { folder(&entry.path())? } else { taken(&about) };
    }
    Ok(bytes)
}

fn taken(about: &fs::Metadata) -> u64 {
    about.blocks().saturating_mul(512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_counted_and_what_is_free_inside_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let write = |name: &str, bytes: usize| {
            let file = path.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, vec![7; bytes]).unwrap();
        };
        assert_eq!(Usage::of(path, 0).unwrap(), Usage::default());
        write("log/0", 1 << 20);
        write("activations.redb", 2 << 20);
        write("code/ab/abc", 3 << 20);
        write("sandboxes/1/root", 1 << 20);
        let usage = Usage::of(path, 1 << 20).unwrap();
        assert_eq!((usage.log >> 20, usage.records >> 20, usage.rest >> 20), (1, 1, 3));
        assert_eq!(usage.total() >> 20, 5);
    }
}
