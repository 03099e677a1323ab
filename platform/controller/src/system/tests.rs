//! The hub's own packages through the API, with a feed action and a native action of the bench.

use serde_json::{Value, json};

use crate::bench::{Answer, Bench, GUEST, SYSTEM, basic, media};

const HUSH: &str = "/api/v1/namespaces/whisk.system/actions/silence/hush?blocking=true&result=true";

async fn ask(bench: &Bench, event: &str, more: Value) -> Answer {
    let mut asked = json!({"lifecycleEvent": event, "triggerName": "/_/t", "authKey": GUEST});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bench.guest("POST", HUSH, Some(asked)).await
}

async fn with_trigger() -> Bench {
    let bench = Bench::new().await;
    bench.set_up("PUT", "triggers/t", json!({})).await;
    bench
}

#[tokio::test]
async fn everybody_can_read_the_packages_and_nobody_change_them() {
    let bench = Bench::new().await;
    let packages = bench.guest("GET", "/api/v1/namespaces/whisk.system/packages", None).await;
    let packages = packages.json();
    assert_eq!((&packages[0]["name"], &packages[0]["publish"]), (&json!("silence"), &json!(true)));
    assert_eq!(packages.as_array().map(Vec::len), Some(1));
    let at = "/api/v1/namespaces/whisk.system/packages/silence";
    let package = bench.guest("GET", at, None).await.json();
    assert_eq!(package["actions"][0]["name"], json!("answer"));
    assert_eq!(package["feeds"][0]["name"], json!("hush"));
    let at = "/api/v1/namespaces/whisk.system/actions/silence/";
    let listed = bench.guest("GET", at, None).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    let at = "/api/v1/namespaces/whisk.system/actions/silence/answer";
    let action = bench.guest("GET", at, None).await.json();
    assert_eq!(action["exec"], json!({"kind": "native", "binary": false}));
    assert_eq!(action["namespace"], json!("whisk.system/silence"));
    let mine = Some(json!({"exec": {"kind": "nodejs:20", "code": "x"}}));
    let put = format!("{at}?overwrite=true");
    assert_eq!(bench.guest("PUT", &put, mine.clone()).await.status, 403);
    for (method, path) in [("PUT", put.as_str()), ("DELETE", at)] {
        let body = mine.clone().filter(|_| method == "PUT").map(|body| body.to_string());
        let headers = [basic(SYSTEM), media("application/json")];
        let (status, text) = bench.ask(method, path, &headers, body).await.error();
        assert_eq!(status, 400, "{text}");
        assert!(text.contains("part of the hub"), "{text}");
    }
}

#[tokio::test]
async fn a_native_action_is_called_like_any_other() {
    let bench = Bench::new().await;
    let at = "/api/v1/namespaces/whisk.system/actions/silence/answer?blocking=true";
    let record = bench.guest("POST", at, Some(json!({"x": 1}))).await.json();
    assert_eq!(record["response"]["result"], json!({"x": 1}));
    assert_eq!((&record["namespace"], &record["name"]), (&json!("guest"), &json!("answer")));
    let annotations = record["annotations"].as_array().unwrap();
    assert!(annotations.contains(&json!({"key": "path", "value": "whisk.system/silence/answer"})));
    let failed = bench.guest("POST", at, Some(json!({"speak": 1}))).await;
    assert_eq!(failed.status, 502);
    let response = failed.json()["response"].take();
    assert_eq!(response["result"], json!({"error": "silence!"}));
    assert_eq!(response["status"], json!("application error"));
    let id = record["activationId"].as_str().unwrap();
    assert_eq!(bench.guest("GET", &format!("activations/{id}"), None).await.status, 200);
    assert!(bench.runner.runs.lock().unwrap().is_empty(), "it took a sandbox");
    bench.set_up("PUT", "triggers/t", json!({})).await;
    let rule = json!({"trigger": "/_/t", "action": "/whisk.system/silence/answer"});
    bench.set_up("PUT", "rules/r", rule).await;
}

