//! What is known of one segment without reading it: its bounds, where to begin to read, the
//! dedup hashes and the feeds' positions in it.

use crate::feeds::FeedTable;
use crate::frame::{Chain, Frame, Kind};
use crate::read::{DedupEntry, SegmentId};
use crate::record::Stream;

/// Bytes between two entries of the sparse index.
const BLOCK_BYTES: u64 = 64 << 10;

/// The bounds of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which segment.
    pub id: SegmentId,
    /// Number after its last record.
    pub end: u64,
    /// Bytes used.
    pub bytes: u64,
    /// Time of its first record, unix milliseconds; 0 without any.
    pub first_ms: u64,
    /// Latest time in it, unix milliseconds.
    pub last_ms: u64,
    /// Chain after its last frame.
    pub chain: Chain,
    /// Whether its last frame is a mark.
    pub marked: bool,
}

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the first record of the frame there.
    pub base: u64,
    /// Byte the frame begins at.
    pub at: u64,
    /// Latest time from there to the next block, unix milliseconds.
    pub last_ms: u64,
}

/// Index of one segment, grown frame by frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIndex {
    /// The bounds.
    pub summary: Summary,
    /// Sparse, ascending.
    pub blocks: Vec<Block>,
    /// Ascending.
    pub dedup: Vec<DedupEntry>,
    /// Newest position of each feed that has one here.
    pub feeds: FeedTable,
}

// === impl SegmentIndex ===

impl SegmentIndex {
    /// Index of an empty segment.
    #[must_use]
    pub fn new(id: SegmentId, chain: Chain) -> Self {
        let summary =
            Summary { id, end: id.0, bytes: 0, first_ms: 0, last_ms: 0, chain, marked: false };
        Self { summary, blocks: Vec::new(), dedup: Vec::new(), feeds: FeedTable::default() }
    }

    /// Takes the next frame, which stands at byte `at`.
    pub fn push(&mut self, at: u64, frame: &Frame<'_>) {
        let header = &frame.header;
        let summary = &mut self.summary;
        if summary.first_ms == 0 {
            summary.first_ms = header.time_ms;
        }
        summary.last_ms = summary.last_ms.max(header.time_ms);
        summary.end = header.end();
        summary.bytes = at + header.frame_len() as u64;
        summary.chain = header.chain;
        summary.marked = header.kind == Kind::Mark;
        match self.blocks.last_mut() {
            Some(block) if at < block.at + BLOCK_BYTES => {
                block.last_ms = block.last_ms.max(header.time_ms);
            }
            _ => self.blocks.push(Block { base: header.base, at, last_ms: header.time_ms }),
        }
        for entry in frame.entries() {
            let (position, time_ms) = (entry.position, header.time_ms);
            if let Some(hash) = entry.head.dedup {
                self.dedup.push(DedupEntry { hash, position, time_ms });
            }
            if entry.head.stream == Stream::FEED_POSITION && entry.head.matches(entry.data) {
                self.feeds.learn(position, entry.data);
            }
        }
    }

    /// Takes note of a stretch without readable frames, up to byte `to` and number `end`.
    pub fn skip(&mut self, to: u64, end: u64) {
        self.summary.bytes = to;
        self.summary.end = self.summary.end.max(end);
    }
}

/// Where to begin in order to find the record numbered `number`.
#[must_use]
pub(crate) fn seek(blocks: &[Block], number: u64) -> Option<Block> {
    let after = blocks.partition_point(|block| block.base <= number);
    blocks.get(after.saturating_sub(1)).copied()
}

/// First number that may be of `time_ms` or later; `None` if all are earlier.
#[must_use]
pub(crate) fn seek_time(blocks: &[Block], time_ms: u64) -> Option<u64> {
    blocks.iter().find(|block| block.last_ms >= time_ms).map(|block| block.base)
}
