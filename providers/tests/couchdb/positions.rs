//! Where a feed begins, goes on and ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use evoke_feeds::FeedState;
use reqwest::Method;
use serde_json::json;

use super::{
    both_ways,
    rig::{Rig, Via, ids, within},
};

both_ways! {
    now_is_pinned_when_the_feed_has_a_position,
    f17_history_is_fired_once_however_often_the_hub_restarts,
    a_given_sequence_is_where_it_begins,
    c14_an_update_of_the_filter_loses_no_change,
    f31_what_came_while_paused_comes_after,
    max_triggers_ends_the_feed_over_restarts,
    a_full_batch_goes_at_once_and_a_short_one_after_its_wait,
    f20_a_burst_before_a_slow_sink_keeps_the_order_of_each_document,
}

async fn now_is_pinned_when_the_feed_has_a_position(via: Via) {
    let mut rig = Rig::new(via).await;
    rig.put("before", json!({})).await;
    rig.apply(json!({}), false).await;
    within("the end", rig.supervisor.shutdown()).await;
    rig.put("after", json!({})).await;
    rig.restart(json!({})).await;
    assert_eq!(rig.documents(1).await, ["after"]);
}

async fn f17_history_is_fired_once_however_often_the_hub_restarts(via: Via) {
    let mut rig = Rig::new(via).await;
    for number in 0..5 {
        rig.put(&format!("d{number}"), json!({})).await;
    }
    rig.apply(json!({"since": "0"}), false).await;
    rig.events(5).await;
    for _ in 0..3 {
        rig.restart(json!({"since": "0"})).await;
    }
    rig.put("last", json!({})).await;
    assert_eq!(rig.documents(6).await, ["d0", "d1", "d2", "d3", "d4", "last"]);
}

async fn a_given_sequence_is_where_it_begins(via: Via) {
    let rig = Rig::new(via).await;
    rig.put("first", json!({})).await;
    let (_, page) = rig.server.ask(Method::GET, &format!("/{}/_changes", rig.db), None).await;
    rig.put("second", json!({})).await;
    rig.apply(json!({"since": page["last_seq"]}), false).await;
    assert_eq!(rig.documents(1).await, ["second"]);
}

