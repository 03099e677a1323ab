//! Deliveries: what a function gets, and whose failure its end is.

use std::sync::Arc;

use bytes::Bytes;
use evoke_schemas::{
    ActivationId, Data, Event, FullName, KeyValues, Namespace, Occasion, Position,
    event::Attribute, trace::TraceContext,
};
use evoke_trigger_engine::{
    ActionInvoker as _, Attempt, AttemptEnd, Origin, Target, Verdict, record::StoredEvent,
};
use serde_json::{Value, json};

use crate::bench::{Bench, GUEST};

fn guest() -> Namespace {
    Namespace::new("guest").unwrap()
}

fn event(data: Data) -> Event {
    let mut event = Event::new("e-1", "/s", "t");
    event.data = data;
    event
}

fn attempt(action: &str, origin: Origin, event: Event) -> Attempt {
    Attempt {
        activation_id: ActivationId([9; 16]),
        namespace: guest(),
        action: FullName::parse(action, &guest()).unwrap(),
        rule: Some("r".parse().unwrap()),
        trigger_parameters: Arc::new(KeyValues::default()),
        event: Arc::new(StoredEvent {
            namespace: guest(),
            target: Target::Trigger("t".parse().unwrap()),
            origin,
            subject: "guest".to_owned(),
            event,
            headers: None,
            triggers: Vec::new(),
        }),
        position: Position { partition: 0, offset: 1 },
        occasion: Occasion::Live,
        attempt: 1,
        trace: TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .unwrap(),
        accepted_ms: 1,
    }
}

async fn with_action(name: &str, more: Value) -> Bench {
    let bench = Bench::new().await;
    let mut action = json!({"exec": {"kind": "nodejs:20", "code": "x"}});
    action.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bench.set_up("PUT", &format!("actions/{name}"), action).await;
    bench
}

async fn invoke(bench: &Bench, attempt: Attempt) -> AttemptEnd {
    bench.hub.parts.invocations.invoke(attempt).await
}

/// What the function got.
async fn got(bench: &Bench, attempt: Attempt) -> Value {
    let end = invoke(bench, attempt).await;
    assert_eq!(end.verdict, Verdict::Success);
    serde_json::from_str(end.activation.unwrap().response.result.get()).unwrap()
}

fn json_data(value: &Value) -> Data {
    Data::Json(Bytes::from(value.to_string()))
}

#[tokio::test]
async fn plain_json_gives_exactly_openwhisks_payload() {
    let bench = with_action(
        "echo",
        json!({"parameters": [
            {"key": "a", "value": "action"}, {"key": "d", "value": "action"},
        ]}),
    )
    .await;
    let mut attempt = attempt("/_/echo", Origin::Plain, event(json_data(&json!({"a": "payload"}))));
    let parameters = ["a", "b", "d"].map(|key| (key.to_owned(), json!("trigger")));
    attempt.trigger_parameters = Arc::new(KeyValues::from_iter(parameters));
    let stored = Arc::get_mut(&mut attempt.event).unwrap();
    stored.headers = Some(Bytes::from("{\"host\":\"hub\"}"));
    assert_eq!(
        got(&bench, attempt.clone()).await,
        json!({"a": "payload", "b": "trigger", "d": "trigger", "__ow_headers": {"host": "hub"}})
    );
    let stored = Arc::make_mut(&mut attempt.event);
    stored.event.data = json_data(&json!({"__ow_headers": "mine"}));
    assert_eq!(got(&bench, attempt).await["__ow_headers"], json!("mine"));
}

#[tokio::test]
async fn a_cloud_event_gives_its_data_and_its_attributes() {
    let bench = with_action("echo", json!({})).await;
    for (data, want) in [
        (json_data(&json!({"a": 1})), json!({"a": 1})),
        (json_data(&json!([1])), json!({"data": [1]})),
        (json_data(&json!(null)), json!({"data": null})),
        (Data::Text("hi".to_owned()), json!({"data": "hi"})),
        (Data::Binary(Bytes::from_static(b"\x00\x01")), json!({"data": "AAE="})),
        (Data::None, json!({})),
    ] {
        for origin in [Origin::CloudEvent, Origin::Feed] {
            let mut event = event(data.clone());
            event.extensions.insert("n".to_owned(), Attribute::Integer(7));
            let mut got = got(&bench, attempt("/_/echo", origin, event)).await;
            let attributes = got.as_object_mut().unwrap().remove("__ce").unwrap();
            assert_eq!(got, want);
            assert_eq!(
                attributes,
                json!({"specversion": "1.0", "id": "e-1", "source": "/s", "type": "t", "n": 7})
            );
        }
    }
    let spoofed = event(json_data(&json!({"__ce": "mine"})));
    let got = got(&bench, attempt("/_/echo", Origin::CloudEvent, spoofed)).await;
    assert_eq!(got["__ce"]["id"], json!("e-1"), "the attributes are the hub's word");
}

