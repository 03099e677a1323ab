//! How feeds are: state, reason, lag.

use evoke_feeds::{FeedState, FeedStatus};
use evoke_schemas::Feed;
use evoke_store::StoreError;
use serde_json::Value;

use super::Reader;
use crate::{
    hub::Hub,
    metrics::{
        page::{Page, number},
        table::{self, Family},
    },
};

/// Feeds that are shown; the others are left out and counted.
const SHOWN_FEEDS: usize = 1_000;
/// Partitions of a feed with a line of their own; the lag of the others is shown together.
const SHOWN_PARTITIONS: usize = 256;
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

/// Puts every feed that the reader sees on the page; gives how many are left out.
pub(super) async fn put(page: &mut Page, reader: &Reader, hub: &Hub) -> Result<usize, StoreError> {
    let feeds = hub.parts.feeds.feeds(reader.namespace()).await?;
    for feed in feeds.iter().take(SHOWN_FEEDS) {
        if let Some(status) = hub.parts.feed_control.status(feed.uid) {
            put_one(page, feed, &status);
        }
    }
    Ok(feeds.len().saturating_sub(SHOWN_FEEDS))
}

fn put_one(page: &mut Page, feed: &Feed, status: &FeedStatus) {
    let own = [feed.namespace.as_str(), feed.name.as_str(), &feed.provider, feed.trigger.as_str()];
    let mut put = |family: &Family, more: Option<&str>, value: f64| {
        let labels: Vec<&str> = own.into_iter().chain(more).collect();
        page.add(family, &labels, value);
    };
    for (state, name) in STATES {
        put(table::FEED_STATE, Some(name), if status.state == state { 1.0 } else { 0.0 });
    }
    if let Some(reason) = &status.reason {
        let reason: String = reason.chars().take(MAX_REASON).collect();
        put(table::FEED_REASON, Some(&reason), 1.0);
    }
    put(table::FEED_GENERATION, None, number(status.generation));
    put(table::FEED_EVENTS, None, number(status.events));
    let lag = status.lag.as_ref();
    if let Some(total) = lag.and_then(|lag| lag.get("total")?.as_f64()) {
        put(table::FEED_LAG, None, total);
    }
    let partitions = lag.and_then(|lag| lag.get("partitions")?.as_object());
    let behind = |(name, behind): (&String, &Value)| Some((name.clone(), behind.as_f64()?));
    let partitions: Vec<_> = partitions.into_iter().flatten().filter_map(behind).collect();
    for (partition, behind) in partitions.iter().take(SHOWN_PARTITIONS) {
        put(table::FEED_PARTITION_LAG, Some(partition), *behind);
    }
    if let Some(others) = partitions.get(SHOWN_PARTITIONS..).filter(|others| !others.is_empty()) {
        let behind = others.iter().map(|(_, behind)| behind).sum();
        put(table::FEED_PARTITION_LAG, Some("(other)"), behind);
    }
    for (family, at_ms) in
        [(table::FEED_LAST_EVENT, status.last_event), (table::FEED_NEXT_TRY, status.next_try)]
    {
        if let Some(at_ms) = at_ms {
            put(family, None, number(at_ms) / 1_000.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use evoke_schemas::{EntityName, EntityUid, Namespace};
    use serde_json::json;

    use super::*;

    fn feed() -> Feed {
        Feed {
            namespace: Namespace::new("guest").unwrap(),
            name: EntityName::new("orders").unwrap(),
            uid: EntityUid([1; 16]),
            generation: 3,
            provider: "kafka".to_owned(),
            trigger: EntityName::new("t").unwrap(),
            parameters: serde_json::Map::new(),
            annotations: evoke_schemas::KeyValues::default(),
            feed_action: None,
            paused: false,
            reset: None,
            updated: 0,
        }
    }

    fn text(status: &FeedStatus) -> String {
        let mut page = Page::new(false);
        put_one(&mut page, &feed(), status);
        page.text()
    }

    #[test]
    fn a_feed_tells_its_state_reason_and_lag() {
        let text = text(&FeedStatus {
            reason: Some("topic \"a\\b\"\nis missing".to_owned()),
            lag: Some(json!({"total": 7, "partitions": {"a-0": 3, "a-1": 4}})),
            last_event: Some(1_500),
            ..FeedStatus::new(FeedState::Waiting, 3)
        });
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

    #[test]
    fn too_many_partitions_are_shown_together() {
        let partitions: serde_json::Map<_, _> =
            (0..SHOWN_PARTITIONS + 5).map(|number| (format!("a-{number}"), json!(2))).collect();
        let text = text(&FeedStatus {
            lag: Some(json!({"total": 1, "partitions": partitions})),
            ..FeedStatus::new(FeedState::Running, 3)
        });
        let lines: Vec<_> =
            text.lines().filter(|line| line.starts_with("evoke_feed_partition_lag{")).collect();
        assert_eq!(lines.len(), SHOWN_PARTITIONS + 1);
        assert!(lines.iter().any(|line| line.ends_with("partition=\"(other)\"} 10")), "{text}");
    }
}
