//! The embedded log: a directory of segments, one thread that commits, one that keeps house.

mod cold;
mod committer;
mod copy;
mod erasing;
pub(crate) mod files;
mod housekeeper;
pub(crate) mod identity;
mod measures;
mod open;
mod view;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use evoke_schemas::{LogUid, LogUids, Position};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::commit::{CommitCore, Input};
use crate::cursor::Cursor;
use crate::erase::{EraseError, Erasure};
use crate::event_log::{EventLog, PendingAppend, Watermark};
use crate::feeds::FeedPosition;
use crate::index::seek_time;
use crate::limits::Limits;
use crate::prepare::Prepared;
use crate::read::{
    DedupPage, DropError, Health, Item, LogCounts, LogSizes, Page, ReadError, ReadLimit, Retention,
    SegmentId, SegmentInfo,
};
use crate::record::{Append, AppendError};
use crate::retention;
use crate::segment_log::committer::{Committer, Inbox, Token};
pub use crate::segment_log::copy::{LogCopy, SegmentCopy, is_of_a_copy, restored};
use crate::segment_log::files::Dir;
use crate::segment_log::housekeeper::Housekeeper;
use crate::segment_log::identity::Identity;
use crate::segment_log::measures::Measures;
pub use crate::segment_log::open::{OpenError, OpenReport};
use crate::segment_log::view::View;
use crate::tail::Tail;

/// Reads from disk that may go on at a time; the others wait.
const COLD_READS: usize = 4;
/// Entries of one chunk of the dedup index.
const DEDUP_CHUNK: usize = 65_536;

/// How a [`SegmentLog`] is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bounds of appends.
    pub limits: Limits,
    /// Bytes of a segment, and of the reserve; at least twice the largest batch. Default: 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of the newest records kept in memory for readers. Default: 32 MiB.
    pub tail_bytes: usize,
    /// Whether spare segments are written over with zeros ahead of their use: each byte is
    /// written twice, and a sync takes about half the time. Default: yes.
    pub zero_fill: bool,
}

/// Takes so many bytes of room for a file.
pub type Allocate = Arc<dyn Fn(&File, u64) -> io::Result<()> + Send + Sync>;

/// What a log takes from outside: time, and room on disk.
#[derive(Clone)]
pub struct Seams {
    /// Now, unix milliseconds.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Room on disk.
    pub allocate: Allocate,
}

/// The embedded [`EventLog`].
///
/// Dropping it writes what was submitted; [`SegmentLog::close`] does so without blocking.
#[derive(Debug)]
pub struct SegmentLog {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: Dir,
    pub(crate) identity: Identity,
    pub(crate) config: Config,
    pub(crate) seams: Seams,
    pub(crate) inbox: Inbox,
    pub(crate) end: watch::Sender<Cursor>,
    pub(crate) failure: watch::Sender<Option<Arc<str>>>,
    pub(crate) measures: Measures,
    view: Mutex<View>,
    cold: Semaphore,
    dropping: Semaphore,
    /// Held as long as the log is open.
    _lock: File,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            segment_bytes: 64 << 20,
            tail_bytes: 32 << 20,
            zero_fill: true,
        }
    }
}

// === impl Seams ===

impl Default for Seams {
    fn default() -> Self {
        let now = || {
            let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
        };
        Self { clock: Arc::new(now), allocate: Arc::new(files::allocate) }
    }
}

impl std::fmt::Debug for Seams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seams").finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.seams.clock)()
    }
}

// === impl SegmentLog ===

