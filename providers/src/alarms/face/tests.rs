//! What OpenWhisk's clients ask for, as parameters of the provider.

use evoke_feeds::{Registry, WhenEnded, conformance::TestClock};

use super::*;

const NOW: i64 = 1_700_000_000_000;
const SOON: u64 = 1_700_000_060_000;
const LATER: u64 = 1_700_000_600_000;

fn action(kind: Kind) -> AlarmAction {
    AlarmAction { kind, clock: TestClock::at(NOW) }
}

fn members(value: Value) -> Members {
    serde_json::from_value(value).unwrap()
}

fn made(kind: Kind, asked: Value) -> Members {
    let made = action(kind).create(&members(asked)).unwrap();
    Registry::new().with(Alarms::default()).check("alarms", &made).unwrap();
    made
}

fn refused(kind: Kind, asked: Value) -> String {
    let refusal = action(kind).create(&members(asked.clone())).expect_err(&asked.to_string());
    assert_eq!(refusal.status, 400);
    refusal.message
}

#[test]
fn c1_each_kind_is_made_and_read_as_it_was_asked_for() {
    let alarm = made(
        Kind::Alarm,
        json!({"cron": "*/5 * * * *", "trigger_payload": "hi", "strict": "TRUE",
            "timezone": "Europe/Berlin", "startDate": SOON, "stopDate": LATER,
            "limitCronFields": false}),
    );
    assert_eq!(
        Value::Object(action(Kind::Interval).config(&alarm)),
        json!({"payload": {"payload": "hi"}, "strict": true, "cron": "*/5 * * * *",
            "timezone": "Europe/Berlin", "startDate": SOON, "stopDate": LATER,
            "dialect": "openwhisk"})
    );
    let interval = made(Kind::Interval, json!({"minutes": "3", "isInterval": true}));
    assert_eq!(
        Value::Object(action(Kind::Interval).config(&interval)),
        json!({"payload": {}, "strict": false, "minutes": "3", "startDate": NOW + 30_000})
    );
    let once = made(Kind::Once, json!({"date": "2023-11-14T22:20:00Z", "deleteAfterFire": true}));
    assert_eq!(
        Value::Object(action(Kind::Alarm).config(&once)),
        json!({"payload": {}, "strict": false, "date": "2023-11-14T22:20:00Z",
            "deleteAfterFire": "true"})
    );
}

#[test]
fn c2_what_is_missing_or_bad_is_said() {
    for (kind, asked, words) in [
        (Kind::Alarm, json!({}), "missing the cron"),
        (Kind::Alarm, json!({"cron": ""}), "missing the cron"),
        (Kind::Alarm, json!({"cron": "* * * *x *"}), "cron pattern [* * * *x *] is not valid"),
        (Kind::Alarm, json!({"cron": "* * * * *", "timezone": "Mars/Base"}), "timezone"),
        (Kind::Alarm, json!({"cron": "* * * * *", "startDate": NOW}), "must be in the future"),
        (
            Kind::Alarm,
            json!({"cron": "* * * * *", "startDate": "1800000000000"}),
            "not a valid Date",
        ),
        (
            Kind::Alarm,
            json!({"cron": "* * * * *", "startDate": LATER, "stopDate": SOON}),
            "greater than the startDate",
        ),
        (
            Kind::Alarm,
            json!({"cron": "* * * * *", "stopDate": LATER, "maxTriggers": 3}),
            "maxTriggers is not allowed",
        ),
        (
            Kind::Alarm,
            json!({"cron": "0 0 1 0 *", "stopDate": LATER}),
            "not until after the stopDate",
        ),
        (Kind::Alarm, json!({"cron": "* * * * *", "trigger_payload": 3}), "trigger_payload"),
        (Kind::Interval, json!({}), "missing the minutes"),
        (Kind::Interval, json!({"minutes": 0}), "missing the minutes"),
        (Kind::Interval, json!({"minutes": -1}), "must be an integer"),
        (Kind::Interval, json!({"minutes": "often"}), "must be an integer"),
        (Kind::Interval, json!({"minutes": 1, "stopDate": NOW}), "must be in the future"),
        (Kind::Once, json!({}), "missing the date"),
        (Kind::Once, json!({"date": NOW - 1}), "must be in the future"),
        (Kind::Once, json!({"date": "tomorrow"}), "not a valid Date"),
        (Kind::Once, json!({"date": SOON, "deleteAfterFire": "later"}), "[false, true, rules]"),
    ] {
        let said = refused(kind, asked.clone());
        assert!(said.contains(words), "{kind:?} {asked}: {said}");
    }
}

/// Patterns that OpenWhisk's web action takes and its provider then gives up on.
#[test]
fn c8_a_pattern_that_would_never_run_is_refused_at_create() {
    for pattern in ["0 0 1 12 *", "0 0 * * 7", "99 * * * *", "5", "* * *", "5-2 * * * *"] {
        let said = refused(Kind::Alarm, json!({"cron": pattern}));
        assert!(said.contains("is not valid"), "{pattern}: {said}");
    }
    made(Kind::Alarm, json!({"cron": "Mon * * * *"}));
    // In the standard dialect months count from 1 and Sunday is 7, too.
    made(Kind::Alarm, json!({"cron": "0 0 1 12 7", "dialect": "standard"}));
}

#[test]
fn c11_what_is_to_be_deleted_after_the_tick() {
    let registry = Registry::new().with(Alarms::default());
    for (asked, wanted) in [
        (json!({"date": SOON}), WhenEnded::Keep),
        (json!({"date": SOON, "deleteAfterFire": "False"}), WhenEnded::Keep),
        (json!({"date": SOON, "deleteAfterFire": true}), WhenEnded::DeleteTrigger),
        (json!({"date": SOON, "deleteAfterFire": "rules"}), WhenEnded::DeleteTriggerAndRules),
    ] {
        let parameters = made(Kind::Once, asked.clone());
        assert_eq!(registry.when_ended("alarms", &parameters), wanted, "{asked}");
    }
}

#[test]
fn an_update_changes_what_it_names_through_any_of_the_three() {
    let interval = made(Kind::Interval, json!({"minutes": 3, "trigger_payload": {"a": 1}}));
    let any = action(Kind::Alarm);
    let after = any.update(&interval, &members(json!({"minutes": 5}))).unwrap();
    assert_eq!(
        Value::Object(after),
        json!({"minutes": 5, "trigger_payload": {"a": 1}, "startDate": NOW + 30_000}),
        "the grid stays"
    );
    let after = any.update(&interval, &members(json!({"trigger_payload": "x"}))).unwrap();
    assert_eq!(after["trigger_payload"], json!({"payload": "x"}));
    for (asked, words) in [
        (json!({}), "no updatable parameters"),
        (json!({"isInterval": true}), "no updatable parameters"),
        (json!({"minutes": "x"}), "must be an integer"),
        (json!({"stopDate": SOON - 40_000}), "greater than the startDate"),
        (json!({"startDate": NOW - 1}), "must be in the future"),
    ] {
        let refusal = any.update(&interval, &members(asked.clone())).unwrap_err();
        assert!(refusal.message.contains(words), "{asked}: {refusal}");
    }
    let once = made(Kind::Once, json!({"date": SOON}));
    let after = any.update(&once, &members(json!({"deleteAfterFire": "RULES"}))).unwrap();
    assert_eq!(after["deleteAfterFire"], json!("rules"));
}
