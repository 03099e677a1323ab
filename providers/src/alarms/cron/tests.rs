//! Cron by tables: the standard dialect in UTC and through daylight saving, OpenWhisk's dialect
//! against what its engine did.

use chrono::{SecondsFormat, Utc};
use proptest::prelude::*;

use super::*;

const NEW_YORK: Tz = chrono_tz::America::New_York;
const LORD_HOWE: Tz = chrono_tz::Australia::Lord_Howe;

fn ms(time: &str) -> u64 {
    let time = DateTime::parse_from_rfc3339(time).unwrap();
    u64::try_from(time.timestamp_millis()).unwrap()
}

fn shown(ms: u64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(i64::try_from(ms).unwrap()).unwrap();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn fires(cron: &Cron, from: &str, count: usize) -> Vec<String> {
    let first = cron.next_after(ms(from));
    std::iter::successors(first, |last| cron.next_after(*last)).take(count).map(shown).collect()
}

fn standard(text: &str, zone: Tz) -> Cron {
    Cron::standard(text, zone, Gap::First, Repeat::Once).unwrap()
}

fn openwhisk(text: &str, zone: Tz) -> Cron {
    Cron::openwhisk(text, zone, 0).unwrap()
}

#[test]
fn the_standard_dialect_by_table() {
    let from = "2024-01-10T10:07:30Z"; // a Wednesday
    for (text, expected) in [
        ("* * * * *", ["2024-01-10T10:08:00Z", "2024-01-10T10:09:00Z"]),
        ("*/20 * * * * *", ["2024-01-10T10:07:40Z", "2024-01-10T10:08:00Z"]),
        ("0 0 12 * * * 2026", ["2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z"]),
        ("0 0 1 1 *", ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]),
        ("0 9 * FEB MON-FRI", ["2024-02-01T09:00:00Z", "2024-02-02T09:00:00Z"]),
        ("0 0 * * 0", ["2024-01-14T00:00:00Z", "2024-01-21T00:00:00Z"]),
        ("0 0 * * 7", ["2024-01-14T00:00:00Z", "2024-01-21T00:00:00Z"]),
        ("0 0 * * SUN", ["2024-01-14T00:00:00Z", "2024-01-21T00:00:00Z"]),
        ("0 0 L * *", ["2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z"]),
        ("0 0 LW * *", ["2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z"]),
        ("0 0 LW 3,6 *", ["2024-03-29T00:00:00Z", "2024-06-28T00:00:00Z"]),
        ("0 0 15W 6,9 *", ["2024-06-14T00:00:00Z", "2024-09-16T00:00:00Z"]),
        ("0 0 1W 6,9 *", ["2024-06-03T00:00:00Z", "2024-09-02T00:00:00Z"]),
        ("0 0 * * MON#2", ["2024-02-12T00:00:00Z", "2024-03-11T00:00:00Z"]),
        ("0 0 * * 5L", ["2024-01-26T00:00:00Z", "2024-02-23T00:00:00Z"]),
        ("0 0 ? * 1", ["2024-01-15T00:00:00Z", "2024-01-22T00:00:00Z"]),
        // both restrict: either is enough, or both with `+`
        ("0 0 13 * FRI", ["2024-01-12T00:00:00Z", "2024-01-13T00:00:00Z"]),
        ("0 0 13 * +FRI", ["2024-09-13T00:00:00Z", "2024-12-13T00:00:00Z"]),
        ("0 0 29 2 *", ["2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"]),
        ("@hourly", ["2024-01-10T11:00:00Z", "2024-01-10T12:00:00Z"]),
        ("@daily", ["2024-01-11T00:00:00Z", "2024-01-12T00:00:00Z"]),
        ("@weekly", ["2024-01-14T00:00:00Z", "2024-01-21T00:00:00Z"]),
        ("@monthly", ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"]),
        ("@yearly", ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]),
    ] {
        assert_eq!(fires(&standard(text, Tz::UTC), from, 2), expected, "{text}");
    }
}

#[test]
fn a_pattern_with_a_last_year_ends() {
    let ends = standard("0 0 0 30-31 12 * 2024", Tz::UTC);
    assert_eq!(
        fires(&ends, "2024-01-01T00:00:00Z", 9),
        ["2024-12-30T00:00:00Z", "2024-12-31T00:00:00Z"]
    );
}

