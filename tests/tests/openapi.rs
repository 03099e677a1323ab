//! The API's document against a real hub: requests made of it are answered as it says.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{node, records_when, text, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

type Done = Result<(), FaultError>;

/// Longest time for all requests: many times what they need.
const TRIED_WITHIN: Duration = Duration::from_secs(540);

/// Never fails, whatever it is called with: an answer of 5xx is the hub's own.
const CALM: &str = "function main() { return { greeting: 'hello' }; }";
/// Fails for good: its deliveries are dead letters.
const BROKEN: &str = "function main() { throw new Error('broken'); }";

/// One of everything, named as `schemathesis.toml` has it.
async fn furnish(caller: &Caller) -> Done {
    caller.put("packages/tools", &json!({})).await?;
    for name in ["hello", "spare", "tools/hello", "tools/spare"] {
        node(caller, name, CALM).await?;
    }
    node(caller, "broken", BROKEN).await?;
    trigger(caller, "orders", &json!({}), &["hello", "broken"], &Value::Null).await?;
    let alarm = json!({"provider": "alarms", "trigger": "orders", "parameters": {"every": "1h"}});
    caller.put("feeds/ticks", &alarm).await?;
    for count in 0..3 {
        caller.post("triggers/orders", &json!({"count": count})).await?;
    }
    records_when(caller, "broken", 3).await?;
    until("dead letters", SOON, async || {
        let counted = caller.get("deadletters?count=true").await?;
        Ok(if counted == json!({"deadletters": 3}) { Ok(()) } else { Err(counted.to_string()) })
    })
    .await?;
    caller.post("replays", &json!({"rule": "orders-hello", "from": 0})).await.map(drop)
}

async fn schemathesis(place: &Place, caller: &Caller) -> Result<Output, FaultError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/schemathesis.sh");
    let mut command = Command::new(script);
    command
        .arg("run")
        .env("HUB", caller.address.to_string())
        .env("KEY", fs::read_to_string(place.data().join("credentials"))?.trim())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match timeout(TRIED_WITHIN, command.output()).await {
        Ok(ended) => Ok(ended?),
        Err(_elapsed) => Err(FaultError::TimedOut {
            what: "the requests of the document",
            limit: TRIED_WITHIN,
            state: place.log(),
        }),
    }
}

#[tokio::test]
async fn requests_made_of_the_document_are_answered_as_it_says() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    let ended = schemathesis(&place, &caller).await?;
    let said = String::from_utf8_lossy(&ended.stdout);
    let wrong = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{}\n{said}\n{wrong}", ended.status);
    assert!(said.contains("Test cases:"), "nothing was tried:\n{said}");
    // After all of that the hub is as it was.
    let called = caller.send(Ask::new("GET", "/readyz")).await?;
    assert_eq!(called.status, 200, "{}", called.text());
    place.end(hub).await
}

#[tokio::test]
async fn the_hub_serves_the_committed_document() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let about = caller.nobody().get("/api/v1").await?;
    let path = format!("/api/v1{}", text(&about, "/swagger_paths/api-docs"));
    let served = caller.nobody().get(&path).await?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/openapi.json");
    let kept: Value = serde_json::from_str(&fs::read_to_string(file)?).unwrap_or_default();
    assert_eq!(served, kept);
    assert_eq!(served["openapi"], "3.1.0");
    let page = format!("/api/v1{}", text(&about, "/swagger_paths/ui"));
    let there = caller.nobody().send(Ask::new("GET", &page)).await?;
    assert_eq!(there.status, 308, "{}", there.text());
    let page = caller.nobody().good(Ask::new("GET", there.header("location"))).await?;
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.text());
    place.end(hub).await
}
