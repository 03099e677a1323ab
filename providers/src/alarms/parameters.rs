//! Parameters of an alarm: OpenWhisk's by their names, and ours.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use chrono_tz::Tz;
use evoke_feeds::{Fields, WhenEnded};
use serde_json::{Map, Value, json};

use super::{
    cron::{Cron, CronError, Dialect, Gap, Repeat, jitter_second},
    schedule::{DEFAULT_LIMIT, MAX_LIMIT, Misfire, Overlap},
};

/// Shortest period. Unit: milliseconds.
pub const MIN_PERIOD_MS: u64 = 10;
/// Longest period. Unit: milliseconds.
pub const MAX_PERIOD_MS: u64 = 366 * 24 * 3_600_000;
/// Where OpenWhisk's interval begins without `startDate`, after now. Unit: milliseconds.
pub(super) const INTERVAL_DELAY_MS: u64 = 30_000;
/// Largest second of OpenWhisk's jitter.
const MAX_JITTER: u8 = 59;

/// Parameters of an alarm, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// Where its ticks are.
    pub asked: Asked,
    /// No tick before this. Unit: epoch milliseconds.
    pub start_ms: Option<u64>,
    /// No tick after this. Unit: epoch milliseconds.
    pub stop_ms: Option<u64>,
    /// The feed ends after so many ticks.
    pub most: Option<u64>,
    /// What becomes of missed ticks.
    pub misfire: Misfire,
    /// How many missed ticks are made up at most.
    pub limit: u64,
    /// A tick older than this is not made up. Unit: milliseconds.
    pub deadline_ms: Option<u64>,
    /// What becomes of a tick while a former one is being delivered.
    pub overlap: Overlap,
    /// Members that each event's data has besides its own.
    pub payload: Map<String, Value>,
    /// What is deleted after the tick of a single moment.
    pub when_ended: WhenEnded,
}

/// Where ticks are asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// At equal distances.
    Every {
        /// Distance of two ticks. Unit: milliseconds.
        period_ms: u64,
        /// First tick where no start is given, from the moment of creation. Unit: milliseconds.
        delay_ms: u64,
    },
    /// Where a pattern of wall time matches.
    Cron(Asking),
    /// At one moment.
    Once {
        /// Unit: epoch milliseconds.
        at_ms: u64,
    },
}

/// A pattern of wall time with all that it is read by.
#[derive(Clone, Debug, PartialEq)]
pub struct Asking {
    cron: Cron,
    /// What is jittered: the same pattern at the second that a feed's name gives.
    jittered: Option<Jittered>,
    /// As it was asked for.
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Jittered {
    pattern: String,
    zone: Tz,
    limit: u8,
}

// === impl Parameters ===

impl Parameters {
    /// Reads all of them; every mistake is noted.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let asked = read_asked(fields);
        let want = "an RFC 3339 time, a date or epoch milliseconds";
        let start_ms = fields.optional_with("startDate", want, read_date);
        let stop_ms = fields.optional_with("stopDate", want, read_date);
        if let (Some(start), Some(stop)) = (start_ms, stop_ms)
            && stop <= start
        {
            fields.mistake("`stopDate` must be later than `startDate`");
        }
        if fields.has("date") && (fields.has("startDate") || fields.has("stopDate")) {
            fields.mistake("`date` has neither `startDate` nor `stopDate`");
        }
        let want = "a whole number; -1 or 0 is without limit";
        let most = fields.optional_with("maxTriggers", want, read_most).flatten();
        let misfire = fields.optional("misfire", "`once`, `all` or `skip`").unwrap_or_default();
        let want = "a whole number from 1 to 50000";
        let limit = fields.optional_with("misfireLimit", want, |value| {
            value.as_u64().filter(|limit| (1..=MAX_LIMIT).contains(limit))
        });
        let overlap = fields.optional("overlap", "`allow`, `skip` or `queue`").unwrap_or_default();
        let want = "a duration of 10ms to 366 days, like `5m`";
        let deadline_ms = fields
            .optional_with("misfireDeadline", want, |value| value.as_str().and_then(duration_ms));
        let payload = fields
            .optional_with("trigger_payload", "a JSON object or text", read_payload)
            .unwrap_or_default();
        let want = "`false`, `true` or `rules`";
        let when_ended = fields.optional_with("deleteAfterFire", want, read_deletion);
        if when_ended.is_some() && !fields.has("date") {
            fields.mistake("`deleteAfterFire` needs `date`");
        }
        Some(Self {
            asked: asked?,
            start_ms,
            stop_ms,
            most,
            misfire,
            limit: limit.unwrap_or(DEFAULT_LIMIT),
            deadline_ms,
            overlap,
            payload,
            when_ended: when_ended.unwrap_or_default(),
        })
    }

