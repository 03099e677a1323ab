//! CloudEvents' own SDKs send, in every mode that they have: what is stored is what was sent.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends, in what it is made of too"
)]

use std::{path::Path, process::Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::DateTime;
use evoke_tests::{
    e2e::{
        caller::Caller,
        entities::{ECHO, node, records_when, trigger},
        place::Place,
    },
    fault::error::FaultError,
};
use serde_json::{Map, Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};

type Done = Result<(), FaultError>;

const MODES: [&str; 3] = ["binary", "structured", "batch"];

/// An event with as much of everything as there is: every attribute, unicode, extensions of all
/// types that every SDK has.
fn event(id: &str, media: &str, data: Value) -> Value {
    json!({
        "attributes": {
            "specversion": "1.0", "id": id, "source": "https://shop.example/eu?a=b#c",
            "type": "order.placed", "subject": "Grüße \"€\" 100% 😀 日本", "datacontenttype": media,
            "dataschema": "https://shop.example/schema", "time": "2026-01-02T03:04:05.678Z",
            "partitionkey": "kunde 7 ü", "flag": true, "count": -7, "number20": "007",
        },
        "data": data,
    })
}

/// npm's SDK writes attributes into headers as they are, and no header can carry these.
fn in_ascii(mut event: Value) -> Value {
    event["attributes"]["subject"] = "Gruesse 100% (of 'it')".into();
    event["attributes"]["partitionkey"] = "kunde 7".into();
    event
}

/// The kinds of data, each by its name.
fn events(sdk: &str, mode: &str) -> Vec<Value> {
    let id = |kind: &str| format!("{sdk}-{mode}-{kind}");
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let json_value =
        json!({"text": "ü 😀 \"\\ \u{7}", "list": [1, 2.5, null, true], "in": {"a": {}}});
    let mut bare = event(&id("bare"), "text/plain", json!({"value": "only what must be"}));
    if let Some(attributes) = bare["attributes"].as_object_mut() {
        let keep = ["specversion", "id", "source", "type", "datacontenttype"];
        attributes.retain(|name, _| keep.contains(&name.as_str()));
    }
    let whole = vec![
        event(&id("json"), "application/json", json!({"value": json_value})),
        event(&id("vendor"), "application/vnd.shop+json", json!({"value": {"a": "b"}})),
        event(
            &id("text"),
            "text/plain; charset=utf-8",
            json!({"value": "Zeile 1\nZeile 2 – ü 😀"}),
        ),
        event(
            &id("bytes"),
            "application/octet-stream",
            json!({"bytes": STANDARD.encode(every_byte)}),
        ),
    ];
    let ascii = (sdk, mode) == ("npm", "binary");
    let mut all: Vec<_> = if ascii { whole.into_iter().map(in_ascii).collect() } else { whole };
    all.push(bare);
    all
}

/// Sends requests by an SDK's program; the statuses of the answers.
async fn send(
    sdk: &str,
    caller: &Caller,
    path: &str,
    requests: &Value,
) -> Result<Value, FaultError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/senders.sh");
    let mut sender = Command::new(script)
        .args(["send", sdk])
        .env("TARGET", format!("http://{}/api/v1/namespaces/_/{path}", caller.address))
        .env("AUTHORIZATION", caller.authorization.as_deref().unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = sender.stdin.take().expect("it reads what it is told");
    input.write_all(requests.to_string().as_bytes()).await?;
    drop(input);
    let ended = sender.wait_with_output().await?;
    assert!(ended.status.success(), "{sdk}: {}", ended.status);
    Ok(serde_json::from_slice(&ended.stdout).expect("statuses as JSON"))
}

/// What must be stored: in binary mode there are only texts, PyPI's SDK having one of its own for
/// a Boolean.
fn wanted(event: &Value, sdk: &str, mode: &str) -> Value {
    let mut wanted = event["attributes"].as_object().cloned().unwrap_or_default();
    if mode == "binary" {
        for value in wanted.values_mut().filter(|value| !value.is_string()) {
            *value = match value.as_bool() {
                Some(true) if sdk == "pypi" => "True".into(),
                _ => value.to_string().into(),
            };
        }
    }
    let data = &event["data"];
    if let Some(bytes) = data.get("bytes") {
        wanted.insert("data_base64".to_owned(), bytes.clone());
    } else {
        wanted.insert("data".to_owned(), data["value"].clone());
    }
    wanted.into()
}

/// The same event: times may be written in several ways, and an SDK may add one.
fn same(sent: &Value, stored: &Value) {
    let (sent, mut stored) = (sent.as_object().expect("one"), stored.clone());
    let stored = stored.as_object_mut().expect("an event");
    let time = |of: &Map<String, Value>| {
        of.get("time")
            .and_then(Value::as_str)
            .map(|text| DateTime::parse_from_rfc3339(text).expect("a time as RFC 3339 has it"))
    };
    match (time(sent), time(stored)) {
        (Some(sent), stored) => assert_eq!(Some(sent), stored),
        (None, _) => drop(stored.remove("time")),
    }
    if let Some(time) = sent.get("time") {
        stored.insert("time".to_owned(), time.clone());
    }
    assert_eq!(sent, stored);
}

/// What the function is given of an event.
fn argument(sent: &Value) -> Value {
    match (sent.get("data_base64"), &sent["data"]) {
        (Some(bytes), _) => json!({ "data": bytes }),
        (None, Value::Object(members)) => members.clone().into(),
        (None, other) => json!({ "data": other }),
    }
}

async fn prove(sdk: &str) -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, "t", &json!({}), &["echo"], &Value::Null).await?;
    let mut sent = Vec::new();
    let mut requests = Vec::new();
    for mode in MODES {
        let events = events(sdk, mode);
        sent.extend(events.iter().map(|event| wanted(event, sdk, mode)));
        if mode == "batch" {
            requests.push(json!({"mode": mode, "events": events}));
        } else {
            requests.extend(events.iter().map(|event| json!({"mode": mode, "events": [event]})));
        }
    }
    let statuses = send(sdk, &caller, "triggers/t", &json!(requests)).await?;
    assert_eq!(statuses, json!(vec![202; requests.len()]), "{sdk}");

    let stored = caller.get("events?limit=200").await?;
    let stored = stored.as_array().expect("a list");
    assert_eq!(stored.len(), sent.len(), "{sdk}: each once");
    for (event, stored) in sent.iter().zip(stored.iter().rev()) {
        same(event, &stored["event"]);
        assert_eq!(stored["triggers"], json!(["t"]), "{sdk}");
    }
    ran(sdk, &caller, &sent).await?;
    again(sdk, &caller, &requests, &statuses, sent.len()).await?;
    place.end(hub).await
}