#[test]
fn bad_patterns_are_refused_with_a_reason() {
    for bad in [
        "",
        "5",
        "* * * *",
        "1 2 3 4 5 6 7 8",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-2 * * * *",
        "*/0 * * * *",
        "1,,2 * * * *",
        ", * * * *",
        "x * * * *",
        "@reboot",
        "* * * * MON#6",
        "* * 32W * *",
    ] {
        let refused = Cron::standard(bad, Tz::UTC, Gap::First, Repeat::Once);
        assert!(matches!(refused, Err(CronError::Unreadable { .. })), "{bad}: {refused:?}");
    }
    for never in ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 0 1 1 * 1969"] {
        let refused = Cron::standard(never, Tz::UTC, Gap::First, Repeat::Once);
        assert_eq!(refused, Err(CronError::Never(never.to_owned())));
    }
}

/// Gap rule, repeat rule | pattern | zone | from | the next two ticks. New York misses 02:00 to
/// 03:00 on 2024-03-10 and has 01:00 to 02:00 twice on 2024-11-03; Lord Howe misses 02:00 to 02:30
/// on 2024-10-06 and has 01:30 to 02:00 twice on 2024-04-07.
const DAYLIGHT_SAVING: &str = "
first once | 30 2 * * *    | America/New_York    | 2024-03-10T05:00:00Z | 2024-03-10T07:00:00Z 2024-03-11T06:30:00Z
first once | */15 2 * * *  | America/New_York    | 2024-03-10T05:00:00Z | 2024-03-10T07:00:00Z 2024-03-11T06:00:00Z
first once | 30 2,3 * * *  | America/New_York    | 2024-03-10T05:00:00Z | 2024-03-10T07:00:00Z 2024-03-10T07:30:00Z
first once | 0 2,3 * * *   | America/New_York    | 2024-03-10T05:00:00Z | 2024-03-10T07:00:00Z 2024-03-11T06:00:00Z
first once | 15 2 * * *    | Australia/Lord_Howe | 2024-10-05T13:30:00Z | 2024-10-05T15:30:00Z 2024-10-06T15:15:00Z
first once | 45 2 * * *    | Australia/Lord_Howe | 2024-10-05T13:30:00Z | 2024-10-05T15:45:00Z 2024-10-06T15:45:00Z
skip once  | 30 2 * * *    | America/New_York    | 2024-03-10T05:00:00Z | 2024-03-11T06:30:00Z 2024-03-12T06:30:00Z
skip once  | 15 2 * * *    | Australia/Lord_Howe | 2024-10-05T13:30:00Z | 2024-10-06T15:15:00Z 2024-10-07T15:15:00Z
first once | 30 1 * * *    | America/New_York    | 2024-11-03T04:00:00Z | 2024-11-03T05:30:00Z 2024-11-04T06:30:00Z
first once | */30 1 * * *  | America/New_York    | 2024-11-03T05:10:00Z | 2024-11-03T05:30:00Z 2024-11-04T06:00:00Z
first once | 45 1 * * *    | Australia/Lord_Howe | 2024-04-06T13:00:00Z | 2024-04-06T14:45:00Z 2024-04-07T15:15:00Z
first twice| 30 1 * * *    | America/New_York    | 2024-11-03T04:00:00Z | 2024-11-03T05:30:00Z 2024-11-03T06:30:00Z
first twice| 45 1 * * *    | Australia/Lord_Howe | 2024-04-06T13:00:00Z | 2024-04-06T14:45:00Z 2024-04-06T15:15:00Z
first once | 30 * * * *    | America/New_York    | 2024-03-10T06:00:00Z | 2024-03-10T06:30:00Z 2024-03-10T07:30:00Z
first once | 30 * * * *    | America/New_York    | 2024-11-03T05:00:00Z | 2024-11-03T05:30:00Z 2024-11-03T06:30:00Z
first once | */45 * * * *  | America/New_York    | 2024-11-03T05:30:00Z | 2024-11-03T05:45:00Z 2024-11-03T06:00:00Z
first once | */20 * * * *  | Australia/Lord_Howe | 2024-04-06T14:50:00Z | 2024-04-06T15:10:00Z 2024-04-06T15:30:00Z";

