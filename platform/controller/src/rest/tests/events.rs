//! Events to triggers and to the hub, in every mode.

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::bench::{Answer, Bench, GUEST, basic, media};

/// A hub with trigger `t`, which has a rule, and `u`, which has none and is subscribed to `x.*`.
async fn with_triggers() -> Bench {
    let bench = Bench::new().await;
    bench.set_up("PUT", "actions/echo", json!({"exec": {"kind": "nodejs:20", "code": "x"}})).await;
    bench.set_up("PUT", "triggers/t", json!({})).await;
    bench.set_up("PUT", "rules/r", json!({"trigger": "/_/t", "action": "/_/echo"})).await;
    let subscription = json!([{"key": "subscription", "value": {"type": "x.*"}}]);
    bench.set_up("PUT", "triggers/u", json!({ "annotations": subscription })).await;
    bench
}

async fn post(bench: &Bench, path: &str, kind: &str, more: &[(&str, &str)], body: &str) -> Answer {
    let mut headers = vec![basic(GUEST), media(kind)];
    headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    bench.ask("POST", path, &headers, Some(Bytes::copy_from_slice(body.as_bytes()))).await
}

fn event(id: &str, kind: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/s", "type": kind, "data": {"a": 1}})
}

#[tokio::test]
async fn a_fire_is_answered_as_openwhisk_does() {
    let bench = with_triggers().await;
    let fired = post(&bench, "triggers/t", "application/json", &[], "{\"a\":1}").await;
    assert_eq!(fired.status, 202);
    let id = fired.json()["activationId"].as_str().unwrap().to_owned();
    assert_eq!(fired.header("x-openwhisk-activation-id"), Some(id.as_str()));
    assert!(fired.header("x-evoke-position").unwrap().contains(':'));
    let unheard = post(&bench, "triggers/u", "application/json", &[], "").await;
    assert_eq!((unheard.status.as_u16(), unheard.text.as_str()), (204, ""));
    assert_eq!(unheard.header("x-openwhisk-activation-id"), None);
    assert!(unheard.header("x-evoke-position").is_some(), "it is in the log all the same");
}

#[tokio::test]
async fn plain_json_is_deduplicated_by_its_key() {
    let bench = with_triggers().await;
    let send = async |key: &str| {
        post(&bench, "triggers/t", "application/json", &[("idempotency-key", key)], "{}").await
    };
    let first = send("k1").await;
    let again = send("k1").await;
    assert_eq!(first.json(), again.json());
    assert_eq!(first.header("x-evoke-position"), again.header("x-evoke-position"));
    assert_ne!(first.json(), send("k2").await.json());
    assert_eq!(send("").await.status, 400);
    let two = [
        post(&bench, "triggers/t", "application/json", &[], "{}").await.json(),
        post(&bench, "triggers/t", "application/json", &[], "{}").await.json(),
    ];
    assert_ne!(two[0], two[1], "without a key each is another");
}

#[tokio::test]
async fn the_three_modes_are_the_same_event() {
    let bench = with_triggers().await;
    let binary =
        [("ce-specversion", "1.0"), ("ce-id", "one"), ("ce-source", "/s"), ("CE-Type", "x.y")];
    let first = post(&bench, "triggers/t", "application/json", &binary, "{\"a\":1}").await;
    assert_eq!(first.status, 202, "{first:?}");
    let structured = event("one", "x.y").to_string();
    let kind = "Application/CloudEvents+JSON; charset=utf-8";
    let second = post(&bench, "triggers/t", kind, &[], &structured).await;
    assert_eq!(first.json(), second.json(), "a duplicate is answered as the first was");
    let batch = json!([event("one", "x.y"), event("two", "x.y")]).to_string();
    let kind = "application/cloudevents-batch+json";
    let third = post(&bench, "triggers/t", kind, &[], &batch).await;
    let answer = third.json();
    assert_eq!((third.status.as_u16(), answer["accepted"].clone()), (202, json!(2)));
    assert_eq!(answer["events"][0]["activationId"], first.json()["activationId"]);
    assert_eq!(answer["events"][0]["duplicate"], json!(true));
    assert_eq!(answer["events"][1].get("duplicate"), None);
    assert_ne!(answer["events"][1]["position"], answer["events"][0]["position"]);
}

