//! What becomes of accepted events: ordered, retried, given up, replayed, explained.

use std::{collections::BTreeMap, time::SystemTime};

use evoke_tests::e2e::{
    caller::{Ask, Caller},
    entities::{ECHO, node, record, records, records_when, text, trigger},
    wait::{SOON, until},
};
use serde_json::{Value, json};

use super::{Done, FaultError, built, furnished, order, run_in, structured};

const MISSING: &str = "The requested resource does not exist.";

/// Takes the longer the earlier it was sent, so that disorder would show.
const UNEVEN: &str = "function main({ number }) {
  return new Promise(done => setTimeout(() => done({ number }), 120 - 20 * number));
}";

#[tokio::test]
async fn an_ordered_rule_runs_each_key_in_the_order_of_acceptance() -> Done {
    let (place, hub, caller) = furnished().await?;
    node(&caller, "uneven", UNEVEN).await?;
    trigger(&caller, "ordered", &json!({}), &["uneven"], &json!({"ordered": true})).await?;
    for number in 0..6 {
        for key in ["a", "b", "c"] {
            let event = order(&format!("{key}{number}")).extension("partitionkey", key);
            let event = event.data("application/json", json!({"number": number}));
            let reply = caller.send(structured("triggers/ordered", &built(event))).await?;
            assert_eq!(reply.status, 202, "{}", reply.text());
        }
    }
    let runs = records_when(&caller, "uneven", 18).await?;
    let listed = caller.get("events?trigger=ordered").await?;
    let mut spans = BTreeMap::<String, Vec<(u64, u64, u64)>>::new();
    for event in listed.as_array().into_iter().flatten() {
        let position = text(event, "/position");
        let why = caller.get(&format!("events/{position}")).await?["why"][0].clone();
        let run = runs.iter().find(|run| run["activationId"] == why["activationId"]);
        let run = run.unwrap_or_else(|| panic!("no run of {event}: {why}"));
        let number =
            |pointer: &str| run.pointer(pointer).and_then(Value::as_u64).unwrap_or(u64::MAX);
        let key = text(event, "/event/partitionkey");
        let span = (number("/start"), number("/end"), number("/response/result/number"));
        spans.entry(key).or_default().push(span);
    }
    assert_eq!(spans.len(), 3, "{spans:?}");
    for (key, mut spans) in spans {
        spans.sort_unstable();
        let numbers: Vec<_> = spans.iter().map(|(_, _, number)| *number).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5], "{key}: {spans:?}");
        for pair in spans.windows(2) {
            assert!(
                pair[0].1 <= pair[1].0,
                "{key}: the next begins when the former has ended: {spans:?}"
            );
        }
    }
    place.end(hub).await
}

const THIRD_TIME: &str = "let calls = 0;
function main() { calls += 1; return calls < 3 ? { error: 'not yet' } : { calls }; }";

#[tokio::test]
async fn a_function_that_fails_is_run_again_as_its_rule_says() -> Done {
    let (place, hub, caller) = furnished().await?;
    node(&caller, "third", THIRD_TIME).await?;
    let policy = json!({"attempts": 5, "backoffMs": 50, "maxBackoffMs": 100});
    trigger(&caller, "flaky", &json!({}), &["third"], &policy).await?;
    let reply = caller.post("triggers/flaky", &json!({})).await?;
    let id = run_in(&record(&caller, &text(&reply.json(), "/activationId")).await?, "third");
    let run = until("success", SOON, async || {
        let run = record(&caller, &id).await?;
        Ok(if run["response"]["success"] == json!(true) { Ok(run) } else { Err(run.to_string()) })
    })
    .await?;
    assert_eq!(run["response"]["result"], json!({"calls": 3}), "{run}");
    assert_eq!(records(&caller, "third").await?.len(), 1, "one record, however many attempts");
    assert_eq!(caller.get("deadletters").await?, json!([]));
    let position = reply.header("x-evoke-position").to_owned();
    let shown = until("the outcome", SOON, async || {
        let shown = caller.get(&format!("events/{position}")).await?;
        let ended = shown["why"][0]["decision"] == json!({"ended": "success"});
        Ok(if ended { Ok(shown) } else { Err(shown.to_string()) })
    })
    .await?;
    assert_eq!(shown["why"][0]["activationId"], json!(id), "{shown}");
    assert_eq!(shown["why"][0]["rule"], "flaky-third", "{shown}");
    place.end(hub).await
}

const BROKEN: &str = "function main({ number }) { return { error: 'broken ' + number }; }";

/// A hub whose rule `risky-frail` has given up three deliveries: activation ids and positions.
async fn with_dead_letters(caller: &Caller) -> Result<Vec<(String, String)>, FaultError> {
    node(caller, "frail", BROKEN).await?;
    trigger(caller, "grave", &json!({}), &["echo"], &Value::Null).await?;
    let policy = json!({
        "attempts": 2, "backoffMs": 20, "maxBackoffMs": 40, "deadLetterTrigger": "grave",
    });
    trigger(caller, "risky", &json!({}), &["frail"], &policy).await?;
    let mut runs = Vec::new();
    for number in 0..3 {
        let reply = caller.post("triggers/risky", &json!({"number": number})).await?;
        let fired = record(caller, &text(&reply.json(), "/activationId")).await?;
        runs.push((run_in(&fired, "frail"), reply.header("x-evoke-position").to_owned()));
    }
    let mut all: Vec<_> = runs.iter().map(|(id, _)| id.clone()).collect();
    all.sort();
    left(caller, &all).await?;
    Ok(runs)
}

