//! OpenWhisk's dialect: what its alarms execute, whatever their validation says.
//!
//! Source: spec 3.4. Months are 0 to 11, weekdays 0 to 6, names are replaced wherever they stand.

use super::pattern::{Both, Days, EVERY, Pattern};

/// Smallest and largest value of each field, seconds first.
const BOUNDS: [(u32, u32); 6] = [(0, 59), (0, 59), (0, 23), (1, 31), (0, 11), (0, 6)];
/// Longest month of each name, as that engine counts. Unit: days.
const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const NAMES: [(&str, u32); 19] = [
    ("jan", 0),
    ("feb", 1),
    ("mar", 2),
    ("apr", 3),
    ("may", 4),
    ("jun", 5),
    ("jul", 6),
    ("aug", 7),
    ("sep", 8),
    ("oct", 9),
    ("nov", 10),
    ("dec", 11),
    ("sun", 0),
    ("mon", 1),
    ("tue", 2),
    ("wed", 3),
    ("thu", 4),
    ("fri", 5),
    ("sat", 6),
];

/// The second within its minute at which five fields fire, from the trigger's name.
///
/// `limit` is the largest second. The sum is not cut to 32 bits after the subtraction, as
/// OpenWhisk's was not.
#[must_use]
pub fn jitter_second(name: &str, limit: u8) -> u8 {
    let mut hash: f64 = 0.0;
    for unit in name.encode_utf16() {
        let shifted = int32(hash).wrapping_shl(5);
        hash = f64::from(shifted) - hash + f64::from(unit);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of at most 60 is whole")]
    #[expect(clippy::cast_sign_loss, reason = "made positive just before")]
    let second = (hash % f64::from(u16::from(limit) + 1)).abs() as u8;
    second
}

/// JavaScript's ToInt32.
fn int32(number: f64) -> i32 {
    const TWO_32: f64 = 4_294_967_296.0;
    #[expect(clippy::cast_possible_truncation, reason = "below 2^32 by the remainder")]
    #[expect(clippy::cast_sign_loss, reason = "the remainder is taken towards 0 to infinity")]
    let low = number.rem_euclid(TWO_32) as u64;
    u32::try_from(low).unwrap_or_default().cast_signed()
}

/// # Errors
/// What is wrong with it, for people.
pub(super) fn parse(text: &str, second: u8) -> Result<Pattern, String> {
    let text = replace_names(text)?;
    let mut fields: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    if fields.len() == 5 {
        fields.insert(0, second.to_string());
    }
    let [seconds, minutes, hours, days, months, weekdays] = fields.as_slice() else {
        return Err("it must have five fields, or six with seconds first".to_owned());
    };
    let fields = [seconds, minutes, hours, days, months, weekdays];
    let mut sets = [0_u64; 6];
    for ((set, field), (low, high)) in sets.iter_mut().zip(fields).zip(BOUNDS) {
        *set = read_field(field, low, high)?;
    }
    let [seconds, minutes, hours, of_month, months, weekdays] = sets;
    let of_month = fixed_days(of_month, months);
    let both = match (of_month.count_ones() == 31, weekdays.count_ones() == 7) {
        (true, true) => Both::Free,
        (false, true) => Both::OfMonth,
        (true, false) => Both::Weekday,
        (false, false) => Both::Either,
    };
    let narrow = |set| u32::try_from(set).unwrap_or_default();
    let every = |day: u32| if weekdays >> day & 1 == 1 { EVERY } else { 0 };
    Ok(Pattern {
        seconds,
        minutes,
        hours: narrow(hours),
        months: u16::try_from(months << 1).unwrap_or_default(),
        days: Days {
            of_month: narrow(of_month),
            nearest: 0,
            last: None,
            weekdays: [every(0), every(1), every(2), every(3), every(4), every(5), every(6)],
            both,
        },
        years: None,
    })
}

/// Letters, three at a time, must be names; each becomes its number.
fn replace_names(text: &str) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphabetic()) {
        let (before, from) = rest.split_at(start);
        let letters = from.bytes().take(3).take_while(u8::is_ascii_alphabetic).count();
        let (name, after) = from.split_at(letters);
        let known = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, number) = known.ok_or_else(|| format!("`{name}` is no name of a month or day"))?;
        replaced.push_str(before);
        replaced.push_str(&number.to_string());
        rest = after;
    }
    replaced.push_str(rest);
    Ok(replaced)
}

fn read_field(field: &str, low: u32, high: u32) -> Result<u64, String> {
    field.split(',').try_fold(0, |set, part| Ok(set | read_part(part, low, high)?))
}

/// `a`, `a-b`, `*`, each with `/step`. A range up to 0 is its first value, as that engine has it.
fn read_part(part: &str, low: u32, high: u32) -> Result<u64, String> {
    let bad = || format!("`{part}` cannot be read");
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(number(step).ok_or_else(bad)?)),
        None => (part, None),
    };
    if step == Some(0) && part.ends_with("/0") {
        return Err(format!("`{part}` has a step of 0"));
    }
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (low, Some(high)),
        Some((first, last)) => {
            (number(first).ok_or_else(bad)?, Some(number(last).ok_or_else(bad)?))
        }
        None => (number(range).ok_or_else(bad)?, None),
    };
    let last = last.filter(|last| *last != 0);
    if last.is_some_and(|last| first > last) {
        return Err(format!("`{part}` goes backwards"));
    }
    if first < low || last.unwrap_or(first) > high {
        return Err(format!("`{part}` is out of range {low}-{high}"));
    }
    let last = last.unwrap_or(if step.is_some() { high } else { first });
    let step = step.unwrap_or(1).max(1);
    let values = (first..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    Ok(values.fold(0, |set, value| set | 1 << value))
}

/// Digits and nothing else; what is too large for any field stays too large.
fn number(digits: &str) -> Option<u32> {
    let only = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    only.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Where no chosen month has any chosen day, each day is taken modulo the last month's length.
fn fixed_days(days: u64, months: u64) -> u64 {
    let chosen = || (0..12).filter(|month| months >> month & 1 == 1);
    let length = |month: usize| LONGEST.get(month).copied().unwrap_or(31);
    let first_day = days.trailing_zeros();
    if chosen().any(|month| first_day <= length(month)) {
        return days;
    }
    let length = chosen().next_back().map_or(31, length);
    (1..=31_u32)
        .filter(|day| days >> day & 1 == 1)
        .fold(0, |set, day| set | 1 << if day > length { day % length } else { day })
}
