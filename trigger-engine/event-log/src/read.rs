//! What readers of a log get: records, and honestly named what is no longer readable.

use std::num::NonZeroU64;

use bytes::Bytes;
use evoke_schemas::{Position, measure::Distribution};
use serde::{Deserialize, Serialize};

use crate::cursor::Cursor;
use crate::erase::Erasure;
use crate::record::Stream;

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Where it stands.
    pub position: Position,
    /// Kind of the record.
    pub stream: Stream,
    /// When the log took it, unix milliseconds; order is by position, not by this.
    pub time_ms: u64,
    /// Hash of the record's identity.
    pub dedup: Option<NonZeroU64>,
    /// Content.
    pub data: Bytes,
}

/// A record whose head is sound and whose data is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Where it stands.
    pub position: Position,
    /// Kind of the record.
    pub stream: Stream,
    /// When the log took it, unix milliseconds.
    pub time_ms: u64,
    /// Hash of the record's identity.
    pub dedup: Option<NonZeroU64>,
    /// Bytes of data it had.
    pub len: u32,
}

/// A record whose data somebody erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Where it stands.
    pub position: Position,
    /// Kind of the record.
    pub stream: Stream,
    /// When the log took it, unix milliseconds.
    pub time_ms: u64,
    /// Bytes of data it had.
    pub len: u32,
    /// When it was erased, and by whom.
    pub erasure: Erasure,
}

/// A stretch in which records are gone and not even their heads are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// First number lost, over all partitions.
    pub from: u64,
    /// First number found again.
    pub to: u64,
    /// Segment the damage begins in.
    pub segment: SegmentId,
    /// Byte of that segment it begins at.
    pub at: u64,
}

/// One step of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A sound record.
    Record(StoredRecord),
    /// A record whose data is damaged.
    Unreadable(Unreadable),
    /// Records lost without a trace.
    Lost(Lost),
    /// A record whose data was erased.
    Erased(Erased),
}

/// How much one read may give; at least one item comes if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most items.
    pub items: usize,
    /// Most bytes of data.
    pub bytes: usize,
}

/// One page of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In physical order over all partitions; empty at the end of what is durable.
    pub items: Vec<Item>,
    /// Where to read on.
    pub next: Cursor,
}

/// A read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk did not give what it holds; another try may work.
    #[error("reading the log failed")]
    Io(#[from] std::io::Error),
    /// The log closed while the read waited.
    #[error("the log is closed")]
    Closed,
}

/// One entry of the dedup index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupEntry {
    /// Hash given with the record.
    pub hash: NonZeroU64,
    /// Where the record stands.
    pub position: Position,
    /// When the log took it, unix milliseconds.
    pub time_ms: u64,
}

/// One chunk of the dedup index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupPage {
    /// In physical order.
    pub entries: Vec<DedupEntry>,
    /// Where the next chunk begins; `None` after the last.
    pub next: Option<Cursor>,
}

/// Name of a segment: the number of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentId(pub u64);

/// What may be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Records older than this may go, milliseconds.
    pub max_age_ms: Option<u64>,
    /// Sealed segments above this total may go, bytes.
    pub max_bytes: Option<u64>,
}

/// A segment that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Which.
    pub id: SegmentId,
    /// Before its first record.
    pub from: Cursor,
    /// After its last.
    pub to: Cursor,
    /// Bytes on disk.
    pub bytes: u64,
    /// Time of its newest record, unix milliseconds.
    pub last_ms: u64,
}

/// A segment was not dropped.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// Only the oldest sealed segment can go.
    #[error("segment {0:?} is not the oldest sealed one")]
    NotOldest(SegmentId),
    /// What must outlive the segment could not be appended.
    #[error("carrying feed positions out of the segment failed")]
    Carry(#[from] crate::record::AppendError),
    /// The file could not be removed.
    #[error("removing the segment failed")]
    Io(#[from] std::io::Error),
}

/// How large a log is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSizes {
    /// Segments, the active one included.
    pub segments: usize,
    /// Bytes written, the preallocated rest not included.
    pub bytes: u64,
    /// Bytes waiting to be written.
    pub queued: u64,
    /// Time of the oldest record kept, unix milliseconds.
    pub oldest_ms: Option<u64>,
}

/// What a log did since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Batches that became durable.
    pub appends: u64,
    /// Batches that were refused, for whatever reason.
    pub refused: u64,
    /// Records that became durable.
    pub records: u64,
    /// Bytes that were written for them.
    pub bytes: u64,
    /// How long syncs of the disk took; batches that are written together share one.
    pub syncs: Distribution,
}

/// What a log can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Everything.
    Good,
    /// Progress only: there is no room on disk.
    Full,
    /// Nothing, until the program starts anew.
    Failed(std::sync::Arc<str>),
}

// === impl Item ===

impl Item {
    /// Moves `cursor` past this item.
    pub fn pass(&self, cursor: &mut Cursor) {
        match self {
            Self::Record(record) => cursor.advance(record.position),
            Self::Unreadable(unreadable) => cursor.advance(unreadable.position),
            Self::Erased(erased) => cursor.advance(erased.position),
            Self::Lost(lost) => {
                let offset = lost.to.saturating_sub(1);
                cursor.advance(Position { partition: 0, offset });
            }
        }
    }

    /// The record, if it is a sound one.
    #[must_use]
    pub fn record(&self) -> Option<&StoredRecord> {
        match self {
            Self::Record(record) => Some(record),
            Self::Unreadable(_) | Self::Lost(_) | Self::Erased(_) => None,
        }
    }
}

// === impl ReadLimit ===

impl Default for ReadLimit {
    fn default() -> Self {
        Self { items: 1_000, bytes: 4 << 20 }
    }
}
