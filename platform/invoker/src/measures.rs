//! What an invoker counts while it works.

use evoke_schemas::measure::{Counter, Distribution, Histogram, MOMENTS_US, RUNS_US};

use crate::pool::{Granted, Usage};

/// Numbers that runs and starts add to.
#[derive(Debug)]
pub(crate) struct Measures {
    fresh: Counter,
    warm: Counter,
    resumed: Counter,
    /// From the call to the initialised sandbox.
    pub(crate) cold_start: Histogram,
    /// From nothing to an interpreter that stands.
    pub(crate) sandbox_start: Histogram,
    pub(crate) starts_failed: Counter,
    /// Sandboxes found dead before they were asked.
    pub(crate) lost: Counter,
    /// Runs that no sandbox took.
    pub(crate) unplaced: Counter,
}

/// How an invoker stands, and what it did since the program started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvokerCounts {
    /// What the pool holds.
    pub usage: Usage,
    /// Memory that its sandboxes may use together. Unit: bytes.
    pub budget: u64,
    /// Runs that a sandbox was initialised for.
    pub fresh: u64,
    /// Runs in a sandbox that was ready.
    pub warm: u64,
    /// Runs in a sandbox that stood still and was resumed.
    pub resumed: u64,
    /// From the call to the initialised sandbox, of the first kind.
    pub cold_start: Distribution,
    /// From nothing to an interpreter that stands.
    pub sandbox_start: Distribution,
    /// Sandboxes that did not start.
    pub starts_failed: u64,
    /// Sandboxes that were found dead before they were asked.
    pub lost: u64,
    /// Runs that got no sandbox.
    pub unplaced: u64,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            fresh: Counter::default(),
            warm: Counter::default(),
            resumed: Counter::default(),
            cold_start: Histogram::new(RUNS_US),
            sandbox_start: Histogram::new(MOMENTS_US),
            starts_failed: Counter::default(),
            lost: Counter::default(),
            unplaced: Counter::default(),
        }
    }
}

impl Measures {
    /// A run got a sandbox in that state.
    pub(crate) fn granted(&self, state: Granted) {
        match state {
            Granted::Fresh => self.fresh.one(),
            Granted::Warm => self.warm.one(),
            Granted::Paused => self.resumed.one(),
        }
    }

    /// How they stand now.
    pub(crate) fn counts(&self, usage: Usage, budget: u64) -> InvokerCounts {
        InvokerCounts {
            usage,
            budget,
            fresh: self.fresh.get(),
            warm: self.warm.get(),
            resumed: self.resumed.get(),
            cold_start: self.cold_start.distribution(),
            sandbox_start: self.sandbox_start.distribution(),
            starts_failed: self.starts_failed.get(),
            lost: self.lost.get(),
            unplaced: self.unplaced.get(),
        }
    }
}
