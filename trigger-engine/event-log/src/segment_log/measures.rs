//! What the embedded log counts while it works.

use evoke_schemas::measure::{Counter, Histogram, MOMENTS_US};

use crate::read::LogCounts;

/// Numbers that the threads of a log add to.
#[derive(Debug)]
pub(crate) struct Measures {
    pub(crate) appends: Counter,
    pub(crate) refused: Counter,
    pub(crate) records: Counter,
    pub(crate) bytes: Counter,
    pub(crate) syncs: Histogram,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            appends: Counter::default(),
            refused: Counter::default(),
            records: Counter::default(),
            bytes: Counter::default(),
            syncs: Histogram::new(MOMENTS_US),
        }
    }
}

impl Measures {
    /// How they stand now.
    pub(crate) fn counts(&self) -> LogCounts {
        LogCounts {
            appends: self.appends.get(),
            refused: self.refused.get(),
            records: self.records.get(),
            bytes: self.bytes.get(),
            syncs: self.syncs.distribution(),
        }
    }
}
