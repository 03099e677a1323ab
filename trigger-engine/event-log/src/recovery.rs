//! What a log's bytes amount to after a stop of any kind: where it goes on, what is to be cut
//! off, what is damaged.
//!
//! A hole is a torn tail, never acknowledged, only if nothing behind it was written after what
//! stood in the hole was durable. Frames name the group they were written with, so this is known
//! for sure whenever anything of a later group is there: then the hole is damage, and what
//! follows it counts.

mod fold;

use evoke_schemas::Position;
use serde::Serialize;

use crate::feeds::FeedTable;
use crate::frame::Marker;
use crate::index::{SegmentIndex, Summary};
use crate::read::{Lost, SegmentId, Unreadable};
pub(crate) use crate::recovery::fold::unreadable;
pub use crate::recovery::fold::{SegmentFold, SegmentScan};

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// One record's data.
    Unreadable(Unreadable),
    /// Records whose heads are gone.
    Lost(Lost),
    /// The segment's first bytes; its records are not touched.
    SegmentHeader {
        /// Which segment.
        segment: SegmentId,
    },
    /// Bytes that belong to no frame; no record is missing.
    Stray {
        /// Which segment.
        segment: SegmentId,
        /// First byte.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// A record's data was erased by somebody who did not say so; told by a check of the whole log
    /// only.
    ErasedUnsaid {
        /// The record.
        position: Position,
    },
    /// A frame does not follow the one before it: heads were changed by someone who could compute
    /// checksums, or frames were taken out.
    Chain {
        /// Which segment.
        segment: SegmentId,
        /// Byte of the frame.
        at: u64,
        /// Number of its first record.
        base: u64,
    },
}

/// The end of the last segment as a crash left it: cut off, never acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Torn {
    /// Which segment.
    pub segment: SegmentId,
    /// First byte to be zeroed.
    pub at: u64,
    /// Byte after the last to be zeroed.
    pub to: u64,
}

/// Where a log goes on.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// All segments but the last, oldest first.
    pub sealed: Vec<Summary>,
    /// The last one, to be written on.
    pub active: SegmentIndex,
    /// Newest position of every feed.
    pub feeds: FeedTable,
    /// Everything found wrong.
    pub damage: Vec<Damage>,
    /// What is to be zeroed before the log goes on.
    pub torn: Option<Torn>,
}

/// Folds a log, segment by segment, oldest first.
#[derive(Debug, Default)]
pub struct Recovery {
    sealed: Vec<Summary>,
    feeds: FeedTable,
    damage: Vec<Damage>,
}

/// Recovers a log whose segments are in memory, oldest first; `None` if there are none.
#[must_use]
pub fn recover(marker: Marker, segments: &[(SegmentId, &[u8])]) -> Option<Recovered> {
    let (last, sealed) = segments.split_last()?;
    let mut recovery = Recovery::default();
    let whole = |(id, bytes): (SegmentId, &[u8]), fold: SegmentFold| {
        let mut fold = fold;
        let more = fold.window(bytes, true);
        debug_assert_eq!(more, None, "segment {id:?} was given whole");
        fold.finish()
    };
    for (id, bytes) in sealed {
        let fold = SegmentFold::new(marker, *id, recovery.chain(*id));
        recovery.scanned(whole((*id, bytes), fold));
    }
    let fold = SegmentFold::new(marker, last.0, recovery.chain(last.0)).with_torn_tail();
    Some(recovery.finish(whole(*last, fold)))
}

// === impl Recovery ===

impl Recovery {
    /// Chain before segment `id`, if the segment before it is known.
    #[must_use]
    pub fn chain(&self, id: SegmentId) -> Option<crate::frame::Chain> {
        self.sealed.last().filter(|before| before.end == id.0).map(|before| before.chain)
    }

    /// Takes a sealed segment whose index was kept.
    pub fn sealed(&mut self, summary: Summary, feeds: &FeedTable) {
        self.expect(summary.id);
        self.feeds.merge(feeds);
        self.sealed.push(summary);
    }

    /// Takes a sealed segment that was scanned.
    pub fn scanned(&mut self, scan: SegmentScan) {
        self.expect(scan.index.summary.id);
        self.damage.extend(scan.damage);
        self.feeds.merge(&scan.index.feeds);
        self.sealed.push(scan.index.summary);
    }

    /// Takes the last segment.
    #[must_use]
    pub fn finish(mut self, last: SegmentScan) -> Recovered {
        self.expect(last.index.summary.id);
        self.damage.extend(last.damage);
        self.feeds.merge(&last.index.feeds);
        let Self { sealed, feeds, damage } = self;
        Recovered { sealed, active: last.index, feeds, damage, torn: last.torn }
    }

    /// Says what is missing before segment `id`.
    fn expect(&mut self, id: SegmentId) {
        if let Some(before) = self.sealed.last().filter(|before| before.end < id.0) {
            let (from, at) = (before.end, before.bytes);
            let lost = Lost { from, to: id.0, segment: before.id, at };
            self.damage.push(Damage::Lost(lost));
        }
    }
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod tests;