    /// The schedule as text: another text, another schedule.
    #[must_use]
    pub fn schedule_text(&self) -> String {
        let asked = match &self.asked {
            Asked::Every { period_ms, .. } => format!("every {period_ms}"),
            Asked::Cron(asking) => format!("cron {}", asking.text),
            Asked::Once { at_ms } => format!("once {at_ms}"),
        };
        match self.start_ms {
            Some(start_ms) => format!("{asked} from {start_ms}"),
            None => asked,
        }
    }
}

// === impl Asking ===

impl Asking {
    /// The pattern of a feed of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> Cron {
        let jittered = self.jittered.as_ref().and_then(|jittered| {
            let second = jitter_second(name, jittered.limit);
            Cron::openwhisk(&jittered.pattern, jittered.zone, second).ok()
        });
        jittered.unwrap_or_else(|| self.cron.clone())
    }
}

fn read_asked(fields: &mut Fields<'_>) -> Option<Asked> {
    let ways = ["every", "minutes", "cron", "date"];
    let given: Vec<_> = ways.into_iter().filter(|way| fields.has(way)).collect();
    match given.as_slice() {
        [] => fields.mistake("`every` (like `1s`), `minutes`, `cron` or `date` is missing"),
        [_] => {}
        several => fields.mistake(format!("`{}` exclude each other", several.join("` and `"))),
    }
    let cron = read_cron(fields);
    let want = "an RFC 3339 time, a date or epoch milliseconds";
    let date = fields.optional_with("date", want, read_date);
    let every = fields.optional_with(
        "every",
        "a duration of 10ms to 366 days, like `500ms`, `1s`, `5m` or `2h`",
        |value| value.as_str().and_then(duration_ms),
    );
    let minutes = fields.optional_with("minutes", "a whole number from 1 to 527040", read_minutes);
    let every = every.map(|ms| Asked::Every { period_ms: ms, delay_ms: ms });
    let minutes = minutes.map(|ms| Asked::Every { period_ms: ms, delay_ms: INTERVAL_DELAY_MS });
    let once = date.map(|at_ms| Asked::Once { at_ms });
    every.or(minutes).or(cron.map(Asked::Cron)).or(once)
}

fn read_cron(fields: &mut Fields<'_>) -> Option<Asking> {
    let pattern = fields.optional::<String>("cron", "text, like `0 9 * * mon-fri`");
    let want = "a time zone, like `Europe/Berlin`";
    let zone = fields
        .optional_with("timezone", want, |value| value.as_str()?.parse::<Tz>().ok())
        .unwrap_or(Tz::UTC);
    let dialect: Dialect =
        fields.optional("dialect", "`standard` or `openwhisk`").unwrap_or_default();
    let gap: Gap = fields.optional("gap", "`first` or `skip`").unwrap_or_default();
    let repeat: Repeat = fields.optional("repeat", "`once` or `twice`").unwrap_or_default();
    let limit = fields
        .optional_with("jitter", "a whole number of seconds, up to 59", |value| {
            u8::try_from(value.as_u64()?).ok().filter(|limit| *limit <= MAX_JITTER)
        })
        .unwrap_or(0);
    let strict = fields.optional_with("strict", "true or false", read_flag).unwrap_or_default();
    for name in ["timezone", "dialect", "gap", "repeat", "jitter", "strict"] {
        if fields.has(name) && !fields.has("cron") {
            fields.mistake(format!("`{name}` needs `cron`"));
        }
    }
    if dialect == Dialect::OpenWhisk && (fields.has("gap") || fields.has("repeat")) {
        fields.mistake("`gap` and `repeat` are of the dialect `standard`");
    }
    if dialect == Dialect::Standard && (fields.has("jitter") || fields.has("strict")) {
        fields.mistake("`jitter` and `strict` are of the dialect `openwhisk`");
    }
    let pattern = pattern?;
    let cron: Result<Cron, CronError> = match dialect {
        Dialect::Standard => Cron::standard(&pattern, zone, gap, repeat),
        Dialect::OpenWhisk => Cron::openwhisk(&pattern, zone, 0),
    };
    let cron = match cron {
        Ok(cron) => cron,
        Err(error) => {
            fields.mistake(format!("`cron`: {error}"));
            return None;
        }
    };
    // Only what has no seconds of its own is moved within its minute.
    let is_moved = limit > 0 && !strict && pattern.split_whitespace().count() == 5;
    let moved_by = if is_moved { limit } else { 0 };
    let text = format!("{pattern} {zone} {dialect:?} {gap:?} {repeat:?} {moved_by}");
    let jittered = is_moved.then_some(Jittered { pattern, zone, limit });
    Some(Asking { cron, jittered, text })
}