#[tokio::test]
async fn the_hub_routes_by_subscription() {
    let bench = with_triggers().await;
    bench.set_up("PUT", "rules/s", json!({"trigger": "/_/u", "action": "/_/echo"})).await;
    let kind = "application/cloudevents-batch+json";
    let batch = json!([event("1", "x.y"), event("2", "other")]).to_string();
    let answer = post(&bench, "events", kind, &[], &batch).await;
    let events = answer.json()["events"].clone();
    assert_eq!(events[0]["triggers"][0]["name"], json!("u"));
    assert_eq!(events[0]["activationId"], events[0]["triggers"][0]["activationId"]);
    assert_eq!((events[1]["id"].clone(), events[1]["triggers"].clone()), (json!("2"), json!([])));
    let empty = post(&bench, "events", kind, &[], "[]").await;
    assert_eq!((empty.status.as_u16(), empty.json()), (202, json!({"accepted": 0, "events": []})));
    let single = event("3", "z").to_string();
    let one = post(&bench, "events", "application/cloudevents+json", &[], &single).await;
    let position = one.header("x-evoke-position").map(ToOwned::to_owned);
    assert_eq!(one.json()["events"][0]["position"].as_str(), position.as_deref());
}

#[tokio::test]
async fn a_batch_is_taken_whole_or_not_at_all() {
    let bench = with_triggers().await;
    let kind = "application/cloudevents-batch+json";
    let mut wrong = event("3", "x.y");
    wrong["time"] = json!("yesterday");
    let batch = json!([event("1", "x.y"), event("2", "x.y"), wrong]).to_string();
    let answer = post(&bench, "events", kind, &[], &batch).await;
    let sentence = "invalid CloudEvent: event 2 of the batch: attribute `time` must be a time as RFC 3339 has it";
    assert_eq!(answer.error(), (400, sentence.to_owned()));
    let again = json!([event("1", "x.y")]).to_string();
    let answer = post(&bench, "events", kind, &[], &again).await;
    assert_eq!(answer.json()["events"][0].get("duplicate"), None, "nothing of it was kept");
    let big =
        event("big", "x.y").to_string().replace("1}", &format!("\"{}\"}}", "x".repeat(1_048_576)));
    let answer = post(&bench, "events", kind, &[], &format!("[{big}]")).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    let avro = post(&bench, "events", "application/cloudevents+avro", &[], "x").await;
    assert_eq!(avro.status, 415);
}

#[tokio::test]
async fn a_triggers_own_credential_opens_that_trigger_only() {
    let bench = with_triggers().await;
    let hook = |credential: Value| json!({ "webhook": credential });
    let bearer = hook(json!({"bearer": {"token": "t0ken"}}));
    bench.set_up("PUT", "triggers/t?overwrite=true", bearer).await;
    let hmac = hook(json!({"hmac": {"secret": "key", "header": "X-Sig"}}));
    bench.set_up("PUT", "triggers/u?overwrite=true", hmac).await;
    let ask = async |method: &str, path: &str, header: (&'static str, &str), body: &str| {
        let headers = [media("application/json"), (header.0, header.1.to_owned())];
        let path = format!("/api/v1/namespaces/guest/{path}");
        bench.ask(method, &path, &headers, Some(body.to_owned())).await.status.as_u16()
    };
    let good = ("authorization", "Bearer t0ken");
    assert_eq!(ask("POST", "triggers/t", good, "{}").await, 202);
    assert_eq!(ask("POST", "triggers/t?access_token=t0ken", ("x-a", "b"), "{}").await, 202);
    for (method, path, header) in [
        ("POST", "triggers/t", ("authorization", "Bearer other")),
        ("POST", "triggers/t", ("x-a", "b")),
        ("POST", "triggers/t?access_token=other", ("x-a", "b")),
        ("GET", "triggers/t", good),
        ("DELETE", "triggers/t", good),
        ("POST", "triggers/u", good),
        ("POST", "triggers/none", good),
        ("POST", "events", good),
        ("POST", "actions/echo", good),
    ] {
        assert_eq!(ask(method, path, header, "{}").await, 401, "{method} {path} {header:?}");
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(b"key").unwrap();
    mac.update(b"{\"a\":1}");
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(ask("POST", "triggers/u", ("x-sig", &signature), "{\"a\":1}").await, 204);
    assert_eq!(ask("POST", "triggers/u", ("x-sig", &signature), "{\"a\":2}").await, 401);
    bench.set_up("PUT", "triggers/t?overwrite=true", json!({"webhook": null})).await;
    assert_eq!(ask("POST", "triggers/t", good, "{}").await, 401);
}

async fn handshake(bench: &Bench, path: &str, headers: &[(&str, &str)]) -> Answer {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    bench.ask("OPTIONS", path, &headers, None::<Bytes>).await
}

#[tokio::test]
async fn a_sender_that_may_fire_is_granted_to_deliver() {
    let bench = with_triggers().await;
    let webhook = json!({"webhook": {"bearer": {"token": "t0ken"}}});
    bench.set_up("PUT", "triggers/t?overwrite=true", webhook).await;
    let basic = basic(GUEST);
    let (owner, bearer) = ((basic.0, basic.1.as_str()), ("authorization", "Bearer t0ken"));
    let origin = ("webhook-request-origin", "eventemitter.example.com");
    for (path, who) in [
        ("triggers/t", owner),
        ("triggers/u", owner),
        ("events", owner),
        ("events/", owner),
        ("/api/v1/namespaces/guest/triggers/t", bearer),
        ("/api/v1/namespaces/guest/triggers/t?access_token=t0ken", ("x-nothing", "")),
    ] {
        let granted = handshake(&bench, path, &[origin, who]).await;
        assert_eq!(granted.status, 200, "{path}: {}", granted.text);
        assert_eq!(granted.header("webhook-allowed-origin"), Some(origin.1), "{path}");
        assert_eq!(granted.header("webhook-allowed-rate"), Some("*"), "{path}");
        assert_eq!(granted.header("allow"), Some("POST"), "{path}");
    }
    let rate = ("webhook-request-rate", "120");
    let granted = handshake(&bench, "triggers/t", &[origin, owner, rate]).await;
    assert_eq!(granted.header("webhook-allowed-rate"), Some("120"));
}

#[tokio::test]
async fn nobody_else_is_granted_to_deliver() {
    let bench = with_triggers().await;
    let basic = basic(GUEST);
    let who = (basic.0, basic.1.as_str());
    let origin = ("webhook-request-origin", "eventemitter.example.com");
    let rate = |rate| ("webhook-request-rate", rate);
    for (path, headers, status) in [
        ("triggers/t", vec![origin], 401),
        ("triggers/t", vec![origin, ("authorization", "Bearer wrong")], 401),
        ("triggers/absent", vec![origin, who], 404),
        ("triggers/t", vec![("webhook-request-origin", "a b"), who], 400),
        ("triggers/t", vec![("webhook-request-origin", ""), who], 400),
        ("triggers/t", vec![origin, who, rate("0")], 400),
        ("triggers/t", vec![origin, who, rate("many")], 400),
        ("actions/echo", vec![origin, who], 404),
        ("triggers/t", vec![who], 200),
    ] {
        let answer = handshake(&bench, path, &headers).await;
        assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text);
        assert_eq!(answer.header("webhook-allowed-origin"), None, "{path} {headers:?}");
        assert_eq!(answer.header("webhook-allowed-rate"), None, "{path} {headers:?}");
    }
}

