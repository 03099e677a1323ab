//! What callers append: records in a batch, with an optional guard, and what comes back.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use evoke_schemas::Position;
use serde::{Deserialize, Serialize};

use crate::feeds::{self, FeedRevision};

/// Kind of a record; the log carries it and reads only its own.
///
/// Streams below [`Stream::FIRST_FREE`] belong to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stream(pub u16);

/// One record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Kind of the record.
    pub stream: Stream,
    /// Logical partition; order holds inside it only.
    pub partition: u16,
    /// Hash of the record's identity, kept in the dedup index; a hash alone proves nothing.
    pub dedup: Option<NonZeroU64>,
    /// Content, opaque to the log.
    pub data: Bytes,
}

/// A batch: durable as a whole or not at all, over all its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// At least one, at most [`crate::Limits::batch_records`].
    pub records: Vec<Record>,
    /// Compare-and-append; the batch then holds exactly the one record [`Guard::record`] gives.
    pub guard: Option<Guard>,
    /// Who goes first when room runs out.
    pub class: Class,
}

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// New work: refused first when the disk or the queue is full.
    Intake,
    /// Progress of work accepted before: may use the reserve.
    Progress,
}

/// What a feed believes its newest position to be (decision 8).
///
/// Accepted if it is the current one, or if the generation is higher and the revision 0. A feed
/// without any position is at generation 0, revision 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guard {
    /// Identity of the feed.
    pub feed: u128,
    /// Counts the feed's owners; a new owner takes a higher one.
    pub generation: u64,
    /// Counts the positions of this generation.
    pub revision: u64,
}

/// A batch that is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// One for each record, in the batch's order.
    pub positions: Vec<Position>,
    /// When the log took it: the hub's clock, unix milliseconds.
    pub time_ms: u64,
}

/// Why a batch is not in the log; nothing of it is.
///
/// One exception: after [`AppendError::Failed`] the batch may or may not come back at the next
/// start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The batch breaks a bound or a rule: never send it again as it is.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Another append for this feed came first: read the position again.
    #[error("feed {feed:032x} is at {current:?}, not where the guard says")]
    GuardMismatch {
        /// The feed of the guard.
        feed: u128,
        /// Where it is now; `None` if it never had a position.
        current: Option<FeedRevision>,
    },
    /// More is waiting than the queue takes: try again soon.
    #[error("the log's queue is full ({queued} of {limit} bytes)")]
    Busy {
        /// Bytes waiting.
        queued: usize,
        /// Bytes that may wait, for this class.
        limit: usize,
    },
    /// The disk is full: intake stops until there is room again.
    #[error("the log has no room on disk")]
    Full,
    /// A write or sync failed, and nothing is accepted until the program starts anew.
    #[error("the log failed: {cause}")]
    Failed {
        /// What failed, once, for all.
        cause: Arc<str>,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// The rule of shape that a batch breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A batch without records.
    #[error("an append needs at least one record")]
    Empty,
    /// More records than [`crate::Limits::batch_records`].
    #[error("{count} records in one batch (at most {limit})")]
    TooMany {
        /// Records in the batch.
        count: usize,
        /// Bound.
        limit: usize,
    },
    /// A record longer than [`crate::Limits::record_bytes`].
    #[error("record {index} has {bytes} bytes (at most {limit})")]
    RecordTooLarge {
        /// Which record of the batch.
        index: usize,
        /// Its size.
        bytes: usize,
        /// Bound.
        limit: usize,
    },
    /// A batch longer than [`crate::Limits::batch_bytes`].
    #[error("a batch of {bytes} bytes (at most {limit})")]
    BatchTooLarge {
        /// Size on disk.
        bytes: usize,
        /// Bound.
        limit: usize,
    },
    /// A feed position without a guard, or not the one that follows the guard.
    #[error("record {index}: a feed position goes with its guard, once, and follows it")]
    FeedPosition {
        /// Which record of the batch; past its end if the position is missing.
        index: usize,
    },
}

// === impl Stream ===

impl Stream {
    /// Positions of feeds, written under a guard only.
    pub const FEED_POSITION: Self = Self(0);
    /// What was erased, when and by whom; written by the log.
    pub const ERASED: Self = Self(1);
    /// First number that callers may use.
    pub const FIRST_FREE: Self = Self(16);
}

// === impl Append ===

impl Append {
    /// New work without a guard.
    #[must_use]
    pub fn intake(records: Vec<Record>) -> Self {
        Self { records, guard: None, class: Class::Intake }
    }

    /// Progress without a guard.
    #[must_use]
    pub fn progress(records: Vec<Record>) -> Self {
        Self { records, guard: None, class: Class::Progress }
    }

    /// New work of a feed together with the feed's next position.
    #[must_use]
    pub fn guarded(mut records: Vec<Record>, guard: Guard, partition: u16, state: &[u8]) -> Self {
        records.push(guard.record(partition, state));
        Self { records, guard: Some(guard), class: Class::Intake }
    }
}

// === impl Guard ===

impl Guard {
    /// What the feed is at once an append under this guard is in.
    #[must_use]
    pub fn next(&self) -> FeedRevision {
        FeedRevision { generation: self.generation, revision: self.revision.saturating_add(1) }
    }

    /// The position record that an append under this guard must hold.
    #[must_use]
    pub fn record(&self, partition: u16, state: &[u8]) -> Record {
        Record {
            stream: Stream::FEED_POSITION,
            partition,
            dedup: None,
            data: feeds::encode(self.feed, self.next(), state),
        }
    }
}
