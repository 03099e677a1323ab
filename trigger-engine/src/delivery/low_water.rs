//! The low-water mark: everything below it is done, dead or parked.

use std::collections::VecDeque;

use evoke_event_log::Cursor;
use evoke_schemas::{EntityUid, Position};

/// Follows which events still hold the mark.
///
/// Events are loaded in the log's order and settled in any; only the oldest moves the mark.
#[derive(Debug)]
pub(super) struct LowWater {
    mark: Cursor,
    loaded: Cursor,
    /// Number of the first entry, counted since the start.
    first: u64,
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    position: Position,
    /// Rules whose delivery is neither done nor dead nor parked.
    open: Vec<EntityUid>,
}

impl LowWater {
    pub(super) fn new(mark: Cursor) -> Self {
        Self { loaded: mark.clone(), mark, first: 0, entries: VecDeque::new() }
    }

    pub(super) fn mark(&self) -> &Cursor {
        &self.mark
    }

    /// How far the log has been loaded.
    pub(super) fn loaded(&self) -> &Cursor {
        &self.loaded
    }

    /// Events between the mark and what is loaded.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// An event was loaded; gives the number under which its deliveries are closed.
    pub(super) fn push(&mut self, position: Position, open: Vec<EntityUid>) -> u64 {
        self.entries.push_back(Entry { position, open });
        self.first + self.entries.len() as u64 - 1
    }

    /// One delivery of an entry no longer holds the mark.
    pub(super) fn close(&mut self, number: u64, rule: EntityUid) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.open.retain(|open| *open != rule);
        }
    }

    /// The log was loaded up to `cursor`.
    pub(super) fn load(&mut self, cursor: Cursor) {
        self.loaded = cursor;
    }

    /// Moves the mark as far as it goes; gives the positions it passed.
    pub(super) fn advance(&mut self, passed: &mut Vec<Position>) {
        while self.entries.front().is_some_and(|entry| entry.open.is_empty()) {
            if let Some(entry) = self.entries.pop_front() {
                self.first += 1;
                self.mark.advance(entry.position);
                passed.push(entry.position);
            }
        }
        if self.entries.is_empty() && self.mark != self.loaded {
            self.mark = self.loaded.clone();
        }
    }

    /// The oldest event that holds the mark, with its open rules.
    pub(super) fn oldest(&self) -> Option<(Position, &[EntityUid])> {
        self.entries.front().map(|entry| (entry.position, entry.open.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { partition: 0, offset }
    }

    fn cursor(next: u64) -> Cursor {
        next.to_string().parse().unwrap()
    }

    #[test]
    fn only_the_oldest_moves_the_mark() {
        let rule = EntityUid([1; 16]);
        let mut water = LowWater::new(cursor(0));
        let first = water.push(at(0), vec![rule]);
        let second = water.push(at(4), vec![rule, EntityUid([2; 16])]);
        water.load(cursor(9));
        let mut passed = Vec::new();
        water.close(second, rule);
        water.close(second, EntityUid([2; 16]));
        water.advance(&mut passed);
        assert_eq!((water.mark(), passed.len()), (&cursor(0), 0));
        assert_eq!(water.oldest(), Some((at(0), [rule].as_slice())));
        water.close(first, rule);
        water.advance(&mut passed);
        assert_eq!(passed, [at(0), at(4)]);
        assert_eq!(water.mark(), &cursor(9), "nothing open: as far as is loaded");
    }

    #[test]
    fn an_open_rule_of_several_holds_it() {
        let (one, two) = (EntityUid([1; 16]), EntityUid([2; 16]));
        let mut water = LowWater::new(cursor(0));
        let number = water.push(at(3), vec![one, two]);
        water.load(cursor(4));
        water.close(number, one);
        water.close(number, one);
        water.advance(&mut Vec::new());
        assert_eq!(water.mark(), &cursor(0));
        water.close(number, two);
        water.advance(&mut Vec::new());
        assert_eq!(water.mark(), &cursor(4));
    }
}
