//! What an event carries, and which changes become one.

use evoke_providers::couchdb::{DELETED_TYPE, classic};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    both_ways,
    rig::{Rig, Via, member},
};

both_ways! {
    c13_a_document_is_made_changed_and_deleted,
    c13_a_filter_with_query_params_lets_its_own_pass,
    a_view_and_document_ids_are_filters,
    documents_come_with_stubs_and_conflicts,
    a_losing_branch_makes_no_second_event_of_a_revision,
    a_diff_has_what_was_before_and_a_patch,
    diffs_make_no_batch_and_no_event_too_large,
}

async fn c13_a_document_is_made_changed_and_deleted(via: Via) {
    let rig = Rig::new(via).await;
    rig.apply(json!({}), false).await;
    let first = rig.put("apple", json!({"n": 1})).await;
    rig.events(1).await;
    let second = rig.put("apple", json!({"n": 2})).await;
    rig.events(2).await;
    rig.server.delete(&rig.db, "apple").await;
    let events = rig.events(3).await;
    for (event, rev) in events.iter().zip([&first, &second]) {
        let mut payload = classic(event);
        let seq = payload["seq"].take();
        assert!(seq.is_string() || (seq.is_number() && via == Via::Direct), "{seq}");
        assert_eq!(
            payload,
            json!({"id": "apple", "seq": null, "changes": [{"rev": rev}], "dbname": rig.db})
        );
    }
    let last = classic(&events[2]);
    assert_eq!(last["deleted"], json!(true));
    assert_eq!(events[2].r#type, DELETED_TYPE);
    for event in &events {
        assert_eq!(event.attribute("partitionkey").as_deref(), Some("apple"));
        assert!(event.source.ends_with(&rig.db) && !event.source.contains("secret"));
        assert_eq!(member(event, "doc"), None, "no document was asked for");
    }
}

async fn c13_a_filter_with_query_params_lets_its_own_pass(via: Via) {
    let rig = Rig::new(via).await;
    rig.put_filter().await;
    let more = json!({"filter": "pick/fruit", "query_params": {"type": "fruit"}});
    rig.apply(more, false).await;
    for (id, kind) in [("apple", "fruit"), ("leek", "root"), ("pear", "fruit")] {
        rig.put(id, json!({"type": kind})).await;
    }
    assert_eq!(rig.documents(2).await, ["apple", "pear"]);
}

async fn a_view_and_document_ids_are_filters(via: Via) {
    let rig = Rig::new(via).await;
    let view =
        json!({"views": {"fruit": {"map": "function(doc) { if (doc.fruit) emit(doc._id); }"}}});
    rig.put("_design/by", view).await;
    rig.apply(json!({"view": "by/fruit"}), false).await;
    rig.put("leek", json!({})).await;
    rig.put("apple", json!({"fruit": true})).await;
    assert_eq!(rig.documents(1).await, ["apple"]);
    rig.apply(json!({"doc_ids": ["leek", "kale"]}), false).await;
    rig.put("pear", json!({"fruit": true})).await;
    rig.put("kale", json!({})).await;
    assert_eq!(rig.documents(2).await, ["apple", "kale"]);
}

/// Only the proxy stands for a server that knows selectors.
#[tokio::test]
async fn a_selector_is_a_filter() {
    let rig = Rig::new(Via::Proxy).await;
    rig.apply(json!({"selector": {"type": "fruit"}, "include_docs": true}), false).await;
    for (id, kind) in [("apple", "fruit"), ("leek", "root"), ("pear", "fruit")] {
        rig.put(id, json!({"type": kind})).await;
    }
    assert_eq!(rig.documents(2).await, ["apple", "pear"]);
    let doc = member(&rig.events(2).await[0], "doc").unwrap();
    assert_eq!(doc["type"], json!("fruit"));
}

/// As is this filter.
#[tokio::test]
async fn design_documents_alone_are_a_filter() {
    let rig = Rig::new(Via::Proxy).await;
    rig.apply(json!({"filter": "_design"}), false).await;
    rig.put("apple", json!({})).await;
    rig.put_filter().await;
    assert_eq!(rig.documents(1).await, ["_design/pick"]);
}

async fn documents_come_with_stubs_and_conflicts(via: Via) {
    let rig = Rig::new(via).await;
    rig.apply(json!({"include_docs": true, "conflicts": true, "style": "all_docs"}), false).await;
    let attachment = json!({"a.txt": {"content_type": "text/plain", "data": "aGVsbG8="}});
    rig.put("apple", json!({"_attachments": attachment})).await;
    let stub = member(&rig.events(1).await[0], "doc").unwrap()["_attachments"]["a.txt"].clone();
    assert_eq!((&stub["stub"], &stub["length"]), (&json!(true), &json!(5)));
    assert!(stub.get("data").is_none());
    conflict(&rig, "pear", &["1-aaa", "1-bbb"]).await;
    let event = rig.events(2).await.remove(1);
    let leaves = member(&event, "changes").unwrap();
    assert_eq!(leaves.as_array().map(Vec::len), Some(2), "{leaves}");
    let doc = member(&event, "doc").unwrap();
    assert_eq!((&doc["_rev"], &doc["_conflicts"]), (&json!("1-bbb"), &json!(["1-aaa"])));
}

/// Writes revisions side by side, as replication does.
async fn conflict(rig: &Rig, id: &str, revisions: &[&str]) {
    let docs: Vec<_> = revisions.iter().map(|rev| json!({"_id": id, "_rev": rev})).collect();
    let body = json!({"docs": docs, "new_edits": false});
    rig.server.must(Method::POST, &format!("/{}/_bulk_docs", rig.db), Some(body)).await;
}

async fn a_losing_branch_makes_no_second_event_of_a_revision(via: Via) {
    let rig = Rig::new(via).await;
    rig.apply(json!({}), false).await;
    conflict(&rig, "pear", &["1-ccc"]).await;
    rig.events(1).await;
    conflict(&rig, "pear", &["1-aaa"]).await;
    rig.put("after", json!({})).await;
    assert_eq!(rig.documents(2).await, ["pear", "after"]);
}

async fn a_diff_has_what_was_before_and_a_patch(via: Via) {
    let rig = Rig::new(via).await;
    rig.apply(json!({"diff": true}), false).await;
    let first = rig.put("apple", json!({"colour": "green", "size": 3})).await;
    let event = rig.events(1).await.remove(0);
    assert_eq!(member(&event, "previous"), Some(Value::Null));
    assert!(member(&event, "patch").is_none() && member(&event, "previousRev").is_none());
    let second = rig.put("apple", json!({"colour": "red", "size": 3})).await;
    let event = rig.events(2).await.remove(1);
    assert_eq!(member(&event, "previousRev"), Some(json!(first)));
    assert_eq!(
        member(&event, "previous"),
        Some(json!({"_id": "apple", "_rev": first, "colour": "green", "size": 3}))
    );
    let patch = member(&event, "patch").unwrap();
    let patch = patch.as_array().unwrap();
    for operation in [
        json!({"op": "replace", "path": "/_rev", "value": second}),
        json!({"op": "replace", "path": "/colour", "value": "red"}),
    ] {
        assert!(patch.contains(&operation), "{operation} is not in {patch:?}");
    }
    assert_eq!(patch.len(), 2);
    rig.apply(json!({"diff": true}), true).await;
    rig.put("apple", json!({"colour": "brown"})).await;
    rig.server.must(Method::POST, &format!("/{}/_compact", rig.db), Some(json!({}))).await;
    compacted(&rig, "apple", &second).await;
    rig.apply(json!({"diff": true}), false).await;
    let event = rig.events(3).await.remove(2);
    assert_eq!(member(&event, "previous"), Some(Value::Null), "the server has it no more");
    assert_eq!(member(&event, "previousRev"), Some(json!(second)));
    assert_eq!(member(&event, "patch"), None);
}

async fn compacted(rig: &Rig, id: &str, rev: &str) {
    let path = format!("/{}/{id}?rev={rev}", rig.db);
    let gone = async {
        while rig.server.ask(Method::GET, &path, None).await.0.is_success() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    super::rig::within("compaction", gone).await;
}

/// What was before is no part of the row that bounds a batch: here some 10 MiB of it come at once.
async fn diffs_make_no_batch_and_no_event_too_large(via: Via) {
    const DOCS: usize = 20;
    let rig = Rig::new(via).await;
    let text = |fill: &str, size: usize| fill.repeat(size);
    let docs = |fill: &str| -> Vec<Value> {
        (0..DOCS).map(|n| json!({"_id": format!("d{n:02}"), "t": text(fill, 250_000)})).collect()
    };
    let made = rig.server.bulk(&rig.db, docs("a")).await;
    let wide = rig.put("wide", json!({"t": text("a", 700_000)})).await;
    rig.apply(json!({"diff": true}), false).await;
    rig.sink.set_open(false);
    let mut changed = docs("b");
    for doc in &mut changed {
        // The server answers in an order of its own.
        let made = made.iter().find(|made| made["id"] == doc["_id"]).unwrap();
        doc["_rev"] = made["rev"].clone();
    }
    rig.server.bulk(&rig.db, changed).await;
    rig.put("wide", json!({"t": text("b", 700_000)})).await;
    rig.sink.set_open(true);
    let events = rig.events(DOCS + 1).await;
    for event in events.iter().take(DOCS) {
        let previous = member(event, "previous").unwrap();
        assert_eq!(previous["t"].as_str().map(str::len), Some(250_000));
        assert!(member(event, "patch").is_some());
    }
    let last = &events[DOCS];
    assert_eq!(member(last, "diffTooLong"), Some(json!(true)));
    assert_eq!((member(last, "previous"), member(last, "patch")), (None, None));
    assert_eq!(member(last, "previousRev"), Some(json!(wide)));
}
