//! The seam: what every event log can do, embedded or distributed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use evoke_schemas::{LogUid, LogUids, Position};
use tokio::sync::{oneshot, watch};

use crate::cursor::Cursor;
use crate::erase::{EraseError, Erasure};
use crate::feeds::FeedPosition;
use crate::read::{
    DedupPage, DropError, Health, Item, LogCounts, LogSizes, Page, ReadError, ReadLimit, Retention,
    SegmentId, SegmentInfo,
};
use crate::record::{Append, AppendError, Appended};

/// An ordered, durable log of records.
///
/// Positions are ordered within a partition only and have gaps. Reads give durable records only,
/// in one physical order over all partitions that never changes.
#[async_trait]
pub trait EventLog: Send + Sync + std::fmt::Debug {
    /// Identity of the log.
    fn uid(&self) -> LogUid;

    /// Identity of the log by position, where it was restored and so had others.
    fn uids(&self) -> LogUids {
        self.uid().into()
    }

    /// Hands a batch over without waiting; batches go in by order of this call.
    ///
    /// Refusals come through the future as well. Dropping it takes nothing back.
    fn submit(&self, append: Append) -> PendingAppend;

    /// Appends a batch and waits until it is durable.
    ///
    /// # Errors
    /// See [`AppendError`]; a batch refused is nowhere in the log.
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.submit(append).await
    }

    /// Reads on from `cursor`, as far as is durable. What retention took is left out.
    ///
    /// # Errors
    /// [`ReadError::Io`]: damage is no error but an [`Item`].
    async fn read(&self, cursor: &Cursor, limit: ReadLimit) -> Result<Page, ReadError>;

    /// The record at `position`, sound or not; `None` if there never was one, or no longer.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    async fn get(&self, position: Position) -> Result<Option<Item>, ReadError>;

    /// A cursor before which no record is of `time_ms` or later; it may lie well before them.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    async fn seek_time(&self, time_ms: u64) -> Result<Cursor, ReadError>;

    /// Before the oldest record kept.
    fn begin(&self) -> Cursor;

    /// After the newest durable record.
    fn end(&self) -> Cursor;

    /// The end as it moves.
    fn watch(&self) -> Watermark;

    /// Newest durable position of `feed`.
    async fn feed_position(&self, feed: u128) -> Result<Option<FeedPosition>, ReadError>;

    /// One chunk of the dedup index from `from` on, which [`EventLog::seek_time`] gives.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    async fn dedup_entries(&self, from: &Cursor) -> Result<DedupPage, ReadError>;

    /// The oldest sealed segment, if `policy` lets it go and all of it is below `low_water`.
    fn droppable(&self, policy: &Retention, low_water: &Cursor, now_ms: u64)
    -> Option<SegmentInfo>;

    /// Drops the oldest sealed segment. Feed positions that stand in it are carried on.
    ///
    /// # Errors
    /// See [`DropError`]; the segment is still there.
    async fn drop_segment(&self, id: SegmentId) -> Result<(), DropError>;

    /// Takes the data of records away for ever; that it was erased, when and by whom stays, and so
    /// does everything else of them. Durable when this returns; a crash before leaves each record
    /// as it was or erased. Positions where nothing is any more are passed over.
    ///
    /// # Errors
    /// See [`EraseError`].
    async fn erase(&self, positions: &[Position], erasure: &Erasure) -> Result<(), EraseError> {
        let _nothing = (positions, erasure);
        Err(EraseError::Unsupported)
    }

    /// How large the log is.
    fn sizes(&self) -> LogSizes;

    /// What the log did since it was opened; nothing where it does not count.
    fn counts(&self) -> LogCounts {
        LogCounts::default()
    }

    /// What the log can take now.
    fn health(&self) -> Health;

    /// Waits until the log has failed for good, and says why.
    async fn failed(&self) -> std::sync::Arc<str>;
}

/// A batch on its way.
#[derive(Debug)]
pub struct PendingAppend(oneshot::Receiver<Result<Appended, AppendError>>);

/// The end of what is durable, to wait on.
#[derive(Clone, Debug)]
pub struct Watermark(watch::Receiver<Cursor>);

// === impl PendingAppend ===

impl PendingAppend {
    pub(crate) fn new(receiver: oneshot::Receiver<Result<Appended, AppendError>>) -> Self {
        Self(receiver)
    }

    pub(crate) fn ready(answer: Result<Appended, AppendError>) -> Self {
        let (sender, receiver) = oneshot::channel();
        // The receiver is in our hands, so the answer cannot be refused.
        drop(sender.send(answer));
        Self(receiver)
    }
}

impl Future for PendingAppend {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(AppendError::Closed)))
    }
}

// === impl Watermark ===

impl Watermark {
    pub(crate) fn new(receiver: watch::Receiver<Cursor>) -> Self {
        Self(receiver)
    }

    /// The end now.
    #[must_use]
    pub fn get(&self) -> Cursor {
        self.0.borrow().clone()
    }

    /// Waits until something durable lies past `cursor`; gives the end then.
    ///
    /// # Errors
    /// [`ReadError::Closed`]: the log is gone, nothing more will come.
    pub async fn past(&mut self, cursor: &Cursor) -> Result<Cursor, ReadError> {
        match self.0.wait_for(|end| !cursor.covers(end)).await {
            Ok(end) => Ok(end.clone()),
            Err(closed) => {
                tracing::debug!(%closed, "a reader waited on a closed log");
                Err(ReadError::Closed)
            }
        }
    }
}

/// Position of an item that has one.
impl Item {
    /// Where the record stands, sound or not.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Record(record) => Some(record.position),
            Self::Unreadable(unreadable) => Some(unreadable.position),
            Self::Erased(erased) => Some(erased.position),
            Self::Lost(_) => None,
        }
    }
}
