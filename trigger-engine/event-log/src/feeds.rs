//! The table of feed positions that the append guard compares with, rebuilt from the log.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use evoke_schemas::Position;
use serde::{Deserialize, Serialize};

use crate::record::{Append, AppendError, Guard, Malformed, Stream};

/// Longest opaque state of one feed, in bytes: the table holds it in memory.
pub const MAX_FEED_STATE: usize = 256 << 10;

/// Generation that ends a feed: append once under it with revision 0, and its position goes with
/// the segment instead of being carried on.
pub const FEED_REMOVED: u64 = u64::MAX;

const HEADER: usize = 32;

/// How far a feed's positions are counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct FeedRevision {
    /// Counts the feed's owners.
    pub generation: u64,
    /// Counts the positions of this generation.
    pub revision: u64,
}

/// A feed's newest position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPosition {
    /// What the next guard must name.
    pub at: FeedRevision,
    /// Where its record stands.
    pub position: Position,
    /// The feed's own state, opaque.
    pub state: Bytes,
}

/// Newest position of every feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedTable {
    feeds: BTreeMap<u128, FeedPosition>,
}

/// Data of a feed position record.
pub(crate) fn encode(feed: u128, at: FeedRevision, state: &[u8]) -> Bytes {
    let mut data = BytesMut::with_capacity(HEADER + state.len());
    data.put_u128_le(feed);
    data.put_u64_le(at.generation);
    data.put_u64_le(at.revision);
    data.put_slice(state);
    data.freeze()
}

/// Feed, revision and state of a feed position record's data; `None` if it is too short.
pub(crate) fn decode(data: &[u8]) -> Option<(u128, FeedRevision, &[u8])> {
    let (feed, rest) = data.split_first_chunk::<16>()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (revision, state) = rest.split_first_chunk::<8>()?;
    let at = FeedRevision {
        generation: u64::from_le_bytes(*generation),
        revision: u64::from_le_bytes(*revision),
    };
    Some((u128::from_le_bytes(*feed), at, state))
}

/// Checks that a batch's feed position and guard belong together.
///
/// # Errors
/// [`Malformed::FeedPosition`] with the record that breaks the rule.
pub(crate) fn check_shape(append: &Append) -> Result<(), Malformed> {
    let mut wanted = append.guard.map(|guard| (guard.feed, guard.next()));
    for (index, record) in append.records.iter().enumerate() {
        if record.stream != Stream::FEED_POSITION {
            continue;
        }
        let found = decode(&record.data).filter(|(_, _, state)| state.len() <= MAX_FEED_STATE);
        let found = found.map(|(feed, at, _)| (feed, at));
        if found.is_none() || found != wanted.take() {
            return Err(Malformed::FeedPosition { index });
        }
    }
    match wanted {
        Some(_) => Err(Malformed::FeedPosition { index: append.records.len() }),
        None => Ok(()),
    }
}

// === impl FeedTable ===

impl FeedTable {
    /// Whether an append under `guard` may go in.
    ///
    /// # Errors
    /// [`AppendError::GuardMismatch`] with what the feed is at.
    pub fn check(&self, guard: &Guard) -> Result<(), AppendError> {
        let current = self.feeds.get(&guard.feed).map(|feed| feed.at);
        let now = current.unwrap_or_default();
        let same = guard.generation == now.generation && guard.revision == now.revision;
        let newer = guard.generation > now.generation && guard.revision == 0;
        if same || newer {
            return Ok(());
        }
        Err(AppendError::GuardMismatch { feed: guard.feed, current })
    }

    /// Takes the data of a feed position record; anything not newer than what is known is left.
    pub fn learn(&mut self, position: Position, data: &[u8]) {
        let Some((feed, at, state)) = decode(data) else { return };
        if self.feeds.get(&feed).is_some_and(|known| known.at > at) {
            return;
        }
        let state = Bytes::copy_from_slice(state);
        self.feeds.insert(feed, FeedPosition { at, position, state });
    }

