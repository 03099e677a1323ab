//! The machine's clock is set by hours, both ways.

use std::time::Duration;

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{node, records, text, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::{error::FaultError, machine::Machine},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Done, accept, furnish, nothing_lost};

const HOURS_MS: i64 = 3_600_000;

/// Fails the first time that it sees an event, and notes the event's number in its error.
const SECOND_TIME: &str = "const seen = new Set();
function main(args) {
  if (seen.has(args.number)) return { number: args.number };
  seen.add(args.number);
  return { error: `not yet ${args.number}` };
}";

async fn runs_of(caller: &Caller, name: &str) -> Result<usize, FaultError> {
    Ok(records(caller, name).await?.len())
}

/// Waits for more ticks of the alarm than there were.
async fn ticks_on(caller: &Caller, before: usize) -> Done {
    until("more ticks of the alarm", SOON, async || {
        let runs = runs_of(caller, "tick").await?;
        Ok(if runs >= before + 2 { Ok(()) } else { Err(format!("{runs} of {before} and 2")) })
    })
    .await
}

async fn same_event(caller: &Caller, id: &str) -> Result<(u16, String), FaultError> {
    let ask = Ask::new("POST", "triggers/once")
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", "/clock")
        .header("ce-type", "t")
        .json(&json!({}));
    let reply = caller.send(ask).await?;
    Ok((reply.status, text(&reply.json(), "/activationId")))
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "how long it took is for people to read")]
async fn alarms_retries_and_dedup_go_on_whichever_way_the_clock_is_set() -> Done {
    let mut place = Place::new()?;
    let machine = Machine::new(place.room())?;
    place.launch.environment.extend(machine.environment("nothing"));
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    node(&caller, "tick", super::NUMBER).await?;
    node(&caller, "second", SECOND_TIME).await?;
    node(&caller, "noted", super::NUMBER).await?;
    trigger(&caller, "ticks", &json!({}), &["tick"], &Value::Null).await?;
    trigger(&caller, "once", &json!({}), &["noted"], &Value::Null).await?;
    let policy = json!({"attempts": 3, "backoffMs": 2_000});
    trigger(&caller, "again", &json!({}), &["second"], &policy).await?;
    let feed = json!({"provider": "alarms", "trigger": "ticks", "parameters": {"every": "1s"}});
    caller.put("feeds/alarm", &feed).await?;
    let first = same_event(&caller, "one").await?;
    assert_eq!(first.0, 202);
    ticks_on(&caller, 0).await?;

    let (mut accepted, mut ahead) = (0, 0);
    for (round, by) in [6, -12, 6].into_iter().enumerate() {
        accept(&caller, &mut accepted, 0).await?;
        // A retry is waited for while the clock is set.
        caller.post("triggers/again", &json!({"number": round})).await?;
        until("the first attempt", SOON, async || {
            let tried = records(&caller, "second").await?;
            let of = |run: &&Value| run.to_string().contains(&format!("not yet {round}"));
            Ok(if tried.iter().any(|run| of(&run)) { Ok(()) } else { Err("none".to_owned()) })
        })
        .await?;
        ahead += by;
        machine.set_clock(ahead * HOURS_MS)?;
        let begun = Instant::now();
        let before = runs_of(&caller, "tick").await?;
        until("the retry", SOON, async || {
            let runs = records(&caller, "second").await?;
            let done = runs
                .iter()
                .any(|run| run.pointer("/response/result/number") == Some(&json!(round)));
            Ok(if done { Ok(()) } else { Err(format!("{} runs", runs.len())) })
        })
        .await?;
        println!("clock set by {by} h: the retry came after {:?}", begun.elapsed());
        ticks_on(&caller, before).await?;
        println!("clock set by {by} h: the alarm ticked on after {:?}", begun.elapsed());
        let again = same_event(&caller, "one").await?;
        assert_eq!(again, first, "known for an hour, whatever the clock says");
        accept(&caller, &mut accepted, 0).await?;
        assert!(begun.elapsed() < Duration::from_secs(3_600), "nobody waited for the clock");
    }
    nothing_lost(&caller, accepted).await?;
    assert_eq!(runs_of(&caller, "noted").await?, 1);
    assert!(caller.get("deadletters").await?.as_array().is_some_and(Vec::is_empty));
    place.end(hub).await
}
