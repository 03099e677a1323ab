//! The port through which events leave a feed: compare-and-append of events with a position.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use evoke_schemas::{EntityName, EntityUid, Event, FeedPayload, Namespace};

/// Where a feed's events go.
///
/// The events and the position that vouches for them are kept in one frame, or neither is
/// (decision 9). The guard is (feed, generation, revision): a task that wakes up late is refused
/// (decision 8), so intake from every feed is exactly once.
#[async_trait]
pub trait EventSink: Send + Sync + std::fmt::Debug {
    /// Appends the batch's events and its position, and returns when both are durable.
    ///
    /// No events is legal: then only the position moves.
    ///
    /// # Errors
    /// See [`SinkError`]; except after [`SinkError::Unavailable`] nothing of the batch is kept.
    async fn append(&self, batch: &FeedBatch) -> Result<Ack, SinkError>;

    /// The newest durable position of the feed, of whatever generation; `None` if it never had
    /// one or was removed.
    ///
    /// # Errors
    /// [`SinkError::Superseded`] after a removal that is still known, [`SinkError::Unavailable`].
    async fn position(&self, uid: EntityUid) -> Result<Option<StoredPosition>, SinkError>;

    /// What rules of the trigger have still to do, everything included that was appended before.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`].
    async fn undelivered(
        &self,
        namespace: &Namespace,
        trigger: &EntityName,
    ) -> Result<Undelivered, SinkError>;

    /// Ends the feed for ever: its position is let go, every later append is refused.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`] and [`SinkError::Full`]; removing twice is fine.
    async fn remove(&self, uid: EntityUid) -> Result<(), SinkError>;
}

/// What rules of a trigger have still to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// Deliveries under way: running, waiting for their turn or tried again.
    pub open: usize,
    /// Dead letters.
    pub dead: usize,
}

/// A feed, and which life of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedKey {
    /// Identity of the feed.
    pub uid: EntityUid,
    /// Goes up with each change of what is wanted.
    pub generation: u64,
}

/// Events of one feed with the position after them.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedBatch {
    /// The feed.
    pub feed: FeedKey,
    /// What the feed believes to be its newest revision: that of the last [`Ack`] or of
    /// [`StoredPosition`]; 0 for the first append of a generation.
    pub revision: u64,
    /// Namespace of the feed and of its trigger.
    pub namespace: Namespace,
    /// Trigger that gets the events.
    pub trigger: EntityName,
    /// What the events carry.
    pub payload: FeedPayload,
    /// The events, in the source's order.
    pub events: Vec<Event>,
    /// Those of the events, by their index, that are not delivered but set aside as dead letters of
    /// each rule that they match, with the reason.
    pub set_aside: BTreeMap<usize, String>,
    /// Where the source stands after them, opaque.
    pub position: Bytes,
}

/// A batch is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// What the next batch must name.
    pub revision: u64,
}

/// A feed's durable position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPosition {
    /// Generation that wrote it.
    pub generation: u64,
    /// Its revision, which the next batch of the same generation must name.
    pub revision: u64,
    /// The position, opaque.
    pub position: Bytes,
}

/// Why a batch was not taken; each variant is what the feed does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Another task or a newer generation owns the feed, or it was removed: end.
    #[error("another owner took the feed over")]
    Superseded,
    /// No room now: send the same batch again after the wait.
    #[error("the hub is full")]
    Full {
        /// The least wait.
        retry_after: Duration,
    },
    /// The trigger is not there: send again when it may have come.
    #[error("trigger `{0}` does not exist")]
    NoTrigger(EntityName),
    /// The batch can never be taken as it is.
    #[error("batch refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
        /// The one event whose fault it is, by its index: without its data the batch may be taken.
        /// `None` where it is the batch's as a whole: its source decides what becomes of it.
        event: Option<usize>,
    },
    /// The log cannot be reached or has failed; the batch may or may not be kept: read the
    /// position again before anything else.
    #[error("the event log is unavailable: {0}")]
    Unavailable(String),
}

impl FeedKey {
    /// The revision that the first append must name, given what is stored.
    ///
    /// # Errors
    /// [`SinkError::Superseded`] where a newer generation has written already.
    pub fn first_revision(&self, stored: Option<&StoredPosition>) -> Result<u64, SinkError> {
        match stored {
            Some(stored) if stored.generation > self.generation => Err(SinkError::Superseded),
            Some(stored) if stored.generation == self.generation => Ok(stored.revision),
            Some(_) | None => Ok(0),
        }
    }
}
