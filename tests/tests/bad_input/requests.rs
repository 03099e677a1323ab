//! Requests that are malformed, or too large.

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::text,
    },
    fault::error::FaultError,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Done, REFUSED_WITHIN, accept, connections::head, furnished, nothing_lost, still_good};

const MALFORMED: &str = "The request content was malformed:\n";
const JSON: &str = "application/json";

/// PUT: path, body, beginning of what follows "malformed".
#[rustfmt::skip]
const MALFORMED_BODIES: &[(&str, &str, &str)] = &[
    ("actions/bad", "{", "Unexpected JSON"),
    ("actions/bad", "nonsense", "Unexpected JSON"),
    ("actions/bad", "", "Unexpected JSON"),
    ("actions/bad", "[]", "Object expected"),
    ("actions/bad", r#"{"exec":7}"#, "Object expected for `exec`"),
    ("actions/bad", r#"{"exec":{"code":"x"}}"#, "'kind' must be a string defined in 'exec'"),
    ("actions/bad", r#"{"exec":{"kind":"cobol:1","code":"x"}}"#, "The specified runtime 'cobol:1' is not supported by this platform. Valid values are: '"),
    ("actions/bad", r#"{"exec":{"kind":"nodejs:default"}}"#, "'code' must be a string or attachment object defined in 'exec' for 'nodejs:default' actions"),
    ("actions/bad", r#"{"exec":{"kind":"nodejs:default","code":1}}"#, "Could not deserialize as attachment record: 1"),
    ("actions/bad", r#"{"exec":{"kind":"nodejs:default","code":"x","main":1}}"#, "if defined, 'main' be a string in 'exec' for 'nodejs:default' actions"),
    ("actions/bad", r#"{"exec":{"kind":"nodejs:default","code":"x"},"limits":{"memory":"much"}}"#, "memory limit malformed"),
    ("actions/bad", r#"{"exec":{"kind":"nodejs:default","code":"x"},"limits":{"timeout":100.5}}"#, "requirement failed: time limit must be whole number"),
    ("actions/bad", r#"{"exec":{"kind":"nodejs:default","code":"x"},"limits":{"logs":-1}}"#, "requirement failed: a negative size of an object is not allowed."),
    ("actions/bad", r#"{"exec":{"kind":"nodejs:default","code":"x"},"version":"one"}"#, "semantic version malformed"),
    ("packages/bad", r#"{"parameters":{"a":1}}"#, "parameters malformed!"),
    ("packages/bad", r#"{"annotations":7}"#, "parameters malformed!"),
    ("triggers/bad", r#"{"parameters":[{"value":1}]}"#, "parameters malformed!"),
    ("rules/bad", r#"{"trigger":"good","action":"/_/echo"}"#, "requirement failed: The fully qualified name of the entity must contain at least the namespace and the name of the entity."),
    ("feeds/bad", r#"{"trigger":"good"}"#, "Unexpected feed: missing field `provider`"),
    ("feeds/bad", r#"{"provider":"alarms","trigger":"good","evry":1}"#, "Unexpected feed: unknown field `evry`"),
];

/// Limits of an action, and what is wrong with them.
#[rustfmt::skip]
const LIMITS: &[(&str, &str)] = &[
    (r#"{"memory":127}"#, "requirement failed: memory size 127 MB below allowed threshold of 128 MB"),
    (r#"{"memory":513}"#, "requirement failed: memory size 513 MB exceeds allowed threshold of 512 MB"),
    (r#"{"timeout":99}"#, "requirement failed: duration 99 milliseconds below allowed threshold of 100 milliseconds"),
    (r#"{"timeout":300001}"#, "requirement failed: duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds"),
    (r#"{"logs":11}"#, "requirement failed: log size 11 MB exceeds allowed threshold of 10 MB"),
    (r#"{"concurrency":2}"#, "requirement failed: concurrency 2 exceeds allowed threshold of 1"),
];

/// Method, path, media type, body; status, beginning of the sentence.
#[rustfmt::skip]
const REFUSED: &[(&str, &str, &str, &str, u16, &str)] = &[
    ("PUT", "actions/bad", JSON, "{}", 400, "exec undefined"),
    ("PUT", "actions/bad", JSON, r#"{"exec":{"kind":"sequence","components":[]}}"#, 400, "a sequence is not in this version"),
    ("PUT", "actions/echo", JSON, r#"{"exec":{"kind":"nodejs:default","code":"x"}}"#, 409, "resource already exists"),
    ("PUT", "triggers/echo", JSON, "{}", 409, "Resource by this name exists but is not in this collection."),
    ("PUT", "rules/bad", JSON, r#"{"trigger":"/_/none","action":"/_/echo"}"#, 400, "trigger /guest/none does not exist"),
    ("PUT", "rules/bad", JSON, r#"{"trigger":"/_/good","action":"/_/none"}"#, 400, "action /guest/none does not exist"),
    ("PUT", "rules/bad", JSON, r#"{"trigger":"/_/good"}"#, 400, "rule requires a valid trigger and a valid action"),
    ("PUT", "rules/bad", JSON, r#"{"trigger":"/_/good","action":"/_/echo","annotations":[{"key":"delivery","value":{"tries":3}}]}"#, 400, "annotation `delivery`: unknown field `tries`"),
    ("PUT", "rules/bad", JSON, r#"{"trigger":"/_/good","action":"/_/echo","annotations":[{"key":"delivery","value":{"attempts":0}}]}"#, 400, "annotation `delivery`: `attempts` must be within 1 to 1000"),
    ("PUT", "triggers/bad", JSON, r#"{"annotations":[{"key":"subscription","value":{"typ":"x"}}]}"#, 400, "annotation `subscription`: unknown field `typ`"),
    ("PUT", "feeds/bad", JSON, r#"{"provider":"kafak","trigger":"good"}"#, 400, "unknown provider `kafak` (known: alarms, couchdb, kafka)"),
    ("PUT", "feeds/bad", JSON, r#"{"provider":"alarms","trigger":"none","parameters":{"every":"1s"}}"#, 400, "trigger /guest/none does not exist"),
    ("PUT", "actions/%24x", JSON, "{}", 400, "The name of the entity contains illegal characters."),
    ("PUT", "actions/none/b", JSON, r#"{"exec":{"kind":"nodejs:default","code":"x"}}"#, 404, "The requested resource does not exist."),
    ("POST", "actions/echo?blocking=true", JSON, "[1]", 400, "The request content was malformed:\nObject expected"),
    ("POST", "actions/echo?blocking=maybe", JSON, "{}", 400, "The query parameter 'blocking' was malformed:\n'maybe' is not a valid Boolean value"),
    ("POST", "actions/none", JSON, "{}", 404, "The requested resource does not exist."),
    ("POST", "triggers/good", JSON, "null", 400, "The request content was malformed:\nObject expected"),
    ("POST", "triggers/good", JSON, "{\"a\":", 400, "The request content was malformed:\n"),
    ("POST", "triggers/good", JSON, "{\"a\":\"\u{0}\"}", 400, "The request content was malformed:\n"),
    ("POST", "triggers/good", "text/plain", "hello", 415, "The request's Content-Type [text/plain] is not supported. Expected:\napplication/json"),
    ("POST", "events", "application/cloudevents+avro", "x", 415, "The request's Content-Type [application/cloudevents+avro] is not supported."),
    ("POST", "triggers/none", JSON, "{}", 404, "The requested resource does not exist."),
    ("POST", "replays", JSON, r#"{"rule":"good-echo","from":"here"}"#, 400, "`from`: position `here` is not of the form"),
    ("POST", "deadletters", JSON, r#"{"action":"forget"}"#, 400, "The request content was malformed:\n"),
    ("PATCH", "actions/echo", JSON, "{}", 404, "The requested resource could not be found."),
    ("GET", "activations/abc", JSON, "", 400, "Activation id length is 3 but must be 32."),
    ("GET", "actions?limit=201", JSON, "", 400, "The query parameter 'limit' was malformed:\nThe value '201' is not in the range of 0 to 200 for actions."),
];

/// The request is refused with this status and sentence.
async fn refused(caller: &Caller, ask: Ask, status: u16, sentence: &str) -> Done {
    let asked = format!("{ask:?}");
    let reply = caller.send(ask).await?;
    let context = format!("{asked}\n→ {} {}", reply.status, reply.text());
    assert_eq!(reply.status, status, "{context}");
    assert!(reply.error().starts_with(sentence), "{context}\nwanted: {sentence}");
    assert_eq!(text(&reply.json(), "/code"), reply.header("x-request-id"), "{context}");
    Ok(())
}

#[tokio::test]
async fn a_malformed_request_is_told_what_is_wrong_and_changes_nothing() -> Done {
    let (place, hub, caller) = furnished().await?;
    let mut accepted = Vec::new();
    let put = |path: &str, body: &str| {
        Ask::new("PUT", path).header("content-type", JSON).bytes(body.to_owned())
    };
    for (path, body, detail) in MALFORMED_BODIES {
        refused(&caller, put(path, body), 400, &format!("{MALFORMED}{detail}")).await?;
        accept(&caller, &mut accepted).await?;
    }
    for (limits, sentence) in LIMITS {
        let body =
            format!(r#"{{"exec":{{"kind":"nodejs:default","code":"x"}},"limits":{limits}}}"#);
        refused(&caller, put("actions/bad", &body), 400, sentence).await?;
    }
    for (method, path, media, body, status, sentence) in REFUSED {
        let ask = Ask::new(method, path).header("content-type", *media).bytes(*body);
        refused(&caller, ask, *status, sentence).await?;
        accept(&caller, &mut accepted).await?;
    }
    still_good(&caller, "malformed requests").await?;
    for (list, names) in [
        ("actions", json!(["echo"])),
        ("triggers", json!(["good"])),
        ("rules", json!(["good-echo"])),
        ("packages", json!([])),
        ("feeds", json!([])),
    ] {
        let all = caller.get(list).await?;
        let all = all.as_array().into_iter().flatten();
        let listed: Vec<_> = all.map(|one| text(one, "/name")).collect();
        assert_eq!(json!(listed), names, "{list}");
    }
    nothing_lost(&caller, &accepted).await?;
    place.end(hub).await
}

/// Method, path, media type, said length, and what is allowed.
const TOO_LONG: &[(&str, &str, &str, u64, u64)] = &[
    ("POST", "triggers/good", JSON, 2_000_000, 1 << 20),
    ("POST", "actions/echo", JSON, 1_048_577, 1 << 20),
    ("POST", "events", "application/cloudevents+json", 1_048_577, 1 << 20),
    ("POST", "events", "application/cloudevents-batch+json", 8_388_609, 8 << 20),
    ("PUT", "actions/large", JSON, 999_999_999, 52 << 20),
    ("PUT", "triggers/large", JSON, 999_999_999, 52 << 20),
];

#[tokio::test]
async fn a_body_too_large_is_refused_before_it_is_read_whole() -> Done {
    let (place, hub, caller) = furnished().await?;
    let mut accepted = Vec::new();
    for (method, path, media, length, most) in TOO_LONG {
        let headers = format!("Content-Type: {media}\r\nContent-Length: {length}\r\n");
        let head = head(&caller, method, path, &headers);
        let answer = timeout(REFUSED_WITHIN, part_of(&caller, &head, b"{\"part\": 1")).await;
        let answer = answer.unwrap_or_else(|_| panic!("{method} {path}: waits for the body"))?;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{method} {path}: {answer}");
        let sentence = format!("Request larger than allowed: {length} > {most} bytes.");
        assert!(answer.contains(&sentence), "{method} {path}: {answer}\nwanted: {sentence}");
        accept(&caller, &mut accepted).await?;
    }
    still_good(&caller, "bodies too large").await?;
    nothing_lost(&caller, &accepted).await?;
    place.end(hub).await
}

#[tokio::test]
async fn what_is_too_large_inside_is_refused_by_name() -> Done {
    let (place, hub, caller) = furnished().await?;
    for (path, size) in [("triggers/good", 1 << 20), ("actions/echo?blocking=true", 3 << 20)] {
        let ask = Ask::new("POST", path).json(&json!({"long": "x".repeat(size)}));
        refused(&caller, ask, 413, "Request larger than allowed: ").await?;
    }
    let long = "x".repeat(1 << 20);
    for field in ["parameters", "annotations"] {
        let sentence = format!("{field} larger than allowed: 1048579 > 1048576 bytes.");
        let ask = Ask::new("PUT", "packages/large");
        let ask = ask.json(&json!({field: [{"key": "p", "value": long}]}));
        refused(&caller, ask, 413, &sentence).await?;
    }
    let exec = json!({"kind": "nodejs:default", "code": "x".repeat((48 << 20) + 1)});
    let ask = Ask::new("PUT", "actions/large").json(&json!({"exec": exec}));
    refused(&caller, ask, 413, "exec larger than allowed: 50331649 > 50331648 bytes.").await?;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": long});
    let ask = Ask::new("POST", "events")
        .header("content-type", "application/cloudevents-batch+json")
        .bytes(json!([event]).to_string());
    refused(&caller, ask, 413, "event 0 has ").await?;
    assert_eq!(caller.get("packages").await?, json!([]));
    assert_eq!(caller.get("events").await?, json!([]), "nothing was accepted");
    still_good(&caller, "what is too large inside").await?;
    place.end(hub).await
}

/// The answer to a request of which only a part is sent.
async fn part_of(caller: &Caller, head: &str, part: &[u8]) -> Result<String, FaultError> {
    let mut stream = TcpStream::connect(caller.address).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(part).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
