//! What is to happen and when: the heart that drives a world.

use std::collections::BTreeMap;

/// What is to happen, in the order of true time, and of asking where times are equal.
#[derive(Debug)]
pub struct Queue<T> {
    entries: BTreeMap<(u64, u64), T>,
    asked: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), asked: 0 }
    }
}

impl<T> Queue<T> {
    /// Lets something happen at `true_ms`.
    pub fn at(&mut self, true_ms: u64, what: T) {
        self.entries.insert((true_ms, self.asked), what);
        self.asked += 1;
    }

    /// The next thing to happen, with its time.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        self.entries.pop_first().map(|((true_ms, _), what)| (true_ms, what))
    }

    /// When the next thing happens.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.entries.first_key_value().map(|((true_ms, _), _)| *true_ms)
    }
}