impl SegmentLog {
    /// Opens the log in `dir`, or creates one there. Blocks; a crash is recovered from.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: &Path, config: Config) -> Result<(Self, OpenReport), OpenError> {
        Self::open_with(dir, config, Seams::default())
    }

    /// Opens a log whose time and room on disk come from the caller.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_with(
        dir: &Path,
        mut config: Config,
        seams: Seams,
    ) -> Result<(Self, OpenReport), OpenError> {
        let half = usize::try_from(config.segment_bytes / 2).unwrap_or(usize::MAX);
        config.limits.batch_bytes = config.limits.batch_bytes.min(half);
        let open::Opened { dir, lock, identity, recovered, active, spare, report, erasing } =
            open::open(dir, &config, &seams)?;
        let limits = config.limits.clone();
        let core =
            CommitCore::new(identity.marker, limits, config.segment_bytes, &recovered, spare);
        let tail = Tail::new(config.tail_bytes);
        let end = Cursor::sequence(recovered.active.summary.end);
        let view =
            View::new(identity.marker, recovered.sealed, recovered.active, recovered.feeds, tail);
        let shared = Arc::new(Shared {
            dir,
            identity,
            config,
            seams,
            inbox: Inbox::default(),
            end: watch::Sender::new(end),
            failure: watch::Sender::new(None),
            measures: Measures::default(),
            view: Mutex::new(view),
            cold: Semaphore::new(COLD_READS),
            // What a crash left unsaid is said before anything else is erased or dropped.
            dropping: Semaphore::new(usize::from(erasing.is_none())),
            _lock: lock,
        });
        let (housekeeper, keeper) = Housekeeper::start(Arc::clone(&shared))?;
        let committer = Committer { core, shared: Arc::clone(&shared), active, housekeeper };
        let name = "log-committer".to_owned();
        let committer = std::thread::Builder::new().name(name).spawn(move || committer.run())?;
        let mut threads = vec![committer, keeper];
        if let Some(erasing) = erasing {
            threads.push(erasing::complete(Arc::clone(&shared), &erasing)?);
        }
        Ok((Self { shared, threads }, report))
    }

    /// Writes what was submitted and stops; appends are refused from now on.
    ///
    /// # Errors
    /// [`AppendError::Failed`]: not everything is durable.
    pub async fn close(&self) -> Result<(), AppendError> {
        let (token, answer) = oneshot::channel();
        if !self.shared.inbox.send(Input::Close { token: Token::Done(token) }) {
            return Ok(());
        }
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Runs a read off the runtime's threads, a few at a time.
    async fn cold<R, F>(&self, read: F) -> Result<R, ReadError>
    where
        R: Send + 'static,
        F: FnOnce(&Shared) -> io::Result<R> + Send + 'static,
    {
        let Ok(_permit) = self.shared.cold.acquire().await else { return Err(ReadError::Closed) };
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || read(&shared)).await {
            Ok(result) => Ok(result?),
            Err(error) => Err(io::Error::other(error).into()),
        }
    }

    /// Items from `number` on, from one place, and the number to read on with.
    async fn some(&self, number: u64, limit: ReadLimit) -> Result<(Vec<Item>, u64), ReadError> {
        let found = {
            let view = self.shared.view();
            view.tail.from(number, limit).ok_or_else(|| view.place(number))
        };
        match found {
            Ok(frames) => {
                let items = frames.iter().flat_map(|frame| frame.items(number));
                let (mut bytes, mut next, mut page) = (0_usize, number, Vec::new());
                for item in items {
                    bytes = bytes.saturating_add(item.record().map_or(0, |r| r.data.len()));
                    if page.len() >= limit.items || (bytes > limit.bytes && !page.is_empty()) {
                        break;
                    }
                    next = item.position().map_or(next, |position| position.offset + 1);
                    page.push(item);
                }
                Ok((page, next))
            }
            Err(None) => Ok((Vec::new(), number)),
            Err(Some(place)) => {
                self.cold(move |shared| cold::read(shared, &place, number, limit)).await
            }
        }
    }

    /// Removes the files of the oldest segment, which nothing needs any more.
    async fn remove(&self, id: SegmentId) -> Result<(), DropError> {
        let removed = self
            .cold(move |shared| {
                shared.dir.remove(&id.file_name())?;
                shared.dir.remove(&id.sidecar_name())?;
                shared.dir.sync()?;
                shared.view().drop_oldest();
                Ok(())
            })
            .await;
        match removed {
            Ok(()) => Ok(()),
            Err(ReadError::Io(error)) => Err(error.into()),
            Err(ReadError::Closed) => Err(AppendError::Closed.into()),
        }
    }
}

#[async_trait]
impl EventLog for SegmentLog {
    fn uid(&self) -> LogUid {
        self.shared.identity.uids.newest()
    }

    fn uids(&self) -> LogUids {
        self.shared.identity.uids.clone()
    }

    fn submit(&self, append: Append) -> PendingAppend {
        let limits = &self.shared.config.limits;
        match Prepared::new(append, limits) {
            Ok(batch) => {
                let (token, answer) = oneshot::channel();
                if !self.shared.inbox.submit(batch, limits, token) {
                    self.shared.measures.refused.one();
                }
                PendingAppend::new(answer)
            }
            Err(malformed) => PendingAppend::ready(Err(malformed.into())),
        }
    }

    async fn read(&self, cursor: &Cursor, limit: ReadLimit) -> Result<Page, ReadError> {
        let mut next = cursor.as_sequence();
        let limit = ReadLimit { items: limit.items.max(1), ..limit };
        loop {
            next = next.max(self.shared.view().begin());
            let (items, after) = self.some(next, limit).await?;
            // Where only marks stand there is nothing to give: on to the next place.
            if !items.is_empty() || after == next {
                return Ok(Page { items, next: Cursor::sequence(after) });
            }
            next = after;
        }
    }

    async fn get(&self, position: Position) -> Result<Option<Item>, ReadError> {
        if position.offset < self.shared.view().begin() {
            return Ok(None);
        }
        let limit = ReadLimit { items: 1, bytes: usize::MAX };
        let (items, _) = self.some(position.offset, limit).await?;
        Ok(items.into_iter().next().filter(|item| item.position().is_none_or(|at| at == position)))
    }

