//! Numbered documents while the consumer is dropped between fetch, append and acknowledge, and
//! while the server goes away and comes back.

use std::{collections::BTreeMap, sync::Arc};

use evoke_feeds::SinkError;
use evoke_providers::couchdb::classic;
use evoke_schemas::Event;
use serde_json::{Value, json};

use super::{
    both_ways,
    rig::{Rig, Via, within},
    server::Server,
};

/// Documents; each is written twice.
const DOCUMENTS: usize = 1_000;
/// Written at once.
const AT_ONCE: usize = 25;

both_ways! {
    f16_every_revision_shown_comes_once_though_the_consumer_is_dropped,
    f16_every_leaf_comes_once_though_the_server_restarts,
}

async fn write_all(server: &Server, db: &str) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    for start in (0..DOCUMENTS).step_by(AT_ONCE) {
        let numbers = start..start + AT_ONCE;
        let first = numbers.map(|number| json!({"_id": format!("d{number}"), "number": number}));
        let made = server.bulk(db, first.collect()).await;
        let again = |made: &Value| json!({"_id": made["id"], "_rev": made["rev"], "again": true});
        for leaf in server.bulk(db, made.iter().map(again).collect()).await {
            let text = |name: &str| leaf[name].as_str().unwrap().to_owned();
            leaves.insert(text("id"), text("rev"));
        }
    }
    leaves
}

fn revisions(events: &[Event]) -> Vec<(String, String)> {
    let revision = |event: &Event| {
        let payload = classic(event);
        let rev = payload["changes"][0]["rev"].as_str().unwrap().to_owned();
        (payload["id"].as_str().unwrap().to_owned(), rev)
    };
    events.iter().map(revision).collect()
}

/// Every leaf is there, nothing twice, and of a document the older revision first.
fn check(events: &[Event], leaves: &BTreeMap<String, String>) {
    let shown = revisions(events);
    let mut counts = BTreeMap::new();
    let mut newest = BTreeMap::new();
    for (id, rev) in &shown {
        *counts.entry((id, rev)).or_insert(0) += 1;
        newest.insert(id.clone(), rev.clone());
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "twice: {twice:?}");
    assert_eq!(newest.len(), leaves.len(), "documents are lost");
    assert_eq!(&newest, leaves, "a leaf is lost, or an older revision came after it");
}

async fn all_leaves(rig: &Rig, leaves: &BTreeMap<String, String>) {
    let there = async {
        loop {
            let shown = revisions(&rig.sink.events());
            let leaf = |(id, rev): &&(String, String)| leaves.get(id) == Some(rev);
            if shown.iter().filter(leaf).count() >= leaves.len() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("every leaf", there).await;
}

async fn f16_every_revision_shown_comes_once_though_the_consumer_is_dropped(via: Via) {
    let mut rig = Rig::new(via).await;
    let more = json!({"since": "0", "batch": {"maxMessages": 20}});
    rig.apply(more.clone(), false).await;
    let (server, db) = (Arc::clone(&rig.server), rig.db.clone());
    let writer = tokio::spawn(async move { write_all(&server, &db).await });
    for round in 0..12 {
        let before = rig.sink.events().len();
        match round % 4 {
            // Between fetch and append: a batch was read and hangs before it is kept.
            0 => {
                rig.sink.set_open(false);
                within("a hanging append", rig.sink.wait_for_hanging()).await;
                rig.supervisor = dropped_and_new(&rig);
                rig.sink.set_open(true);
            }
            // Between append and acknowledge: kept, and the feed is not told.
            1 => rig.sink.lose_answers(1),
            2 => rig.sink.refuse_next([SinkError::Unavailable("broken".to_owned())]),
            // Anywhere.
            _ => {}
        }
        rig.restart(more.clone()).await;
        if !writer.is_finished() {
            within("more", rig.sink.wait_for(before + 1)).await;
        }
    }
    let leaves = writer.await.unwrap();
    all_leaves(&rig, &leaves).await;
    check(&rig.sink.events(), &leaves);
}

/// A second hub that takes over while the first still sends: the first is refused by the guard.
fn dropped_and_new(rig: &Rig) -> Arc<evoke_feeds::Supervisor> {
    super::rig::supervise(&rig.sink)
}

async fn f16_every_leaf_comes_once_though_the_server_restarts(via: Via) {
    let server = Arc::new(Server::own());
    let rig = Rig::on(Arc::clone(&server), via).await;
    rig.apply(json!({"since": "0"}), false).await;
    let mut leaves = BTreeMap::new();
    for round in 0..4 {
        if round > 0 {
            let stopped = Arc::clone(&server);
            tokio::task::spawn_blocking(move || stopped.stop()).await.unwrap();
            if via == Via::Direct {
                rig.waiting("cannot be reached").await;
            }
            let started = Arc::clone(&server);
            tokio::task::spawn_blocking(move || started.start()).await.unwrap();
        }
        let numbers = round * 50..(round + 1) * 50;
        let docs = numbers.map(|number| json!({"_id": format!("d{number}")})).collect();
        for leaf in server.bulk(&rig.db, docs).await {
            let text = |name: &str| leaf[name].as_str().unwrap().to_owned();
            leaves.insert(text("id"), text("rev"));
        }
    }
    all_leaves(&rig, &leaves).await;
    rig.running().await;
    check(&rig.sink.events(), &leaves);
    let position = rig.running().await.position.unwrap();
    assert_eq!(position["remade"], json!(null), "a restart makes no other database");
}
