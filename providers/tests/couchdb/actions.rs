//! The `cloudant` package's actions against the server.

use evoke_providers::couchdb::actions::Actions;
use serde_json::{Value, json};

use super::{
    both_ways,
    rig::{Rig, Via},
};

both_ways! {
    documents_are_made_read_changed_and_deleted,
    bulk_views_indexes_and_queries_work,
    attachments_are_written_read_and_deleted,
    databases_are_made_listed_and_deleted,
}

struct Caller<'a> {
    rig: &'a Rig,
    actions: Actions,
}

impl<'a> Caller<'a> {
    fn new(rig: &'a Rig) -> Self {
        Self { rig, actions: Actions::new().unwrap() }
    }

    async fn call(&self, name: &str, more: Value) -> Result<Value, Value> {
        let mut parameters = self.rig.parameters(more);
        parameters.remove("heartbeat");
        self.actions.call(name, &parameters.into()).await
    }

    async fn must(&self, name: &str, more: Value) -> Value {
        let shown = more.to_string();
        self.call(name, more).await.unwrap_or_else(|error| panic!("{name} {shown}: {error}"))
    }
}

async fn documents_are_made_read_changed_and_deleted(via: Via) {
    let rig = Rig::new(via).await;
    let couch = Caller::new(&rig);
    let made = couch.must("create-document", json!({"doc": {"_id": "a", "n": 1}})).await;
    assert_eq!((&made["ok"], &made["id"]), (&json!(true), &json!("a")));
    let read = couch.must("read-document", json!({"docid": "a"})).await;
    assert_eq!(read, couch.must("read", json!({"id": "a"})).await);
    let doc = json!({"_id": "a", "_rev": read["_rev"], "n": 2}).to_string();
    let updated = couch.must("update-document", json!({"doc": doc})).await;
    let missing = couch.call("update-document", json!({"doc": {"_id": "a"}})).await;
    assert_eq!(missing, Err(json!({"error": "doc and doc._rev are required."})));
    let conflict = couch.call("write", json!({"doc": {"_id": "a"}})).await.unwrap_err();
    assert_eq!(conflict["error"]["statusCode"], json!(409));
    couch.must("write", json!({"doc": {"_id": "a", "n": 3}, "overwrite": "true"})).await;
    couch.must("write", json!({"doc": {"_id": "b"}, "overwrite": true})).await;
    let old = couch.must("read", json!({"id": "a", "params": {"rev": updated["rev"]}})).await;
    assert_eq!(old["n"], json!(2));
    let newest = couch.must("read", json!({"id": "a"})).await;
    assert_eq!(newest["n"], json!(3));
    couch.must("delete-document", json!({"docid": "a", "docrev": newest["_rev"]})).await;
    let gone = couch.call("read", json!({"id": "a"})).await.unwrap_err();
    assert_eq!(gone["error"]["statusCode"], json!(404));
    let listed = couch.must("list-documents", json!({"params": {"include_docs": true}})).await;
    assert_eq!(listed["rows"].as_array().map(Vec::len), Some(1));
    let changes = couch.must("read-changes-feed", json!({"params": {"since": 0}})).await;
    assert_eq!(changes["results"].as_array().map(Vec::len), Some(2));
}

async fn bulk_views_indexes_and_queries_work(via: Via) {
    let rig = Rig::new(via).await;
    let couch = Caller::new(&rig);
    let docs = json!({"docs": [{"_id": "a", "n": 1}, {"_id": "b", "n": 2}]});
    let made = couch.must("manage-bulk-documents", json!({"docs": docs})).await;
    assert_eq!(made.as_array().map(Vec::len), Some(2));
    let map = |text: &str| json!({"map": format!("function(doc) {{ emit({text}, 1); }}")});
    let views = json!({"by": map("doc.n"), "other": map("1")});
    couch.must("create-document", json!({"doc": {"_id": "_design/n", "views": views}})).await;
    let view = json!({"docid": "n", "viewname": "by", "params": {"key": 2}});
    let rows = couch.must("exec-query-view", view.clone()).await;
    assert_eq!(rows["rows"][0]["id"], json!("b"));
    let designs = couch.must("list-design-documents", json!({})).await;
    assert_eq!(designs["rows"].as_array().map(Vec::len), Some(1));
    couch.must("delete-view", json!({"docid": "n", "viewname": "by"})).await;
    assert!(couch.call("exec-query-view", view.clone()).await.is_err());
    assert!(couch.call("delete-view", view).await.is_err());
    let left = couch.must("list-design-documents", json!({"includedocs": true})).await;
    assert!(left["rows"][0]["doc"]["views"].get("other").is_some());
    let index = json!({"index": {"fields": ["n"]}, "name": "by-n", "ddoc": "idx", "type": "json"});
    couch.must("create-query-index", json!({"index": index})).await;
    let found = couch.must("exec-query-find", json!({"query": {"selector": {"n": 2}}})).await;
    assert_eq!(found["docs"][0]["_id"], json!("b"));
    let named = |indexes: Value| {
        let indexes = indexes["indexes"].as_array().cloned().unwrap();
        indexes.iter().filter(|index| index["name"] == json!("by-n")).count()
    };
    assert_eq!(named(couch.must("list-query-indexes", json!({})).await), 1);
    let index = json!({"docid": "idx", "indexname": "by-n", "indextype": "json"});
    couch.must("delete-query-index", index).await;
    assert_eq!(named(couch.must("list-query-indexes", json!({})).await), 0);
}

