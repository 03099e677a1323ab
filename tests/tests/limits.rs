//! Each cap at its edge: what is within it is taken, what is past it is refused in the cap's name,
//! and a cap that is widened holds at once.

use std::process::Output;

use evoke_schemas::{ByteSize, NamespaceLimits};
use evoke_tests::{
    e2e::{
        caller::{Ask, Caller, Reply},
        entities::{ECHO, call, node, records_when, text, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use evoke_trigger_engine::Cap;
use serde_json::{Value, json};

type Done = Result<(), FaultError>;

/// Waits until it is told by an event that it may end.
const SLOW: &str = "function main(args) {
  return new Promise((done) => setTimeout(() => done({}), args.ms));
}";

async fn caps(place: &Place, words: &[&str]) -> Result<String, FaultError> {
    let output = run(place, words).await?;
    assert!(output.status.success(), "{words:?}: {output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn run(place: &Place, words: &[&str]) -> Result<Output, FaultError> {
    let all = [&["key", "limits"], words, &["--data", "DATA"]].concat();
    place.run(&all).await
}

fn refused(reply: &Reply, cap: &str, sentence: &str) {
    assert_eq!((reply.status, reply.error().as_str()), (429, sentence), "{}", reply.text());
    assert_eq!(text(&reply.json(), "/cap"), cap);
    assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
}

async fn shown(caller: &Caller, cap: &str) -> Result<Value, FaultError> {
    Ok(caller.get("limits").await?.pointer(&format!("/caps/{cap}")).cloned().unwrap_or_default())
}

#[tokio::test]
async fn code_and_payload_are_refused_past_their_size_in_openwhisks_words() -> Done {
    let mut place = Place::new()?;
    place.launch.environment.push(("EVOKE_PAYLOAD_SIZE", "2KB".into()));
    place.launch.environment.push(("EVOKE_CODE_SIZE", "1KB".into()));
    let (hub, caller) = place.start().await?;
    let code = |bytes: usize| {
        let code = format!("function main(a) {{ return a }}{}", " ".repeat(bytes - 29));
        assert_eq!(code.len(), bytes);
        json!({"exec": {"kind": "nodejs:default", "code": code}})
    };
    caller.put("actions/echo", &code(1_024)).await?;
    let path = "actions/other";
    let reply = caller.send(Ask::new("PUT", path).json(&code(1_025))).await?;
    let sentence = "exec larger than allowed: 1025 > 1024 bytes.";
    assert_eq!((reply.status, reply.error().as_str()), (413, sentence));
    trigger(&caller, "t", &json!({}), &["echo"], &Value::Null).await?;
    let body = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let within = ["triggers/t", "actions/echo?blocking=true", "actions/echo"];
    for path in within {
        let ask = |bytes| {
            let ask = Ask::new("POST", path).header("content-type", "application/json");
            caller.send(ask.bytes(body(bytes)))
        };
        let reply = ask(2_048).await?;
        assert!(reply.status < 300, "{path}: {}", reply.text());
        let reply = ask(2_049).await?;
        let sentence = "Request larger than allowed: 2049 > 2048 bytes.";
        assert_eq!((reply.status, reply.error().as_str()), (413, sentence), "{path}");
    }
    // One namespace may have more than all the others.
    caps(&place, &["guest", "--payload", "4KB", "--code", "2KB"]).await?;
    caller.put("actions/other", &code(1_025)).await?;
    let ask = Ask::new("POST", "triggers/t").header("content-type", "application/json");
    assert_eq!(caller.send(ask.bytes(body(2_049))).await?.status, 202);
    assert_eq!(shown(&caller, "payload").await?, json!({"most": 4_096}));
    place.end(hub).await
}

#[tokio::test]
async fn entities_are_counted_over_all_kinds_and_feeds() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    assert_eq!(caps(&place, &["guest"]).await?, "guest has the caps of all namespaces");
    assert_eq!(caps(&place, &["guest", "--entities", "5"]).await?, "entities     5");
    node(&caller, "echo", ECHO).await?;
    caller.put("packages/p", &json!({})).await?;
    trigger(&caller, "t", &json!({}), &["echo"], &Value::Null).await?;
    let feed = json!({"provider": "alarms", "trigger": "t", "parameters": {"every": "60000ms"}});
    let put = |path: &str, body: &Value| caller.send(Ask::new("PUT", path).json(body));
    let made = put("feeds/f", &feed).await?;
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(shown(&caller, "entities").await?, json!({"most": 5, "used": 5}));
    let sentence = "Too many entities in the namespace (count: 6, allowed: 5).";
    refused(&put("triggers/more", &json!({})).await?, "entities", sentence);
    refused(&put("packages/more", &json!({})).await?, "entities", sentence);
    refused(&put("feeds/more", &feed).await?, "entities", sentence);
    let action = json!({"exec": {"kind": "nodejs:default", "code": ECHO}});
    refused(&put("actions/p/more", &action).await?, "entities", sentence);
    let rule = json!({"trigger": "/_/t", "action": "/_/echo"});
    refused(&put("rules/more", &rule).await?, "entities", sentence);
    // What is there may be changed, and what goes makes room.
    node(&caller, "echo", ECHO).await?;
    caller.good(Ask::new("DELETE", "feeds/f")).await?;
    assert_eq!(put("triggers/more", &json!({})).await?.status, 200);
    refused(&put("triggers/most", &json!({})).await?, "entities", sentence);
    assert_eq!(caps(&place, &["guest", "--entities", "6"]).await?, "entities     6");
    assert_eq!(put("triggers/most", &json!({})).await?.status, 200);
    // They are kept, and can be taken back without a hub.
    hub.stop().await?;
    let (hub, caller) = place.start().await?;
    let reply = caller.send(Ask::new("PUT", "triggers/again").json(&json!({}))).await?;
    assert_eq!(reply.status, 429, "{}", reply.text());
    hub.stop().await?;
    let told = caps(&place, &["guest", "--reset", "--sandboxes", "3"]).await?;
    assert_eq!(told, "sandboxes    3");
    let (hub, caller) = place.start().await?;
    caller.put("triggers/again", &json!({})).await?;
    assert_eq!(shown(&caller, "sandboxes").await?, json!({"most": 3, "used": 0}));
    place.end(hub).await
}

#[tokio::test]
async fn sandboxes_bound_calls_and_deliveries_together() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    caps(&place, &["guest", "--sandboxes", "2"]).await?;
    node(&caller, "slow", SLOW).await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, "t", &json!({}), &["slow"], &Value::Null).await?;
    // Deliveries leave one of the two for calls.
    for _ in 0..3 {
        caller.post("triggers/t", &json!({"ms": 3_000})).await?;
    }
    until("a delivery to be under way", SOON, async || {
        let used = shown(&caller, "sandboxes").await?["used"].clone();
        Ok(if used == json!(1) { Ok(()) } else { Err(used.to_string()) })
    })
    .await?;
    assert_eq!(call(&caller, "echo", &json!({})).await?.status, 200);
    let long = caller.post("actions/slow?blocking=true&timeout=1", &json!({"ms": 4_000})).await?;
    assert_eq!(long.status, 202);
    let reply = call(&caller, "echo", &json!({})).await?;
    let sentence = "Too many concurrent requests in flight (count: 2, allowed: 2).";
    refused(&reply, "sandboxes", sentence);
    caps(&place, &["guest", "--sandboxes", "8"]).await?;
    assert_eq!(call(&caller, "echo", &json!({})).await?.status, 200);
    records_when(&caller, "slow", 4).await?;
    place.end(hub).await
}

