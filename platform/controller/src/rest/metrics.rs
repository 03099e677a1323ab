//! `GET /metrics`: how the caller's feeds are, in Prometheus' text format.
//!
//! Names and units are listed in `docs/metrics.md`.

use std::{fmt::Write as _, sync::Arc};

use axum::{Router, response::Response, routing::get};
use evoke_feeds::{FeedState, FeedStatus};
use evoke_schemas::Feed;
use serde_json::Value;

use super::{answer, at::At, error::ApiError};
use crate::hub::Hub;

/// Longest text of a reason. Unit: characters.
const MAX_REASON: usize = 200;
const STATES: [(FeedState, &str); 6] = [
    (FeedState::Connecting, "connecting"),
    (FeedState::Running, "running"),
    (FeedState::Paused, "paused"),
    (FeedState::Waiting, "waiting"),
    (FeedState::Failed, "failed"),
    (FeedState::Finished, "finished"),
];

/// A name, what it says, and the lines of one feed.
type Family = (&'static str, &'static str, fn(&Shown<'_>) -> Vec<(Labels, f64)>);
/// More labels of a line.
type Labels = Vec<(&'static str, String)>;

const FAMILIES: [Family; 7] = [
    ("evoke_feed_state", "1 for the state that the feed is in.", state),
    ("evoke_feed_reason", "1, with why the feed is in its state.", reason),
    ("evoke_feed_generation", "Generation of the configuration at work.", generation),
    ("evoke_feed_lag", "Records, changes or ticks that the source is ahead.", lag),
    ("evoke_feed_partition_lag", "The same of one partition of the source.", partition_lag),
    (
        "evoke_feed_last_event_timestamp_seconds",
        "When the hub last took events of the feed.",
        last_event,
    ),
    ("evoke_feed_next_try_timestamp_seconds", "When the source is tried again.", next_try),
];

struct Shown<'a> {
    feed: &'a Feed,
    status: &'a FeedStatus,
}

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(at: At) -> Result<Response, ApiError> {
    let feeds = at.hub.parts.feeds.feeds(Some(&at.caller.namespace)).await?;
    let statuses: Vec<_> =
        feeds.iter().map(|feed| at.hub.parts.feed_control.status(feed.uid)).collect();
    let shown = feeds.iter().zip(&statuses);
    let shown = shown.filter_map(|(feed, status)| Some(Shown { feed, status: status.as_ref()? }));
    Ok(answer::metrics(text(&shown.collect::<Vec<_>>())))
}

fn text(feeds: &[Shown<'_>]) -> String {
    let mut text = String::new();
    for (name, help, lines) in FAMILIES {
        push(&mut text, format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for shown in feeds {
            for (labels, value) in lines(shown) {
                let feed = shown.feed;
                push(
                    &mut text,
                    format_args!(
                        "{name}{{namespace=\"{}\",feed=\"{}\",provider=\"{}\",trigger=\"{}\"",
                        escaped(feed.namespace.as_str()),
                        escaped(feed.name.as_str()),
                        escaped(&feed.provider),
                        escaped(feed.trigger.as_str()),
                    ),
                );
                for (label, said) in labels {
                    push(&mut text, format_args!(",{label}=\"{}\"", escaped(&said)));
                }
                push(&mut text, format_args!("}} {value}\n"));
            }
        }
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _always = text.write_fmt(more).is_ok();
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn state(shown: &Shown<'_>) -> Vec<(Labels, f64)> {
    let one = |(state, name): (FeedState, &str)| {
        let is = if shown.status.state == state { 1.0 } else { 0.0 };
        (vec![("state", name.to_owned())], is)
    };
    STATES.into_iter().map(one).collect()
}

fn reason(shown: &Shown<'_>) -> Vec<(Labels, f64)> {
    let text = shown.status.reason.iter();
    text.map(|reason| (vec![("reason", reason.chars().take(MAX_REASON).collect())], 1.0)).collect()
}

fn generation(shown: &Shown<'_>) -> Vec<(Labels, f64)> {
    vec![(Labels::new(), number(shown.status.generation))]
}

fn lag(shown: &Shown<'_>) -> Vec<(Labels, f64)> {
    let total = shown.status.lag.as_ref().and_then(|lag| lag.get("total")?.as_f64());
    total.map(|total| (Labels::new(), total)).into_iter().collect()
}

fn partition_lag(shown: &Shown<'_>) -> Vec<(Labels, f64)> {
    let partitions = shown.status.lag.as_ref().and_then(|lag| lag.get("partitions")?.as_object());
    let one = |(partition, behind): (&String, &Value)| {
        Some((vec![("partition", partition.clone())], behind.as_f64()?))
    };
    partitions.into_iter().flatten().filter_map(one).collect()
}

fn last_event(shown: &Shown<'_>) -> Vec<(Labels, f64)> {
    seconds(shown.status.last_event)
}

fn next_try(shown: &Shown<'_>) -> Vec<(Labels, f64)> {
    seconds(shown.status.next_try)
}

fn seconds(at_ms: Option<u64>) -> Vec<(Labels, f64)> {
    at_ms.map(|at_ms| (Labels::new(), number(at_ms) / 1_000.0)).into_iter().collect()
}

#[expect(clippy::cast_precision_loss, reason = "the format has no other numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use evoke_schemas::{EntityName, EntityUid, KeyValues, Namespace};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_feed_tells_its_state_reason_and_lag() {
        let feed = Feed {
            namespace: Namespace::new("guest").unwrap(),
            name: EntityName::new("orders").unwrap(),
            uid: EntityUid([1; 16]),
            generation: 3,
            provider: "kafka".to_owned(),
            trigger: EntityName::new("t").unwrap(),
            parameters: serde_json::Map::new(),
            annotations: KeyValues::default(),
            feed_action: None,
            paused: false,
            reset: None,
            updated: 0,
        };
        let status = FeedStatus {
            reason: Some("topic \"a\\b\"\nis missing".to_owned()),
            lag: Some(json!({"total": 7, "partitions": {"a-0": 3, "a-1": 4}})),
            last_event: Some(1_500),
            ..FeedStatus::new(FeedState::Waiting, 3)
        };
        let text = text(&[Shown { feed: &feed, status: &status }]);
        let of = "namespace=\"guest\",feed=\"orders\",provider=\"kafka\",trigger=\"t\"";
        for line in [
            "# TYPE evoke_feed_lag gauge".to_owned(),
            format!("evoke_feed_state{{{of},state=\"waiting\"}} 1"),
            format!("evoke_feed_state{{{of},state=\"running\"}} 0"),
            format!(r#"evoke_feed_reason{{{of},reason="topic \"a\\b\"\nis missing"}} 1"#),
            format!("evoke_feed_generation{{{of}}} 3"),
            format!("evoke_feed_lag{{{of}}} 7"),
            format!("evoke_feed_partition_lag{{{of},partition=\"a-1\"}} 4"),
            format!("evoke_feed_last_event_timestamp_seconds{{{of}}} 1.5"),
        ] {
            assert!(text.lines().any(|it| it == line), "no `{line}` in\n{text}");
        }
        assert!(!text.contains("evoke_feed_next_try_timestamp_seconds{"));
    }
}
