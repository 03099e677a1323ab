//! Alarms for OpenWhisk's clients: `alarm`, `interval` and `once` of `/whisk.system/alarms`.
//!
//! Source: `spec/feeds-and-cloudevents.md` 3.1 to 3.5. Of each alarm its parameters say of which
//! kind it is, so that any of the three actions reads, changes and ends any alarm.

use std::sync::Arc;

use chrono_tz::Tz;
use evoke_feeds::{
    ActionCard, Clock, FeedAction, FeedRefusal, ParameterCard, Provider as _, SystemClock,
};
use serde_json::{Map, Value, json};

use super::{
    Alarms,
    cron::Cron,
    parameters::{INTERVAL_DELAY_MS, read_date, read_minutes, read_payload},
};

/// What the package is for.
pub const PACKAGE: &str = "Fires triggers at times: by a cron pattern, at intervals, or once.";
/// What OpenWhisk's operators bind to their actions, and no alarm needs.
const BOUND: [&str; 3] = ["limitCronFields", "isInterval", "fireOnce"];
/// Members of READ's `config` that are parameters by the same name.
const SHOWN: [&str; 8] =
    ["date", "deleteAfterFire", "minutes", "cron", "timezone", "startDate", "stopDate", "dialect"];

type Members = Map<String, Value>;
type Checked = Result<(), FeedRefusal>;

/// The feed actions of the package `alarms`.
pub fn feed_actions() -> impl Iterator<Item = Arc<dyn FeedAction>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    [Kind::Alarm, Kind::Interval, Kind::Once]
        .into_iter()
        .map(move |kind| Arc::new(AlarmAction { kind, clock: Arc::clone(&clock) }) as _)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Alarm,
    Interval,
    Once,
}

#[derive(Debug)]
struct AlarmAction {
    kind: Kind,
    clock: Arc<dyn Clock>,
}

// === impl AlarmAction ===

impl FeedAction for AlarmAction {
    fn card(&self) -> ActionCard {
        let payload = optional("trigger_payload", "what the trigger is fired with");
        let start = optional("startDate", "no tick before: a time or epoch milliseconds");
        let stop = optional("stopDate", "no tick after: a time or epoch milliseconds");
        let (name, description, parameters) = match self.kind {
            Kind::Alarm => (
                "alarm",
                "Fires a trigger where a cron pattern matches.",
                vec![
                    required("cron", "a pattern, as OpenWhisk reads it: months count from 0"),
                    optional("timezone", "an IANA name"),
                    optional("strict", "at second 0, though `jitter` is given"),
                    optional("maxTriggers", "ends after so many ticks"),
                    payload,
                    start,
                    stop,
                ],
            ),
            Kind::Interval => (
                "interval",
                "Fires a trigger at equal distances.",
                vec![required("minutes", "distance of two ticks"), payload, start, stop],
            ),
            Kind::Once => (
                "once",
                "Fires a trigger at one moment.",
                vec![
                    required("date", "when: a time or epoch milliseconds"),
                    optional("deleteAfterFire", "`false`, `true` (the trigger), or `rules` too"),
                    payload,
                ],
            ),
        };
        ActionCard { package: "alarms", name, description, parameters }
    }

    fn provider(&self) -> &'static str {
        Alarms::NAME
    }

    fn create(&self, asked: &Members) -> Result<Members, FeedRefusal> {
        let mut made = asked.clone();
        made.retain(|name, _| !BOUND.contains(&name.as_str()));
        check_payload(&mut made)?;
        let now_ms = self.clock.now_ms();
        match self.kind {
            Kind::Alarm => check_alarm(&mut made, now_ms)?,
            Kind::Interval => check_interval(&mut made, now_ms)?,
            Kind::Once => check_once(&mut made, now_ms)?,
        }
        Ok(made)
    }

    fn update(&self, present: &Members, asked: &Members) -> Result<Members, FeedRefusal> {
        if asked.keys().all(|name| BOUND.contains(&name.as_str())) {
            return Err(FeedRefusal::bad("no updatable parameters were specified"));
        }
        let mut after = present.clone();
        for (name, value) in asked {
            if value.is_null() || value == "" {
                after.remove(name);
            } else {
                after.insert(name.clone(), value.clone());
            }
        }
        after.retain(|name, _| !BOUND.contains(&name.as_str()));
        check_payload(&mut after)?;
        let now_ms = self.clock.now_ms();
        // What stands since the feed was made may have passed by now.
        for name in ["startDate", "stopDate", "date"] {
            let of = |members: &Members| members.get(name).cloned();
            if of(asked).is_some_and(|value| !value.is_null()) {
                date(&after, name, Some(now_ms))?;
            }
        }
        check_order(&after)?;
        match Kind::of(&after) {
            Kind::Alarm => check_pattern(&after).map(|_cron| ())?,
            Kind::Interval => check_minutes(&after)?,
            Kind::Once => check_deletion(&mut after)?,
        }
        Ok(after)
    }

    fn config(&self, present: &Members) -> Members {
        let payload = present.get("trigger_payload").and_then(read_payload).unwrap_or_default();
        let mut config = Map::from_iter([
            ("payload".to_owned(), payload.into()),
            ("strict".to_owned(), json!(present.get("strict").is_some_and(is_true))),
        ]);
        let shown = present.iter().filter(|(name, _)| SHOWN.contains(&name.as_str()));
        config.extend(shown.map(|(name, value)| (name.clone(), value.clone())));
        if Kind::of(present) == Kind::Once {
            config.entry("deleteAfterFire").or_insert_with(|| "false".into());
        }
        config
    }
}

