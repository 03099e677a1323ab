//! Which ticks are due: plain values, the time passed in.
//!
//! A schedule's ticks are fixed instants, so nothing drifts. What was dealt with is a high mark
//! on them: a tick at or below it never fires again, whatever the clock does.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::cron::Cron;

/// Most ticks of one answer; the rest are due at once after them.
pub const MAX_TICKS: u64 = 100;
/// A clock that stands behind the mark by no more than this (or twice the distance to the next
/// tick) is waited for: those instants have fired. Behind by more, it was wrong before, and the
/// schedule goes on from what it shows, under new ids.
pub const MAX_WAIT_BACK_MS: u64 = 15 * 60_000;
/// A tick later than this is no longer on time for [`Misfire::Skip`].
pub const GRACE_MS: u64 = 1_000;
/// Missed ticks of a cron are counted up to here.
pub const MAX_COUNTED: u64 = 100_000;
/// Most ticks that [`Misfire::All`] makes up, where nothing else is asked for.
pub const DEFAULT_LIMIT: u64 = 10_000;
/// Most that may be asked for.
pub const MAX_LIMIT: u64 = 50_000;

/// What to fire and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Where its ticks are.
    pub rhythm: Rhythm,
    /// No tick before this. Unit: epoch milliseconds.
    pub start_ms: Option<u64>,
    /// No tick after this. Unit: epoch milliseconds.
    pub stop_ms: Option<u64>,
    /// How many ticks fire at most, ever.
    pub most: Option<u64>,
    /// What becomes of ticks that were missed.
    pub misfire: Misfire,
    /// How many missed ticks, the newest, [`Misfire::All`] makes up; at most [`MAX_LIMIT`].
    pub limit: u64,
    /// A tick older than this is not made up. Unit: milliseconds.
    pub deadline_ms: Option<u64>,
    /// Most ticks of one answer, at most [`MAX_TICKS`].
    pub at_once: u64,
}

/// Where ticks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// On the grid `anchor + k × period`.
    Every {
        /// The first tick. Unit: epoch milliseconds.
        anchor_ms: u64,
        /// Distance of two ticks, not 0. Unit: milliseconds.
        period_ms: u64,
    },
    /// Where a pattern of wall time matches.
    Cron(Cron),
    /// At one moment. Unit: epoch milliseconds.
    Once(u64),
}

/// What becomes of ticks that came due while nobody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Misfire {
    /// The newest fires and says how many were missed before it.
    #[default]
    Once,
    /// Each fires, up to a limit.
    All,
    /// None fires, except one that is on time.
    Skip,
}

/// What becomes of a tick while deliveries of a former one are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It fires.
    #[default]
    Allow,
    /// It is missed: the next that fires says so.
    Skip,
    /// It waits. Those that come due meanwhile are late like others, by [`Misfire`].
    Queue,
}

/// Up to where ticks have been dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// Every tick up to here has fired or was passed over. Unit: epoch milliseconds.
    pub until_ms: u64,
    /// How often the mark was taken back because the clock had been wrong.
    pub rewinds: u32,
    /// Ticks that fired.
    #[serde(default)]
    pub fired: u64,
    /// Ticks that were missed since the last that fired.
    #[serde(default)]
    pub missed: u64,
}

/// A tick to fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its instant on the schedule. Unit: epoch milliseconds.
    pub scheduled_ms: u64,
    /// With `scheduled_ms`, what its event is known by.
    pub rewinds: u32,
    /// Ticks before it that were missed and do not fire.
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

/// The ticks that one look is about.
#[derive(Clone, Copy)]
struct Due {
    first: u64,
    newest: u64,
}

// === impl Schedule ===

impl Schedule {
    /// A schedule without bounds, with the usual policies.
    #[must_use]
    pub fn new(rhythm: Rhythm) -> Self {
        Self {
            rhythm,
            start_ms: None,
            stop_ms: None,
            most: None,
            misfire: Misfire::Once,
            limit: DEFAULT_LIMIT,
            deadline_ms: None,
            at_once: MAX_TICKS,
        }
    }

