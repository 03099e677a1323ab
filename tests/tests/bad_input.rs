//! Bad input: each has its clear error, nothing accepted is lost by it, and the hub goes on.
#![expect(clippy::panic, reason = "a test that cannot go on ends, in what it is made of too")]

#[path = "bad_input/code.rs"]
mod code;
#[path = "bad_input/connections.rs"]
mod connections;
#[path = "bad_input/requests.rs"]
mod requests;

use std::time::Duration;

use evoke_tests::{
    e2e::{
        caller::Caller,
        entities::{self, ECHO, call, node, text},
        place::Place,
        wait::{SOON, until},
    },
    fault::{error::FaultError, hub::Hub},
};
use serde_json::{Value, json};
use tokio::time::timeout;

type Done = Result<(), FaultError>;

/// Longest time for a good call while others misbehave, on a busy machine.
const GOOD_WITHIN: Duration = Duration::from_secs(20);
/// Longest time for the refusal of what is never sent whole.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// A hub with a good action `echo`, bound by a rule to trigger `good`.
async fn furnished() -> Result<(Place, Hub, Caller), FaultError> {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    entities::trigger(&caller, "good", &json!({}), &["echo"], &Value::Null).await?;
    Ok((place, hub, caller))
}

/// A good call is answered, and soon.
async fn still_good(caller: &Caller, after: &str) -> Done {
    let answered = timeout(GOOD_WITHIN, call(caller, "echo", &json!({"after": after}))).await;
    let reply = answered.unwrap_or_else(|_| panic!("no answer to a good call after {after}"))?;
    assert_eq!(reply.status, 200, "after {after}: {}", reply.text());
    assert_eq!(text(&reply.json(), "/response/result/args/after"), after);
    Ok(())
}

/// Accepts an event whose delivery is looked for at the end.
async fn accept(caller: &Caller, accepted: &mut Vec<String>) -> Done {
    let reply = caller.post("triggers/good", &json!({"number": accepted.len()})).await?;
    assert_eq!(reply.status, 202, "{}", reply.text());
    accepted.push(text(&reply.json(), "/activationId"));
    Ok(())
}

/// Every accepted event has its trigger's record, and its one run.
async fn nothing_lost(caller: &Caller, accepted: &[String]) -> Done {
    assert!(!accepted.is_empty(), "the test accepts events");
    for id in accepted {
        entities::record(caller, id).await?;
    }
    let numbers = until("a run of each accepted event", SOON, async || {
        let all = entities::records(caller, "echo").await?;
        let number = |run: &Value| run.pointer("/response/result/args/number")?.as_u64();
        let mut numbers: Vec<_> = all.iter().filter_map(number).collect();
        numbers.sort_unstable();
        let count = numbers.len();
        Ok(if count >= accepted.len() { Ok(numbers) } else { Err(format!("{count} runs")) })
    })
    .await?;
    assert_eq!(numbers, (0..accepted.len() as u64).collect::<Vec<_>>());
    Ok(())
}
