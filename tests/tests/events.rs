//! Events: in by every mode, routed, taken once, delivered to functions.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends, in what it is made of too"
)]

#[path = "events/delivery.rs"]
mod delivery;
#[path = "events/feeds.rs"]
mod feeds;

use std::collections::BTreeMap;

use cloudevents::{AttributesReader as _, Data, Event, EventBuilder as _, EventBuilderV10};
use evoke_tests::{
    e2e::{
        caller::{Ask, Caller, Reply},
        entities::{ECHO, node, record, records, records_when, text, trigger},
        place::Place,
    },
    fault::{error::FaultError, hub::Hub},
};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

type Done = Result<(), FaultError>;

const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json";

/// An order, as the CloudEvents project's own library makes it.
fn order(id: &str) -> EventBuilderV10 {
    EventBuilderV10::new()
        .id(id)
        .source("/shop/eu")
        .ty("order.placed")
        .subject("tea")
        .time("2026-01-02T03:04:05Z")
        .extension("partitionkey", "customer-7")
        .data("application/json", json!({"count": 2}))
}

fn built(builder: EventBuilderV10) -> Event {
    builder.build().expect("a whole event")
}

fn as_json(event: &Event) -> Value {
    serde_json::to_value(event).expect("an event as JSON")
}

fn structured(path: &str, event: &Event) -> Ask {
    Ask::new("POST", path).header("content-type", STRUCTURED).bytes(as_json(event).to_string())
}

fn batch(path: &str, events: &[Value]) -> Ask {
    Ask::new("POST", path).header("content-type", BATCH).bytes(json!(events).to_string())
}

/// Attributes as headers, percent-encoded; the data as the body.
fn binary(path: &str, event: &Event) -> Ask {
    let mut ask = Ask::new("POST", path);
    for (name, value) in event.iter() {
        ask = match name {
            "datacontenttype" => ask.header("content-type", value.to_string()),
            name => ask.header(format!("ce-{name}"), encoded(&value.to_string())),
        };
    }
    match event.data() {
        Some(Data::Json(value)) => ask.bytes(value.to_string()),
        Some(Data::String(text)) => ask.bytes(text.clone()),
        Some(Data::Binary(bytes)) => ask.bytes(bytes.clone()),
        None => ask,
    }
}

/// As the HTTP binding has it: space, quote, percent and all beyond ASCII.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'!'..=b'~' if !matches!(byte, b'"' | b'%') => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// The one activation of `action` for the event that an answer accepted.
async fn run_of(caller: &Caller, accepted: &Reply, action: &str) -> Result<Value, FaultError> {
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let id = text(&accepted.json(), "/activationId");
    assert_eq!(id, accepted.header("x-openwhisk-activation-id"), "{}", accepted.text());
    let fired = record(caller, &id).await?;
    let run = run_in(&fired, action);
    record(caller, &run).await
}

/// The run of `action` that a trigger's record names.
fn run_in(fired: &Value, action: &str) -> String {
    let logs = fired["logs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut entries = logs.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let entry = entries.find(|entry| entry["action"] == json!(format!("guest/{action}")));
    let entry = entry.unwrap_or_else(|| panic!("no entry for `{action}` in {fired}"));
    text(&entry, "/activationId")
}

/// A hub with trigger `t`, rule `t-echo`, action `echo`.
async fn furnished() -> Result<(Place, Hub, Caller), FaultError> {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, "t", &json!({}), &["echo"], &Value::Null).await?;
    Ok((place, hub, caller))
}