    /// What to do at `now_ms`, given what has been dealt with.
    #[must_use]
    pub fn next(&self, mark: Mark, now_ms: u64) -> Next {
        if self.has_fired_all(mark) {
            return Next::Finished;
        }
        if let Some(mark) = self.rewound(mark, now_ms) {
            return Next::Fire(Vec::new(), mark);
        }
        let schedule = self.reckoned(mark);
        match schedule.tick_after(mark.until_ms) {
            None => Next::Finished,
            Some(first) if first > now_ms => Next::Wait(first),
            Some(first) => schedule.fire(first, mark, now_ms),
        }
    }

    /// When [`Schedule::next`] is no longer [`Next::Wait`], unless the clock steps. Unit: epoch
    /// milliseconds.
    #[must_use]
    pub fn due_ms(&self, mark: Mark, now_ms: u64) -> u64 {
        if self.has_fired_all(mark) || self.rewound(mark, now_ms).is_some() {
            return now_ms;
        }
        self.reckoned(mark).tick_after(mark.until_ms).unwrap_or(now_ms)
    }

    /// The schedule as it is by a clock that was set back before the grid's anchor: the clock was
    /// wrong when the anchor was taken of it, so the grid goes on on both sides of it. A start that
    /// was asked for is waited for.
    fn reckoned(&self, mark: Mark) -> Cow<'_, Self> {
        let Rhythm::Every { anchor_ms, period_ms } = self.rhythm else {
            return Cow::Borrowed(self);
        };
        if mark.rewinds == 0 || self.start_ms.is_some() || mark.until_ms >= anchor_ms {
            return Cow::Borrowed(self);
        }
        let earlier_ms = (anchor_ms - mark.until_ms) / period_ms * period_ms;
        let rhythm = Rhythm::Every { anchor_ms: anchor_ms - earlier_ms, period_ms };
        Cow::Owned(Self { rhythm, ..self.clone() })
    }

    /// Whether `maxTriggers` is reached.
    #[must_use]
    pub fn has_fired_all(&self, mark: Mark) -> bool {
        self.most.is_some_and(|most| mark.fired >= most)
    }

    fn fire(&self, first: u64, mark: Mark, now_ms: u64) -> Next {
        let due = Due { first, newest: self.newest(first, now_ms) };
        let oldest_ms = self.deadline_ms.map_or(0, |deadline| now_ms.saturating_sub(deadline));
        let in_time = if first >= oldest_ms { Some(first) } else { self.tick_after(oldest_ms - 1) };
        match in_time {
            Some(in_time) if in_time <= due.newest => self.fire_due(due, in_time, mark, now_ms),
            _all_too_late => self.pass_over(due, mark),
        }
    }

    fn fire_due(&self, due: Due, in_time: u64, mark: Mark, now_ms: u64) -> Next {
        match self.misfire {
            Misfire::All => self.fire_each(due, in_time, mark),
            Misfire::Skip if now_ms - due.newest > GRACE_MS => self.pass_over(due, mark),
            Misfire::Once | Misfire::Skip => {
                let missed = mark.missed + self.count(due.first, due.newest) - 1;
                let tick = Tick { missed, ..tick(due.newest, mark) };
                Next::Fire(vec![tick], fired(mark, due.newest, 1))
            }
        }
    }

    fn fire_each(&self, due: Due, in_time: u64, mark: Mark) -> Next {
        let first = self.first_of_newest(in_time, due.newest);
        let before = self.count(due.first, first) - 1;
        let left = self.most.map_or(u64::MAX, |most| most.saturating_sub(mark.fired));
        let mut ticks = vec![Tick { missed: mark.missed + before, ..tick(first, mark) }];
        let (mut until_ms, mut count) = (first, 1);
        while count < left.min(self.at_once)
            && let Some(next) = self.tick_after(until_ms).filter(|next| *next <= due.newest)
        {
            ticks.push(Tick { missed: 0, ..tick(next, mark) });
            (until_ms, count) = (next, count + 1);
        }
        Next::Fire(ticks, fired(mark, until_ms, count))
    }

    /// All are missed: the next tick that fires says so.
    fn pass_over(&self, due: Due, mark: Mark) -> Next {
        let missed = mark.missed + self.count(due.first, due.newest);
        Next::Fire(Vec::new(), Mark { until_ms: due.newest, missed, ..mark })
    }

    /// The first of the newest ticks that the limit allows.
    fn first_of_newest(&self, first: u64, newest: u64) -> u64 {
        let limit = self.limit.max(1);
        if self.count(first, newest) <= limit {
            return first;
        }
        let (mut too_many, mut few) = (first, newest);
        while few - too_many > 1 {
            let middle = too_many + (few - too_many) / 2;
            match self.tick_after(middle - 1) {
                Some(tick) if self.count(tick, newest) > limit => too_many = middle,
                _few => few = middle,
            }
        }
        self.tick_after(few - 1).unwrap_or(newest)
    }

    /// How many ticks there are from the tick `first` to `last`, both counted; of a cron at most
    /// [`MAX_COUNTED`].
    fn count(&self, first: u64, last: u64) -> u64 {
        match &self.rhythm {
            Rhythm::Every { period_ms, .. } => (last - first) / period_ms + 1,
            Rhythm::Once(_) => 1,
            Rhythm::Cron(_) => {
                let later = std::iter::successors(Some(first), |tick| self.tick_after(*tick));
                let counted = later.take_while(|tick| *tick <= last);
                (0..MAX_COUNTED).zip(counted).count() as u64
            }
        }
    }

    /// The mark taken back, where the clock is so far behind it that waiting makes no sense.
    fn rewound(&self, mark: Mark, now_ms: u64) -> Option<Mark> {
        let behind = mark.until_ms.saturating_sub(now_ms);
        if behind <= MAX_WAIT_BACK_MS {
            return None;
        }
        let distance = self.unbounded(mark.until_ms)? - mark.until_ms;
        let distance = match self.rhythm {
            Rhythm::Every { period_ms, .. } => distance.max(period_ms),
            Rhythm::Cron(_) | Rhythm::Once(_) => distance,
        };
        let rewinds = mark.rewinds.saturating_add(1);
        (behind > distance.saturating_mul(2)).then_some(Mark { until_ms: now_ms, rewinds, ..mark })
    }

    /// The first tick after `ms`, if there is one within the bounds.
    fn tick_after(&self, ms: u64) -> Option<u64> {
        let ms = self.start_ms.map_or(ms, |start| ms.max(start.saturating_sub(1)));
        self.unbounded(ms).filter(|tick| self.stop_ms.is_none_or(|stop| *tick <= stop))
    }

    fn unbounded(&self, ms: u64) -> Option<u64> {
        match &self.rhythm {
            Rhythm::Every { anchor_ms, .. } if ms < *anchor_ms => Some(*anchor_ms),
            Rhythm::Every { anchor_ms, period_ms } => {
                let passed = (ms - anchor_ms) / period_ms;
                anchor_ms.checked_add((passed + 1).checked_mul(*period_ms)?)
            }
            Rhythm::Cron(cron) => cron.next_after(ms),
            Rhythm::Once(at_ms) => (ms < *at_ms).then_some(*at_ms),
        }
    }

    /// The newest tick until `ms`, given one that is.
    fn newest(&self, first: u64, ms: u64) -> u64 {
        // `low` is a tick, and there is none after `high`.
        let (mut low, mut high) = (first, ms);
        if self.tick_after(low).is_none_or(|tick| tick > ms) {
            return low;
        }
        while low < high {
            match self.tick_after(low + (high - low) / 2) {
                Some(tick) if tick <= ms => low = tick,
                _none => high = low + (high - low) / 2,
            }
        }
        low
    }
}

impl Mark {
    /// This mark, once these ticks are missed that `after` says have fired.
    #[must_use]
    pub fn missing(self, ticks: &[Tick], after: Self) -> Self {
        let before: u64 = ticks.iter().map(|tick| tick.missed).sum();
        Self { fired: self.fired, missed: before + ticks.len() as u64, ..after }
    }
}

fn tick(scheduled_ms: u64, mark: Mark) -> Tick {
    let Mark { rewinds, missed, .. } = mark;
    Tick { scheduled_ms, rewinds, missed }
}

/// The mark after this many ticks fired, the last at `until_ms`.
fn fired(mark: Mark, until_ms: u64, count: u64) -> Mark {
    Mark { until_ms, rewinds: mark.rewinds, fired: mark.fired + count, missed: 0 }
}

#[cfg(test)]
mod tests;