async fn attachments_are_written_read_and_deleted(via: Via) {
    let rig = Rig::new(via).await;
    let couch = Caller::new(&rig);
    let rev = rig.put("a", json!({})).await;
    let attachment = json!({"docid": "a", "docrev": rev, "attachmentname": "x y.txt",
        "attachment": "hello", "contenttype": "text/plain"});
    let made = couch.must("create-attachment", attachment.clone()).await;
    let read = couch.must("read-attachment", json!({"docid": "a", "attachmentname": "x y.txt"}));
    assert_eq!(read.await, json!({"type": "Buffer", "data": b"hello"}));
    let conflict = couch.call("update-attachment", attachment).await.unwrap_err();
    assert_eq!(conflict["error"]["statusCode"], json!(409));
    let gone = json!({"docid": "a", "attachmentname": "x y.txt", "docrev": made["rev"]});
    couch.must("delete-attachment", gone).await;
    assert!(
        rig.server
            .must(reqwest::Method::GET, &format!("/{}/a", rig.db), None)
            .await
            .get("_attachments")
            .is_none()
    );
}

async fn databases_are_made_listed_and_deleted(via: Via) {
    let rig = Rig::new(via).await;
    let couch = Caller::new(&rig);
    let other = format!("{}-other", rig.db);
    couch.must("create-database", json!({"dbname": other})).await;
    let about = couch.must("read-database", json!({"dbname": other})).await;
    assert_eq!(about["db_name"], json!(other));
    let all = couch.must("list-all-databases", json!({})).await;
    assert!(all["all_databases"].as_array().unwrap().contains(&json!(other)));
    couch.must("delete-database", json!({"dbname": other})).await;
    assert!(couch.call("read-database", json!({"dbname": other})).await.is_err());
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let actions = Actions::new().unwrap();
    let whole = json!({"host": "127.0.0.1:1", "protocol": "http", "username": "u", "password": "p",
        "dbname": "d"});
    for missing in ["host", "username", "password", "dbname"] {
        let mut parameters = whole.clone();
        parameters.as_object_mut().unwrap().remove(missing);
        let answer = actions.call("read-database", &parameters).await;
        assert_eq!(answer, Err(json!({"error": format!("{missing} is required.")})));
    }
    for (name, required) in [
        ("read", "docid"),
        ("create-document", "doc"),
        ("delete-document", "docid"),
        ("exec-query-view", "docid"),
        ("exec-query-search", "docid"),
        ("exec-query-find", "query"),
        ("manage-bulk-documents", "docs"),
        ("create-attachment", "attachment"),
        ("delete-attachment", "docrev"),
        ("create-query-index", "index"),
        ("delete-view", "docid"),
        ("write", "doc"),
    ] {
        let answer = actions.call(name, &whole).await;
        assert_eq!(answer, Err(json!({"error": format!("{required} is required.")})), "{name}");
    }
    let endless = json!({"feed": "continuous"});
    let mut parameters = whole.clone();
    parameters["params"] = endless;
    let answer = actions.call("read-changes-feed", &parameters).await;
    assert_eq!(answer, Err(json!({"error": "feed continuous does not end."})));
    let away = actions.call("read-database", &whole).await.unwrap_err();
    assert!(away["error"].as_str().unwrap().contains("cannot be reached"), "{away}");
    let unknown = actions.call("read-mind", &whole).await.unwrap_err();
    assert!(unknown["error"].as_str().unwrap().contains("unknown action `read-mind`"));
    assert_eq!(Actions::names().count(), 26);
}

#[tokio::test]
async fn a_key_of_ibms_is_changed_for_a_token_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Json, Router, http::HeaderMap, routing::any};

    static GRANTED: AtomicUsize = AtomicUsize::new(0);
    let grant = |form: String| async move {
        GRANTED.fetch_add(1, Ordering::SeqCst);
        let good = form.contains("apikey=k%26y") && form.contains("grant_type=urn%3Aibm");
        Json(json!({"access_token": if good { "t0" } else { "bad" }, "expires_in": 3600}))
    };
    let about = |headers: HeaderMap| async move {
        Json(json!({"asked as": headers["authorization"].to_str().unwrap()}))
    };
    let router = Router::new().route("/token", any(grant)).fallback(about);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let parameters = json!({"host": "127.0.0.1", "port": port, "protocol": "http", "dbname": "d",
        "iamApiKey": "k&y", "iamUrl": format!("http://127.0.0.1:{port}/token"),
        "doc": {"_id": "a"}, "overwrite": true});
    let actions = Actions::new().unwrap();
    let answer = actions.call("read-database", &parameters).await;
    assert_eq!(answer, Ok(json!({"asked as": "Bearer t0"})));
    assert_eq!(GRANTED.load(Ordering::SeqCst), 1);
    actions.call("write", &parameters).await.unwrap();
    assert_eq!(GRANTED.load(Ordering::SeqCst), 2, "two requests of one call, one token");
    serving.abort();
}