#[tokio::test]
async fn undelivered_bytes_close_the_intake_of_their_namespace_alone() -> Done {
    let mut place = Place::new()?;
    place.launch.environment.push(("EVOKE_UNDELIVERED_SIZE", "100KB".into()));
    let (hub, caller) = place.start().await?;
    let made = place.run(&["key", "add", "quiet", "--data", "DATA"]);
    let quiet = place.caller_with(&String::from_utf8_lossy(&made.await?.stdout));
    for caller in [&caller, &quiet] {
        node(caller, "echo", ECHO).await?;
        trigger(caller, "t", &json!({}), &["echo"], &Value::Null).await?;
        caller.good(Ask::new("DELETE", "actions/echo")).await?;
    }
    let event = json!({"ballast": "x".repeat(20_000)});
    let fire = || caller.send(Ask::new("POST", "triggers/t").json(&event));
    let closed = until("the intake to close", SOON, async || {
        let reply = fire().await?;
        Ok(if reply.status == 429 { Ok(reply) } else { Err(reply.text()) })
    })
    .await?;
    let sentence = "Too many requests: the namespace's bound on undelivered bytes is full.";
    refused(&closed, "undelivered", sentence);
    let used = shown(&caller, "undelivered").await?["used"].as_u64();
    assert!(used.is_some_and(|used| used > 100 << 10), "{used:?}");
    assert_eq!(quiet.send(Ask::new("POST", "triggers/t").json(&event)).await?.status, 202);
    caps(&place, &["guest", "--undelivered", "1MB"]).await?;
    until("the intake to open", SOON, async || {
        let reply = fire().await?;
        Ok(if reply.status == 202 { Ok(()) } else { Err(reply.text()) })
    })
    .await?;
    place.end(hub).await
}