#[tokio::test]
async fn every_mode_brings_the_same_event_to_the_function() -> Done {
    let (place, hub, caller) = furnished().await?;
    let event = |id| built(order(id));
    let one = caller.send(binary("triggers/t", &event("b"))).await?;
    let two = caller.send(structured("triggers/t", &event("s"))).await?;
    let both = batch("triggers/t", &[as_json(&event("x")), as_json(&event("y"))]);
    let both = caller.send(both).await?;
    assert_eq!((both.status, &both.json()["accepted"]), (202, &json!(2)), "{}", both.text());
    let mut runs = BTreeMap::new();
    runs.insert("b", run_of(&caller, &one, "echo").await?);
    runs.insert("s", run_of(&caller, &two, "echo").await?);
    for (place, id) in [(0, "x"), (1, "y")] {
        let taken = both.json()["events"][place].clone();
        assert_eq!(taken["id"], json!(id));
        let fired = record(&caller, &text(&taken, "/activationId")).await?;
        runs.insert(id, record(&caller, &run_in(&fired, "echo")).await?);
    }
    for (id, run) in runs {
        let result = &run["response"]["result"];
        assert_eq!(run["response"]["status"], "success", "{run}");
        assert_eq!(result["args"]["count"], json!(2), "{id}: {run}");
        assert_eq!(result["event"], json!(id), "{id}: {run}");
        assert_eq!(result["activation"], run["activationId"], "{id}: {run}");
        assert_eq!(run.get("cause"), None, "{id}: what a trigger starts has no cause");
        let attributes = json!({
            "specversion": "1.0", "id": id, "source": "/shop/eu", "type": "order.placed",
            "subject": "tea", "time": "2026-01-02T03:04:05Z", "partitionkey": "customer-7",
            "datacontenttype": "application/json",
        });
        let mut got = result["args"]["__ce"].clone();
        if let Some(time) = got["time"].as_str() {
            got["time"] = time.replace("+00:00", "Z").into();
        }
        assert_eq!(got, attributes, "{id}: {run}");
    }
    place.end(hub).await
}

#[tokio::test]
async fn plain_json_gives_exactly_openwhisks_arguments_and_record() -> Done {
    let (place, hub, caller) = furnished().await?;
    let bound =
        json!({"parameters": [{"key": "bound", "value": 1}, {"key": "a", "value": "under"}]});
    trigger(&caller, "t", &bound, &["echo"], &Value::Null).await?;
    let ask = Ask::new("POST", "triggers/t").json(&json!({"a": "over"}));
    let ask = ask
        .header("X-Custom", "seen")
        .header("Cookie", "secret-cookie")
        .header("X-Hub-Signature-256", "secret-signature");
    let reply = caller.send(ask).await?;
    let run = run_of(&caller, &reply, "echo").await?;
    let args = &run["response"]["result"]["args"];
    let names: Vec<_> =
        args.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["__ow_headers", "a", "bound"], "{run}");
    assert_eq!((&args["a"], &args["bound"]), (&json!("over"), &json!(1)));
    assert_eq!(args["__ow_headers"]["x-custom"], "seen", "{run}");
    for secret in ["authorization", "cookie", "x-hub-signature-256", "content-type"] {
        assert_eq!(args["__ow_headers"].get(secret), None, "{run}");
    }
    assert!(!text(&run, "/response/result/event").is_empty(), "{run}");

    let fired = record(&caller, &text(&reply.json(), "/activationId")).await?;
    assert_eq!(
        fired["response"],
        json!({"status": "success", "success": true, "result": {"a": "over"}})
    );
    let shown = json!([
        fired["namespace"],
        fired["name"],
        fired["version"],
        fired["subject"],
        fired["annotations"]
    ]);
    assert_eq!(shown, json!(["guest", "t", "0.0.2", "guest", []]), "{fired}");
    assert_eq!((fired.get("end"), fired.get("duration")), (None, None), "{fired}");
    let entry: Value = serde_json::from_str(&text(&fired, "/logs/0")).expect("a log entry in JSON");
    let wanted = json!({
        "rule": "guest/t-echo", "action": "guest/echo", "statusCode": 0, "success": true,
        "activationId": run["activationId"],
    });
    assert_eq!(entry, wanted);

    let call = caller.send(Ask::new("POST", "actions/echo").json(&json!({"a": 3}))).await?;
    assert_eq!(call.status, 202, "{}", call.text());
    let run = record(&caller, &text(&call.json(), "/activationId")).await?;
    assert_eq!(
        run["response"]["result"]["args"],
        json!({"a": 3}),
        "an accepted call is a delivery too"
    );
    assert!(!text(&run, "/response/result/event").is_empty(), "{run}");
    place.end(hub).await
}

