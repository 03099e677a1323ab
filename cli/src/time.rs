//! Times as people read and write them.

use chrono::{DateTime, Local, TimeZone as _};

use crate::error::Want;

/// `2026-01-31 13:45:59`, in this machine's zone.
pub(crate) fn date(ms: u64) -> String {
    local(ms).map(|time| time.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// `13:45:59.123`, in this machine's zone.
pub(crate) fn clock(ms: u64) -> String {
    local(ms).map(|time| time.format("%H:%M:%S%.3f").to_string()).unwrap_or_default()
}

/// The newest moment there is. Unit: epoch milliseconds.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0)
}

/// A moment: `10m` (ago), RFC 3339, or epoch milliseconds. For clap.
pub(crate) fn moment(text: &str) -> Result<u64, Want> {
    if let Some(ago) = duration_ms(text) {
        return Ok(now_ms().saturating_sub(ago));
    }
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    DateTime::parse_from_rfc3339(text)
        .ok()
        .and_then(|time| u64::try_from(time.timestamp_millis()).ok())
        .ok_or(Want("`10m` (ago), `2026-01-31T13:45:00Z` or epoch milliseconds"))
}

/// A duration: `500ms`, `10s`, `5m`, `2h`, `1d`, or plain milliseconds. For clap.
pub(crate) fn duration(text: &str) -> Result<u64, Want> {
    let want = Want("a number and a unit: ms, s, m, h or d");
    duration_ms(text).or_else(|| text.parse().ok()).ok_or(want)
}

fn duration_ms(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

fn local(ms: u64) -> Option<DateTime<Local>> {
    Local.timestamp_millis_opt(i64::try_from(ms).ok()?).single()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_durations_are_read() {
        assert_eq!(moment("1970-01-01T00:00:02Z"), Ok(2_000));
        assert_eq!(moment("1234"), Ok(1_234));
        let ago = now_ms() - moment("10m").unwrap();
        assert!((600_000..605_000).contains(&ago), "{ago}");
        assert!(moment("yesterday").is_err());
        assert_eq!(duration("5m"), Ok(300_000));
        assert_eq!(duration("250"), Ok(250));
        assert!(duration("5 parsecs").is_err());
    }
}
