//! Feeds: an alarm fires its trigger until it is deleted, over restarts of the hub too.

use evoke_tests::e2e::{
    caller::{Ask, Caller},
    entities::{records, records_when, text, trigger},
};
use serde_json::{Value, json};

use super::{Done, FaultError, furnished};

#[tokio::test]
async fn an_alarm_fires_until_it_is_deleted() -> Done {
    let (place, hub, caller) = furnished().await?;
    let feed = json!({"provider": "alarms", "trigger": "t", "parameters": {"every": "1s"}});
    caller.put("feeds/tick", &feed).await?;
    let runs = records_when(&caller, "echo", 3).await?;
    for run in &runs {
        let args = &run["response"]["result"]["args"];
        assert_eq!(args["__ce"]["type"], "org.evoke.alarm.tick", "{run}");
        assert!(args["scheduled"].is_string() || args["scheduled"].is_u64(), "{run}");
        assert_eq!(args["__ce"]["id"], run["response"]["result"]["event"], "{run}");
    }
    let shown = caller.get("feeds/tick").await?;
    assert_eq!(shown["status"]["state"], "running", "{shown}");
    let wrong = Ask::new("PUT", "feeds/wrong")
        .json(&json!({"provider": "alarms", "trigger": "t", "parameters": {"evry": "1s"}}));
    let wrong = caller.send(wrong).await?;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    assert!(wrong.error().contains("`evry`"), "{}", wrong.text());

    caller.good(Ask::new("DELETE", "feeds/tick")).await?;
    let accepted = caller.get("events").await?;
    // Twice the period, seen by another alarm of the same hub: three of its ticks.
    trigger(&caller, "watch", &json!({}), &["echo"], &Value::Null).await?;
    let feed = json!({"provider": "alarms", "trigger": "watch", "parameters": {"every": "1s"}});
    caller.put("feeds/watch", &feed).await?;
    records_when(&caller, "watch", 3).await?;
    let after = caller.get("events?trigger=t").await?;
    assert_eq!(
        after.as_array().map(Vec::len),
        accepted.as_array().map(Vec::len),
        "no tick after the deletion"
    );
    assert_eq!(caller.send(Ask::new("GET", "feeds/tick")).await?.status, 404);
    place.end(hub).await
}

/// The times for which an alarm has fired, as they were planned.
async fn ticks(caller: &Caller) -> Result<Vec<String>, FaultError> {
    let runs = records(caller, "echo").await?;
    Ok(runs.iter().map(|run| text(run, "/response/result/args/scheduled")).collect())
}

#[tokio::test]
async fn an_alarm_goes_on_after_a_kill_and_no_tick_comes_twice() -> Done {
    let (place, mut hub, mut caller) = furnished().await?;
    let feed = json!({"provider": "alarms", "trigger": "t", "parameters": {"every": "500ms"}});
    caller.put("feeds/tick", &feed).await?;
    let mut wanted = 0;
    for _ in 0..3 {
        wanted += 3;
        records_when(&caller, "echo", wanted).await?;
        hub.kill().await?;
        (hub, caller) = place.start().await?;
        wanted = wanted.max(ticks(&caller).await?.len());
    }
    records_when(&caller, "echo", wanted + 2).await?;
    let mut all = ticks(&caller).await?;
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "each planned tick once: {all:?}");
    let shown = caller.get("feeds/tick").await?;
    assert_eq!(shown["status"]["state"], "running", "{shown}");
    place.end(hub).await
}