#[tokio::test]
async fn attributes_are_percent_decoded_or_refused() -> Done {
    let (place, hub, caller) = furnished().await?;
    let euro = built(order("euro").subject("Euro € 😀"));
    let ask = binary("triggers/t", &euro);
    let run = run_of(&caller, &caller.send(ask).await?, "echo").await?;
    assert_eq!(run["response"]["result"]["args"]["__ce"]["subject"], "Euro € 😀", "{run}");
    let head = |id: &str, subject: &str| {
        let ask = Ask::new("POST", "triggers/t").header("ce-id", id).header("ce-subject", subject);
        ask.header("ce-specversion", "1.0").header("ce-source", "/s").header("ce-type", "t")
    };
    let run = caller.send(head("literal", "Euro%20%E2%82%AC")).await?;
    let run = run_of(&caller, &run, "echo").await?;
    assert_eq!(run["response"]["result"]["args"]["__ce"]["subject"], "Euro €", "{run}");
    let overlong = caller.send(head("overlong", "%C0%A0")).await?;
    let sentence = "invalid CloudEvent: attribute `subject` must be percent-encoded UTF-8";
    assert_eq!((overlong.status, overlong.error().as_str()), (400, sentence));

    let text_event = built(order("text").data("text/plain", "hello"));
    let run =
        run_of(&caller, &caller.send(binary("triggers/t", &text_event)).await?, "echo").await?;
    assert_eq!(
        run["response"]["result"]["args"]["data"], "hello",
        "other data is under `data`: {run}"
    );
    let list = built(order("list").data("application/json", json!([1, 2])));
    let run = run_of(&caller, &caller.send(structured("triggers/t", &list)).await?, "echo").await?;
    assert_eq!(run["response"]["result"]["args"]["data"], json!([1, 2]), "{run}");
    place.end(hub).await
}

#[tokio::test]
async fn an_invalid_event_of_a_batch_refuses_it_whole() -> Done {
    let (place, hub, caller) = furnished().await?;
    let good = as_json(&built(order("good")));
    let mut bad = as_json(&built(order("bad")));
    bad["time"] = json!("yesterday");
    for path in ["triggers/t", "events"] {
        let reply = caller.send(batch(path, &[good.clone(), good.clone(), bad.clone()])).await?;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
        let sentence = "invalid CloudEvent: event 2 of the batch: attribute `time` must be";
        assert!(reply.error().starts_with(sentence), "{path}: {}", reply.text());
    }
    assert_eq!(caller.get("events").await?, json!([]), "nothing was accepted");
    let reply = caller.send(batch("triggers/t", std::slice::from_ref(&good))).await?;
    assert_eq!(reply.json()["events"][0].get("duplicate"), None, "{}", reply.text());
    for (what, broken) in [
        ("specversion", json!({"id": "1", "source": "/s", "type": "t"})),
        ("id", json!({"specversion": "1.0", "source": "/s", "type": "t"})),
        ("source", json!({"specversion": "1.0", "id": "1", "source": "", "type": "t"})),
        ("specversion", json!({"specversion": "0.3", "id": "1", "source": "/s", "type": "t"})),
    ] {
        let ask = Ask::new("POST", "triggers/t").header("content-type", STRUCTURED);
        let reply = caller.send(ask.bytes(broken.to_string())).await?;
        assert_eq!(reply.status, 400, "{broken}: {}", reply.text());
        assert!(reply.error().contains(&format!("`{what}`")), "{broken}: {}", reply.text());
    }
    records_when(&caller, "echo", 1).await?;
    let listed = caller.get("events").await?;
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed[0]["event"]["id"], "good");
    place.end(hub).await
}

