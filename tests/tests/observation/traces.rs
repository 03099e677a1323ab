//! Traces: from the sender's context through event and rule to the function's own environment.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{node, record, records_when, text, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::{error::FaultError, hub::Hub},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use super::Done;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";
/// Returns its trace context.
const TELLS: &str = "function main(args) {
  return { traceparent: process.env.__OW_TRACEPARENT, activation: process.env.__OW_ACTIVATION_ID };
}";

/// A collector that takes OTLP over HTTP.
struct Collector {
    address: std::net::SocketAddr,
    taken: Arc<Mutex<Taken>>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Taken {
    spans: Vec<Value>,
    headers: Vec<String>,
    /// How many requests are still refused.
    refuse: usize,
}

impl Collector {
    async fn open(refuse: usize) -> Result<Self, FaultError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let taken = Arc::new(Mutex::new(Taken { refuse, ..Taken::default() }));
        let mut serving = JoinSet::new();
        let kept = Arc::clone(&taken);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                connections.spawn(async move {
                    let answer = service_fn(|request| take(Arc::clone(&kept), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    drop(http.serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        });
        Ok(Self { address, taken, _serving: serving })
    }

    fn spans(&self) -> Vec<Value> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// The spans of a trace by name, once all of these are there.
    async fn trace(&self, id: &str, names: &[&str]) -> Result<BTreeMap<String, Value>, FaultError> {
        until("the spans", SOON, async || {
            let of = self.spans().into_iter().filter(|span| span["traceId"] == id);
            let all: Vec<_> = of.map(|span| (text(&span, "/name"), span)).collect();
            let found: BTreeMap<_, _> = all.iter().cloned().collect();
            let whole = names.iter().all(|name| found.contains_key(*name));
            Ok(if whole { Ok(found) } else { Err(format!("{all:?}")) })
        })
        .await
    }
}

async fn take(
    kept: Arc<Mutex<Taken>>,
    request: Request<Incoming>,
) -> Result<Response<Full<bytes::Bytes>>, hyper::Error> {
    let known = request.method() == "POST"
        && request.uri().path() == "/v1/traces"
        && request.headers().get("content-type").is_some_and(|kind| kind == "application/json");
    let key = request.headers().get("api-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await?.to_bytes();
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let status = if !known {
        StatusCode::NOT_FOUND
    } else if kept.refuse > 0 {
        kept.refuse -= 1;
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let spans = body.pointer("/resourceSpans/0/scopeSpans/0/spans");
        let spans = spans.and_then(Value::as_array).cloned();
        kept.spans.extend(spans.unwrap_or_default());
        kept.headers.extend(key);
        StatusCode::OK
    };
    let mut answer = Response::new(Full::new(bytes::Bytes::from_static(b"{}")));
    *answer.status_mut() = status;
    Ok(answer)
}

async fn hub_with(
    collector: &Collector,
    more: &[(&'static str, &str)],
) -> Result<(Place, Hub, Caller), FaultError> {
    let mut place = Place::new()?;
    let endpoint = format!("http://{}", collector.address);
    let variables = &mut place.launch.environment;
    variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.into()));
    variables.extend(more.iter().map(|(name, value)| (*name, value.into())));
    let (hub, caller) = place.start().await?;
    node(&caller, "tells", TELLS).await?;
    trigger(&caller, "t", &json!({}), &["tells"], &Value::Null).await?;
    Ok((place, hub, caller))
}

fn parent(span: &Value) -> String {
    text(span, "/parentSpanId")
}

fn own(span: &Value) -> String {
    text(span, "/spanId")
}

fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    let all = span["attributes"].as_array().into_iter().flatten();
    let found = all.into_iter().find(|one| one["key"] == name);
    found.map_or(&Value::Null, |one| &one["value"])
}

#[tokio::test]
async fn a_trace_goes_from_the_sender_through_event_and_rule_into_the_function() -> Done {
    let collector = Collector::open(0).await?;
    let headers = [("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret-key")];
    let (place, hub, caller) = hub_with(&collector, &headers).await?;
    let ask = Ask::new("POST", "triggers/t").json(&json!({"payload": "not in a span"}));
    let sent = ask.header("traceparent", format!("00-{TRACE}-{SENDER}-01"));
    let position = caller.good(sent).await?.header("x-evoke-position").to_owned();
    let runs = records_when(&caller, "tells", 1).await?;

    let names = ["accept", "append", "dispatch", "run", "init", "outcome"];
    let spans = collector.trace(TRACE, &names).await?;
    assert_eq!(parent(&spans["accept"]), SENDER, "{spans:?}");
    for (child, of) in [
        ("append", "accept"),
        ("dispatch", "accept"),
        ("run", "dispatch"),
        ("init", "run"),
        ("outcome", "dispatch"),
    ] {
        assert_eq!(parent(&spans[child]), own(&spans[of]), "{child} is part of {of}: {spans:?}");
        let time = |span: &Value, end: &str| text(span, end).parse::<u64>().expect("a time");
        let (begin, end) = ("/startTimeUnixNano", "/endTimeUnixNano");
        assert!(time(&spans[child], begin) <= time(&spans[child], end), "{child}");
        assert!(
            time(&spans[of], begin) <= time(&spans[child], begin),
            "{child} in {of}: {spans:?}"
        );
    }
    let run = runs.first().expect("a run");
    let told = text(run, "/response/result/traceparent");
    assert_eq!(told, format!("00-{TRACE}-{}-01", own(&spans["run"])), "what the function has");
    let traced = json!({"key": "traceId", "value": TRACE});
    assert!(run["annotations"].as_array().is_some_and(|all| all.contains(&traced)), "{run}");
    let shown = caller.get(&format!("events/{position}")).await?;
    assert_eq!(shown["traceId"], TRACE, "{shown}");
    assert_eq!(shown["event"]["traceparent"], format!("00-{TRACE}-{SENDER}-01"), "as it came");
    assert_eq!(attribute(&spans["dispatch"], "evoke.rule")["stringValue"], "t-tells");
    assert_eq!(attribute(&spans["run"], "faas.coldstart")["boolValue"], true);
    assert_eq!(attribute(&spans["outcome"], "evoke.outcome")["stringValue"], "success");
    assert_eq!(attribute(&spans["accept"], "evoke.event.position")["stringValue"], json!(position));
    let all = json!(collector.spans()).to_string();
    assert!(!all.contains("not in a span"), "no payload: {all}");
    let keys = collector.taken.lock().unwrap_or_else(PoisonError::into_inner).headers.clone();
    assert!(keys.iter().all(|key| key == "s3cret-key") && !keys.is_empty(), "{keys:?}");
    assert!(!place.log().contains("s3cret-key"));
    place.end(hub).await
}

#[tokio::test]
async fn what_comes_without_a_trace_begins_one_and_senders_may_forbid_it() -> Done {
    let collector = Collector::open(0).await?;
    let (place, hub, caller) = hub_with(&collector, &[]).await?;
    let reply = caller.post("triggers/t", &json!({})).await?;
    let shown = caller.get(&format!("events/{}", reply.header("x-evoke-position"))).await?;
    let id = text(&shown, "/traceId");
    let spans = collector.trace(&id, &["accept", "dispatch", "run", "outcome"]).await?;
    assert_eq!(spans["accept"].get("parentSpanId"), None, "the first of its trace");

    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/s", "type": "t",
        "traceparent": format!("00-{TRACE}-{SENDER}-01"),
    });
    let ask = Ask::new("POST", "triggers/t").header("content-type", "application/cloudevents+json");
    caller.good(ask.bytes(event.to_string())).await?;
    let spans = collector.trace(TRACE, &["accept", "run"]).await?;
    assert_eq!(parent(&spans["accept"]), SENDER, "the event's own attribute counts");