/// Waits until exactly these dead letters are left.
async fn left(caller: &Caller, ids: &[String]) -> Done {
    until("these dead letters to be left", SOON, async || {
        let letters = caller.get("deadletters?rule=risky-frail").await?;
        let all = letters.as_array().into_iter().flatten();
        let mut all: Vec<_> = all.map(|letter| text(letter, "/activationId")).collect();
        all.sort();
        Ok(if all == ids { Ok(()) } else { Err(letters.to_string()) })
    })
    .await
}

async fn settle(caller: &Caller, path: &str, body: Value) -> Result<(u16, Value), FaultError> {
    let reply = caller.send(Ask::new("POST", path).json(&body)).await?;
    Ok((reply.status, reply.json()))
}

#[tokio::test]
async fn what_is_given_up_is_a_dead_letter_that_says_why() -> Done {
    let (place, hub, caller) = furnished().await?;
    let runs = with_dead_letters(&caller).await?;
    let letters = caller.get("deadletters").await?;
    for letter in letters.as_array().into_iter().flatten() {
        let number = runs.iter().position(|(id, _)| letter["activationId"] == json!(id));
        let number = number.unwrap_or_else(|| panic!("of another delivery: {letter}"));
        let told = (&letter["reason"], &letter["action"]);
        assert_eq!(told, (&json!("exhausted"), &json!("guest/frail")), "{letter}");
        let notes = letter["attempts"].as_array().into_iter().flatten();
        let whys: Vec<_> = notes.map(|note| text(note, "/why")).collect();
        assert_eq!(whys, [format!("broken {number}"), format!("broken {number}")], "{letter}");
    }
    let told = records_when(&caller, "grave", 3).await?;
    assert_eq!(told.len(), 3, "the dead-letter trigger fires once for each");
    assert_eq!(caller.get("deadletters?rule=t-echo").await?, json!([]));
    let (id, position) = &runs[1];
    let shown = caller.get(&format!("deadletters/{id}")).await?;
    assert_eq!((&shown["made"], &shown["position"]), (&json!(2), &json!(position)), "{shown}");
    assert_eq!(shown["event"]["data"], json!({"number": 1}), "{shown}");
    let why = caller.get(&format!("events/{position}")).await?["why"][0].clone();
    assert_eq!(why["decision"], json!({"dead": "exhausted"}), "{why}");
    assert_eq!(records(&caller, "frail").await?.len(), 3, "a record each");
    place.end(hub).await
}

#[tokio::test]
async fn a_dead_letter_is_replayed_or_discarded() -> Done {
    let (place, hub, caller) = furnished().await?;
    let runs = with_dead_letters(&caller).await?;
    let [first, second, third] = [0, 1, 2].map(|number: usize| runs[number].0.clone());
    let path = |id: &str| format!("deadletters/{id}");
    node(&caller, "frail", "function main({ number }) { return { mended: number }; }").await?;
    let one = json!({"count": 1});
    let replay = json!({"action": "replay"});
    assert_eq!(settle(&caller, &path(&second), replay.clone()).await?, (200, one.clone()));
    until("the replay's success", SOON, async || {
        let run = record(&caller, &second).await?;
        let is_mended = run["response"]["result"] == json!({"mended": 1});
        Ok(if is_mended { Ok(()) } else { Err(run.to_string()) })
    })
    .await?;
    let discard = json!({"action": "discard"});
    assert_eq!(settle(&caller, &path(&first), discard).await?, (200, one.clone()));
    left(&caller, std::slice::from_ref(&third)).await?;
    let (status, answer) = settle(&caller, &path(&first), replay).await?;
    assert_eq!((status, text(&answer, "/error").as_str()), (404, MISSING));
    let all = json!({"action": "replay", "rule": "risky-frail"});
    assert_eq!(settle(&caller, "deadletters", all).await?, (200, one));
    until("the last replay's success", SOON, async || {
        let run = record(&caller, &third).await?;
        let is_mended = run["response"]["result"] == json!({"mended": 2});
        Ok(if is_mended { Ok(()) } else { Err(run.to_string()) })
    })
    .await?;
    left(&caller, &[]).await?;
    let all = records(&caller, "frail").await?;
    assert_eq!(all.len(), 3, "one record for each delivery, replayed or not");
    let discarded = record(&caller, &first).await?;
    assert_eq!(text(&discarded, "/response/result/error"), "broken 0", "it stays as it was");
    place.end(hub).await
}