#[tokio::test]
async fn the_hub_routes_by_type_source_and_subject() -> Done {
    let (place, hub, caller) = furnished().await?;
    for (name, subscription) in [
        ("orders", json!({"type": "order.*"})),
        ("placed", json!({"type": "order.placed"})),
        ("europe", json!({"type": "*", "source": "/shop/eu*"})),
        ("tea", json!({"type": "order.*", "subject": "tea"})),
        ("other", json!({"type": "invoice.*"})),
    ] {
        let body = json!({"annotations": [{"key": "subscription", "value": subscription}]});
        trigger(&caller, name, &body, &["echo"], &Value::Null).await?;
    }
    let without_subject = EventBuilderV10::new().id("4").source("/shop/eu").ty("order.placed");
    let events = [
        (built(order("1")), vec!["europe", "orders", "placed", "tea"]),
        (built(order("2").ty("order.paid").source("/shop/us")), vec!["orders", "tea"]),
        (built(order("3").ty("parcel.sent").subject("coffee")), vec!["europe"]),
        (built(without_subject), vec!["europe", "orders", "placed"]),
        (built(order("5").ty("orders").source("/warehouse")), vec![]),
    ];
    let mut deliveries = 0;
    for (event, wanted) in &events {
        let reply = caller.send(structured("events", event)).await?;
        assert_eq!(reply.status, 202, "{}", reply.text());
        let fired = reply.json()["events"][0]["triggers"].clone();
        let mut names: Vec<_> =
            fired.as_array().into_iter().flatten().map(|one| text(one, "/name")).collect();
        names.sort();
        assert_eq!(&names, wanted, "{}: {}", event.id(), reply.text());
        deliveries += wanted.len();
    }
    let runs = records_when(&caller, "echo", deliveries).await?;
    let mut by_event = BTreeMap::<String, usize>::new();
    for run in &runs {
        *by_event.entry(text(run, "/response/result/event")).or_default() += 1;
    }
    let wanted: BTreeMap<_, _> = events
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(event, names)| (event.id().to_owned(), names.len()))
        .collect();
    assert_eq!(by_event, wanted, "one run for each trigger that is subscribed");
    let listed = caller.get("events?trigger=tea").await?;
    let ids: Vec<_> =
        listed.as_array().into_iter().flatten().map(|one| text(one, "/event/id")).collect();
    assert_eq!(ids, ["2", "1"], "newest first");
    place.end(hub).await
}

#[tokio::test]
async fn an_event_is_taken_once() -> Done {
    let (place, hub, caller) = furnished().await?;
    let first = caller.send(binary("triggers/t", &built(order("same")))).await?;
    let again = caller.send(structured("triggers/t", &built(order("same")))).await?;
    assert_eq!((again.status, again.json()), (202, first.json()), "answered as the first was");
    let position = |reply: &Reply| reply.header("x-evoke-position").to_owned();
    assert_eq!(position(&first), position(&again));
    let third = caller.send(batch("triggers/t", &[as_json(&built(order("same")))])).await?;
    assert_eq!(third.json()["events"][0]["duplicate"], json!(true), "{}", third.text());
    let other = caller.send(binary("triggers/t", &built(order("same").source("/shop/us")))).await?;
    assert_ne!(other.json(), first.json(), "another source is another event");
    let keyed = async |key: &str| {
        let ask = Ask::new("POST", "triggers/t").json(&json!({"k": key}));
        caller.send(ask.header("idempotency-key", key)).await
    };
    let (one, two, three) = (keyed("k1").await?, keyed("k1").await?, keyed("k2").await?);
    assert_eq!((one.status, one.json()), (202, two.json()));
    assert_ne!(one.json(), three.json());
    let run = run_of(&caller, &one, "echo").await?;
    assert_eq!(run["response"]["result"]["event"], "k1", "the key is the event's id");
    records_when(&caller, "echo", 4).await?;
    // What was accepted later is delivered: a double of an earlier one would be there too.
    let last = caller.post("triggers/t", &json!({"last": true})).await?;
    run_of(&caller, &last, "echo").await?;
    let mut ids: Vec<_> = records(&caller, "echo")
        .await?
        .iter()
        .map(|run| text(run, "/response/result/event"))
        .collect();
    ids.sort();
    let last = ids.iter().position(|id| id.len() == 32).map(|place| ids.remove(place));
    assert!(last.is_some(), "{ids:?}");
    assert_eq!(ids, ["k1", "k2", "same", "same"]);
    place.end(hub).await
}

