//! Order within a key of an ordered rule: one at a time, the oldest first.

use std::collections::BTreeSet;

use evoke_schemas::Position;
use hashbrown::HashMap;

use crate::record::DeliveryId;

/// Deliveries of one ordered rule by the hash of their `partitionkey`.
#[derive(Debug, Default)]
pub(super) struct Chains(HashMap<u64, Chain>);

/// Deliveries of one key.
#[derive(Debug)]
struct Chain {
    /// The one that runs, or waits to run again; it blocks the others.
    head: DeliveryId,
    waiting: BTreeSet<(Turn, DeliveryId)>,
}

/// Where a delivery stands in its key: the log's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn {
    offset: u64,
    partition: u16,
}

// === impl Turn ===

impl From<Position> for Turn {
    fn from(position: Position) -> Self {
        Self { offset: position.offset, partition: position.partition }
    }
}

impl Turn {
    pub(super) fn position(self) -> Position {
        Position { partition: self.partition, offset: self.offset }
    }
}

// === impl Chains ===

impl Chains {
    /// Takes a delivery in; gives whether it is the head now, and so may run.
    pub(super) fn enter(&mut self, key: u64, turn: Turn, id: DeliveryId) -> bool {
        match self.0.get_mut(&key) {
            None => {
                self.0.insert(key, Chain { head: id, waiting: BTreeSet::new() });
                true
            }
            Some(chain) => {
                if chain.head != id {
                    chain.waiting.insert((turn, id));
                }
                false
            }
        }
    }

    /// The head is over: gives the one that is the head now. Of any other, nothing follows.
    pub(super) fn leave(&mut self, key: u64, turn: Turn, id: DeliveryId) -> Option<DeliveryId> {
        let chain = self.0.get_mut(&key)?;
        if chain.head != id {
            chain.waiting.remove(&(turn, id));
            return None;
        }
        match chain.waiting.pop_first() {
            Some((_, next)) => {
                chain.head = next;
                Some(next)
            }
            None => {
                self.0.remove(&key);
                None
            }
        }
    }

    /// Ends order for good: gives all that waited behind a head.
    pub(super) fn dissolve(&mut self) -> Vec<DeliveryId> {
        let chains = std::mem::take(&mut self.0);
        let mut freed: Vec<(Turn, DeliveryId)> =
            chains.into_values().flat_map(|chain| chain.waiting).collect();
        freed.sort_unstable();
        freed.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use evoke_schemas::EntityUid;

    use super::*;

    fn id(offset: u64) -> DeliveryId {
        DeliveryId::live(Position { partition: 0, offset }, EntityUid([1; 16]))
    }

    fn turn(offset: u64) -> Turn {
        Turn::from(Position { partition: 0, offset })
    }

    #[test]
    fn a_key_runs_one_at_a_time_in_the_logs_order() {
        let mut chains = Chains::default();
        assert!(chains.enter(7, turn(1), id(1)));
        assert!(!chains.enter(7, turn(3), id(3)));
        assert!(!chains.enter(7, turn(2), id(2)));
        assert!(chains.enter(8, turn(4), id(4)), "another key is not held up");
        assert_eq!(chains.leave(7, turn(3), id(3)), None, "one that waits may go");
        assert!(!chains.enter(7, turn(3), id(3)));
        assert_eq!(chains.leave(7, turn(1), id(1)), Some(id(2)));
        assert!(!chains.enter(7, turn(1), id(1)), "an old one never takes the head's place");
        assert_eq!(chains.leave(7, turn(2), id(2)), Some(id(1)));
        assert_eq!(chains.leave(7, turn(1), id(1)), Some(id(3)));
        assert_eq!(chains.leave(7, turn(3), id(3)), None);
        assert!(chains.enter(7, turn(9), id(9)));
    }

    #[test]
    fn dissolving_frees_all_but_the_heads() {
        let mut chains = Chains::default();
        for offset in 1..=3 {
            chains.enter(7, turn(offset), id(offset));
        }
        assert_eq!(chains.dissolve(), [id(2), id(3)]);
        assert!(chains.enter(7, turn(4), id(4)));
    }
}
