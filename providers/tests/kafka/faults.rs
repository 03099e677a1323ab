//! What goes wrong outside, how the feed says it, and that it mends by itself.

use std::sync::Arc;

use evoke_feeds::FeedState;
use serde_json::{Value, json};

use super::{
    broker::Broker,
    rig::{Rig, number, plain, within},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_broker_that_is_away_is_told_and_outlasted() {
    let rig = Rig::on(Arc::new(Broker::own()), 1).await;
    rig.apply(plain(), false).await;
    rig.produce(2, 1).await;
    rig.events(2).await;
    let broker = Arc::clone(&rig.broker);
    tokio::task::spawn_blocking(move || broker.stop()).await.unwrap();
    let away = rig.until("away", |status| status.state != FeedState::Running).await;
    assert!(away.reason.is_some_and(|reason| !reason.is_empty()));
    let broker = Arc::clone(&rig.broker);
    tokio::task::spawn_blocking(move || broker.start()).await.unwrap();
    rig.until("running", |status| status.state == FeedState::Running).await;
    rig.produce(2, 1).await;
    assert_eq!(rig.numbers(4, 1).await, [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_wrong_addresses_are_told_and_mended_by_an_update() {
    let rig = Rig::new(1).await;
    rig.want(json!({"brokers": "127.0.0.1:1"}), false, None).await;
    let status = rig.until("a reason", |status| status.reason.is_some()).await;
    assert_eq!(status.state, FeedState::Connecting, "{status:?}");
    assert!(status.reason.unwrap().contains("127.0.0.1:1"));
    rig.apply(plain(), false).await;
    rig.produce(1, 1).await;
    rig.events(1).await;
}

fn secured(rig: &Rig, password: &str) -> Value {
    let (address, ca) = rig.broker.secured();
    json!({"brokers": address, "tls": {"ca": ca},
        "sasl": {"mechanism": "PLAIN", "username": "alice", "password": password}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_wrong_password_is_told_and_mended_by_an_update() {
    let rig = Rig::new(1).await;
    rig.want(secured(&rig, "hunter2"), false, None).await;
    let status = rig.until("refused", |status| status.state == FeedState::Waiting).await;
    let reason = status.reason.unwrap();
    assert!(reason.to_lowercase().contains("authentication"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
    rig.apply(secured(&rig, "alice-secret"), false).await;
    rig.produce(1, 1).await;
    rig.events(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_nobody_is_refused() {
    let rig = Rig::new(1).await;
    let (address, _) = rig.broker.secured();
    let more = json!({"brokers": address, "tls": true,
        "sasl": {"mechanism": "PLAIN", "username": "alice", "password": "alice-secret"}});
    rig.want(more, false, None).await;
    let status = rig.until("refused", |status| status.state == FeedState::Waiting).await;
    assert!(status.reason.is_some_and(|reason| reason.to_lowercase().contains("ssl")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_comes_later_is_waited_for_and_read_whole() {
    let rig = Rig::new(0).await;
    rig.apply(plain(), false).await;
    let status = rig.until("missing", |status| status.state == FeedState::Waiting).await;
    assert!(status.reason.unwrap().contains(&format!("topic `{}` does not exist", rig.topic)));
    rig.broker.make(&rig.topic, 2).await;
    rig.produce(4, 2).await;
    assert_eq!(rig.numbers(4, 2).await, [0, 1, 2, 3]);
    rig.until("running", |status| status.state == FeedState::Running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_topic_made_again_is_read_from_its_beginning_under_other_ids() {
    let rig = Rig::new(1).await;
    rig.apply(plain(), false).await;
    rig.produce(3, 1).await;
    let before = rig.events(3).await;
    rig.broker.delete(&rig.topic).await;
    rig.until("missing", |status| status.state == FeedState::Waiting).await;
    rig.broker.make(&rig.topic, 1).await;
    rig.produce(2, 1).await;
    let after = rig.events(5).await;
    assert_eq!(after[3..].iter().map(number).collect::<Vec<_>>(), [3, 4]);
    assert!(after[3..].iter().all(|event| before.iter().all(|old| old.id != event.id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_delete_ends_it_though_the_brokers_do_not_answer() {
    let rig = Rig::new(1).await;
    rig.want(json!({"brokers": "127.0.0.1:1"}), false, None).await;
    rig.until("a reason", |status| status.reason.is_some()).await;
    within("the delete", rig.supervisor.remove(super::rig::FEED)).await.unwrap();
}
