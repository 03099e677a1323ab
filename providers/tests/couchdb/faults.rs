//! What goes wrong outside: it waits, says why, and goes on by itself.

use std::time::Instant;

use evoke_feeds::FeedState;
use reqwest::Method;
use serde_json::json;

use super::{
    both_ways,
    proxy::Mood,
    rig::{Rig, Via, member},
};

both_ways! {
    f18_a_filter_that_is_gone_is_named_and_mended_without_loss,
    f19_a_database_made_again_is_read_from_its_beginning,
    f13_wrong_credentials_are_said_and_an_update_mends_them,
    a_database_that_comes_later_is_waited_for,
}

async fn f18_a_filter_that_is_gone_is_named_and_mended_without_loss(via: Via) {
    let rig = Rig::new(via).await;
    rig.put_filter().await;
    let more = json!({"filter": "pick/fruit", "query_params": {"type": "fruit"}});
    rig.apply(more, false).await;
    rig.put("apple", json!({"type": "fruit"})).await;
    rig.events(1).await;
    rig.server.delete(&rig.db, "_design/pick").await;
    rig.waiting("filter `pick/fruit` does not exist").await;
    rig.put("pear", json!({"type": "fruit"})).await;
    rig.put_filter().await;
    assert_eq!(rig.documents(2).await, ["apple", "pear"]);
    rig.running().await;
}

async fn f19_a_database_made_again_is_read_from_its_beginning(via: Via) {
    let rig = Rig::new(via).await;
    rig.apply(json!({}), false).await;
    for id in ["a", "b", "c"] {
        rig.put(id, json!({})).await;
    }
    rig.events(3).await;
    let path = format!("/{}", rig.db);
    rig.server.must(Method::DELETE, &path, None).await;
    rig.waiting(&format!("database `{}` does not exist", rig.db)).await;
    rig.server.make(&rig.db).await;
    if let Some(proxy) = &rig.proxy {
        proxy.made(&rig.db);
    }
    // As many as there were, so that numbers alone could not tell.
    for id in ["a", "b", "c", "d"] {
        rig.put(id, json!({})).await;
    }
    assert_eq!(rig.documents(7).await, ["a", "b", "c", "a", "b", "c", "d"]);
    let events = rig.sink.events();
    let same = (classic_revs(&events[0]), classic_revs(&events[3]));
    assert_eq!(same.0, same.1, "the same revision");
    assert_ne!(events[0].id, events[3].id, "of another database");
    let status = rig.running().await;
    assert_eq!(status.position.unwrap()["remade"], json!(1), "it is said");
}

fn classic_revs(event: &evoke_schemas::Event) -> Option<serde_json::Value> {
    member(event, "changes")
}

async fn f13_wrong_credentials_are_said_and_an_update_mends_them(via: Via) {
    let rig = Rig::new(via).await;
    let asked = Instant::now();
    rig.want(json!({"password": "wrong"}), false).await;
    let status = rig.waiting("credentials are refused").await;
    assert!(asked.elapsed().as_secs() < 30);
    assert!(!format!("{status:?}").contains("wrong"), "the password is shown");
    rig.apply(json!({}), false).await;
    rig.put("apple", json!({})).await;
    assert_eq!(rig.documents(1).await, ["apple"]);
}

async fn a_database_that_comes_later_is_waited_for(via: Via) {
    let rig = Rig::new(via).await;
    let later = format!("{}-later", rig.db);
    rig.want(json!({"dbname": later, "since": "0"}), false).await;
    rig.waiting(&format!("database `{later}` does not exist")).await;
    rig.server.make(&later).await;
    rig.server.put(&later, "apple", json!({})).await;
    assert_eq!(rig.documents(1).await, ["apple"]);
}

#[tokio::test]
async fn f18_answers_of_401_403_404_and_500_are_outlasted() {
    let rig = Rig::new(Via::Proxy).await;
    rig.apply(json!({}), false).await;
    let mut expected = Vec::new();
    for (number, (status, error, says)) in [
        (401, "unauthorized", "credentials are refused"),
        (403, "forbidden", "credentials do not suffice"),
        (404, "not_found", "does not exist"),
        (500, "internal_server_error", "500"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"error": error, "reason": "it is so"});
        rig.proxy().be(Mood::Answers(status, body));
        let status = rig
            .status(says, |status| {
                status.reason.as_ref().is_some_and(|reason| reason.contains(says))
            })
            .await;
        assert_ne!(status.state, FeedState::Running);
        let id = format!("d{number}");
        rig.put(&id, json!({})).await;
        assert!(rig.proxy().refused() > number);
        rig.proxy().be(Mood::Well);
        expected.push(id);
        assert_eq!(rig.documents(number + 1).await, expected);
        rig.running().await;
    }
    let position = rig.running().await.position.unwrap();
    assert_eq!(position["remade"], json!(null), "it is the same database");
}

#[tokio::test]
async fn a_silent_peer_is_noticed_and_outlasted() {
    let rig = Rig::new(Via::Proxy).await;
    rig.apply(json!({}), false).await;
    rig.put("before", json!({})).await;
    rig.events(1).await;
    rig.running().await;
    rig.proxy().be(Mood::Silent);
    let asked = Instant::now();
    rig.put("meanwhile", json!({})).await;
    rig.status("connecting", |status| status.state == FeedState::Connecting).await;
    assert!(asked.elapsed().as_secs() < 30);
    rig.waiting("silent").await;
    rig.proxy().be(Mood::Well);
    assert_eq!(rig.documents(2).await, ["before", "meanwhile"]);
}

#[tokio::test]
async fn where_a_continuous_feed_is_held_back_it_is_polled() {
    let rig = Rig::new(Via::Proxy).await;
    rig.proxy().be(Mood::HoldsBack);
    rig.apply(json!({}), false).await;
    for id in ["a", "b"] {
        rig.put(id, json!({})).await;
    }
    assert_eq!(rig.documents(2).await, ["a", "b"]);
    rig.put("c", json!({})).await;
    assert_eq!(rig.documents(3).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn lag_is_told_where_the_server_tells_it() {
    let rig = Rig::new(Via::Proxy).await;
    for number in 0..4 {
        rig.put(&format!("d{number}"), json!({})).await;
    }
    rig.sink.set_open(false);
    rig.want(json!({"since": "0", "batch": {"maxMessages": 1}}), false).await;
    rig.status("four behind", |status| status.lag == Some(json!({"total": 4}))).await;
    rig.sink.set_open(true);
    rig.events(4).await;
    rig.status("without lag", |status| status.lag == Some(json!({"total": 0}))).await;
}

#[tokio::test]
async fn a_document_that_is_too_long_comes_without_it() {
    let rig = Rig::new(Via::Direct).await;
    rig.apply(json!({"include_docs": true}), false).await;
    rig.put("small", json!({})).await;
    // More than the hub takes of one event.
    rig.put("huge", json!({"text": "x".repeat(1_100_000)})).await;
    rig.put("after", json!({})).await;
    let events = rig.events(3).await;
    assert_eq!(super::rig::ids(&events), ["small", "huge", "after"]);
    assert_eq!(member(&events[1], "docTooLong"), Some(json!(true)));
    assert_eq!(member(&events[1], "doc"), None);
    assert!(member(&events[2], "doc").is_some());
}
