//! The machine fails around a running hub: nothing accepted is lost, and it recovers by itself.
//!
//! Disk full, syncs that fail, a clock that is set, connections that are slow or half open, requests
//! without end. Each waits for the hub to recover and says how long that took.
#![expect(clippy::panic, reason = "a test that cannot go on ends, in what it is made of too")]

#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/connections.rs"]
mod connections;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/memory.rs"]
mod memory;
#[path = "faults/syncs.rs"]
mod syncs;

use std::{collections::BTreeMap, time::Duration};

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{self, text},
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};
use tokio::time::Instant;

type Done = Result<(), FaultError>;

/// Takes an event and gives its number back.
const NUMBER: &str = "function main(args) { return { number: args.number }; }";

/// An action `number` and a rule from the trigger `t` to it.
async fn furnish(caller: &Caller) -> Done {
    entities::node(caller, "number", NUMBER).await?;
    entities::trigger(caller, "t", &json!({}), &["number"], &Value::Null).await
}

/// Fires an event that must be accepted.
async fn accept(caller: &Caller, accepted: &mut u64, ballast: usize) -> Done {
    let event = json!({"number": *accepted, "ballast": "x".repeat(ballast)});
    let reply = caller.post("triggers/t", &event).await?;
    assert_eq!(reply.status, 202, "{}", reply.text());
    *accepted += 1;
    Ok(())
}

/// Numbers of the events that ran, in order.
async fn numbers(caller: &Caller) -> Result<Vec<u64>, FaultError> {
    // A record that comes between two pages moves the last of the one into the other.
    let (mut by_id, mut skip) = (BTreeMap::new(), 0);
    loop {
        let path = format!("activations?docs=true&limit=200&skip={skip}&name=number");
        let Value::Array(page) = caller.get(&path).await? else { break };
        let number = |run: &Value| run.pointer("/response/result/number")?.as_u64();
        by_id
            .extend(page.iter().filter_map(|run| Some((text(run, "/activationId"), number(run)?))));
        skip += page.len();
        if page.len() < 200 {
            break;
        }
    }
    let mut numbers: Vec<_> = by_id.into_values().collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Every accepted event has run, and once.
async fn nothing_lost(caller: &Caller, accepted: u64) -> Done {
    assert!(accepted > 0, "the test accepts events");
    let numbers = until("a run of each accepted event", SOON, async || {
        let numbers = numbers(caller).await?;
        let count = numbers.len() as u64;
        Ok(if count >= accepted { Ok(numbers) } else { Err(format!("{count} of {accepted}")) })
    })
    .await?;
    assert_eq!(numbers, (0..accepted).collect::<Vec<_>>());
    Ok(())
}

/// Waits until an event is accepted again, and says how long that took.
#[expect(clippy::print_stdout, reason = "how long it took is for people to read")]
async fn accepts_again(
    caller: &Caller,
    accepted: &mut u64,
    after: &str,
) -> Result<Duration, FaultError> {
    let begun = Instant::now();
    let number = *accepted;
    until("an event to be accepted again", SOON, async || {
        let ask = Ask::new("POST", "triggers/t").json(&json!({"number": number}));
        let reply = caller.send(ask).await?;
        Ok(if reply.status == 202 { Ok(()) } else { Err(reply.text()) })
    })
    .await?;
    *accepted += 1;
    println!("{after}: accepted again after {:?}", begun.elapsed());
    Ok(begun.elapsed())
}

/// The cap that a refusal names.
fn cap(reply: &evoke_tests::e2e::caller::Reply) -> String {
    text(&reply.json(), "/cap")
}
