//! Parameters of an alarm: OpenWhisk's `interval` and our `every`.

use chrono::{DateTime, NaiveDate};
use evoke_feeds::Fields;
use serde_json::{Map, Value, json};

use super::schedule::Misfire;

/// Shortest period. Unit: milliseconds.
pub const MIN_PERIOD_MS: u64 = 10;
/// Longest period. Unit: milliseconds.
pub const MAX_PERIOD_MS: u64 = 366 * 24 * 3_600_000;
/// Where OpenWhisk's interval begins without `startDate`, after now. Unit: milliseconds.
const INTERVAL_DELAY_MS: u64 = 30_000;

/// Parameters of an alarm, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// Distance of two ticks. Unit: milliseconds.
    pub period_ms: u64,
    /// First tick. Unit: epoch milliseconds.
    pub start_ms: Option<u64>,
    /// First tick where no start is given, from the moment of creation. Unit: milliseconds.
    pub delay_ms: u64,
    /// No tick after this. Unit: epoch milliseconds.
    pub stop_ms: Option<u64>,
    /// What becomes of missed ticks.
    pub misfire: Misfire,
    /// Members that each event's data has besides its own.
    pub payload: Map<String, Value>,
}

impl Parameters {
    /// Reads `every` or `minutes`, `startDate`, `stopDate`, `misfire` and `trigger_payload`.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let period = read_period(fields);
        let want = "an RFC 3339 time, a date or epoch milliseconds";
        let start_ms = fields.optional_with("startDate", want, read_date);
        let stop_ms = fields.optional_with("stopDate", want, read_date);
        if let (Some(start), Some(stop)) = (start_ms, stop_ms)
            && stop <= start
        {
            fields.mistake("`stopDate` must be later than `startDate`");
        }
        let misfire = fields.optional("misfire", "`once`, `all` or `skip`").unwrap_or_default();
        let payload = fields
            .optional_with("trigger_payload", "a JSON object or text", read_payload)
            .unwrap_or_default();
        let (period_ms, delay_ms) = period?;
        Some(Self { period_ms, start_ms, delay_ms, stop_ms, misfire, payload })
    }
}

/// The period, and when the first tick is where no start is given.
fn read_period(fields: &mut Fields<'_>) -> Option<(u64, u64)> {
    let both = fields.has("every") && fields.has("minutes");
    let neither = !fields.has("every") && !fields.has("minutes");
    let every = fields.optional_with(
        "every",
        "a duration of 10ms to 366 days, like `500ms`, `1s`, `5m` or `2h`",
        |value| value.as_str().and_then(duration_ms),
    );
    let minutes = fields.optional_with("minutes", "a whole number from 1 to 527040", read_minutes);
    if both {
        fields.mistake("`every` and `minutes` exclude each other");
    }
    if neither {
        fields.mistake("`every` (like `1s`) or `minutes` is missing");
    }
    every.map(|ms| (ms, ms)).or(minutes.map(|ms| (ms, INTERVAL_DELAY_MS)))
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
fn read_minutes(value: &Value) -> Option<u64> {
    let minutes = match value {
        Value::String(text) => text.trim().parse::<u64>().ok()?,
        other => other.as_u64()?,
    };
    in_bounds(minutes.checked_mul(60_000)?)
}

fn read_date(value: &Value) -> Option<u64> {
    let ms = match value {
        Value::String(text) => match DateTime::parse_from_rfc3339(text.trim()) {
            Ok(time) => time.timestamp_millis(),
            Err(_no_time) => text
                .trim()
                .parse::<NaiveDate>()
                .ok()?
                .and_hms_opt(0, 0, 0)?
                .and_utc()
                .timestamp_millis(),
        },
        other => other.as_i64()?,
    };
    u64::try_from(ms).ok()
}

/// An object as it is, text as `{"payload": text}`, as OpenWhisk has it.
fn read_payload(value: &Value) -> Option<Map<String, Value>> {
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
            (json!(1234), 1_234),
        ] {
            assert_eq!(read_date(&value), Some(ms), "{value}");
        }
        for bad in [json!("1234"), json!("soon"), json!(-1), json!(1.5), json!(true)] {
            assert_eq!(read_date(&bad), None, "{bad}");
        }
    }
}