/// The function got each event once: its attributes, and its data as arguments.
async fn ran(sdk: &str, caller: &Caller, sent: &[Value]) -> Done {
    let runs = records_when(caller, "echo", sent.len()).await?;
    for event in sent {
        let is_its = |run: &&Value| run.pointer("/response/result/event") == Some(&event["id"]);
        let run = runs.iter().find(is_its).expect("a run for each event");
        let mut got = run["response"]["result"]["args"].as_object().cloned().expect("arguments");
        let attributes = got.remove("__ce").expect("attributes");
        assert_eq!(attributes["subject"], event["subject"], "{sdk}: {run}");
        got.remove("__ow_headers");
        assert_eq!(Value::Object(got), argument(event), "{sdk}: {run}");
    }
    Ok(())
}

/// The same once more changes nothing: each is known by its source and id. To the hub too.
async fn again(
    sdk: &str,
    caller: &Caller,
    requests: &[Value],
    statuses: &Value,
    count: usize,
) -> Done {
    assert_eq!(&send(sdk, caller, "triggers/t", &json!(requests)).await?, statuses, "{sdk}");
    let counted = caller.get("events?count=true").await?;
    assert_eq!(counted, json!({ "events": count }), "{sdk}");
    let subscribed = json!({"annotations": [{"key": "subscription", "value": {"type": "hub.*"}}]});
    trigger(caller, "subscribed", &subscribed, &["echo"], &Value::Null).await?;
    let to_hub: Vec<Value> = MODES
        .iter()
        .map(|mode| {
            let mut event =
                event(&format!("{sdk}-{mode}-hub"), "text/plain", json!({"value": "x"}));
            event["attributes"]["type"] = "hub.asked".into();
            if *mode == "binary" {
                event = in_ascii(event);
            }
            json!({"mode": mode, "events": [event]})
        })
        .collect();
    assert_eq!(send(sdk, caller, "events", &json!(to_hub)).await?, json!([202, 202, 202]), "{sdk}");
    let routed = caller.get("events?trigger=subscribed").await?;
    assert_eq!(routed.as_array().map(Vec::len), Some(MODES.len()), "{sdk}: {routed}");
    Ok(())
}

#[tokio::test]
async fn what_npms_sdk_sends_is_stored_as_it_was_sent() -> Done {
    prove("npm").await
}

#[tokio::test]
async fn what_pypis_sdk_sends_is_stored_as_it_was_sent() -> Done {
    prove("pypi").await
}

#[tokio::test]
async fn what_gos_sdk_sends_is_stored_as_it_was_sent() -> Done {
    prove("go").await
}