    /// Newest position of `feed`.
    pub fn get(&self, feed: u128) -> Option<&FeedPosition> {
        self.feeds.get(&feed)
    }

    /// All feeds with their newest positions.
    pub fn iter(&self) -> impl Iterator<Item = (u128, &FeedPosition)> {
        self.feeds.iter().map(|(feed, position)| (*feed, position))
    }

    /// Takes what `newer` knows.
    pub fn merge(&mut self, newer: &Self) {
        for (feed, position) in newer.iter() {
            if self.feeds.get(&feed).is_none_or(|known| known.at <= position.at) {
                self.feeds.insert(feed, position.clone());
            }
        }
    }

    /// Sets a feed's newest position.
    pub(crate) fn insert(&mut self, feed: u128, position: FeedPosition) {
        self.feeds.insert(feed, position);
    }

    /// Forgets a feed.
    pub fn remove(&mut self, feed: u128) {
        self.feeds.remove(&feed);
    }
}

impl FeedPosition {
    /// Data of the record that says the same once more.
    pub(crate) fn encode(&self, feed: u128) -> Bytes {
        encode(feed, self.at, &self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Class, Record};

    fn at(generation: u64, revision: u64) -> Guard {
        Guard { feed: 7, generation, revision }
    }

    fn table(guard: Guard) -> FeedTable {
        let mut table = FeedTable::default();
        let record = guard.record(0, b"state");
        table.learn(Position { partition: 0, offset: 3 }, &record.data);
        table
    }

    #[test]
    fn only_the_current_position_or_a_higher_generation_from_zero_passes() {
        let table = table(at(2, 4));
        let current = Some(FeedRevision { generation: 2, revision: 5 });
        assert_eq!(table.get(7).map(|feed| feed.at), current);
        for (guard, passes) in [
            (at(2, 5), true),
            (at(3, 0), true),
            (at(9, 0), true),
            (at(2, 4), false),
            (at(2, 6), false),
            (at(2, 0), false),
            (at(3, 1), false),
            (at(1, 0), false),
            (at(0, 0), false),
        ] {
            assert_eq!(table.check(&guard).is_ok(), passes, "{guard:?}");
        }
        assert_eq!(table.check(&at(2, 4)), Err(AppendError::GuardMismatch { feed: 7, current }));
    }

    #[test]
    fn an_unknown_feed_starts_at_revision_zero_of_any_generation() {
        let table = FeedTable::default();
        assert!(table.check(&at(0, 0)).is_ok());
        assert!(table.check(&at(5, 0)).is_ok());
        assert!(table.check(&at(0, 1)).is_err());
    }

    #[test]
    fn an_older_position_read_late_changes_nothing() {
        let mut table = table(at(2, 4));
        table.learn(Position { partition: 0, offset: 9 }, &at(1, 8).record(0, b"old").data);
        assert_eq!(table.get(7).map(|feed| &feed.state[..]), Some(&b"state"[..]));
    }

    #[test]
    fn a_position_goes_with_its_guard_exactly_once() {
        let guard = at(1, 1);
        let event = Record {
            stream: Stream::FIRST_FREE,
            partition: 0,
            dedup: None,
            data: Bytes::from_static(b"x"),
        };
        let batch = |records: Vec<Record>, guard| Append { records, guard, class: Class::Intake };
        let good = guard.record(0, b"");
        let other = at(1, 2).record(0, b"");
        let ok = |append: &Append| check_shape(append).is_ok();
        assert!(ok(&batch(vec![event.clone(), good.clone()], Some(guard))));
        assert!(ok(&batch(vec![event.clone()], None)));
        assert!(!ok(&batch(vec![event.clone()], Some(guard))), "position missing");
        assert!(!ok(&batch(vec![event.clone(), good.clone()], None)), "guard missing");
        assert!(!ok(&batch(vec![event, other], Some(guard))), "another position");
        assert!(!ok(&batch(vec![good.clone(), good], Some(guard))), "twice");
    }
}