impl Kind {
    /// Of the alarm that has these parameters.
    fn of(parameters: &Members) -> Self {
        if parameters.contains_key("date") {
            Self::Once
        } else if parameters.contains_key("minutes") {
            Self::Interval
        } else {
            Self::Alarm
        }
    }
}

fn check_alarm(made: &mut Members, now_ms: u64) -> Checked {
    if !is_given(made, "cron") {
        return Err(FeedRefusal::bad("alarms trigger feed is missing the cron parameter"));
    }
    made.entry("dialect").or_insert_with(|| "openwhisk".into());
    let cron = check_pattern(made)?;
    date(made, "startDate", Some(now_ms))?;
    let stop_ms = date(made, "stopDate", Some(now_ms))?;
    check_order(made)?;
    if let Some(stop_ms) = stop_ms {
        if made.get("maxTriggers").is_some_and(|most| most != &json!(-1)) {
            return Err(FeedRefusal::bad(
                "maxTriggers is not allowed when the stopDate parameter is specified",
            ));
        }
        if cron.and_then(|cron| cron.next_after(now_ms)).is_some_and(|next| next > stop_ms) {
            return Err(FeedRefusal::bad(
                "the next scheduled trigger fire is not until after the stopDate",
            ));
        }
    }
    Ok(())
}

fn check_interval(made: &mut Members, now_ms: u64) -> Checked {
    check_minutes(made)?;
    if date(made, "startDate", Some(now_ms))?.is_none() {
        // Kept, so that a later change of `minutes` alone stays on this grid.
        made.insert("startDate".to_owned(), (now_ms + INTERVAL_DELAY_MS).into());
    }
    date(made, "stopDate", Some(now_ms))?;
    check_order(made)
}

fn check_once(made: &mut Members, now_ms: u64) -> Checked {
    if date(made, "date", Some(now_ms))?.is_none() {
        return Err(FeedRefusal::bad("alarms once trigger feed is missing the date parameter"));
    }
    check_deletion(made)
}

fn check_payload(made: &mut Members) -> Checked {
    let Some(given) = made.get("trigger_payload") else { return Ok(()) };
    if given.is_null() {
        made.remove("trigger_payload");
        return Ok(());
    }
    let payload = read_payload(given)
        .ok_or_else(|| FeedRefusal::bad("trigger_payload parameter must be an object or text"))?;
    made.insert("trigger_payload".to_owned(), payload.into());
    Ok(())
}

/// The pattern as OpenWhisk reads it; none where another dialect was asked for, whose mistakes the
/// provider tells.
fn check_pattern(parameters: &Members) -> Result<Option<Cron>, FeedRefusal> {
    let zone = match parameters.get("timezone") {
        None => Tz::UTC,
        Some(name) => name
            .as_str()
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| FeedRefusal::bad(format!("timezone {name} is not valid")))?,
    };
    if parameters.get("dialect").is_some_and(|dialect| dialect != "openwhisk") {
        return Ok(None);
    }
    let pattern = parameters.get("cron").and_then(Value::as_str).unwrap_or_default();
    let cron = Cron::openwhisk(pattern, zone, 0);
    cron.map(Some).map_err(|error| {
        FeedRefusal::bad(format!("cron pattern [{pattern}] is not valid: {error}"))
    })
}

fn check_minutes(parameters: &Members) -> Checked {
    if !is_given(parameters, "minutes") {
        return Err(FeedRefusal::bad("interval trigger feed is missing the minutes parameter"));
    }
    match parameters.get("minutes").and_then(read_minutes) {
        Some(_) => Ok(()),
        None => Err(FeedRefusal::bad("the minutes parameter must be an integer from 1 to 527040")),
    }
}

fn check_deletion(made: &mut Members) -> Checked {
    let Some(given) = made.get("deleteAfterFire") else { return Ok(()) };
    let word = match given {
        Value::Bool(_) => given.to_string(),
        other => other.as_str().unwrap_or_default().to_lowercase(),
    };
    if !["false", "true", "rules"].contains(&word.as_str()) {
        return Err(FeedRefusal::bad(
            "deleteAfterFire parameter must be one of [false, true, rules].",
        ));
    }
    made.insert("deleteAfterFire".to_owned(), word.into());
    Ok(())
}

fn check_order(parameters: &Members) -> Checked {
    let dates = (date(parameters, "startDate", None)?, date(parameters, "stopDate", None)?);
    match dates {
        (Some(start), Some(stop)) if stop <= start => {
            Err(FeedRefusal::bad("stopDate parameter must be greater than the startDate parameter"))
        }
        _in_order => Ok(()),
    }
}

/// A date's epoch milliseconds, which must be later than `after_ms`.
fn date(
    parameters: &Members,
    name: &str,
    after_ms: Option<u64>,
) -> Result<Option<u64>, FeedRefusal> {
    let Some(given) = parameters.get(name).filter(|_| is_given(parameters, name)) else {
        return Ok(None);
    };
    let bad = |what: &str| FeedRefusal::bad(format!("{name} parameter [{given}] {what}"));
    let ms = read_date(given).ok_or_else(|| bad("is not a valid Date"))?;
    if after_ms.is_some_and(|after_ms| ms <= after_ms) {
        return Err(bad("must be in the future"));
    }
    Ok(Some(ms))
}

fn is_given(parameters: &Members, name: &str) -> bool {
    parameters.get(name).is_some_and(|value| !value.is_null() && value != "" && value != &json!(0))
}

fn is_true(value: &Value) -> bool {
    value == &Value::Bool(true)
        || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

fn required(name: &'static str, description: &'static str) -> ParameterCard {
    ParameterCard { name, required: true, description }
}

fn optional(name: &'static str, description: &'static str) -> ParameterCard {
    ParameterCard { name, required: false, description }
}

#[cfg(test)]
mod tests;