#[test]
fn f26_gap_and_overlap_days_by_the_written_rules() {
    for line in DAYLIGHT_SAVING.lines().skip(1) {
        let [rules, text, zone, from, expected] =
            line.split('|').map(str::trim).collect::<Vec<_>>().try_into().unwrap();
        let gap = if rules.starts_with("first") { Gap::First } else { Gap::Skip };
        let repeat = if rules.ends_with("once") { Repeat::Once } else { Repeat::Twice };
        let cron = Cron::standard(text, zone.parse().unwrap(), gap, repeat).unwrap();
        assert_eq!(fires(&cron, from, 2).join(" "), expected, "{line}");
    }
}

#[test]
fn f26_the_legacy_dialect_skips_the_gap_and_doubles_the_overlap() {
    let skipped = openwhisk("30 2 * * *", NEW_YORK);
    assert_eq!(fires(&skipped, "2024-03-10T05:00:00Z", 1), ["2024-03-11T06:30:00Z"]);
    let doubled = openwhisk("30 1 * * *", NEW_YORK);
    assert_eq!(
        fires(&doubled, "2024-11-03T04:00:00Z", 3),
        ["2024-11-03T05:30:00Z", "2024-11-03T06:30:00Z", "2024-11-04T06:30:00Z"]
    );
    let howe = openwhisk("45 1 * * *", LORD_HOWE);
    assert_eq!(
        fires(&howe, "2024-04-06T13:00:00Z", 2),
        ["2024-04-06T14:45:00Z", "2024-04-06T15:15:00Z"]
    );
}

#[test]
fn c8_the_legacy_dialect_fires_as_its_engine() {
    let from = "2024-01-10T10:07:30Z";
    for (text, expected) in [
        // months from 0
        ("0 0 1 1 *", ["2024-02-01T00:00:00Z", "2025-02-01T00:00:00Z"]),
        ("0 0 1 jan *", ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]),
        ("0 0 1 dec *", ["2024-12-01T00:00:00Z", "2025-12-01T00:00:00Z"]),
        // a name stands for its number in any field
        ("Mon * * * *", ["2024-01-10T11:01:00Z", "2024-01-10T12:01:00Z"]),
        // a step from a single value goes on to the end
        ("5/15 * * * *", ["2024-01-10T10:20:00Z", "2024-01-10T10:35:00Z"]),
        // day of the month or weekday
        ("0 0 13 * 5", ["2024-01-12T00:00:00Z", "2024-01-13T00:00:00Z"]),
        // a day that no chosen month has, modulo the month's length
        ("0 0 30 1 *", ["2024-02-01T00:00:00Z", "2025-02-01T00:00:00Z"]),
        ("0 0 31 1 *", ["2024-02-02T00:00:00Z", "2025-02-02T00:00:00Z"]),
        ("0 0 31 3,5 *", ["2024-04-01T00:00:00Z", "2024-06-01T00:00:00Z"]),
        ("0 0 29 1 *", ["2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"]),
        // seconds first
        ("*/20 * * * * *", ["2024-01-10T10:07:40Z", "2024-01-10T10:08:00Z"]),
        // oddities
        ("*/00 * * * *", ["2024-01-10T10:08:00Z", "2024-01-10T10:09:00Z"]),
        ("5-0 * * * *", ["2024-01-10T11:05:00Z", "2024-01-10T12:05:00Z"]),
        ("7-0/10 * * * *", ["2024-01-10T10:17:00Z", "2024-01-10T10:27:00Z"]),
        ("*/61 * * * *", ["2024-01-10T11:00:00Z", "2024-01-10T12:00:00Z"]),
    ] {
        assert_eq!(fires(&openwhisk(text, Tz::UTC), from, 2), expected, "{text}");
    }
}

#[test]
fn c8_what_the_engine_rejects_is_rejected() {
    for bad in [
        "0 0 1 12 *",
        "0 0 * * 7",
        "99 * * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "5",
        "* * *",
        "",
        "0 0 0 1 1 1 2024",
        "5-2 * * * *",
        "*/0 * * * *",
        "1*/2 * * * *",
        "@daily",
        "? * * * *",
        "0 0 L * *",
        "0 0 15W * *",
        "0 0 * * 1#2",
        "monday * * * *",
        "-1 * * * *",
        "1.5 * * * *",
        "1,,2 * * * *",
        "a * * * *",
        "*5 * * * *",
        "**/2 * * * *",
        "5/ * * * *",
        "/5 * * * *",
        "99999999999 * * * *",
    ] {
        let refused = Cron::openwhisk(bad, Tz::UTC, 0);
        assert!(matches!(refused, Err(CronError::Unreadable { .. })), "{bad}: {refused:?}");
    }
}