async fn c14_an_update_of_the_filter_loses_no_change(via: Via) {
    let rig = Rig::new(via).await;
    rig.put_filter().await;
    let filter = |kind: &str| json!({"filter": "pick/fruit", "query_params": {"type": kind}});
    rig.apply(filter("fruit"), false).await;
    let rig = Arc::new(rig);
    let enough = Arc::new(AtomicBool::new(false));
    let writer = {
        let (rig, enough) = (Arc::clone(&rig), Arc::clone(&enough));
        tokio::spawn(async move {
            let mut number = 0;
            while !enough.load(Ordering::SeqCst) {
                for kind in ["fruit", "root"] {
                    rig.put(&format!("{kind}-{number}"), json!({"type": kind})).await;
                }
                number += 1;
            }
            number
        })
    };
    rig.sink.wait_for(10).await;
    rig.apply(filter("root"), false).await;
    let switched = rig.sink.events().len();
    within("roots", rig.sink.wait_for(switched + 10)).await;
    enough.store(true, Ordering::SeqCst);
    let written: usize = writer.await.unwrap();
    let last = format!("root-{}", written - 1);
    let everything = async {
        while ids(&rig.sink.events()).last() != Some(&last) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("the last", everything).await;
    let seen = ids(&rig.sink.events());
    let fruits: Vec<_> = seen.iter().take_while(|id| id.starts_with("fruit")).cloned().collect();
    let roots: Vec<_> = seen.iter().skip(fruits.len()).cloned().collect();
    let expected = |kind: &str, from: usize, to: usize| -> Vec<_> {
        (from..to).map(|number| format!("{kind}-{number}")).collect()
    };
    assert_eq!(fruits, expected("fruit", 0, fruits.len()), "a fruit is lost");
    assert_eq!(roots, expected("root", written - roots.len(), written), "a root is lost");
    assert!(
        written - roots.len() <= fruits.len(),
        "between fruit {} and root {} something is lost",
        fruits.len(),
        written - roots.len()
    );
}

async fn f31_what_came_while_paused_comes_after(via: Via) {
    let rig = Rig::new(via).await;
    rig.apply(json!({}), false).await;
    rig.put("before", json!({})).await;
    rig.events(1).await;
    rig.apply(json!({}), true).await;
    let docs = (0..300).map(|number| json!({"_id": format!("d{number:03}")})).collect();
    rig.server.bulk(&rig.db, docs).await;
    assert_eq!(rig.documents(1).await, ["before"]);
    rig.apply(json!({}), false).await;
    let mut came = rig.documents(301).await.split_off(1);
    came.sort();
    assert_eq!(came, (0..300).map(|number| format!("d{number:03}")).collect::<Vec<_>>());
}

async fn max_triggers_ends_the_feed_over_restarts(via: Via) {
    let mut rig = Rig::new(via).await;
    let more = json!({"maxTriggers": 3});
    rig.apply(more.clone(), false).await;
    rig.put("a", json!({})).await;
    rig.put("b", json!({})).await;
    rig.events(2).await;
    rig.restart(more.clone()).await;
    for id in ["c", "d", "e"] {
        rig.put(id, json!({})).await;
    }
    rig.status("finished", |status| status.state == FeedState::Finished).await;
    rig.restart(more).await;
    rig.status("finished", |status| status.state == FeedState::Finished).await;
    assert_eq!(rig.documents(3).await, ["a", "b", "c"]);
}

async fn a_full_batch_goes_at_once_and_a_short_one_after_its_wait(via: Via) {
    let rig = Rig::new(via).await;
    let more = json!({"batch": {"maxMessages": 2, "maxWaitMs": 60_000}});
    rig.apply(more, false).await;
    for id in ["a", "b", "c"] {
        rig.put(id, json!({})).await;
    }
    assert_eq!(rig.documents(2).await, ["a", "b"], "the third waits for a fourth");
    rig.put("d", json!({})).await;
    assert_eq!(rig.documents(4).await, ["a", "b", "c", "d"]);
    rig.apply(json!({"batch": {"maxMessages": 100, "maxWaitMs": 50}}), false).await;
    rig.put("e", json!({})).await;
    assert_eq!(rig.documents(5).await.last().map(String::as_str), Some("e"));
}

async fn f20_a_burst_before_a_slow_sink_keeps_the_order_of_each_document(via: Via) {
    let rig = Rig::new(via).await;
    rig.apply(json!({"batch": {"maxMessages": 20}}), false).await;
    rig.sink.set_open(false);
    let docs = |round: usize| {
        (0..400).map(move |number| json!({"_id": format!("d{number}"), "round": round})).collect()
    };
    let first = rig.server.bulk(&rig.db, docs(0)).await;
    within("a hanging append", rig.sink.wait_for_hanging()).await;
    let again = first.iter().map(|made| json!({"_id": made["id"], "_rev": made["rev"]})).collect();
    rig.server.bulk(&rig.db, again).await;
    rig.put("last", json!({})).await;
    rig.sink.set_open(true);
    let last = async {
        while ids(&rig.sink.events()).last().map(String::as_str) != Some("last") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("the last", last).await;
    let events = rig.sink.events();
    let mut generations = std::collections::HashMap::new();
    for event in &events {
        let payload = evoke_providers::couchdb::classic(event);
        let rev = payload["changes"][0]["rev"].as_str().unwrap();
        let generation: u32 = rev.split('-').next().unwrap().parse().unwrap();
        let id = payload["id"].as_str().unwrap().to_owned();
        let before = generations.insert(id.clone(), generation);
        assert!(before < Some(generation), "{id}: {before:?} before {generation}");
    }
    let newest = generations.iter().filter(|(id, _)| *id != "last");
    assert!(newest.clone().all(|(_, generation)| *generation == 2));
    assert_eq!(newest.count(), 400, "a document's leaf is lost");
}
