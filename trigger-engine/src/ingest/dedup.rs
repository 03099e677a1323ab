//! The window of ids seen: a hash and a position an id, dropped by age and by number.

use std::{collections::VecDeque, num::NonZeroU64};

use evoke_schemas::Position;
use hashbrown::HashTable;

/// Parts of the window; what is too old goes a part at a time.
const PARTS: usize = 8;
/// Tables of a part, so that growing one of them is short.
const SHARDS: usize = 16;
const OFFSET_BITS: u32 = 48;

/// Hashes of the ids accepted within a window of time and number.
///
/// A hit says "perhaps": the record at the position decides. Memory: 16 bytes an id and its share
/// of a hash table, about 23 bytes at the bound.
#[derive(Debug)]
pub struct DedupWindow {
    window_ms: u64,
    part_entries: usize,
    parts: VecDeque<Part>,
    /// Ids that went before their time because there were too many.
    cut: u64,
}

#[derive(Debug)]
struct Part {
    shards: [HashTable<Entry>; SHARDS],
    entries: usize,
    oldest_ms: u64,
    newest_ms: u64,
}

/// A hash and a packed position.
#[derive(Clone, Copy, Debug)]
struct Entry(u64, u64);

impl DedupWindow {
    /// An empty window.
    #[must_use]
    pub fn new(window_ms: u64, entries: usize) -> Self {
        let part_entries = (entries / PARTS).max(1);
        Self { window_ms, part_entries, parts: VecDeque::new(), cut: 0 }
    }

    /// Remembers an id that was accepted at `time_ms`.
    pub fn insert(&mut self, hash: NonZeroU64, position: Position, time_ms: u64) {
        let span_ms = self.window_ms / PARTS as u64;
        let fits = self.parts.back().is_some_and(|part| {
            part.entries < self.part_entries
                && time_ms < part.oldest_ms.saturating_add(span_ms.max(1))
        });
        if !fits {
            self.parts.push_back(Part::new(time_ms));
            self.expire(time_ms);
        }
        if let Some(part) = self.parts.back_mut() {
            part.insert(Entry(hash.get(), pack(position)), time_ms);
        }
    }

    /// Where an event with this hash may stand, newest first.
    pub fn find(&self, hash: NonZeroU64) -> impl Iterator<Item = Position> {
        let hash = hash.get();
        self.parts
            .iter()
            .rev()
            .filter_map(move |part| {
                let shard = part.shards.get(shard_of(hash))?;
                shard.iter_hash(hash).find(|entry| entry.0 == hash)
            })
            .map(|entry| unpack(entry.1))
    }

    /// Drops what is older than the window, and what is more than the bound.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some(oldest) = self.parts.front() {
            let old = oldest.newest_ms.saturating_add(self.window_ms) < now_ms;
            let many = self.parts.len() > PARTS + 1
                || self.len() > self.part_entries.saturating_mul(PARTS);
            if !(old || many && self.parts.len() > 1) {
                return;
            }
            if !old {
                self.cut += oldest.entries as u64;
            }
            self.parts.pop_front();
        }
    }

    /// Ids remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.entries).sum()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Ids that went before their time because there were too many.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut
    }
}

impl Part {
    fn new(time_ms: u64) -> Self {
        let shards = std::array::from_fn(|_| HashTable::new());
        Self { shards, entries: 0, oldest_ms: time_ms, newest_ms: time_ms }
    }

    fn insert(&mut self, entry: Entry, time_ms: u64) {
        self.newest_ms = self.newest_ms.max(time_ms);
        if let Some(shard) = self.shards.get_mut(shard_of(entry.0)) {
            let slot = shard.entry(entry.0, |known| known.0 == entry.0, |known| known.0);
            match slot {
                hashbrown::hash_table::Entry::Occupied(mut known) => *known.get_mut() = entry,
                hashbrown::hash_table::Entry::Vacant(free) => {
                    free.insert(entry);
                    self.entries += 1;
                }
            }
        }
    }
}

fn shard_of(hash: u64) -> usize {
    // Bits that the table itself does not use for its tags or small tables.
    usize::try_from((hash >> 40) % SHARDS as u64).unwrap_or(0)
}

fn pack(position: Position) -> u64 {
    u64::from(position.partition) << OFFSET_BITS | position.offset & ((1 << OFFSET_BITS) - 1)
}

fn unpack(packed: u64) -> Position {
    let partition = u16::try_from(packed >> OFFSET_BITS).unwrap_or(0);
    Position { partition, offset: packed & ((1 << OFFSET_BITS) - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { partition: 63, offset }
    }

    fn hash(n: u64) -> NonZeroU64 {
        NonZeroU64::new(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).unwrap()
    }

    #[test]
    fn an_id_is_found_until_the_window_has_passed() {
        let mut window = DedupWindow::new(8_000, 1_000_000);
        for n in 1..=100 {
            window.insert(hash(n), at(n), n * 100);
        }
        assert_eq!(window.find(hash(50)).next(), Some(at(50)));
        assert_eq!(window.find(hash(500)).next(), None);
        window.expire(13_000);
        assert_eq!(window.find(hash(39)).next(), None);
        assert_eq!(window.find(hash(60)).next(), Some(at(60)));
        window.expire(60_000);
        assert!(window.is_empty());
        assert_eq!(window.cut(), 0, "nothing went before its time");
    }

    #[test]
    fn too_many_cut_the_window_short_and_it_is_said() {
        let mut window = DedupWindow::new(3_600_000, 800);
        for n in 1..=2_000 {
            window.insert(hash(n), at(n), 5);
        }
        assert!(window.len() <= 900, "{} entries", window.len());
        assert!(window.cut() >= 1_100);
        assert_eq!(window.find(hash(2_000)).next(), Some(at(2_000)));
        assert_eq!(window.find(hash(1)).next(), None);
    }

    #[test]
    fn of_equal_hashes_the_newest_comes_first() {
        let mut window = DedupWindow::new(8_000, 1_000_000);
        window.insert(hash(1), at(1), 0);
        window.insert(hash(1), at(2), 5_000);
        assert_eq!(window.find(hash(1)).collect::<Vec<_>>(), [at(2), at(1)]);
    }

    #[test]
    fn a_large_part_costs_at_most_24_bytes_an_id() {
        // The default bound, smaller by a power of two, so that the tables are as full.
        let entries = 50_000_000 / 64;
        let mut window = DedupWindow::new(u64::MAX, entries);
        for n in 1..=entries as u64 {
            window.insert(hash(n), at(n), 5);
        }
        let bytes: usize =
            window.parts.iter().flat_map(|part| &part.shards).map(HashTable::allocation_size).sum();
        assert!(window.len() > entries * 9 / 10);
        assert!(bytes <= window.len() * 24, "{} bytes an id", bytes / window.len());
    }
}