    async fn seek_time(&self, time_ms: u64) -> Result<Cursor, ReadError> {
        let (sealed, in_active) = {
            let view = self.shared.view();
            let mut sealed = view.sealed.iter();
            let sealed = sealed.find(|summary| summary.last_ms >= time_ms);
            let in_active = seek_time(&view.active.blocks, time_ms).unwrap_or_else(|| view.end());
            (sealed.map(|summary| (summary.id, summary.end)), in_active)
        };
        let Some((id, end)) = sealed else { return Ok(Cursor::sequence(in_active)) };
        let number = self
            .cold(move |shared| match cold::blocks(shared, id) {
                Ok(blocks) => Ok(seek_time(&blocks, time_ms).unwrap_or(end)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(id.0),
                Err(error) => Err(error),
            })
            .await?;
        Ok(Cursor::sequence(number))
    }

    fn begin(&self) -> Cursor {
        Cursor::sequence(self.shared.view().begin())
    }

    fn end(&self) -> Cursor {
        Cursor::sequence(self.shared.view().end())
    }

    fn watch(&self) -> Watermark {
        Watermark::new(self.shared.end.subscribe())
    }

    async fn feed_position(&self, feed: u128) -> Result<Option<FeedPosition>, ReadError> {
        Ok(self.shared.view().feeds.get(feed).cloned())
    }

    async fn dedup_entries(&self, from: &Cursor) -> Result<DedupPage, ReadError> {
        let number = from.as_sequence();
        let chunk = |entries: &[crate::read::DedupEntry], number: u64, end: u64| {
            let skip = entries.partition_point(|entry| entry.position.offset < number);
            let rest = entries.get(skip..).unwrap_or_default();
            let entries: Vec<_> = rest.iter().take(DEDUP_CHUNK).copied().collect();
            let cut = entries.last().filter(|_| entries.len() < rest.len());
            let next = cut.map_or(end, |last| last.position.offset + 1);
            (entries, next)
        };
        let sealed = {
            let view = self.shared.view();
            let number = number.max(view.begin());
            if number >= view.active.summary.id.0 {
                let end = view.end();
                let (entries, next) = chunk(&view.active.dedup, number, end);
                let next = (next < end).then(|| Cursor::sequence(next));
                return Ok(DedupPage { entries, next });
            }
            view.place(number)
        };
        let Some(place) = sealed else {
            return Ok(DedupPage { entries: Vec::new(), next: None });
        };
        let segment = place.segment;
        let index = self.cold(move |shared| cold::index(shared, segment)).await?;
        let (entries, next) = chunk(&index.dedup, number, place.end);
        Ok(DedupPage { entries, next: Some(Cursor::sequence(next)) })
    }

    fn droppable(
        &self,
        policy: &Retention,
        low_water: &Cursor,
        now_ms: u64,
    ) -> Option<SegmentInfo> {
        let mut view = self.shared.view();
        let active = view.active.summary.bytes;
        let sealed = view.sealed.make_contiguous();
        retention::droppable(sealed, active, policy, low_water, now_ms)
    }

    async fn drop_segment(&self, id: SegmentId) -> Result<(), DropError> {
        let Ok(_one) = self.shared.dropping.acquire().await else {
            return Err(AppendError::Closed.into());
        };
        let Some((_, until)) = self.shared.view().oldest().filter(|(oldest, _)| *oldest == id)
        else {
            return Err(DropError::NotOldest(id));
        };
        let (token, answer) = oneshot::channel();
        if !self.shared.inbox.send(Input::Carry { token: Token::Done(token), until }) {
            return Err(AppendError::Closed.into());
        }
        answer.await.unwrap_or(Err(AppendError::Closed))?;
        self.remove(id).await?;
        // Where the log was full there may be room again; a closed one does not care.
        self.shared.inbox.send(Input::Freed);
        Ok(())
    }

    async fn erase(&self, positions: &[Position], erasure: &Erasure) -> Result<(), EraseError> {
        self.erase_data(positions, erasure).await
    }

    fn sizes(&self) -> LogSizes {
        let view = self.shared.view();
        let sealed: u64 = view.sealed.iter().map(|summary| summary.bytes).sum();
        let oldest = view.sealed.iter().chain([&view.active.summary]);
        LogSizes {
            segments: view.sealed.len() + 1,
            bytes: sealed + view.active.summary.bytes,
            queued: self.shared.inbox.queued() as u64,
            oldest_ms: oldest.map(|summary| summary.first_ms).find(|first| *first > 0),
        }
    }

    fn counts(&self) -> LogCounts {
        self.shared.measures.counts()
    }

    fn health(&self) -> Health {
        if let Some(cause) = &*self.shared.failure.borrow() {
            return Health::Failed(Arc::clone(cause));
        }
        if self.shared.view().full { Health::Full } else { Health::Good }
    }

    async fn failed(&self) -> Arc<str> {
        let mut failure = self.shared.failure.subscribe();
        let cause = failure.wait_for(Option::is_some).await.ok().and_then(|cause| cause.clone());
        match cause {
            Some(cause) => cause,
            // The sender lives as long as this log, so this is no way to end.
            None => std::future::pending().await,
        }
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        let (token, _) = oneshot::channel();
        self.shared.inbox.send(Input::Close { token: Token::Done(token) });
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the event log panicked");
            }
        }
    }
}
