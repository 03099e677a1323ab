//! The sidecar of a sealed segment: its index as bytes, in sections with their own checksums.
//!
//! ```text
//! bounds   magic "EvokeIdx", version u32, bytes of the other sections 3 × u32,
//!          id end bytes first_ms last_ms u64, chain (32), marked u32, crc
//! feeds    each: bytes u32, partition u16, offset u64, data of the position record;  crc
//! blocks   each: base at last_ms u64;                                                 crc
//! dedup    each: hash offset time_ms u64, partition u16;                              crc
//! ```
//!
//! A start needs the first two only. A sidecar that does not check is rebuilt from its segment.

use std::num::NonZeroU64;

use evoke_schemas::Position;

use crate::feeds::FeedTable;
use crate::frame::{Chain, Fields};
use crate::index::{Block, SegmentIndex, Summary};
use crate::read::{DedupEntry, SegmentId};

/// Bytes of the first section.
pub const BOUNDS_LEN: usize = 104;

const MAGIC: [u8; 8] = *b"EvokeIdx";
const VERSION: u32 = 1;
const BLOCK_LEN: usize = 24;
const DEDUP_LEN: usize = 26;

/// The first section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The segment's bounds.
    pub summary: Summary,
    /// Bytes of the feeds, blocks and dedup sections.
    pub sections: [usize; 3],
}

/// The sidecar of `index`.
#[must_use]
pub fn encode(index: &SegmentIndex) -> Vec<u8> {
    let sections = [feeds(&index.feeds), blocks(&index.blocks), dedup(&index.dedup)];
    let summary = &index.summary;
    let mut out = Vec::from(MAGIC);
    out.extend(VERSION.to_le_bytes());
    for section in &sections {
        out.extend(u32::try_from(section.len()).unwrap_or(u32::MAX).to_le_bytes());
    }
    let numbers = [summary.id.0, summary.end, summary.bytes, summary.first_ms, summary.last_ms];
    out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
    out.extend(summary.chain.0);
    out.extend(u32::from(summary.marked).to_le_bytes());
    seal(&mut out);
    for section in sections {
        out.extend(section);
    }
    out
}

/// The bounds at the start of `bytes`, if they check.
#[must_use]
pub fn bounds(bytes: &[u8]) -> Option<Bounds> {
    let mut fields = Fields(unseal(bytes.get(..BOUNDS_LEN)?)?);
    if fields.array() != MAGIC || fields.u32() != VERSION {
        return None;
    }
    let sections = [fields.u32(), fields.u32(), fields.u32()].map(|len| len as usize);
    let summary = Summary {
        id: SegmentId(fields.u64()),
        end: fields.u64(),
        bytes: fields.u64(),
        first_ms: fields.u64(),
        last_ms: fields.u64(),
        chain: Chain(fields.array()),
        marked: fields.u32() != 0,
    };
    Some(Bounds { summary, sections })
}

/// The feeds section, which stands behind the bounds, if it checks.
#[must_use]
pub fn read_feeds(section: &[u8]) -> Option<FeedTable> {
    let mut table = FeedTable::default();
    let mut fields = Fields(unseal(section)?);
    while !fields.0.is_empty() {
        let len = fields.u32() as usize;
        let position = Position { partition: fields.u16(), offset: fields.u64() };
        let (data, rest) = fields.0.split_at_checked(len)?;
        table.learn(position, data);
        fields = Fields(rest);
    }
    Some(table)
}

/// The blocks section, which stands behind the feeds, if it checks.
#[must_use]
pub fn read_blocks(section: &[u8]) -> Option<Vec<Block>> {
    let block = |block: &[u8]| {
        let mut fields = Fields(block);
        Block { base: fields.u64(), at: fields.u64(), last_ms: fields.u64() }
    };
    unseal(section).map(|content| content.chunks(BLOCK_LEN).map(block).collect())
}