#[tokio::test]
async fn a_function_is_told_which_event_it_is_for() {
    let keys = json!({"annotations": [{"key": "provide-api-key", "value": true}]});
    let bench = with_action("echo", keys).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut event = event(Data::None);
    event.extensions.insert("traceparent".to_owned(), Attribute::Text(trace.to_owned()));
    let end = invoke(&bench, attempt("/_/echo", Origin::CloudEvent, event)).await;
    let record = end.activation.unwrap();
    assert_eq!(record.activation_id, ActivationId([9; 16]));
    assert_eq!((record.subject.as_str(), record.cause), ("guest", None));
    let run = bench.runner.runs.lock().unwrap()[0].clone();
    assert_eq!(run.event_id.as_deref(), Some("e-1"));
    assert_eq!(run.traceparent.as_deref(), Some(trace));
    assert_eq!(run.api_key.unwrap().reveal(), GUEST);
}

#[tokio::test]
async fn whose_failure_it_is_is_decided_once() {
    let bench = with_action("fails", json!({})).await;
    for name in ["throws", "lost"] {
        let action = json!({"exec": {"kind": "nodejs:20", "code": "x"}});
        bench.set_up("PUT", &format!("actions/{name}"), action).await;
    }
    let end = async |action: &str| {
        let end = invoke(&bench, attempt(action, Origin::Plain, event(Data::None))).await;
        (end.verdict, end.activation.map(|record| record.response.status.code()))
    };
    let function = |reason: &str| Verdict::FunctionFailed { reason: reason.to_owned() };
    assert_eq!(end("/_/fails").await, (function("bad"), Some(1)));
    assert_eq!(end("/_/throws").await, (function("boom"), Some(2)));
    let reason = "the sandbox was lost before the function started".to_owned();
    let ours = Verdict::PlatformFailed { reason, retry_after_ms: None };
    assert_eq!(end("/_/lost").await, (ours, None));
    assert_eq!(end("/_/none").await, (Verdict::ActionMissing, None));
    assert_eq!(end("/_/none/a").await, (Verdict::ActionMissing, None));
    assert_eq!(end("/whisk.system/a").await, (Verdict::ActionMissing, None));
}

#[tokio::test]
async fn an_event_may_not_set_what_is_final() {
    let bench = with_action(
        "echo",
        json!({
            "annotations": [{"key": "final", "value": true}],
            "parameters": [{"key": "a", "value": 1}],
        }),
    )
    .await;
    let event = event(json_data(&json!({"a": 2})));
    let end = invoke(&bench, attempt("/_/echo", Origin::Plain, event)).await;
    let why = "Request defines parameters that are not allowed (e.g., reserved properties).";
    assert_eq!(end.verdict, Verdict::FunctionFailed { reason: why.to_owned() });
    let record = end.activation.unwrap();
    assert_eq!(record.response.result.get(), json!({ "error": why }).to_string());
    assert!(bench.runner.runs.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_action_is_read_once_and_again_after_a_change() {
    let bench = with_action("echo", json!({"parameters": [{"key": "a", "value": 1}]})).await;
    let deliver = async || got(&bench, attempt("/_/echo", Origin::Plain, event(Data::None))).await;
    assert_eq!(deliver().await, json!({"a": 1}));
    let update = json!({"parameters": [{"key": "a", "value": 2}]});
    bench.set_up("PUT", "actions/echo?overwrite=true", update).await;
    assert_eq!(deliver().await, json!({"a": 2}));
    bench.guest("DELETE", "actions/echo", None).await;
    let end = invoke(&bench, attempt("/_/echo", Origin::Plain, event(Data::None))).await;
    assert_eq!(end.verdict, Verdict::ActionMissing);
}
