//! Room on disk that is kept for what was accepted already: given out where the disk is full, taken
//! again when there is room.
//!
//! A database that was refused room once takes nothing more until it is opened again. So a write
//! that finds none is not refused: it gets room from the reserve, and where that is used up it
//! waits. Whoever accepts new work looks at [`Reserve::is_whole`] first.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Bound,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::fcntl::{FallocateFlags, fallocate};
use redb::{BackendError, StorageBackend, backends::FileBackend};

/// Room given out at a time. Unit: bytes.
const STEP: u64 = 4 << 20;
/// Pause of a write that waits for room.
const LOOK: Duration = Duration::from_millis(50);

/// The reserve of one data directory.
#[derive(Debug)]
pub struct Reserve {
    bytes: u64,
    held: Mutex<Held>,
    /// Writes that wait for room.
    waiting: AtomicUsize,
    /// Nobody waits any more: a write that finds no room fails.
    ended: AtomicBool,
}

/// The file that takes the room.
#[derive(Debug)]
struct Held {
    file: File,
    bytes: u64,
}

/// A file of a database that gets room from the reserve.
#[derive(Debug)]
pub(crate) struct ReservedFile {
    file: FileBackend,
    reserve: std::sync::Arc<Reserve>,
}

// === impl Reserve ===

impl Reserve {
    /// Takes the room in a file at `path`, as far as there is any.
    ///
    /// # Errors
    /// The file cannot be made, for other reasons than want of room.
    pub fn open(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(path)?;
        let there = file.metadata()?.len().min(bytes);
        file.set_len(there)?;
        let reserve = Self {
            bytes,
            held: Mutex::new(Held { file, bytes: there }),
            waiting: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        };
        match reserve.refill() {
            Ok(_whole) => Ok(reserve),
            Err(error) if is_full(&error) => Ok(reserve),
            Err(error) => Err(error),
        }
    }

    /// Whether all of it is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lock().bytes >= self.bytes
    }

    /// Bytes that it takes now.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Takes what was given out, if nobody waits for room and all of it is there again; whether it
    /// is whole.
    ///
    /// # Errors
    /// Of the disk, want of room too.
    pub fn refill(&self) -> io::Result<bool> {
        if self.waiting.load(Ordering::Acquire) > 0 {
            return Ok(false);
        }
        let mut held = self.lock();
        // From the beginning: a file that came from elsewhere may have holes.
        match take(&held.file, self.bytes) {
            Ok(()) => held.bytes = self.bytes,
            Err(error) => {
                // What was taken of it so far is what others may need.
                held.file.set_len(held.bytes)?;
                if !is_full(&error) {
                    return Err(error);
                }
            }
        }
        Ok(held.bytes >= self.bytes)
    }

    /// Lets those that wait for room fail: the program ends.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Does what needs room, with room of the reserve where the disk has none.
    #[expect(clippy::disallowed_methods, reason = "threads that write to disk are no workers")]
    fn with_room<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut waits = false;
        let done = loop {
            match work() {
                Err(error) if is_full(&error) => {
                    if !self.give()? {
                        if self.ended.load(Ordering::Acquire) {
                            break Err(error);
                        }
                        if !std::mem::replace(&mut waits, true) {
                            self.waiting.fetch_add(1, Ordering::AcqRel);
                            tracing::error!(
                                "the disk is full and the reserve is used up: what was accepted waits for room"
                            );
                        }
                        thread::sleep(LOOK);
                    }
                }
                done => break done,
            }
        };
        if waits {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        done
    }

    /// Gives some of it back to the disk; `false` where nothing is left.
    fn give(&self) -> io::Result<bool> {
        let mut held = self.lock();
        if held.bytes == 0 {
            return Ok(false);
        }
        held.bytes = held.bytes.saturating_sub(STEP);
        held.file.set_len(held.bytes)?;
        let left = held.bytes;
        drop(held);
        tracing::warn!(left, "the disk is full: room of the reserve is given out");
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn take(file: &File, bytes: u64) -> io::Result<()> {
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Ok(()) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

// === impl ReservedFile ===

impl ReservedFile {
    pub(crate) fn new(file: FileBackend, reserve: std::sync::Arc<Reserve>) -> Self {
        Self { file, reserve }
    }
}

impl StorageBackend for ReservedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.reserve.with_room(|| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.reserve.with_room(|| self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn full<T>() -> io::Result<T> {
        Err(io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn what_finds_no_room_gets_it_from_the_reserve_and_the_reserve_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let reserve = Reserve::open(&path, 3 * STEP).unwrap();
        assert!(reserve.is_whole());
        let mut tries = 0;
        let mut refused_twice = || {
            tries += 1;
            if tries <= 2 { full() } else { Ok(tries) }
        };
        assert_eq!(reserve.with_room(&mut refused_twice).unwrap(), 3);
        assert_eq!((reserve.is_whole(), reserve.held_bytes()), (false, STEP));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), STEP);
        assert!(reserve.refill().unwrap() && reserve.is_whole());
        drop(reserve);
        assert!(Reserve::open(&path, 3 * STEP).unwrap().is_whole(), "as another start finds it");
    }

    #[test]
    fn where_nothing_is_left_a_write_waits_until_there_is_room_or_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Arc::new(Reserve::open(&folder.path().join("reserve"), STEP).unwrap());
        let room = Arc::new(AtomicBool::new(false));
        let (theirs, comes) = (Arc::clone(&reserve), Arc::clone(&room));
        let waits = thread::spawn(move || {
            theirs.with_room(|| if comes.load(Ordering::Acquire) { Ok(()) } else { full() })
        });
        while reserve.waiting.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        assert!(!reserve.refill().unwrap(), "nobody takes the room that a write waits for");
        room.store(true, Ordering::Release);
        waits.join().unwrap().unwrap();
        assert!(reserve.refill().unwrap());
        reserve.end();
        assert!(reserve.with_room(full::<()>).is_err());
    }
}
