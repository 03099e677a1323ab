//! What a pattern matches: sets of seconds to years, in wall time without a zone.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// Last year that is looked at.
pub(super) const LAST_YEAR: i32 = 2399;
/// A weekday of [`Days::weekdays`] in each week. Its `n`th of the month has the bit `n`.
pub(super) const EVERY: u8 = 1;
/// The weekday's last of the month.
pub(super) const LAST: u8 = 1 << 6;

/// Sets of what each part of a wall time may be, as bits by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) seconds: u64,
    pub(super) minutes: u64,
    pub(super) hours: u32,
    /// From 1.
    pub(super) months: u16,
    pub(super) days: Days,
    /// In order; `None`: any.
    pub(super) years: Option<Box<[i32]>>,
}

/// Which days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Days {
    /// Days of the month.
    pub(super) of_month: u32,
    /// Days of the month whose nearest workday is meant.
    pub(super) nearest: u32,
    /// The last of the month.
    pub(super) last: Option<LastDay>,
    /// From Sunday: [`EVERY`], [`LAST`] and the bits of the `n`th.
    pub(super) weekdays: [u8; 7],
    /// Where both restrict: which of them must match.
    pub(super) both: Both,
}

/// The end of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastDay {
    Any,
    Workday,
}

/// How the day of the month and the weekday go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Both {
    /// Neither restricts.
    Free,
    /// Only the day of the month restricts.
    OfMonth,
    /// Only the weekday restricts.
    Weekday,
    /// One of them is enough.
    Either,
    /// Both must match.
    Together,
}

// === impl Pattern ===

impl Pattern {
    /// Whether any date and time matches.
    pub(super) fn can_match(&self) -> bool {
        let begin = NaiveDate::from_ymd_opt(1970, 1, 1).map(|day| day.and_time(NaiveTime::MIN));
        begin.and_then(|begin| self.at_or_after(begin)).is_some()
    }

    /// Whether no hour of the day is left out.
    pub(super) fn every_hour(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// The first match that is not before `from`.
    pub(super) fn at_or_after(&self, from: NaiveDateTime) -> Option<NaiveDateTime> {
        let date = self.date_at_or_after(from.date())?;
        if date > from.date() {
            return Some(date.and_time(self.time_at_or_after(NaiveTime::MIN)?));
        }
        if let Some(time) = self.time_at_or_after(from.time()) {
            return Some(date.and_time(time));
        }
        let date = self.date_at_or_after(date.succ_opt()?)?;
        Some(date.and_time(self.time_at_or_after(NaiveTime::MIN)?))
    }

    fn date_at_or_after(&self, from: NaiveDate) -> Option<NaiveDate> {
        let mut date = from;
        while date.year() <= LAST_YEAR {
            if let Some(year) = self.year_at_or_after(date.year())?.checked_sub(date.year())
                && year > 0
            {
                date = NaiveDate::from_ymd_opt(date.year() + year, 1, 1)?;
            }
            if self.months >> date.month() & 1 == 0 {
                date = next_month(date)?;
            } else if self.days.has(date) {
                return Some(date);
            } else {
                date = date.succ_opt()?;
            }
        }
        None
    }

    fn year_at_or_after(&self, year: i32) -> Option<i32> {
        match &self.years {
            None => Some(year),
            Some(years) => years.iter().copied().find(|listed| *listed >= year),
        }
    }

    fn time_at_or_after(&self, from: NaiveTime) -> Option<NaiveTime> {
        let hours = u64::from(self.hours);
        let hour = bit_at_or_after(hours, from.hour())?;
        if hour == from.hour() {
            let minute = bit_at_or_after(self.minutes, from.minute());
            if minute == Some(from.minute())
                && let Some(second) = bit_at_or_after(self.seconds, from.second())
            {
                return NaiveTime::from_hms_opt(hour, from.minute(), second);
            }
            if let Some(minute) = bit_at_or_after(self.minutes, from.minute() + 1) {
                return NaiveTime::from_hms_opt(hour, minute, first_bit(self.seconds)?);
            }
        }
        let hour = if hour == from.hour() { bit_at_or_after(hours, hour + 1)? } else { hour };
        NaiveTime::from_hms_opt(hour, first_bit(self.minutes)?, first_bit(self.seconds)?)
    }
}

fn next_month(date: NaiveDate) -> Option<NaiveDate> {
    match date.month() {
        12 => NaiveDate::from_ymd_opt(date.year() + 1, 1, 1),
        month => NaiveDate::from_ymd_opt(date.year(), month + 1, 1),
    }
}

fn first_bit(set: u64) -> Option<u32> {
    bit_at_or_after(set, 0)
}

fn bit_at_or_after(set: u64, at: u32) -> Option<u32> {
    let rest = set.checked_shr(at)?;
    (rest != 0).then(|| at + rest.trailing_zeros())
}

// === impl Days ===

impl Days {
    fn has(&self, date: NaiveDate) -> bool {
        match self.both {
            Both::Free => true,
            Both::OfMonth => self.has_day(date),
            Both::Weekday => self.has_weekday(date),
            Both::Either => self.has_day(date) || self.has_weekday(date),
            Both::Together => self.has_day(date) && self.has_weekday(date),
        }
    }

    fn has_day(&self, date: NaiveDate) -> bool {
        let (day, length) = (date.day(), u32::from(date.num_days_in_month()));
        let last = match self.last {
            None => false,
            Some(LastDay::Any) => day == length,
            Some(LastDay::Workday) => day == nearest_workday(date, length),
        };
        last || self.of_month >> day & 1 == 1
            || (self.nearest != 0
                && (day.saturating_sub(2).max(1)..=(day + 2).min(length)).any(|meant| {
                    self.nearest >> meant & 1 == 1 && nearest_workday(date, meant) == day
                }))
    }

    fn has_weekday(&self, date: NaiveDate) -> bool {
        let (day, length) = (date.day(), u32::from(date.num_days_in_month()));
        let weekday = date.weekday().num_days_from_sunday();
        let set = usize::try_from(weekday).ok().and_then(|at| self.weekdays.get(at)).copied();
        let last = if day + 7 > length { LAST } else { 0 };
        set.unwrap_or(0) & (EVERY | last | 1 << ((day - 1) / 7 + 1)) != 0
    }
}

/// The workday nearest to a day of `date`'s month, in that month.
fn nearest_workday(date: NaiveDate, day: u32) -> u32 {
    let length = u32::from(date.num_days_in_month());
    let weekday = (date.weekday().num_days_from_sunday() + 35 + day - date.day()) % 7;
    match weekday {
        6 if day > 1 => day - 1,
        6 => day + 2,
        0 if day < length => day + 1,
        0 => day - 2,
        _workday => day,
    }
}