    let unsampled = "0af7651916cd43dd8448eb211c80319c";
    let quiet = Ask::new("POST", "actions/tells?blocking=true").json(&json!({}));
    let quiet = quiet.header("traceparent", format!("00-{unsampled}-{SENDER}-00"));
    let told = text(&caller.good(quiet).await?.json(), "/response/result/traceparent");
    assert!(told.starts_with(&format!("00-{unsampled}-")) && told.ends_with("-00"), "{told}");
    let loud = Ask::new("POST", "actions/tells?blocking=true").json(&json!({}));
    let called = "11111111111111111111111111111111";
    let loud = loud.header("traceparent", format!("00-{called}-{SENDER}-01"));
    let told = text(&caller.good(loud).await?.json(), "/response/result/traceparent");
    let spans = collector.trace(called, &["invoke", "run"]).await?;
    assert_eq!(
        (parent(&spans["invoke"]).as_str(), parent(&spans["run"])),
        (SENDER, own(&spans["invoke"]))
    );
    assert_eq!(told, format!("00-{called}-{}-01", own(&spans["run"])));
    assert!(collector.spans().iter().all(|span| span["traceId"] != unsampled));
    place.end(hub).await
}

#[tokio::test]
async fn a_collector_that_is_away_disturbs_nobody() -> Done {
    let collector = Collector::open(2).await?;
    let (place, hub, caller) = hub_with(&collector, &[]).await?;
    let reply = caller.post("triggers/t", &json!({})).await?;
    record(&caller, &text(&reply.json(), "/activationId")).await?;
    let shown = caller.get(&format!("events/{}", reply.header("x-evoke-position"))).await?;
    // Refused twice, then taken.
    collector.trace(&text(&shown, "/traceId"), &["accept", "run"]).await?;
    let address = collector.address;
    drop(collector);
    let reply = caller.post("triggers/t", &json!({})).await?;
    record(&caller, &text(&reply.json(), "/activationId")).await?;
    records_when(&caller, "tells", 2).await?;
    assert!(place.log().contains("spans are not taken"), "{address}: told once");
    place.end(hub).await
}