#[tokio::test]
async fn c1_a_feed_is_made_read_changed_and_ended_by_its_action() {
    let bench = with_trigger().await;
    assert_eq!(
        ask(&bench, "CREATE", json!({"pause": 7})).await.json(),
        json!({"status": "success"})
    );
    let read = ask(&bench, "READ", json!({})).await.json();
    assert_eq!(read["config"], json!({"name": "t", "namespace": "guest", "pause": 7}));
    assert_eq!(read["status"]["active"], json!(true));
    assert!(read["status"].get("reason").is_none(), "{read}");
    let iso = read["status"]["dateChangedISO"].as_str().unwrap();
    assert!(iso.ends_with('Z') && iso.len() == "2026-11-25T10:00:00Z".len(), "{iso}");
    assert_eq!(read["evoke"]["state"], json!("running"));
    let shown = bench.guest("GET", "feeds/t", None).await.json();
    assert_eq!((&shown["provider"], &shown["trigger"]), (&json!("silent"), &json!("t")));
    assert_eq!(shown["feedAction"], json!("silence/hush"));
    assert_eq!(ask(&bench, "UPDATE", json!({"pause": 8})).await.json()["status"], "success");
    assert_eq!(bench.guest("GET", "feeds/t", None).await.json()["generation"], json!(2));
    ask(&bench, "PAUSE", json!({})).await;
    let read = ask(&bench, "READ", json!({})).await.json();
    assert_eq!(read["config"]["pause"], json!(8));
    assert_eq!(read["status"]["active"], json!(false));
    assert_eq!(read["status"]["reason"], json!({"kind": "ADMIN", "message": "paused"}));
    ask(&bench, "UNPAUSE", json!({})).await;
    let reset = ask(&bench, "RESET", json!({"to": "earliest"})).await;
    assert_eq!(reset.json(), json!({"status": "success"}));
    assert_eq!(bench.guest("GET", "feeds/t", None).await.json()["generation"], json!(5));
    assert_eq!(ask(&bench, "DELETE", json!({})).await.json(), json!({"status": "success"}));
    let gone = ask(&bench, "READ", json!({})).await;
    assert_eq!(gone.status, 502);
    assert_eq!(
        gone.json()["error"]["error"],
        json!("trigger `/guest/t` has no feed of `silence/hush`")
    );
}

#[tokio::test]
async fn c2_what_is_wrong_is_said_and_nothing_is_left() {
    let bench = with_trigger().await;
    let other = SYSTEM;
    for (event, more, words) in [
        ("CREATE", json!({}), "no pause parameter"),
        ("CREATE", json!({"pause": "often"}), "`every` must be a number"),
        ("CREATE", json!({"pause": 0}), "silence has no bounds"),
        ("CREATE", json!({"pause": 1, "triggerName": ""}), "no trigger name"),
        ("CREATE", json!({"pause": 1, "triggerName": "/_/u"}), "trigger /guest/u does not exist"),
        ("CREATE", json!({"pause": 1, "triggerName": "/_/p/t"}), "in no package"),
        ("CREATE", json!({"pause": 1, "authKey": other}), "not authorized"),
        ("CREATE", json!({"pause": 1, "authKey": "me:too"}), "not authorized"),
        ("CREATE", json!({"pause": 1, "triggerName": "/whisk.system/t"}), "not authorized"),
        ("BREAK", json!({}), "`lifecycleEvent` must be one of CREATE"),
        ("RESET", json!({"to": "yesterday"}), "`to` must be"),
        ("DELETE", json!({}), "has no feed"),
    ] {
        let refused = ask(&bench, event, more.clone()).await;
        assert_eq!(refused.status, 502, "{event} {more}");
        let text = refused.json()["error"]["error"].as_str().unwrap().to_owned();
        assert!(text.contains(words), "{event} {more}: {text}");
    }
    assert_eq!(bench.guest("GET", "feeds", None).await.json(), json!([]));
}

#[tokio::test]
async fn c3_a_feed_ends_though_its_trigger_is_gone() {
    let bench = with_trigger().await;
    ask(&bench, "CREATE", json!({"pause": 7})).await;
    assert_eq!(bench.guest("DELETE", "triggers/t", None).await.status, 200);
    assert_eq!(ask(&bench, "DELETE", json!({})).await.json(), json!({"status": "success"}));
    assert_eq!(bench.guest("GET", "feeds", None).await.json(), json!([]));
}

#[tokio::test]
async fn c4_made_twice_the_second_wins() {
    let bench = with_trigger().await;
    ask(&bench, "CREATE", json!({"pause": 7, "triggerName": "/_/t"})).await;
    let first = bench.hub.parts.feeds.feeds(None).await.unwrap().remove(0);
    ask(&bench, "CREATE", json!({"pause": 8, "triggerName": "/guest/t"})).await;
    let feeds = bench.hub.parts.feeds.feeds(None).await.unwrap();
    assert_eq!(feeds.len(), 1);
    assert_eq!(feeds[0].parameters["every"], json!(8));
    assert_ne!(feeds[0].uid, first.uid, "another feed");
    assert!(bench.hub.parts.feed_control.status(first.uid).is_none(), "two feeds run");
}

#[tokio::test]
async fn a_feed_that_was_made_by_other_means_is_left_alone() {
    let bench = with_trigger().await;
    let mine = json!({"provider": "silent", "trigger": "t", "parameters": {"every": 1}});
    bench.set_up("PUT", "feeds/t", mine.clone()).await;
    let refused = ask(&bench, "CREATE", json!({"pause": 7})).await.json();
    assert_eq!(
        refused["error"]["error"],
        json!("a feed of the trigger's name was made by other means")
    );
    assert_eq!(ask(&bench, "DELETE", json!({})).await.status, 502);
    assert_eq!(bench.guest("GET", "feeds/t", None).await.json()["generation"], json!(1));
    bench.set_up("DELETE", "feeds/t", json!({})).await;
    ask(&bench, "CREATE", json!({"pause": 7})).await;
    assert_eq!(bench.guest("PUT", "feeds/t", Some(mine)).await.status, 409);
}
