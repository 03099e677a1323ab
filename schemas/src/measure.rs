//! What is counted while it happens: numbers that many threads add to without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Bounds for what takes moments, such as a sync of the disk. Unit: microseconds.
pub const MOMENTS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000,
];
/// Bounds for what takes as long as a function may run. Unit: microseconds.
pub const RUNS_US: &[u64] = &[
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    60_000_000,
    300_000_000,
];

/// A number that only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// How often something took how long.
#[derive(Debug)]
pub struct Histogram {
    bounds_us: &'static [u64],
    /// One for each bound, and one for what is beyond the last.
    counts: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

/// A histogram as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Upper bounds, ascending. Unit: microseconds.
    pub bounds_us: &'static [u64],
    /// How often it took at most so long and longer than the bound before; one more than bounds,
    /// or none where nothing is measured.
    pub counts: Vec<u64>,
    /// All of it together. Unit: microseconds.
    pub sum_us: u64,
}

// === impl Counter ===

impl Counter {
    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Counts one.
    pub fn one(&self) {
        self.add(1);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Histogram ===

impl Histogram {
    /// Nothing measured yet, by these bounds.
    #[must_use]
    pub fn new(bounds_us: &'static [u64]) -> Self {
        let counts = (0..=bounds_us.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds_us, counts, sum_us: AtomicU64::new(0) }
    }

    /// Something took so long.
    pub fn observe(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = self.bounds_us.partition_point(|bound| *bound < took_us);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// How it stands now.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        Distribution {
            bounds_us: self.bounds_us,
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

// === impl Distribution ===

impl Distribution {
    /// How often anything was measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_at_the_bound_that_it_does_not_pass() {
        let histogram = Histogram::new(&[10, 100]);
        for took in [0, 10, 11, 100, 101, 5_000] {
            histogram.observe(Duration::from_micros(took));
        }
        let now = histogram.distribution();
        assert_eq!((now.counts.as_slice(), now.sum_us, now.count()), (&[2, 2, 2][..], 5_222, 6));
    }

    #[test]
    fn a_counter_goes_up() {
        let counter = Counter::default();
        counter.one();
        counter.add(4);
        assert_eq!(counter.get(), 5);
    }
}
