//! What the budgets of disk and log mean for retention, and for who is let in.

use evoke_trigger_engine::Cap;

use super::usage::Usage;

/// The log's segment that is written to and its spare: they are there whatever is retained.
/// Unit: bytes.
const LOG_FLOOR: u64 = 128 << 20;
/// Retention keeps a tenth of the budget free, so that what is new seldom meets the bound.
const SPARE_PART: u64 = 10;
/// What is shut opens a twentieth below its bound.
const OPEN_PART: u64 = 20;
/// Records may have so much of the budget before the oldest go for it: a quarter.
const RECORDS_PART: u64 = 4;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Of the whole data directory, where set.
    pub(super) total: Option<u64>,
    /// Of the event log.
    pub(super) log: u64,
}

/// What is full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    total_full: bool,
    log_full: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Most bytes of sealed segments.
    pub(super) log_bytes: u64,
    /// Whether the oldest records are to go.
    pub(super) drop_records: bool,
}

impl State {
    /// Takes what is used, and says what is to go.
    pub(super) fn step(&mut self, budget: &Budget, usage: &Usage) -> Decision {
        let log_most = budget.log.saturating_add(LOG_FLOOR);
        self.log_full = is_full(self.log_full, usage.log, log_most);
        let Some(total) = budget.total else {
            self.total_full = false;
            return Decision { log_bytes: u64::MAX, drop_records: false };
        };
        self.total_full = is_full(self.total_full, usage.total(), total);
        let aim = total - total / SPARE_PART;
        let others = usage.records.saturating_add(usage.rest).saturating_add(LOG_FLOOR);
        Decision {
            log_bytes: aim.saturating_sub(others),
            drop_records: usage.total() > aim && usage.records > total / RECORDS_PART,
        }
    }

    /// What is full.
    pub(super) fn full(&self) -> Option<Cap> {
        match (self.total_full, self.log_full) {
            (true, _) => Some(Cap::DiskBudget),
            (false, true) => Some(Cap::LogSize),
            (false, false) => None,
        }
    }
}

fn is_full(was: bool, used: u64, most: u64) -> bool {
    used >= if was { most - most / OPEN_PART } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    #[test]
    fn retention_works_against_the_budget_before_anybody_is_refused() {
        let budget = Budget { total: Some(GB), log: 20 * GB };
        let mut state = State::default();
        let mut at = |log: u64, records: u64| {
            let usage = Usage { log: log << 20, records: records << 20, rest: 64 << 20 };
            (state.step(&budget, &usage), state.full())
        };
        let (calm, full) = at(200, 100);
        assert_eq!((calm.drop_records, full), (false, None));
        assert!(calm.log_bytes > 600 << 20);
        let (tight, full) = at(600, 300);
        assert!(tight.drop_records && tight.log_bytes < 600 << 20 && full.is_none());
        let (_, full) = at(700, 300);
        assert_eq!(full, Some(Cap::DiskBudget));
        assert_eq!(at(660, 300).1, Some(Cap::DiskBudget), "it opens below where it shut");
        assert_eq!(at(600, 300).1, None);
    }

    #[test]
    fn a_log_that_cannot_shrink_is_full_by_its_own_size() {
        let budget = Budget { total: None, log: GB };
        let mut state = State::default();
        let usage = |log| Usage { log, ..Usage::default() };
        let free = state.step(&budget, &usage(GB));
        assert_eq!(free, Decision { log_bytes: u64::MAX, drop_records: false });
        assert_eq!(state.full(), None);
        state.step(&budget, &usage(GB + LOG_FLOOR));
        assert_eq!(state.full(), Some(Cap::LogSize));
        state.step(&budget, &usage(GB));
        assert_eq!(state.full(), None);
    }
}
