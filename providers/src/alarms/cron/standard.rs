//! The standard dialect: `croner` reads the text, what it read is kept as bits.
//!
//! `croner` keeps a byte for each value of each field, years included: too much for a million.

use croner::{CronComponent, parser::CronParser};

use super::pattern::{Both, Days, LAST_YEAR, LastDay, Pattern};

/// `croner`'s mark of a plain value; its marks of weekdays are those of [`super::pattern`].
const PLAIN: u8 = 1;
/// Its mark of the month's last day, or of a weekday's last.
const LAST: u8 = 1 << 6;
/// Its mark of the workday nearest to a day.
const NEAREST: u8 = 1 << 7;

/// # Errors
/// What is wrong with it, for people.
pub(super) fn parse(text: &str) -> Result<Pattern, String> {
    let cron = CronParser::new().parse(text).map_err(|error| error.to_string())?;
    let read = cron.pattern;
    if read.as_str().split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
        return Err("a list has an empty part".to_owned());
    }
    let years = (read.years.count_set_values(PLAIN)
        <= usize::from(read.years.max - read.years.min))
    .then(|| years(&read.years));
    Ok(Pattern {
        seconds: bits(&read.seconds, PLAIN),
        minutes: bits(&read.minutes, PLAIN),
        hours: narrow(bits(&read.hours, PLAIN)),
        months: u16::try_from(bits(&read.months, PLAIN)).unwrap_or_default(),
        days: Days {
            of_month: narrow(bits(&read.days, PLAIN)),
            nearest: narrow(bits(&read.days, NEAREST)),
            last: match (read.days.is_feature_enabled(LAST), read.days.is_feature_enabled(NEAREST))
            {
                (false, _) => None,
                (true, false) => Some(LastDay::Any),
                (true, true) => Some(LastDay::Workday),
            },
            weekdays: weekdays(&read.days_of_week),
            both: match (read.is_dom_wildcard(), read.is_dow_wildcard()) {
                (true, true) => Both::Free,
                (false, true) => Both::OfMonth,
                (true, false) => Both::Weekday,
                (false, false) if read.matches_dom_and_dow() => Both::Together,
                (false, false) => Both::Either,
            },
        },
        years,
    })
}

fn bits(component: &CronComponent, mark: u8) -> u64 {
    component.get_set_values(mark).into_iter().fold(0, |set, value| set | 1_u64 << (value & 63))
}

fn narrow(set: u64) -> u32 {
    u32::try_from(set).unwrap_or_default()
}

fn weekdays(component: &CronComponent) -> [u8; 7] {
    let mut weekdays = [0; 7];
    for mark in (0..=6).map(|bit| 1_u8 << bit) {
        for day in component.get_set_values(mark) {
            if let Some(set) = weekdays.get_mut(usize::from(day)) {
                *set |= mark;
            }
        }
    }
    weekdays
}

fn years(component: &CronComponent) -> Box<[i32]> {
    let years = component.get_set_values(PLAIN).into_iter().map(i32::from);
    years.filter(|year| (1970..=LAST_YEAR).contains(year)).collect()
}