fn read_deletion(value: &Value) -> Option<WhenEnded> {
    match value {
        Value::Bool(false) => Some(WhenEnded::Keep),
        Value::Bool(true) => Some(WhenEnded::DeleteTrigger),
        Value::String(text) => match text.to_lowercase().as_str() {
            "false" => Some(WhenEnded::Keep),
            "true" => Some(WhenEnded::DeleteTrigger),
            "rules" => Some(WhenEnded::DeleteTriggerAndRules),
            _ => None,
        },
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// As OpenWhisk takes it: also as text.
fn read_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.trim().to_lowercase().parse().ok(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn read_most(value: &Value) -> Option<Option<u64>> {
    let count = match value {
        Value::String(text) => text.trim().parse::<i64>().ok()?,
        other => other.as_i64()?,
    };
    match count {
        -1 | 0 => Some(None),
        count => u64::try_from(count).ok().map(Some),
    }
}

fn in_bounds(ms: u64) -> Option<u64> {
    (MIN_PERIOD_MS..=MAX_PERIOD_MS).contains(&ms).then_some(ms)
}

/// `500ms`, `1s`, `5m`, `2h`: a whole number and its unit.
fn duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit_ms = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    in_bounds(number.parse::<u64>().ok()?.checked_mul(unit_ms)?)
}

/// A number, or the text of one, as OpenWhisk takes it.
pub(super) fn read_minutes(value: &Value) -> Option<u64> {
    let minutes = match value {
        Value::String(text) => text.trim().parse::<u64>().ok()?,
        other => other.as_u64()?,
    };
    in_bounds(minutes.checked_mul(60_000)?)
}

pub(super) fn read_date(value: &Value) -> Option<u64> {
    let ms = match value {
        Value::String(text) => date_ms(text.trim())?,
        other => other.as_i64()?,
    };
    u64::try_from(ms).ok()
}

/// RFC 3339, RFC 2822 as JavaScript's `toUTCString` has it, a time without zone, which is UTC, or
/// a day.
fn date_ms(text: &str) -> Option<i64> {
    let zoned = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text));
    if let Ok(time) = zoned {
        return Some(time.timestamp_millis());
    }
    let plain = text.parse::<NaiveDateTime>().ok();
    let plain = plain.or_else(|| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0));
    Some(plain?.and_utc().timestamp_millis())
}

/// An object as it is, text as `{"payload": text}`, as OpenWhisk has it.
pub(super) fn read_payload(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members.clone()),
        Value::String(text) if text.is_empty() => Some(Map::new()),
        Value::String(_) => json!({ "payload": value }).as_object().cloned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, ms) in
            [("1s", 1_000), ("500ms", 500), ("5m", 300_000), ("2h", 7_200_000), (" 3 s ", 3_000)]
        {
            assert_eq!(duration_ms(text), Some(ms), "{text}");
        }
        for bad in
            ["", "s", "1", "1d", "-1s", "1.5s", "1sec", "0s", "9ms", "9000h", "99999999999999999h"]
        {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_times_days_or_milliseconds() {
        for (value, ms) in [
            (json!("1970-01-01T00:00:01Z"), 1_000),
            (json!("1970-01-01T01:00:00.5+01:00"), 500),
            (json!("1970-01-02"), 86_400_000),
            (json!("1970-01-02T00:00:01"), 86_401_000),
            (json!("Fri, 02 Jan 1970 00:00:00 GMT"), 86_400_000),
            (json!(1234), 1_234),
        ] {
            assert_eq!(read_date(&value), Some(ms), "{value}");
        }
        for bad in [json!("1234"), json!("soon"), json!(-1), json!(1.5), json!(true)] {
            assert_eq!(read_date(&bad), None, "{bad}");
        }
    }
}
