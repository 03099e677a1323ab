//! Many seeds on several threads: what failed, what was counted, what never occurred.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::expected::EXPECTED;
use super::tally::{Group, Tally};
use super::world::{self, Verdict};

/// Seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// First seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Threads that share them.
    pub threads: usize,
    /// Whether the first failure ends it.
    pub stop_at_failure: bool,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Report {
    /// Seeds run.
    pub seeds: u64,
    /// Failures, by seed.
    pub failures: Vec<Verdict>,
    /// Counts over all seeds.
    pub tally: Tally,
}

// === impl Campaign ===

impl Campaign {
    /// Runs the seeds.
    #[must_use]
    pub fn run(self) -> Report {
        let (next, failed) = (AtomicU64::new(self.from), AtomicBool::new(false));
        let mut report = Report::default();
        std::thread::scope(|scope| {
            let worker = || {
                let mut own = Report::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let stop = self.stop_at_failure && failed.load(Ordering::Relaxed);
                    if stop || seed >= self.from + self.seeds {
                        return own;
                    }
                    let verdict = world::run(seed, false);
                    own.seeds += 1;
                    own.tally.merge(&verdict.tally);
                    if !verdict.violations.is_empty() {
                        failed.store(true, Ordering::Relaxed);
                        own.failures.push(verdict);
                    }
                }
            };
            let threads: Vec<_> = (0..self.threads.max(1)).map(|_| scope.spawn(worker)).collect();
            for thread in threads {
                match thread.join() {
                    Ok(own) => report.merge(own),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        report.failures.sort_by_key(|verdict| verdict.seed);
        report
    }
}

// === impl Report ===

impl Report {
    fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.failures.extend(other.failures);
        self.tally.merge(&other.tally);
    }

    /// Faults and transitions that never occurred though they must.
    #[must_use]
    pub fn missing(&self) -> Vec<(Group, &'static str)> {
        self.tally.missing(EXPECTED)
    }
}