#[tokio::test]
async fn caps_that_cannot_be_are_told_all_at_once() -> Done {
    let mut place = Place::new()?;
    let wrong = ["up", "--payload-size", "2MB", "--sandboxes", "0"];
    let output = place.run(&wrong).await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("cap `payload`: 2MB is not in the range of 1B to 1MB"), "{told}");
    assert!(told.contains("cap `sandboxes`: 0 is not in the range of 1 to 4096"), "{told}");
    let (hub, _caller) = place.start().await?;
    for (words, sentence) in [
        (["guest", "--payload", "2MB"], "cap `payload`: 2MB is not in the range of 1B to 1MB"),
        (["nobody", "--entities", "1"], "namespace `nobody` does not exist"),
        (["guest", "--code", "many"], "`many` is no size"),
    ] {
        let output = run(&place, &words).await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(sentence), "{words:?}: {told}");
    }
    hub.stop().await?;
    place.done();
    Ok(())
}

/// Each command of the page gives what the page shows; `…` stands for anything.
#[tokio::test]
async fn the_page_shows_what_happens_and_lists_every_cap() -> Done {
    let mut place = Place::new()?;
    let (hub, _caller) = place.start().await?;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md"))?;
    let mut commands = 0;
    for block in page.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        for shown in block.split("$ evoke ").skip(1) {
            let (words, wanted) = shown.split_once('\n').unwrap_or((shown, ""));
            let words: Vec<&str> = words.split(' ').chain(["--data", "DATA"]).collect();
            let output = place.run(&words).await?;
            assert!(output.status.success(), "{words:?}: {output:?}");
            let got = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut rest = got.trim_end();
            for part in wanted.trim_end().split('…') {
                let part = part.trim();
                let at = rest.find(part);
                assert!(at.is_some(), "{words:?} gives\n{got}\nand not\n{wanted}");
                rest = rest.get(at.unwrap_or_default() + part.len()..).unwrap_or_default();
            }
            assert!(wanted.contains('…') || rest.is_empty(), "{words:?} gives\n{got}");
            commands += 1;
        }
    }
    assert!(commands >= 4, "{commands} commands are tried");
    for (cap, most, bytes) in NamespaceLimits::default().all() {
        let most = if bytes { ByteSize(most).to_string() } else { most.to_string() };
        assert!(page.contains(&format!("| `{cap}` | {most} |")), "`{cap}` of {most}");
    }
    for cap in [Cap::UndeliveredBytes, Cap::LogQueue, Cap::Disk, Cap::DiskBudget, Cap::LogSize] {
        assert!(page.contains(&format!("| `{}` |", cap.name())), "{}", cap.name());
    }
    hub.stop().await?;
    place.done();
    Ok(())
}

#[tokio::test]
async fn a_namespace_is_held_to_its_kinds_and_what_is_there_runs_on() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    let wrong = run(&place, &["guest", "--kinds", "nodejs"]).await?;
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && told.contains("evoke runtimes"), "{told}");
    let line = "kinds        python:3.11,python:3.12";
    assert_eq!(caps(&place, &["guest", "--kinds", "python:3.12,python:3.11"]).await?, line);
    assert_eq!(text(&caller.get("limits").await?, "/allowedKinds/0"), "python:3.11");
    let put = |kind: &str, code: &str, path: &str| {
        let action = json!({"exec": {"kind": kind, "code": code}});
        caller.send(Ask::new("PUT", path).json(&action))
    };
    let reply = put("nodejs:default", ECHO, "actions/echo?overwrite=true").await?;
    let sentence =
        "The supplied authentication is not authorized to access actions of kind 'nodejs:20'.";
    assert_eq!((reply.status, reply.error().as_str()), (403, sentence));
    assert_eq!(call(&caller, "echo", &json!({"a": 1})).await?.status, 200);
    let code = "def main(args):\n    return args\n";
    assert_eq!(put("python:default", code, "actions/snake").await?.status, 200);
    // Another namespace may have what it likes.
    let other = place.run(&["key", "add", "other", "--data", "DATA"]).await?.stdout;
    let other = place.caller_with(&String::from_utf8_lossy(&other));
    node(&other, "echo", ECHO).await?;
    caps(&place, &["guest", "--reset"]).await?;
    assert_eq!(caller.get("limits").await?.get("allowedKinds"), None);
    node(&caller, "echo", ECHO).await?;
    place.end(hub).await
}
