//! The directory of a log: names, reads by windows, and changes that are durable in it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::feeds::FeedTable;
use crate::frame::{Chain, Marker};
use crate::index::{Block, SegmentIndex, Summary};
use crate::read::SegmentId;
use crate::recovery::{SegmentFold, SegmentScan};
use crate::sidecar::{self, BOUNDS_LEN, Bounds};

/// Bytes read at a time where all of a file is read.
const SCAN_CHUNK: usize = 1 << 20;
/// Bytes of zeros written at a time.
const ZERO_CHUNK: usize = 1 << 20;
const SPARE: &str = "spare";

/// A directory, and a handle to make changes in it durable.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
    handle: File,
}

// === impl Dir ===

impl Dir {
    /// Opens the directory, which is made if it is missing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            fs::create_dir_all(path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Self::open_existing(path)
    }

    /// Opens a directory that is there.
    pub(crate) fn open_existing(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), handle: File::open(path)? })
    }

    /// Makes names durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a small file whole or not at all.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path(&format!("{name}.tmp"));
        let file = File::create(&temporary)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path(name))?;
        self.sync()
    }

    /// Removes a file; that it is missing is no error.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The segments, oldest first.
    pub(crate) fn segments(&self) -> io::Result<Vec<SegmentId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            ids.extend(entry?.file_name().to_str().and_then(SegmentId::from_file_name));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes what a crash left half made, and sidecars of segments that are gone.
    pub(crate) fn sweep(&self, segments: &[SegmentId]) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let orphan = name.strip_suffix(".idx").is_some_and(|digits| {
                let id = digits.parse().map(SegmentId);
                id.is_ok_and(|id| segments.binary_search(&id).is_err())
            });
            if orphan || name.ends_with(".tmp") {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    pub(crate) fn open_segment(&self, id: SegmentId) -> io::Result<File> {
        File::open(self.path(&id.file_name()))
    }

    pub(crate) fn open_active(&self, id: SegmentId) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path(&id.file_name()))
    }

    /// Whether a spare of `bytes` is there; one of another size is removed.
    pub(crate) fn check_spare(&self, bytes: u64) -> io::Result<bool> {
        match fs::metadata(self.path(SPARE)) {
            Ok(spare) if spare.len() == bytes => Ok(true),
            Ok(_) => self.remove(SPARE).map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the spare: its room is surely there once this returns.
    ///
    /// With `zero` it is written over with zeros too, so that later writes change no metadata
    /// and their syncs take about half the time.
    pub(crate) fn make_spare(
        &self,
        bytes: u64,
        zero: bool,
        allocate: impl Fn(&File, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = format!("{SPARE}.tmp");
        let made = self.fill_spare(&temporary, bytes, zero, allocate);
        if made.is_err() {
            // What was allocated so far is the room that others wait for.
            self.remove(&temporary)?;
        }
        made
    }

    fn fill_spare(
        &self,
        temporary: &str,
        bytes: u64,
        zero: bool,
        allocate: impl Fn(&File, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = File::create(self.path(temporary))?;
        allocate(&file, bytes)?;
        if zero {
            write_zeros(&file, 0, bytes)?;
        }
        file.sync_all()?;
        fs::rename(self.path(temporary), self.path(SPARE))?;
        self.sync()
    }

    /// Gives the spare its name.
    pub(crate) fn use_spare(&self, id: SegmentId) -> io::Result<()> {
        fs::rename(self.path(SPARE), self.path(&id.file_name()))?;
        self.sync()
    }

    /// Reads a segment from end to end.
    pub(crate) fn scan(
        &self,
        marker: Marker,
        id: SegmentId,
        chain: Option<Chain>,
        last: bool,
    ) -> io::Result<SegmentScan> {
        let fold = SegmentFold::new(marker, id, chain);
        self.fold(id, if last { fold.with_torn_tail() } else { fold })
    }

    /// Reads a segment through `fold`.
    pub(crate) fn fold(&self, id: SegmentId, mut fold: SegmentFold) -> io::Result<SegmentScan> {
        let file = self.open_segment(id)?;
        let end = file.metadata()?.len();
        read_windows(&file, (0, end), SCAN_CHUNK, |window, last| {
            let more = fold.window(window, last)?;
            Some((fold.at(), more))
        })?;
        Ok(fold.finish())
    }

    /// Bounds and feeds of a sidecar, if a sound one is there.
    pub(crate) fn read_bounds(&self, id: SegmentId) -> io::Result<Option<(Summary, FeedTable)>> {
        let Some((file, bounds)) = self.open_sidecar(id)? else { return Ok(None) };
        let section = section(&file, BOUNDS_LEN, bounds.sections[0])?;
        let feeds = sidecar::read_feeds(&section);
        Ok(feeds.map(|feeds| (bounds.summary, feeds)))
    }

    /// The sparse index of a sidecar, if a sound one is there.
    pub(crate) fn read_blocks(&self, id: SegmentId) -> io::Result<Option<Vec<Block>>> {
        let Some((file, bounds)) = self.open_sidecar(id)? else { return Ok(None) };
        let [feeds, blocks, _] = bounds.sections;
        let section = section(&file, BOUNDS_LEN + feeds, blocks)?;
        Ok(sidecar::read_blocks(&section))
    }

    fn open_sidecar(&self, id: SegmentId) -> io::Result<Option<(File, Bounds)>> {
        let file = match File::open(self.path(&id.sidecar_name())) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bounds = sidecar::bounds(&section(&file, 0, BOUNDS_LEN)?);
        let bounds = bounds.filter(|bounds| bounds.summary.id == id);
        Ok(bounds.map(|bounds| (file, bounds)))
    }

    /// The sidecar of a segment, if a sound one is there.
    pub(crate) fn read_sidecar(&self, id: SegmentId) -> io::Result<Option<SegmentIndex>> {
        match fs::read(self.path(&id.sidecar_name())) {
            Ok(bytes) => Ok(sidecar::decode(&bytes).filter(|index| index.summary.id == id)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Bytes of a file, as far as it has them: what is short does not check.
fn section(file: &File, at: usize, len: usize) -> io::Result<Vec<u8>> {
    let all = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len.min(all.saturating_sub(at))];
    let got = read_up_to(file, &mut bytes, at as u64)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// Gives `step` windows of a file from `range.0` on, at least `chunk` bytes each where there are
/// as many before `range.1`; `step` says where the next one begins and how long it must be.
pub(crate) fn read_windows(
    file: &File,
    range: (u64, u64),
    chunk: usize,
    mut step: impl FnMut(&[u8], bool) -> Option<(u64, usize)>,
) -> io::Result<()> {
    let end = range.1.min(file.metadata()?.len());
    let (mut at, mut need, mut window) = (range.0, chunk, Vec::new());
    loop {
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = need.max(chunk).min(left);
        window.resize(len, 0);
        let got = read_up_to(file, &mut window, at)?;
        window.truncate(got);
        match step(&window, got < len || len == left) {
            Some((next, more)) => (at, need) = (next, more),
            None => return Ok(()),
        }
    }
}

/// Fills `bytes` as far as the file goes: it may be cut to what it uses at any time.
fn read_up_to(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + got as u64) {
            Ok(0) => break,
            Ok(read) => got += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Writes zeros over a stretch of a file.
pub(crate) fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_CHUNK];
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(zeros.get(..len).unwrap_or_default(), at)?;
        at += len as u64;
        // Little dirty memory at a time: the log's own syncs pass through the same disk.
        if at.is_multiple_of(4 * ZERO_CHUNK as u64) {
            file.sync_data()?;
        }
    }
    Ok(())
}

/// Takes room on disk for a file.
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let len = i64::try_from(bytes).map_err(io::Error::other)?;
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            // Without it, only writing takes the room for sure.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return lengthen(file, bytes),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Lengthens a file with zeros.
fn lengthen(file: &File, bytes: u64) -> io::Result<()> {
    write_zeros(file, file.metadata()?.len(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_room_for_a_file_leaves_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        for (name, take) in [("a", allocate as fn(&File, u64) -> _), ("b", lengthen)] {
            let path = dir.path().join(name);
            fs::write(&path, b"content").unwrap();
            take(&OpenOptions::new().write(true).open(&path).unwrap(), 3_000_000).unwrap();
            let bytes = fs::read(&path).unwrap();
            assert_eq!((bytes.len(), &bytes[..9]), (3_000_000, &b"content\0\0"[..]));
        }
    }

    #[test]
    fn a_file_cut_while_it_is_read_ends_where_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, vec![7; 100]).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut seen = Vec::new();
        read_windows(&file, (0, 100), 30, |window, last| {
            seen.push((window.len(), last));
            file.set_len(50).unwrap();
            (!last).then_some((seen.len() as u64 * 30, 30))
        })
        .unwrap();
        assert_eq!(seen, [(30, false), (20, true)]);
    }

    #[test]
    fn a_spare_that_found_no_room_leaves_none_taken() {
        let dir = tempfile::tempdir().unwrap();
        let log = Dir::open(dir.path()).unwrap();
        let refused = log.make_spare(1_000, true, |file, _| {
            file.set_len(500)?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(refused.is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        log.make_spare(1_000, true, allocate).unwrap();
        assert!(log.check_spare(1_000).unwrap());
        assert!(!log.check_spare(2_000).unwrap(), "one of another size is of no use");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
