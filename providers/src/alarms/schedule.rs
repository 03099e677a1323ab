//! Which ticks are due: plain values, the time passed in.
//!
//! Ticks lie on a grid, `anchor + k × period`, so nothing drifts. What was dealt with is a high
//! mark on that grid: a tick at or below it never fires again, whatever the clock does.

use serde::{Deserialize, Serialize};

/// Most ticks of one answer; the rest are due at once after them.
pub const MAX_TICKS: usize = 100;
/// A clock that stands behind the mark by no more than this (or two periods) is waited for:
/// those instants have fired. Behind by more, it was wrong before, and the grid starts again.
pub const MAX_WAIT_BACK_MS: u64 = 15 * 60_000;
/// A tick later than this is no longer on time for [`Misfire::Skip`].
pub const GRACE_MS: u64 = 1_000;

/// What to fire and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// A tick of the grid, the first that may fire. Unit: epoch milliseconds.
    pub anchor_ms: u64,
    /// Distance of two ticks, not 0.
    pub period_ms: u64,
    /// No tick after this. Unit: epoch milliseconds.
    pub stop_ms: Option<u64>,
    /// What becomes of ticks that were missed.
    pub misfire: Misfire,
}

/// What becomes of ticks that came due while nobody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Misfire {
    /// The newest fires and says how many were missed before it.
    #[default]
    Once,
    /// Each fires.
    All,
    /// None fires, except one that is on time.
    Skip,
}

/// Up to where ticks have been dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// Every tick up to here has fired or was passed over. Unit: epoch milliseconds.
    pub until_ms: u64,
    /// How often the mark was taken back because the clock had been wrong.
    pub rewinds: u32,
}

/// A tick to fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its instant on the grid. Unit: epoch milliseconds.
    pub scheduled_ms: u64,
    /// With `scheduled_ms`, what its event is known by.
    pub rewinds: u32,
    /// Ticks before it that do not fire.
    pub missed: u64,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again at this time, or earlier: the clock may step. Unit: epoch milliseconds.
    Wait(u64),
    /// Fire these and keep the mark with them. Without ticks only the mark moves.
    Fire(Vec<Tick>, Mark),
    /// No tick is left.
    Finished,
}

// === impl Schedule ===

impl Schedule {
    /// What to do at `now_ms`, given what has been dealt with.
    #[must_use]
    pub fn next(&self, mark: Mark, now_ms: u64) -> Next {
        if let Some(mark) = self.rewound(mark, now_ms) {
            return Next::Fire(Vec::new(), mark);
        }
        let Some(first) = self.tick_after(mark.until_ms) else { return Next::Finished };
        if first > now_ms {
            return Next::Wait(first);
        }
        let newest = self.tick_at_or_before(now_ms).max(first);
        let due = (newest - first) / self.period_ms + 1;
        let tick = |scheduled_ms, missed| Tick { scheduled_ms, rewinds: mark.rewinds, missed };
        let ticks = match self.misfire {
            Misfire::Once => vec![tick(newest, due - 1)],
            Misfire::All => return self.fire_each(first, due, mark),
            Misfire::Skip if now_ms - newest <= GRACE_MS => vec![tick(newest, due - 1)],
            Misfire::Skip => Vec::new(),
        };
        Next::Fire(ticks, Mark { until_ms: newest, ..mark })
    }

    fn fire_each(&self, first: u64, due: u64, mark: Mark) -> Next {
        let count = due.min(MAX_TICKS as u64);
        let ticks: Vec<_> = (0..count)
            .map(|index| Tick {
                scheduled_ms: first + index * self.period_ms,
                rewinds: mark.rewinds,
                missed: 0,
            })
            .collect();
        let until_ms = first + (count - 1) * self.period_ms;
        Next::Fire(ticks, Mark { until_ms, ..mark })
    }

    /// The mark taken back, where the clock is so far behind it that waiting makes no sense.
    fn rewound(&self, mark: Mark, now_ms: u64) -> Option<Mark> {
        let patience = MAX_WAIT_BACK_MS.max(self.period_ms.saturating_mul(2));
        let behind = mark.until_ms.saturating_sub(now_ms);
        let rewinds = mark.rewinds.saturating_add(1);
        (behind > patience).then_some(Mark { until_ms: now_ms, rewinds })
    }

    /// The first tick after `ms`, if there is one before the stop.
    fn tick_after(&self, ms: u64) -> Option<u64> {
        let tick = if ms < self.anchor_ms {
            self.anchor_ms
        } else {
            let passed = (ms - self.anchor_ms) / self.period_ms;
            self.anchor_ms.checked_add((passed + 1).checked_mul(self.period_ms)?)?
        };
        self.stop_ms.is_none_or(|stop| tick <= stop).then_some(tick)
    }

    /// The last tick at or before `ms` and the stop; the anchor where `ms` is before it.
    fn tick_at_or_before(&self, ms: u64) -> u64 {
        let ms = self.stop_ms.map_or(ms, |stop| ms.min(stop));
        let passed = ms.saturating_sub(self.anchor_ms) / self.period_ms;
        self.anchor_ms + passed * self.period_ms
    }
}

#[cfg(test)]
mod tests;