#[tokio::test]
async fn a_trigger_without_an_active_rule_answers_204_and_leaves_no_record() -> Done {
    let (place, hub, caller) = furnished().await?;
    caller.put("triggers/alone", &json!({})).await?;
    let status = async |status: &str| {
        let reply = caller.post("rules/t-echo", &json!({"status": status})).await?;
        assert_eq!(reply.text(), "OK");
        Ok::<_, FaultError>(())
    };
    status("inactive").await?;
    for name in ["alone", "t"] {
        let reply =
            caller.send(Ask::new("POST", &format!("triggers/{name}")).json(&json!({}))).await?;
        assert_eq!((reply.status, reply.text().as_str()), (204, ""), "{name}");
        assert_eq!(reply.header("x-openwhisk-activation-id"), "", "{name}");
    }
    let listed = caller.get("events").await?;
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "in the log all the same: {listed}");
    let position = text(&listed, "/0/position");
    let shown = caller.get(&format!("events/{position}")).await?;
    assert_eq!(shown["why"][0]["decision"], "inactive", "{shown}");

    node(&caller, "second", ECHO).await?;
    trigger(&caller, "t", &json!({}), &["second"], &Value::Null).await?;
    let reply = caller.post("triggers/t", &json!({})).await?;
    run_of(&caller, &reply, "second").await?;
    let fired = record(&caller, &text(&reply.json(), "/activationId")).await?;
    let logs: Vec<Value> = fired["logs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|line| serde_json::from_str(line.as_str()?).ok())
        .collect();
    let inactive = logs.iter().find(|entry| entry["rule"] == "guest/t-echo");
    let wanted = json!({
        "rule": "guest/t-echo", "action": "guest/echo", "statusCode": 1, "success": false,
        "error": "Rule 'guest/t-echo' is inactive, action 'guest/echo' was not activated.",
    });
    assert_eq!(inactive, Some(&wanted), "{fired}");
    status("active").await?;
    let reply = caller.post("triggers/t", &json!({})).await?;
    run_of(&caller, &reply, "echo").await?;
    assert_eq!(records(&caller, "echo").await?.len(), 1, "only the event that came while active");
    assert_eq!(records(&caller, "alone").await?, Vec::<Value>::new());
    place.end(hub).await
}

#[tokio::test]
async fn a_webhook_opens_with_its_own_credential_only() -> Done {
    let (place, hub, caller) = furnished().await?;
    let nobody = caller.nobody();
    let hook = async |name: &str, webhook: Value| {
        trigger(&caller, name, &json!({"webhook": webhook}), &["echo"], &Value::Null).await
    };
    hook("bearer", json!({"bearer": {"token": "s3cret-token"}})).await?;
    hook("signed", json!({"hmac": {"secret": "s3cret-key", "header": "X-Shop-Sig"}})).await?;
    let shown = caller.get("triggers/signed").await?;
    assert_eq!(shown["webhook"], json!({"kind": "hmac", "header": "x-shop-sig"}));
    assert_eq!(caller.get("triggers/bearer").await?["webhook"], json!({"kind": "bearer"}));
    let root = "/api/v1/namespaces/guest/triggers";
    let post = |path: &str| Ask::new("POST", &format!("{root}/{path}")).json(&json!({"hook": 1}));

    let reply = nobody.send(post("bearer").header("authorization", "Bearer s3cret-token")).await?;
    let run = run_of(&caller, &reply, "echo").await?;
    assert_eq!(run["response"]["result"]["args"]["hook"], json!(1), "{run}");
    assert!(!run.to_string().contains("s3cret"), "{run}");
    let reply = nobody.send(post("bearer?access_token=s3cret-token")).await?;
    run_of(&caller, &reply, "echo").await?;

    let signature = |body: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret-key").expect("any length");
        mac.update(body.as_bytes());
        let hex: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256={hex}")
    };
    let good = signature(&json!({"hook": 1}).to_string());
    let reply = nobody.send(post("signed").header("x-shop-sig", &good)).await?;
    let run = run_of(&caller, &reply, "echo").await?;
    let headers = &run["response"]["result"]["args"]["__ow_headers"];
    assert!(headers.is_object() && headers.get("x-shop-sig").is_none(), "{run}");

    for (what, ask) in [
        ("nothing", post("bearer")),
        ("another token", post("bearer").header("authorization", "Bearer other")),
        ("the other's token", post("signed").header("authorization", "Bearer s3cret-token")),
        ("a signature of something else", post("signed").header("x-shop-sig", signature("{}"))),
        (
            "a trigger without a credential",
            post("t").header("authorization", "Bearer s3cret-token"),
        ),
    ] {
        let reply = nobody.send(ask).await?;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text());
    }
    let listed = caller.get("events").await?;
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "only what was proven: {listed}");
    assert!(!listed.to_string().contains("s3cret"), "{listed}");
    assert!(!place.log().contains("s3cret"), "the hub's own log");
    place.end(hub).await
}
