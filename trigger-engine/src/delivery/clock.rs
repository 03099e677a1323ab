//! The machine's clock was set: what waits goes on waiting as long as it would have.

use evoke_event_log::Cursor;
use evoke_schemas::Position;

use super::{Deliveries, retry};

/// Steps of the clock that are remembered for events accepted before them and not loaded yet;
/// of more than these, the oldest is forgotten.
const MAX_STEPS: usize = 16;

impl Deliveries {
    /// Moves every time that is waited for, or counted from, by as much as the clock was set.
    /// What stands in the log up to `end` was accepted by the clock as it was.
    pub(super) fn clock_stepped(&mut self, by_ms: i64, end: Cursor) {
        let moved = |at_ms: u64| at_ms.saturating_add_signed(by_ms);
        let due = std::mem::take(&mut self.due);
        self.due = due.into_iter().map(|(due_ms, id)| (moved(due_ms), id)).collect();
        self.refused_until_ms = moved(self.refused_until_ms);
        for delivery in self.table.values_mut().filter(|it| it.state.died_ms().is_none()) {
            delivery.since_ms = moved(delivery.since_ms);
            if delivery.due_ms > 0 {
                delivery.due_ms = moved(delivery.due_ms);
            }
            let missing = &mut delivery.attempts.missing_since_ms;
            *missing = missing.map(moved);
        }
        if self.steps.len() == MAX_STEPS {
            self.steps.remove(0);
        }
        self.steps.push((end, by_ms));
    }

    /// When an event at `position` was accepted, by the clock as it is now.
    pub(super) fn accepted_by_this_clock(&self, position: Position, accepted_ms: u64) -> u64 {
        let since = self.steps.iter().filter(|(end, _)| end.is_past(position));
        since.fold(accepted_ms, |at_ms, (_, by_ms)| at_ms.saturating_add_signed(*by_ms))
    }

    /// Forgets the steps that all loaded events know of.
    pub(super) fn forget_steps(&mut self) {
        let loaded = self.water.loaded();
        self.steps.retain(|(end, _)| !loaded.covers(end));
    }

    /// Nothing recovered waits longer than any wait is: it was put down by a clock that has been
    /// set back since.
    pub(super) fn shorten_waits(&mut self, now_ms: u64) {
        for delivery in self.table.values_mut().filter(|it| it.state.died_ms().is_none()) {
            let rule = self.turns.find_rule(delivery.rule);
            let longest_ms = rule.map_or(0, |rule| rule.policy().max_backoff_ms);
            let longest_ms = longest_ms.max(retry::PLATFORM_MAX_BACKOFF_MS);
            delivery.due_ms = delivery.due_ms.min(now_ms.saturating_add(longest_ms));
        }
    }
}
