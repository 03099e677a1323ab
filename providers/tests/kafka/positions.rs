//! Where a feed begins, and where it goes on.

use std::time::Duration;

use evoke_schemas::ResetTo;
use serde_json::json;

use super::rig::{FEED, Rig, number, plain};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_what_is_produced_right_after_create_comes() {
    let rig = Rig::new(2).await;
    rig.produce(3, 2).await;
    rig.apply(plain(), false).await;
    rig.produce(2, 2).await;
    assert_eq!(rig.numbers(2, 2).await, [3, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_a_feed_begins_where_it_is_told_and_is_reset_while_it_runs() {
    let rig = Rig::new(1).await;
    rig.produce(5, 1).await;
    let from = json!({"startFrom": {"offsets": {rig.topic.clone(): {"0": 3}}}});
    rig.apply(from, false).await;
    assert_eq!(rig.numbers(2, 1).await, [3, 4]);
    rig.reset(plain(), ResetTo::Earliest).await;
    let events = rig.events(7).await;
    assert_eq!(events[2..].iter().map(number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(events[2..].iter().all(|event| event.id.ends_with("@2")), "ids of their own");
    rig.reset(plain(), ResetTo::Position(json!({rig.topic.clone(): {"0": 4}}))).await;
    rig.events(8).await;
    rig.reset(plain(), ResetTo::Latest).await;
    rig.produce(1, 1).await;
    assert_eq!(number(&rig.events(9).await[8]), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_a_time_is_where_it_begins() {
    let rig = Rig::new(1).await;
    rig.produce(1, 1).await;
    let time = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap() + 1;
    tokio::time::sleep(Duration::from_millis(5)).await;
    rig.produce(2, 1).await;
    rig.apply(json!({"startFrom": {"time": time}}), false).await;
    assert_eq!(rig.numbers(2, 1).await, [1, 2]);
    let later = time + 3_600_000;
    rig.reset(plain(), ResetTo::Time(later)).await;
    rig.produce(1, 1).await;
    assert_eq!(number(&rig.events(3).await[2]), 3, "a time to come is the present end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_delete_and_create_begin_anew_though_the_group_has_offsets() {
    let rig = Rig::new(1).await;
    let grouped = json!({"group": format!("g-{}", rig.topic), "startFrom": "committed"});
    rig.apply(grouped.clone(), false).await;
    rig.produce(2, 1).await;
    rig.events(2).await;
    rig.supervisor.remove(FEED).await.unwrap();
    rig.produce(2, 1).await;
    // Another feed, which by default begins at its own present end.
    let rig = rig.anew();
    rig.apply(plain(), false).await;
    rig.produce(1, 1).await;
    assert_eq!(rig.numbers(1, 1).await, [4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f31_what_came_while_paused_comes_after() {
    let rig = Rig::new(2).await;
    rig.apply(plain(), false).await;
    rig.produce(1, 2).await;
    rig.events(1).await;
    rig.apply(plain(), true).await;
    rig.produce(1_000, 2).await;
    assert_eq!(rig.sink.events().len(), 1, "none while paused");
    rig.apply(plain(), false).await;
    assert_eq!(rig.numbers(1_001, 2).await, (0..1_001).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_restarts_under_load_lose_and_double_nothing() {
    let mut rig = Rig::new(3).await;
    rig.apply(plain(), false).await;
    for round in 0..6 {
        rig.produce(200, 3).await;
        if round % 2 == 0 {
            rig.restart(plain()).await;
        } else {
            rig.apply(plain(), false).await;
        }
    }
    assert_eq!(rig.numbers(1_200, 3).await, (0..1_200).collect::<Vec<_>>());
    let ids: std::collections::BTreeSet<_> =
        rig.sink.events().into_iter().map(|event| (event.source, event.id)).collect();
    assert_eq!(ids.len(), 1_200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_new_partitions_are_read_from_their_beginning() {
    let rig = Rig::new(1).await;
    rig.apply(plain(), false).await;
    rig.produce(1, 1).await;
    rig.events(1).await;
    rig.broker.widen(&rig.topic, 3).await;
    // The former producer has not heard of them.
    let rig = rig.producing_anew();
    rig.produce(6, 3).await;
    assert_eq!(rig.numbers(7, 3).await, (0..7).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c7_many_records_are_few_appends_and_a_batch_waits_as_told() {
    let rig = Rig::new(1).await;
    let batch = json!({"batch": {"maxMessages": 100, "maxWaitMs": 20_000}});
    rig.apply(batch, false).await;
    rig.produce(100, 1).await;
    // Full long before its wait is over.
    rig.events(100).await;
    rig.produce(1, 1).await;
    let lag = rig.until("a lag of one", |status| {
        status.lag.as_ref().is_some_and(|lag| lag["total"] == json!(1))
    });
    let status = lag.await;
    assert_eq!(status.lag.unwrap()["partitions"][format!("{}-0", rig.topic)], json!(1));
}