#[test]
fn c9_jitter_comes_from_the_name() {
    for (name, limit, second) in [
        ("a", 59, 37),
        ("abc", 59, 54),
        ("periodic", 59, 3),
        ("periodic", 30, 26),
        ("periodic", 10, 3),
        ("myTrigger", 59, 56),
        ("dummyAlarmsTrigger-1589180023133", 59, 11),
        ("日本語", 59, 23),
        ("anything", 0, 0),
    ] {
        assert_eq!(jitter_second(name, limit), second, "{name} {limit}");
    }
    let from = "2024-01-10T10:07:30Z";
    let five = Cron::openwhisk("* * * * *", Tz::UTC, 37).unwrap();
    assert_eq!(fires(&five, from, 2), ["2024-01-10T10:07:37Z", "2024-01-10T10:08:37Z"]);
    let six = Cron::openwhisk("0 * * * * *", Tz::UTC, 37).unwrap();
    assert_eq!(fires(&six, from, 1), ["2024-01-10T10:08:00Z"], "seconds of its own stay");
}

fn any_field(low: u32, high: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (low..=high).prop_map(|value| value.to_string()),
        1 => (1..=high.max(2)).prop_map(|step| format!("*/{step}")),
        1 => (low..=high, low..=high)
            .prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        1 => (low..=high, low..=high).prop_map(|(one, other)| format!("{one},{other}")),
    ]
}

fn any_pattern() -> impl Strategy<Value = String> {
    let day = prop_oneof![
        6 => any_field(1, 31),
        1 => Just("L".to_owned()),
        1 => Just("LW".to_owned()),
        1 => (1..=31_u32).prop_map(|day| format!("{day}W")),
    ];
    let weekday = prop_oneof![
        6 => any_field(0, 7),
        1 => (0..=7_u32, 1..=5_u32).prop_map(|(day, nth)| format!("{day}#{nth}")),
        1 => (0..=7_u32).prop_map(|day| format!("{day}L")),
    ];
    (any_field(0, 59), any_field(0, 59), any_field(0, 23), day, any_field(1, 12), weekday).prop_map(
        |(second, minute, hour, day, month, weekday)| {
            format!("{second} {minute} {hour} {day} {month} {weekday}")
        },
    )
}

proptest! {
    /// Without a zone's changes, the bits say what `croner` itself finds.
    #[test]
    fn in_utc_the_bits_are_croners(text in any_pattern(), from in 0..4_000_000_000_u64) {
        let croner: croner::Cron = text.parse().unwrap();
        let start = DateTime::<Utc>::from_timestamp(from.cast_signed(), 0).unwrap();
        let Ok(cron) = Cron::standard(&text, Tz::UTC, Gap::First, Repeat::Once) else {
            prop_assert!(croner.find_next_occurrence(&start, false).is_err(), "{}", text);
            return Ok(());
        };
        let expected = croner.find_next_occurrence(&start, false).unwrap();
        let next = cron.next_after(from * 1_000).map(|ms| ms / 1_000);
        prop_assert_eq!(next, Some(expected.timestamp().cast_unsigned()), "{}", text);
    }

    /// Skip and twice are the instants whose own wall time matches, no other and none left out.
    #[test]
    fn f26_skip_and_twice_are_the_instants_whose_wall_time_matches(
        minute in any_field(0, 59), hour in any_field(0, 4), zone in prop::sample::select(vec![NEW_YORK, LORD_HOWE]),
        change in prop::sample::select(vec![1_710_054_000_u64, 1_730_613_600, 1_728_142_200, 1_712_415_600]),
        before in 0..6_u64,
    ) {
        let text = format!("{minute} {hour} * * *");
        let cron = Cron::standard(&text, zone, Gap::Skip, Repeat::Twice).unwrap();
        let begin = change - before * 3_600;
        let matches = |second: &u64| {
            let wall = cron.wall(second.cast_signed()).unwrap();
            cron.pattern.at_or_after(wall) == Some(wall)
        };
        let naive: Vec<_> = (begin + 1..begin + 9 * 3_600).filter(matches).collect();
        let first = cron.next_after(begin * 1_000);
        let found: Vec<_> = std::iter::successors(first, |last| cron.next_after(*last))
            .map(|ms| ms / 1_000)
            .take_while(|second| *second < begin + 9 * 3_600)
            .collect();
        prop_assert_eq!(found, naive, "{} {}", text, zone);
    }
}
