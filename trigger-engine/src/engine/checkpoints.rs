//! Checkpoint files: the two newest are kept, each whole or absent.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

/// Where checkpoints are kept.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    /// One writer at a time.
    writing: Arc<Mutex<()>>,
}

/// Files that are kept.
const KEPT: usize = 2;
/// Ending of a checkpoint's name.
const ENDING: &str = "checkpoint";

impl Checkpoints {
    /// Opens or makes the folder.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { folder: folder.to_owned(), writing: Arc::default() })
    }

    /// Every checkpoint, the newest first; one that cannot be read is left out.
    pub(crate) fn load(&self) -> io::Result<Vec<Bytes>> {
        let newest = self.numbers()?.into_iter().rev();
        Ok(newest.filter_map(|number| fs::read(self.path(number)).ok()).map(Bytes::from).collect())
    }

    /// Keeps one more, durably, and lets the oldest go.
    pub(crate) fn save(&self, checkpoint: &[u8]) -> io::Result<()> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = self.numbers()?;
        let number = numbers.last().map_or(1, |last| last + 1);
        let draft = self.folder.join("draft");
        let mut file = File::create(&draft)?;
        file.write_all(checkpoint)?;
        file.sync_all()?;
        fs::rename(&draft, self.path(number))?;
        let surplus = (numbers.len() + 1).saturating_sub(KEPT);
        for old in numbers.into_iter().take(surplus) {
            fs::remove_file(self.path(old))?;
        }
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.{ENDING}"))
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let ours = path.extension().is_some_and(|ending| ending == ENDING);
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let number = stem.and_then(|stem| stem.parse::<u64>().ok());
            numbers.extend(number.filter(|_| ours));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(&folder.path().join("checkpoints")).unwrap();
        assert!(checkpoints.load().unwrap().is_empty());
        for text in ["one", "two", "three"] {
            checkpoints.save(text.as_bytes()).unwrap();
        }
        assert_eq!(checkpoints.load().unwrap(), ["three", "two"].map(Bytes::from));
    }
}
