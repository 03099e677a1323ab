//! How often what happened, and what must have happened at least once.

use std::collections::BTreeMap;
use std::fmt;

/// A group of things counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// What the world did to the hub.
    Fault,
    /// What clients and operators did.
    Load,
    /// Steps of the log's committer.
    Log,
    /// Steps of the delivery core.
    Delivery,
    /// Steps of the pool core.
    Pool,
    /// What the oracle checked.
    Check,
}

/// Counts by group and name.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<(Group, &'static str), u64>);

impl Tally {
    /// Counts one.
    pub fn count(&mut self, group: Group, name: &'static str) {
        self.add(group, name, 1);
    }

    /// Counts several.
    pub fn add(&mut self, group: Group, name: &'static str, times: u64) {
        *self.0.entry((group, name)).or_default() += times;
    }

    /// Takes another world's counts in.
    pub fn merge(&mut self, other: &Self) {
        for ((group, name), times) in &other.0 {
            self.add(*group, name, *times);
        }
    }

    /// How often.
    #[must_use]
    pub fn of(&self, group: Group, name: &str) -> u64 {
        self.0.iter().find(|((g, n), _)| *g == group && *n == name).map_or(0, |(_, times)| *times)
    }

    /// Names of `expected` that never happened.
    #[must_use]
    pub fn missing(&self, expected: &[(Group, &'static str)]) -> Vec<(Group, &'static str)> {
        expected.iter().filter(|key| self.0.get(*key).is_none_or(|n| *n == 0)).copied().collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for ((group, name), times) in &self.0 {
            if last != Some(*group) {
                last = Some(*group);
                writeln!(f, "{group:?}")?;
            }
            writeln!(f, "  {times:>12}  {name}")?;
        }
        Ok(())
    }
}
