//! Cron: a pattern of wall time in a time zone, as instants.
//!
//! A pattern is evaluated on wall time; what a change of the zone's offset does to it is decided
//! here alone. Times are passed in, nothing is read from a clock.

mod openwhisk;
mod pattern;
mod standard;

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, offset::LocalResult};
use chrono_tz::{GapInfo, Tz};
use serde::Deserialize;

pub use openwhisk::jitter_second;
use pattern::Pattern;

/// When a cron alarm fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    pattern: Pattern,
    zone: Tz,
    gap: Gap,
    repeat: Repeat,
}

/// How a pattern is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// What crontab and its usual extensions mean.
    #[default]
    Standard,
    /// What OpenWhisk's alarms made of it: months from 0, no extensions, its own rules for days
    /// and for daylight saving.
    OpenWhisk,
}

/// What becomes of a wall time that a day does not have, because the clocks are set forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gap {
    /// It fires at the first moment after the gap; several such wall times fire once.
    #[default]
    First,
    /// It does not fire that day.
    Skip,
}

/// What becomes of a wall time that a day has twice, because the clocks are set back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Repeat {
    /// It fires the first time.
    #[default]
    Once,
    /// It fires both times.
    Twice,
}

/// What a wall time is in a zone.
enum Moment {
    At(i64),
    Twice { earlier: i64, later: i64 },
    Gap { end: Option<(i64, NaiveDateTime)> },
}

/// What is wrong with a pattern; it completes "`cron` …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It cannot be read.
    #[error("`{pattern}` is not a pattern: {reason}")]
    Unreadable {
        /// As it was given.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// It can be read, and no day matches it.
    #[error("`{0}` never fires: no date matches it")]
    Never(String),
}

// === impl Cron ===

impl Cron {
    /// A standard pattern: five fields, six with seconds first, seven with the year last, or a
    /// name like `@daily`.
    ///
    /// # Errors
    /// [`CronError`].
    pub fn standard(text: &str, zone: Tz, gap: Gap, repeat: Repeat) -> Result<Self, CronError> {
        let unreadable = |reason| CronError::Unreadable { pattern: text.to_owned(), reason };
        let pattern = standard::parse(text).map_err(unreadable)?;
        if !pattern.can_match() {
            return Err(CronError::Never(text.to_owned()));
        }
        // What runs in every hour follows the time that passes: it has no hour to lose or repeat.
        let (gap, repeat) =
            if pattern.every_hour() { (Gap::Skip, Repeat::Twice) } else { (gap, repeat) };
        Ok(Self { pattern, zone, gap, repeat })
    }

    /// A pattern as OpenWhisk's alarms execute it. `second` is when five fields fire within their
    /// minute: 0 without jitter.
    ///
    /// Source: spec 3.4, the engine `cron` 1.8.2.
    ///
    /// # Errors
    /// [`CronError`]: of what that engine refuses as well.
    pub fn openwhisk(text: &str, zone: Tz, second: u8) -> Result<Self, CronError> {
        let unreadable = |reason| CronError::Unreadable { pattern: text.to_owned(), reason };
        let pattern = openwhisk::parse(text, second).map_err(unreadable)?;
        if !pattern.can_match() {
            return Err(CronError::Never(text.to_owned()));
        }
        Ok(Self { pattern, zone, gap: Gap::Skip, repeat: Repeat::Twice })
    }

    /// The first instant after `ms` that the pattern matches. Unit: epoch milliseconds, both.
    #[must_use]
    pub fn next_after(&self, ms: u64) -> Option<u64> {
        let second = i64::try_from(ms / 1_000).ok()?;
        let next = self.after(second)?;
        u64::try_from(next).ok()?.checked_mul(1_000)
    }

    fn after(&self, second: i64) -> Option<i64> {
        let wall = self.wall(second)?;
        let onwards = self.onwards(second, wall);
        match self.again(second, wall) {
            Some(again) => Some(onwards.map_or(again, |onwards| onwards.min(again))),
            None => onwards,
        }
    }

    /// The first match among the wall times after `wall`.
    fn onwards(&self, second: i64, wall: NaiveDateTime) -> Option<i64> {
        let one = TimeDelta::seconds(1);
        let mut from = wall.checked_add_signed(one)?;
        loop {
            let matched = self.pattern.at_or_after(from)?;
            from = matched.checked_add_signed(one)?;
            match self.moment(matched) {
                Moment::At(at) if at > second => return Some(at),
                Moment::Twice { earlier, .. } if earlier > second => return Some(earlier),
                Moment::Twice { later, .. } if self.repeat == Repeat::Twice && later > second => {
                    return Some(later);
                }
                Moment::At(_) | Moment::Twice { .. } => {}
                Moment::Gap { end: Some((at, _)) } if self.gap == Gap::First && at > second => {
                    return Some(at);
                }
                Moment::Gap { end } => from = end.map_or(from, |(_, wall)| wall),
            }
        }
    }

    /// The first match in the second pass of a repeated stretch, if `second` is in its first pass.
    fn again(&self, second: i64, wall: NaiveDateTime) -> Option<i64> {
        if self.repeat == Repeat::Once {
            return None;
        }
        let Moment::Twice { earlier, later } = self.moment(wall) else { return None };
        if second != earlier {
            return None;
        }
        let begin = self.change(earlier, later)?;
        let matched = self.pattern.at_or_after(self.wall(begin)?)?;
        match self.moment(matched) {
            Moment::Twice { later, .. } => Some(later),
            Moment::At(_) | Moment::Gap { .. } => None,
        }
    }

    /// The first instant of `(from, to]` that has the offset of `to`; those of `from` and `to`
    /// differ, and change once in between.
    fn change(&self, mut from: i64, mut to: i64) -> Option<i64> {
        let offset = self.offset(to)?;
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            if self.offset(middle)? == offset { to = middle } else { from = middle }
        }
        Some(to)
    }

    fn moment(&self, wall: NaiveDateTime) -> Moment {
        match self.zone.from_local_datetime(&wall) {
            LocalResult::Single(at) => Moment::At(at.timestamp()),
            LocalResult::Ambiguous(one, other) => {
                let (one, other) = (one.timestamp(), other.timestamp());
                Moment::Twice { earlier: one.min(other), later: one.max(other) }
            }
            LocalResult::None => {
                let end = GapInfo::new(&wall, &self.zone).and_then(|gap| gap.end);
                Moment::Gap { end: end.map(|end| (end.timestamp(), end.naive_local())) }
            }
        }
    }

    fn wall(&self, second: i64) -> Option<NaiveDateTime> {
        let utc = DateTime::from_timestamp(second, 0)?;
        Some(utc.with_timezone(&self.zone).naive_local())
    }

    fn offset(&self, second: i64) -> Option<i32> {
        let utc = DateTime::from_timestamp(second, 0)?.naive_utc();
        Some(self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
    }
}

#[cfg(test)]
mod tests;