#[tokio::test]
async fn an_action_deleted_is_waited_for() -> Done {
    let (place, hub, caller) = furnished().await?;
    caller.good(Ask::new("DELETE", "actions/echo")).await?;
    let reply = caller.post("triggers/t", &json!({"early": true})).await?;
    assert_eq!(reply.status, 202);
    let position = reply.header("x-evoke-position").to_owned();
    until("the delivery to wait", SOON, async || {
        let why = caller.get(&format!("events/{position}")).await?["why"][0].clone();
        Ok(if why["decision"] == json!("parked") { Ok(()) } else { Err(why.to_string()) })
    })
    .await?;
    node(&caller, "echo", ECHO).await?;
    let runs = records_when(&caller, "echo", 1).await?;
    assert_eq!(runs[0]["response"]["result"]["args"]["early"], json!(true), "{runs:?}");
    place.end(hub).await
}

#[tokio::test]
async fn a_range_is_delivered_again_to_one_rule() -> Done {
    let (place, hub, caller) = furnished().await?;
    let mut positions = Vec::new();
    for number in 0..6 {
        let reply = caller.post("triggers/t", &json!({"number": number})).await?;
        positions.push(reply.header("x-evoke-position").to_owned());
        // A position stands for its millisecond in a range: no two may share one.
        let posted = SystemTime::now();
        until("the next millisecond", SOON, async || {
            let passed = posted.elapsed().unwrap_or_default();
            Ok(if passed.as_millis() > 1 { Ok(()) } else { Err(format!("{passed:?}")) })
        })
        .await?;
    }
    records_when(&caller, "echo", 6).await?;
    node(&caller, "late", ECHO).await?;
    trigger(&caller, "t", &json!({}), &["late"], &Value::Null).await?;
    let range = json!({"rule": "t-late", "from": positions[2], "to": positions[5]});
    let made = caller.post("replays", &range).await?;
    let id = text(&made.json(), "/id");
    let replay = until("the range to be read", SOON, async || {
        let replay = caller.get(&format!("replays/{id}")).await?;
        Ok(if replay["state"] == "read" { Ok(replay) } else { Err(replay.to_string()) })
    })
    .await?;
    let parked = replay["parked"].as_u64().unwrap_or_default();
    let runs = records_when(&caller, "late", usize::try_from(parked).unwrap_or_default()).await?;
    let mut numbers: Vec<_> = runs
        .iter()
        .filter_map(|run| run.pointer("/response/result/args/number")?.as_u64())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4, 5], "both ends are of the range: {replay}");
    assert_eq!(numbers.len() as u64, parked, "{replay}");
    assert_eq!(records(&caller, "echo").await?.len(), 6, "the other rule gets nothing again");
    let again = caller.post("replays", &json!({"rule": "t-echo", "from": positions[5]})).await?;
    assert_ne!(text(&again.json(), "/id"), id);
    let runs = records_when(&caller, "echo", 7).await?;
    assert_eq!(runs.len(), 7, "another occasion, another activation");
    let none =
        caller.send(Ask::new("POST", "replays").json(&json!({"rule": "none", "from": 1}))).await?;
    assert_eq!((none.status, none.error().as_str()), (400, "rule `none` does not exist"));
    place.end(hub).await
}

/// Events of one batch, each of nearly 1 MiB.
const LARGE: usize = 7;
/// Batches posted at most: twice what one namespace may leave undelivered.
const MAX_BATCHES: usize = 80;

#[tokio::test]
async fn a_namespace_that_leaves_too_much_undelivered_is_told_to_wait() -> Done {
    let (place, hub, caller) = furnished().await?;
    caller.good(Ask::new("DELETE", "actions/echo")).await?;
    let ballast = "x".repeat(1_040_000);
    let batch = |round: usize| {
        let event = |number: usize| {
            json!({
                "specversion": "1.0", "id": format!("{round}-{number}"), "source": "/large",
                "type": "t", "data": {"ballast": ballast},
            })
        };
        let events: Vec<_> = (0..LARGE).map(event).collect();
        super::batch("triggers/t", &events)
    };
    let mut accepted = 0;
    let refusal = loop {
        assert!(accepted < MAX_BATCHES, "all of it is accepted");
        let reply = caller.send(batch(accepted)).await?;
        if reply.status != 202 {
            break reply;
        }
        accepted += 1;
    };
    assert_eq!(refusal.status, 429, "{}", refusal.text());
    let sentence = "Too many requests: the namespace's bound on undelivered bytes is full.";
    assert_eq!(refusal.error(), sentence);
    assert_eq!(refusal.header("retry-after"), "1");
    assert!(accepted > 10, "{accepted} batches");

    node(&caller, "echo", "function main() { return {}; }").await?;
    until("intake to open again", SOON, async || {
        let reply = caller.send(Ask::new("POST", "triggers/t").json(&json!({}))).await?;
        Ok(if reply.status == 202 { Ok(()) } else { Err(reply.text()) })
    })
    .await?;
    let wanted = accepted * LARGE + 1;
    until("every accepted event to be delivered", SOON, async || {
        let count = caller.get("activations?name=echo&count=true").await?["activations"].clone();
        Ok(if count == json!(wanted) { Ok(()) } else { Err(format!("{count} of {wanted}")) })
    })
    .await?;
    place.end(hub).await
}
