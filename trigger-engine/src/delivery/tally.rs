//! What became of deliveries, counted by rule since the program started.

use std::collections::BTreeMap;

use evoke_event_log::Cursor;
use evoke_schemas::{EntityName, Namespace};

use super::{Deliveries, State, turns::RuleKey};
use crate::record::{Outcome, Reason};

/// Rules with numbers of their own; those of all others of a namespace are counted together.
pub const COUNTED_RULES: usize = 1_000;

/// What became of the deliveries of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts after which another one was decided.
    pub retries: u64,
    /// Deliveries that ended, by how.
    pub ended: BTreeMap<Outcome, u64>,
    /// Dead letters, by why.
    pub dead: BTreeMap<Reason, u64>,
}

/// One rule, or what is counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCounts {
    /// Whose.
    pub namespace: Namespace,
    /// Which.
    pub of: Counted,
    /// What became of its deliveries.
    pub tally: Tally,
    /// Deliveries that are neither done nor dead.
    pub waiting: usize,
    /// Dead letters.
    pub dead: usize,
    /// When the oldest of those that wait was accepted, unix milliseconds.
    pub oldest_ms: Option<u64>,
}

/// What a number is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// One rule.
    Rule(EntityName),
    /// The namespace's accepted invocations.
    Invocations,
    /// Rules without numbers of their own, and those that are gone.
    Others,
}

/// What one namespace has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceCounts {
    /// Which.
    pub namespace: Namespace,
    /// Bytes of deliveries that are neither done nor dead.
    pub owed_bytes: u64,
    /// Attempts under way.
    pub running: usize,
    /// Whether what it owes has closed its intake.
    pub is_closed: bool,
}

/// What deliveries came to so far, and how they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// By rule.
    pub rules: Vec<RuleCounts>,
    /// By namespace.
    pub namespaces: Vec<NamespaceCounts>,
    /// Rules that have no numbers of their own.
    pub folded: usize,
    /// Records of progress that are not durable yet.
    pub unsettled: usize,
    /// Numbers between the low-water mark and the log's end.
    pub above_low_water: u64,
    /// Numbers between what is loaded and the log's end.
    pub not_loaded: u64,
}

impl Tally {
    /// Adds another one's numbers.
    pub(super) fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.retries += other.retries;
        for (outcome, count) in &other.ended {
            *self.ended.entry(*outcome).or_default() += count;
        }
        for (reason, count) in &other.dead {
            *self.dead.entry(*reason).or_default() += count;
        }
    }
}

impl Deliveries {
    /// Everything that is counted; `end` is the log's.
    #[must_use]
    pub fn counts(&self, end: &Cursor) -> DeliveryCounts {
        let oldest = self.oldest_by_rule();
        let mut counts = DeliveryCounts {
            folded: self.turns.folded(),
            unsettled: self.pipeline.len(),
            above_low_water: self.water.mark().distance(end),
            not_loaded: self.water.loaded().distance(end),
            ..DeliveryCounts::default()
        };
        for key in self.turns.namespaces() {
            self.turns.count(key, &oldest, &mut counts);
        }
        counts
    }

    /// When the oldest delivery that waits was accepted, of each rule.
    fn oldest_by_rule(&self) -> hashbrown::HashMap<RuleKey, u64> {
        let mut oldest = hashbrown::HashMap::new();
        for delivery in self.table.values() {
            if matches!(delivery.state, State::Dead { .. }) {
                continue;
            }
            let known: &mut u64 = oldest.entry(delivery.rule).or_insert(u64::MAX);
            *known = delivery.accepted_ms.min(*known);
        }
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_added_kind_by_kind() {
        let mut one = Tally { attempts: 2, retries: 1, ..Tally::default() };
        one.ended.insert(Outcome::Success, 1);
        let mut other = one.clone();
        other.dead.insert(Reason::Deadline, 4);
        one.add(&other);
        assert_eq!((one.attempts, one.retries), (4, 2));
        assert_eq!(one.ended.get(&Outcome::Success), Some(&2));
        assert_eq!(one.dead.get(&Reason::Deadline), Some(&4));
    }
}
