//! Feeds: what is wanted of them, through the API and the real supervisor.

use serde_json::{Value, json};

use crate::bench::{Bench, SYSTEM, basic};

fn feed(parameters: Value) -> Option<Value> {
    Some(json!({"provider": "silent", "trigger": "t", "parameters": parameters}))
}

#[tokio::test]
async fn a_feed_is_made_changed_shown_and_ended() {
    let bench = Bench::new().await;
    bench.set_up("PUT", "triggers/t", json!({})).await;
    let made =
        bench.guest("PUT", "feeds/f", feed(json!({"every": 1, "password": "hunter2"}))).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let shown = made.json();
    assert_eq!(shown["parameters"], json!({"every": 1, "password": "***"}));
    assert_eq!((shown["generation"].clone(), shown["paused"].clone()), (json!(1), json!(false)));
    let paused = json!({
        "provider": "silent", "trigger": "/_/t", "parameters": {"every": 2}, "paused": true,
    });
    let changed = bench.set_up("PUT", "feeds/f", paused).await;
    assert_eq!(changed["generation"], json!(2));
    assert_eq!(changed["status"]["state"], json!("paused"));
    let listed = bench.guest("GET", "feeds", None).await;
    assert_eq!(listed.json()[0]["name"], json!("f"));
    assert!(!listed.text.contains("hunter2"));
    assert_eq!(bench.guest("GET", "feeds?count=true", None).await.json(), json!({"feeds": 1}));
    assert_eq!(bench.guest("DELETE", "feeds/f", None).await.json()["name"], json!("f"));
    assert_eq!(bench.guest("GET", "feeds/f", None).await.status, 404);
    let again = bench.guest("PUT", "feeds/f", feed(json!({"every": 1}))).await.json();
    assert_eq!(again["generation"], json!(1), "another life of the name");
}

#[tokio::test]
async fn metrics_are_of_the_callers_own_feeds() {
    let bench = Bench::new().await;
    bench.set_up("PUT", "triggers/t", json!({})).await;
    bench.set_up("PUT", "feeds/f", feed(json!({"every": 1})).unwrap()).await;
    let own = bench.guest("GET", "/metrics", None).await;
    assert_eq!(own.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let line = "evoke_feed_state{namespace=\"guest\",feed=\"f\",provider=\"silent\",\
                trigger=\"t\",state=\"running\"} 1";
    assert!(own.text.lines().any(|it| it == line), "{}", own.text);
    let others = bench.ask("GET", "/metrics", &[basic(SYSTEM)], None::<String>).await;
    assert!(others.status == 200 && !others.text.contains("guest"), "{}", others.text);
    let nobody = bench.ask("GET", "/metrics", &[], None::<String>).await;
    assert_eq!(nobody.status, 401);
}

#[tokio::test]
async fn every_mistake_of_a_feed_is_named_and_nothing_is_kept() {
    let bench = Bench::new().await;
    bench.set_up("PUT", "triggers/t", json!({})).await;
    let wrong = feed(json!({"every": "often", "colour": "red"}));
    let (status, text) = bench.guest("PUT", "feeds/f", wrong).await.error();
    assert_eq!(status, 400);
    assert!(text.contains("`every` must be a number") && text.contains("colour"), "{text}");
    let no_trigger = json!({"provider": "silent", "trigger": "u", "parameters": {"every": 1}});
    let (status, text) = bench.guest("PUT", "feeds/f", Some(no_trigger)).await.error();
    assert_eq!((status, text.as_str()), (400, "trigger /guest/u does not exist"));
    let foreign = json!({"provider": "silent", "trigger": "/other/t", "parameters": {"every": 1}});
    assert_eq!(bench.guest("PUT", "feeds/f", Some(foreign)).await.status, 400);
    assert_eq!(bench.guest("GET", "feeds", None).await.json(), json!([]));
}

#[tokio::test]
async fn a_feed_is_paused_resumed_and_reset_each_as_often_as_said() {
    let bench = Bench::new().await;
    bench.set_up("PUT", "triggers/t", json!({})).await;
    let made = bench.guest("PUT", "feeds/f", feed(json!({"every": 1}))).await.json();
    assert_eq!(made["status"]["pinned"], json!(true), "answered once its place is durable");
    let mut generations = Vec::new();
    for (asked, state) in [
        (json!({"action": "resume"}), "running"),
        (json!({"action": "pause"}), "paused"),
        (json!({"action": "pause"}), "paused"),
        (json!({"action": "resume"}), "running"),
        (json!({"action": "reset", "to": "earliest"}), "running"),
        (json!({"action": "reset", "to": {"time": 7}}), "running"),
        (json!({"action": "reset", "to": {"position": {"t-0": 1}}}), "running"),
    ] {
        let shown = bench.guest("POST", "feeds/f", Some(asked.clone())).await.json();
        assert_eq!(shown["status"]["state"], json!(state), "{asked}: {shown}");
        generations.push(shown["generation"].as_u64().unwrap());
    }
    assert_eq!(generations, [1, 2, 2, 3, 4, 5, 6]);
    for wrong in [
        json!({"action": "stop"}),
        json!({"action": "reset"}),
        json!({"action": "reset", "to": "yesterday"}),
        json!({"action": "pause", "to": "latest"}),
        json!({}),
    ] {
        let (status, text) = bench.guest("POST", "feeds/f", Some(wrong.clone())).await.error();
        assert_eq!(status, 400, "{wrong}: {text}");
        assert!(text.contains("`action` must be"), "{text}");
    }
    let none = bench.guest("POST", "feeds/none", Some(json!({"action": "pause"}))).await;
    assert_eq!(none.status, 404);
}