/// The whole index, if all of it checks.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<SegmentIndex> {
    let Bounds { summary, sections: [feeds, blocks, dedup] } = bounds(bytes)?;
    let rest = bytes.get(BOUNDS_LEN..)?;
    let (feeds, rest) = rest.split_at_checked(feeds)?;
    let (blocks, rest) = rest.split_at_checked(blocks)?;
    let entries = unseal(rest.get(..dedup)?)?.chunks(DEDUP_LEN).map(|entry| {
        let mut fields = Fields(entry);
        let hash = NonZeroU64::new(fields.u64())?;
        let (offset, time_ms, partition) = (fields.u64(), fields.u64(), fields.u16());
        Some(DedupEntry { hash, position: Position { partition, offset }, time_ms })
    });
    let dedup = entries.collect::<Option<Vec<_>>>()?;
    let (blocks, feeds) = (read_blocks(blocks)?, read_feeds(feeds)?);
    Some(SegmentIndex { summary, blocks, dedup, feeds })
}

fn feeds(table: &FeedTable) -> Vec<u8> {
    let mut out = Vec::new();
    for (feed, at) in table.iter() {
        let data = at.encode(feed);
        out.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(at.position.partition.to_le_bytes());
        out.extend(at.position.offset.to_le_bytes());
        out.extend_from_slice(&data);
    }
    seal(&mut out);
    out
}

fn blocks(blocks: &[Block]) -> Vec<u8> {
    let mut out = Vec::with_capacity(blocks.len() * BLOCK_LEN + 4);
    for block in blocks {
        out.extend([block.base, block.at, block.last_ms].into_iter().flat_map(u64::to_le_bytes));
    }
    seal(&mut out);
    out
}

fn dedup(entries: &[DedupEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * DEDUP_LEN + 4);
    for entry in entries {
        let numbers = [entry.hash.get(), entry.position.offset, entry.time_ms];
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        out.extend(entry.position.partition.to_le_bytes());
    }
    seal(&mut out);
    out
}

fn seal(section: &mut Vec<u8>) {
    let crc = crc32c::crc32c(section);
    section.extend(crc.to_le_bytes());
}

fn unseal(section: &[u8]) -> Option<&[u8]> {
    let (content, crc) = section.split_last_chunk::<4>()?;
    (crc32c::crc32c(content) == u32::from_le_bytes(*crc)).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{seek, seek_time};
    use crate::record::Guard;

    fn index() -> SegmentIndex {
        let mut index = SegmentIndex::new(SegmentId(40), Chain([7; 32]));
        index.summary.end = 90;
        index.summary.bytes = 5_000;
        index.summary.last_ms = 77;
        index.blocks =
            vec![Block { base: 40, at: 76, last_ms: 5 }, Block { base: 60, at: 900, last_ms: 77 }];
        let position = Position { partition: 3, offset: 44 };
        index.dedup = vec![DedupEntry { hash: NonZeroU64::MAX, position, time_ms: 9 }];
        let guard = Guard { feed: 5, generation: 1, revision: 8 };
        index.feeds.learn(position, &guard.record(3, b"state").data);
        index
    }

    #[test]
    fn an_index_is_read_back_whole_or_by_its_start() {
        let bytes = encode(&index());
        assert_eq!(decode(&bytes), Some(index()));
        let found = bounds(&bytes[..BOUNDS_LEN]).unwrap();
        assert_eq!(found.summary, index().summary);
        let feeds = &bytes[BOUNDS_LEN..BOUNDS_LEN + found.sections[0]];
        assert_eq!(read_feeds(feeds), Some(index().feeds));
        let blocks = &bytes[BOUNDS_LEN + found.sections[0]..][..found.sections[1]];
        assert_eq!(read_blocks(blocks), Some(index().blocks));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_passes() {
        let mut bytes = encode(&index());
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn where_to_read_is_the_block_before() {
        let index = index();
        let at = |number| seek(&index.blocks, number).map(|block| block.at);
        assert_eq!([at(40), at(59), at(60), at(89)], [Some(76), Some(76), Some(900), Some(900)]);
        assert_eq!(seek_time(&index.blocks, 5), Some(40));
        assert_eq!(seek_time(&index.blocks, 6), Some(60));
        assert_eq!(seek_time(&index.blocks, 78), None);
    }
}
