//! The event log: one ordered, durable sequence of records, append-only.
//!
//! Nothing here knows what a record means, except that records of [`Stream::FEED_POSITION`] carry
//! the state that the append guard compares with. What decides (frames, scan, commit, recovery,
//! retention) is plain values without files, clocks or threads; [`SegmentLog`] is the thin shell
//! that gives them a directory.
//!
//! To add another log: implement [`EventLog`] and run [`conformance`] on it.

pub mod commit;
pub mod conformance;
mod cursor;
mod erase;
mod event_log;
mod feeds;
pub mod frame;
mod index;
mod limits;
mod memory;
mod prepare;
mod read;
mod record;
pub mod recovery;
pub mod retention;
pub mod scan;
pub mod segment;
mod segment_log;
pub mod sidecar;
mod tail;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod walk;

pub use cursor::{Cursor, CursorError};
pub use erase::{EraseError, Erasure, MAX_NOTE};
pub use event_log::{EventLog, PendingAppend, Watermark};
pub use feeds::{FEED_REMOVED, FeedPosition, FeedRevision, FeedTable, MAX_FEED_STATE};
pub use index::{Block, SegmentIndex, Summary};
pub use limits::Limits;
pub use memory::{MemoryLog, MemoryOptions};
pub use prepare::Prepared;
pub use read::{
    DedupEntry, DedupPage, DropError, Erased, Health, Item, LogCounts, LogSizes, Lost, Page,
    ReadError, ReadLimit, Retention, SegmentId, SegmentInfo, StoredRecord, Unreadable,
};
pub use record::{Append, AppendError, Appended, Class, Guard, Malformed, Record, Stream};
pub use recovery::{Damage, Torn};
pub use segment_log::{
    Allocate, Config, LogCopy, OpenError, OpenReport, Seams, SegmentCopy, SegmentLog, is_of_a_copy,
    restored,
};