#[tokio::test]
async fn a_sender_that_cannot_sign_waits_for_the_owner() {
    let bench = with_triggers().await;
    let webhook = json!({"webhook": {"hmac": {"secret": "key", "header": "X-Sig"}}});
    bench.set_up("PUT", "triggers/t?overwrite=true", webhook).await;
    let path = "/api/v1/namespaces/guest/triggers/t";
    let origin = ("webhook-request-origin", "eventemitter.example.com");
    let callback = ("webhook-request-callback", "https://eventemitter.example.com/grant?key=1");
    let rate = ("webhook-request-rate", "120");
    assert_eq!(handshake(&bench, path, &[origin]).await.status, 401, "nobody could grant it");
    for _ in 0..2 {
        let answer = handshake(&bench, path, &[origin, callback, rate]).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(answer.header("webhook-allowed-origin"), None);
        assert_eq!(answer.header("webhook-allowed-rate"), None);
    }
    let asked = bench.guest("GET", "triggers/t/handshakes", None).await.json();
    let time = asked[0]["asked"].clone();
    let wanted = json!({"origin": origin.1, "callback": callback.1, "rate": 120, "asked": time});
    assert_eq!(asked, json!([wanted]));
    let counted = bench.guest("GET", "triggers/t/handshakes?count=true", None).await.json();
    assert_eq!(counted, json!({"handshakes": 1}));
    let basic = basic(GUEST);
    let owner = (basic.0, basic.1.as_str());
    let granted = handshake(&bench, path, &[origin, callback, owner]).await;
    assert_eq!(granted.header("webhook-allowed-origin"), Some(origin.1), "at once");
    for (what, headers) in [
        ("plain HTTP", vec![origin, ("webhook-request-callback", "http://a.example/x")]),
        ("two", vec![origin, callback, callback]),
        ("a wrong signature", vec![origin, callback, ("x-sig", "sha256=00")]),
    ] {
        let refused = handshake(&bench, path, &headers).await;
        assert!(matches!(refused.status.as_u16(), 400 | 401), "{what}: {}", refused.status);
    }
    let bearer = json!({"webhook": {"bearer": {"token": "t0ken"}}});
    bench.set_up("PUT", "triggers/u?overwrite=true", bearer).await;
    let path = "/api/v1/namespaces/guest/triggers/u";
    assert_eq!(
        handshake(&bench, path, &[origin, callback]).await.status,
        401,
        "it can prove itself"
    );
    bench.guest("DELETE", "triggers/t", None).await;
    assert_eq!(bench.guest("GET", "triggers/t/handshakes", None).await.status, 404);
    bench.set_up("PUT", "triggers/t", json!({})).await;
    let forgotten = bench.guest("GET", "triggers/t/handshakes", None).await.json();
    assert_eq!(forgotten, json!([]), "they were of the former life");
}
