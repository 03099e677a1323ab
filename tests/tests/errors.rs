//! The error catalogue, row by row: what is asked, and the status, headers and body that answer it.
//!
//! `errors/setup.json` is what is there before; `errors/catalogue.json` has a row for each way to an
//! error. A member: `ask` (method and path), `body` (JSON; `{"$repeat": [text, n]}` is a long text) or `raw`,
//! `contentType`, `accept`, `auth` (`none`, `wrong`, or the header itself); `status`, `error` (`…` at its
//! end stands for any text), `cors`, `challenge`, `cap` of a 429. `while` names the state that the hub is in
//! then: `full`, with one entity allowed, or `ending`.

use std::fs;

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller, Reply},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use hyper::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

const SETUP: &str = include_str!("errors/setup.json");
const CATALOGUE: &str = include_str!("errors/catalogue.json");
/// Fewest rows: a catalogue that lost some does not pass.
const ROWS: usize = 135;
/// In the code that the disk loses.
const DAMAGED: &str = "damaged: true";
/// Longer than the rows of a hub that ends take. Unit: seconds.
const DRAIN_DELAY: &str = "60";
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
    let cap = text(row, "cap");
    want("members of the body", if cap.is_some() { "3" } else { "2" }, &members.to_string());
    want("cap", cap.unwrap_or(""), body.get("cap").and_then(Value::as_str).unwrap_or(""));
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

/// What cannot be had by asking: code that the disk has lost, a kind that is not served any more, a
/// kind that the namespace may not use.
async fn damage(place: &mut Place) -> Result<(), FaultError> {
    for folder in fs::read_dir(place.data().join("code"))? {
        for file in fs::read_dir(folder?.path())? {
            let path = file?.path();
            if fs::read_to_string(&path)?.contains(DAMAGED) {
                fs::write(&path, "another")?;
            }
        }
    }
    let built_in = place.run(&["config", "runtimes"]).await?.stdout;
    let mut kinds: Value = serde_json::from_slice(&built_in).map_err(std::io::Error::other)?;
    let old = kinds.pointer_mut("/families/nodejs/kinds/0").and_then(Value::as_object_mut);
    let old = old.ok_or_else(|| std::io::Error::other("no kind to be deprecated"))?;
    old.insert("deprecated".to_owned(), json!(true));
    let file = place.room().join("runtimes.json");
    fs::write(&file, kinds.to_string())?;
    place.launch.environment.push(("EVOKE_RUNTIMES", file.into()));
    place.launch.environment.push(("EVOKE_DRAIN_DELAY", DRAIN_DELAY.into()));
    let kinds = ["key", "limits", "guest", "--kinds", "nodejs:18,nodejs:20", "--data", "DATA"];
    limited(place, &kinds).await
}

async fn limited(place: &Place, words: &[&str]) -> Result<(), FaultError> {
    let output = place.run(words).await?;
    assert!(output.status.success(), "{words:?}: {output:?}");
    Ok(())
}

/// The rows of one state of the hub, each asked and compared.
async fn differences(
    rows: &[Value],
    state: Option<&str>,
    place: &Place,
) -> Result<String, FaultError> {
    let own = place.caller()?;
    let wrong = place.caller_with(&format!("nobody:{}", "k".repeat(64)));
    let mut all = String::new();
    let rows: Vec<&Value> = rows.iter().filter(|row| text(row, "while") == state).collect();
    assert!(!rows.is_empty(), "no rows for {state:?}");
    for row in rows {
        let reply = caller(row, &own, &wrong).send(ask(row)).await?;
        let differs = wrong_with(row, &reply, "guest");
        if !differs.is_empty() {
            all.push_str(&format!("\n{}{differs}", row.get("ask").unwrap_or(row)));
        }
    }
    Ok(all)
}

#[tokio::test]
async fn every_row_of_the_error_catalogue_is_answered_as_it_says() -> Result<(), FaultError> {
    let rows: Vec<Value> = serde_json::from_str(CATALOGUE).map_err(std::io::Error::other)?;
    let setup: Vec<(String, String, Value)> =
        serde_json::from_str(SETUP).map_err(std::io::Error::other)?;
    assert!(rows.len() >= ROWS, "{} rows", rows.len());
    let mut place = Place::new()?;
    let (hub, own) = place.start().await?;
    for (method, path, body) in setup {
        own.good(Ask::new(&method, &path).json(&body)).await?;
    }
    assert_eq!(own.get("/api/v1/namespaces").await?, json!(["guest"]));
    hub.stop().await?;
    damage(&mut place).await?;
    let (hub, own) = place.start().await?;
    let mut all = differences(&rows, None, &place).await?;
    // Nothing of it has harmed the hub.
    own.get("actions/there").await?;
    let one = ["key", "limits", "guest", "--entities", "1", "--data", "DATA"];
    limited(&place, &one).await?;
    all.push_str(&differences(&rows, Some("full"), &place).await?);
    hub.told_to_end()?;
    until("/readyz to say no", SOON, async || {
        let reply = own.nobody().send(Ask::new("GET", "/readyz")).await?;
        Ok(if reply.status == 200 { Err(reply.text()) } else { Ok(()) })
    })
    .await?;
    all.push_str(&differences(&rows, Some("ending"), &place).await?);
    assert!(all.is_empty(), "{all}");
    // It would answer on for as long as it was told to.
    hub.kill().await?;
    place.done();
    Ok(())
}
