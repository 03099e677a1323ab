//! The error catalogue, row by row: what is asked, and the status, headers and body that answer it.
//!
//! `errors/setup.json` is what is there before; `errors/catalogue.json` has a row for each way to an
//! error. A member: `ask` (method and path), `body` (JSON; `{"$repeat": [text, n]}` is a long text) or `raw`,
//! `contentType`, `accept`, `auth` (`none`, `wrong`, or the header itself); `status`, `error` (`…` at its
//! end stands for any text), `cors`, `challenge`.

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller, Reply},
        place::Place,
    },
    fault::error::FaultError,
};
use hyper::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

const SETUP: &str = include_str!("errors/setup.json");
const CATALOGUE: &str = include_str!("errors/catalogue.json");
/// Fewest rows: a catalogue that lost some does not pass.
const ROWS: usize = 120;
const CHALLENGE: &str = "Basic realm=\"OpenWhisk secure realm\",charset=UTF-8";

fn text<'a>(row: &'a Value, name: &str) -> Option<&'a str> {
    row.get(name).and_then(Value::as_str)
}

/// The value with each `{"$repeat": [text, n]}` written out.
fn written_out(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            match members.get("$repeat").and_then(Value::as_array).map(Vec::as_slice) {
                Some([Value::String(text), times]) => {
                    json!(text.repeat(usize::try_from(times.as_u64().unwrap_or(0)).unwrap_or(0)))
                }
                _ => members.iter().map(|(key, value)| (key.clone(), written_out(value))).collect(),
            }
        }
        Value::Array(items) => items.iter().map(written_out).collect(),
        other => other.clone(),
    }
}

fn ask(row: &Value) -> Ask {
    let part = |index| row.pointer(&format!("/ask/{index}")).and_then(Value::as_str).unwrap_or("");
    let mut ask = Ask::new(part(0), part(1));
    if let Some(accept) = text(row, "accept") {
        ask = ask.header("accept", accept);
    }
    if let Some(body) = row.get("body") {
        return ask.json(&written_out(body));
    }
    let Some(raw) = text(row, "raw") else { return ask };
    match text(row, "contentType").unwrap_or("application/json") {
        "" => ask.bytes(raw.to_owned()),
        kind => ask.header("content-type", kind).bytes(raw.to_owned()),
    }
}

fn caller(row: &Value, own: &Caller, wrong: &Caller) -> Caller {
    match text(row, "auth") {
        None => own.clone(),
        Some("none") => own.nobody(),
        Some("wrong") => wrong.clone(),
        Some(header) => Caller { authorization: Some(header.to_owned()), ..own.clone() },
    }
}

/// What is not as the row says; empty where all is.
fn wrong_with(row: &Value, reply: &Reply, namespace: &str) -> String {
    let mut wrong = String::new();
    let mut want = |what: &str, want: &str, got: &str| {
        let is = want
            .strip_suffix('…')
            .map_or(want == got, |start| got.starts_with(start) && got != start);
        if !is {
            wrong.push_str(&format!("\n   {what}: want {want:?}, got {got:?}"));
        }
    };
    let body = reply.json();
    want(
        "status",
        &row.get("status").map(Value::to_string).unwrap_or_default(),
        &reply.status.to_string(),
    );
    let error = text(row, "error").unwrap_or("a row without its error").replace("${ns}", namespace);
    want("error", &error, body.get("error").and_then(Value::as_str).unwrap_or_default());
    want(
        "code",
        reply.header("x-request-id"),
        body.get("code").and_then(Value::as_str).unwrap_or_default(),
    );
    want("content-type", "application/json", reply.header("content-type"));
    let members = body.as_object().map_or(0, serde_json::Map::len);
    want("members of the body", "2", &members.to_string());
    let cors = if row.get("cors").is_some() { "*" } else { "" };
    want("access-control-allow-origin", cors, reply.header("access-control-allow-origin"));
    let challenge = if row.get("challenge").is_some() { CHALLENGE } else { "" };
    want("www-authenticate", challenge, reply.header("www-authenticate"));
    wrong
}

#[test]
fn an_answer_that_differs_from_its_row_is_seen() {
    let row = json!({"ask": ["GET", "x"], "status": 404, "error": "Gone: …", "cors": true});
    let reply = |status, error: &str, cors: &'static str| {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-request-id", "id"),
            ("content-type", "application/json"),
            ("access-control-allow-origin", cors),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let body = json!({"error": error, "code": "id"}).to_string().into();
        wrong_with(&row, &Reply { status, headers, body }, "guest")
    };
    assert_eq!(reply(404, "Gone: x", "*"), "");
    assert!(reply(500, "Gone: x", "*").contains("status"));
    assert!(reply(404, "Gone: ", "*").contains("error"));
    assert!(reply(404, "Away: x", "*").contains("error"));
    assert!(reply(404, "Gone: x", "").contains("access-control-allow-origin"));
}

#[tokio::test]
async fn every_row_of_the_error_catalogue_is_answered_as_it_says() -> Result<(), FaultError> {
    let rows: Vec<Value> = serde_json::from_str(CATALOGUE).map_err(std::io::Error::other)?;
    let setup: Vec<(String, String, Value)> =
        serde_json::from_str(SETUP).map_err(std::io::Error::other)?;
    assert!(rows.len() >= ROWS, "{} rows", rows.len());
    let place = Place::new()?;
    let (hub, own) = place.start().await?;
    for (method, path, body) in setup {
        own.good(Ask::new(&method, &path).json(&body)).await?;
    }
    let namespaces = own.get("/api/v1/namespaces").await?;
    let namespace = namespaces.pointer("/0").and_then(Value::as_str).unwrap_or_default();
    let wrong = place.caller_with(&format!("nobody:{}", "k".repeat(64)));
    let mut all = String::new();
    for row in &rows {
        let reply = caller(row, &own, &wrong).send(ask(row)).await?;
        let differs = wrong_with(row, &reply, namespace);
        if !differs.is_empty() {
            all.push_str(&format!("\n{}{differs}", row.get("ask").unwrap_or(row)));
        }
    }
    assert!(all.is_empty(), "{all}");
    // Nothing of it has harmed the hub.
    own.get("actions/there").await?;
    place.end(hub).await
}
