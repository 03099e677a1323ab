//! Erasing a person's event: gone from every file, and everything else stays.

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{ECHO, node, records, records_when, text, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};

use super::{Done, holding};

const PERSON: &str = "ada.lovelace@example.org";
const OTHER: &str = "charles.babbage@example.org";
/// Fails with what it was told.
const COMPLAINS: &str = "function main(args) { return { error: 'no such person: ' + args.mail } }";

async fn furnished(place: &Place) -> Result<(evoke_tests::fault::hub::Hub, Caller), FaultError> {
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    node(&caller, "complains", COMPLAINS).await?;
    let letters = json!({"deadLetterTrigger": "letters"});
    trigger(&caller, "letters", &json!({}), &["echo"], &Value::Null).await?;
    trigger(&caller, "t", &json!({}), &["echo"], &Value::Null).await?;
    trigger(&caller, "u", &json!({}), &["complains"], &letters).await?;
    Ok((hub, caller))
}

async fn fire(caller: &Caller, trigger: &str, mail: &str) -> Result<String, FaultError> {
    let ask = Ask::new("POST", &format!("triggers/{trigger}")).json(&json!({"mail": mail}));
    let reply = caller.good(ask.header("x-mail", mail)).await?;
    Ok(reply.header("x-evoke-position").to_owned())
}

async fn erase(caller: &Caller, position: &str) -> Result<Value, FaultError> {
    Ok(caller.good(Ask::new("DELETE", &format!("events/{position}"))).await?.json())
}

/// Waits until dead letters are announced and nothing is under way.
async fn settled(caller: &Caller, runs: usize) -> Done {
    records_when(caller, "echo", runs).await?;
    until("quiet", SOON, async || {
        let text = caller.good(Ask::new("GET", "/metrics")).await?.text();
        let busy = text.lines().filter(|line| line.starts_with("evoke_rule_lag{"));
        let busy: Vec<_> = busy.filter(|line| !line.ends_with(" 0")).collect();
        Ok(if busy.is_empty() { Ok(()) } else { Err(busy.join("\n")) })
    })
    .await
}

#[tokio::test]
async fn an_erased_event_is_in_no_file_any_more() -> Done {
    let place = Place::new()?;
    let (hub, caller) = furnished(&place).await?;
    let done = fire(&caller, "t", PERSON).await?;
    let dead = fire(&caller, "u", PERSON).await?;
    let kept = fire(&caller, "t", OTHER).await?;
    settled(&caller, 3).await?;
    let letters = caller.get("deadletters").await?;
    assert!(letters.to_string().contains(PERSON), "{letters}");
    assert!(!holding(place.data(), PERSON.as_bytes()).is_empty());

    for position in [&done, &dead] {
        let erased = erase(&caller, position).await?;
        assert!(erased["erased"]["records"].as_u64() >= Some(1), "{erased}");
        assert!(erased["erased"]["activations"].as_u64() >= Some(2), "{erased}");
    }
    assert_eq!(holding(place.data(), PERSON.as_bytes()), Vec::<std::path::PathBuf>::new());
    assert!(!holding(place.data(), OTHER.as_bytes()).is_empty(), "another's stays");

    let shown = caller.get(&format!("events/{done}")).await?;
    assert_eq!((&shown["position"], &shown["erased"]["by"]), (&json!(done), &json!("guest")));
    assert!(shown["erased"]["at"].as_u64() > Some(1_600_000_000_000), "{shown}");
    let again = erase(&caller, &done).await?;
    assert_eq!(again["erased"]["at"], shown["erased"]["at"], "once and for all");
    assert_eq!(caller.get("deadletters").await?, json!([]), "its dead letter is gone too");
    let listed = caller.get("events").await?;
    assert!(!listed.to_string().contains(PERSON), "{listed}");
    let all = caller.get("activations?docs=true").await?;
    assert!(!all.to_string().contains(PERSON), "{all}");
    let other = caller.get(&format!("events/{kept}")).await?;
    assert_eq!(other["event"]["data"]["mail"], OTHER, "{other}");
    let missing = caller.send(Ask::new("DELETE", "events/0:99999999")).await?;
    assert_eq!(missing.status, 404, "{}", missing.text());

    // A replay passes it by, and so does the next start.
    let begin = json!({"rule": "t-echo", "from": 0});
    caller.post("replays", &begin).await?;
    records_when(&caller, "echo", 2).await?;
    hub.stop().await?;
    let checked = place.run(&["log", "verify", "--data", "DATA"]).await?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains("erased   "), "{said}");
    let (hub, caller) = place.start().await?;
    let runs = records(&caller, "echo").await?;
    assert!(runs.iter().all(|run| run.to_string().contains(OTHER)), "{runs:?}");
    assert_eq!(text(&caller.get(&format!("events/{dead}")).await?, "/erased/by"), "guest");
    assert_eq!(holding(place.data(), PERSON.as_bytes()), Vec::<std::path::PathBuf>::new());
    place.end(hub).await
}

#[tokio::test]
async fn what_waits_to_be_delivered_is_not_and_others_cannot_erase() -> Done {
    let place = Place::new()?;
    let (hub, caller) = furnished(&place).await?;
    let policy = json!({"attempts": 5, "backoffMs": 600_000, "maxBackoffMs": 600_000});
    trigger(&caller, "w", &json!({}), &["complains"], &policy).await?;
    let waits = fire(&caller, "w", PERSON).await?;
    let path = format!("events/{waits}");
    until("the wait for another attempt", SOON, async || {
        let shown = caller.get(&path).await?;
        let parked = shown["why"][0]["decision"] == "parked";
        Ok(if parked { Ok(()) } else { Err(shown.to_string()) })
    })
    .await?;
    let other = place.run(&["key", "add", "other", "--data", "DATA"]).await?;
    let other = place.caller_with(&String::from_utf8_lossy(&other.stdout));
    let refused = other.send(Ask::new("DELETE", &path)).await?;
    assert_eq!(refused.status, 404, "{}", refused.text());
    assert_eq!(caller.get(&path).await?["event"]["data"]["mail"], PERSON);

    let words = ["event", "erase", &waits, "--data", "DATA"];
    let erased = place.run(&words).await?;
    let said = String::from_utf8_lossy(&erased.stdout).into_owned();
    assert!(said.starts_with(&format!("ok: erased event {waits}: ")), "{said}");
    assert_eq!(other.send(Ask::new("GET", &path)).await?.status, 404, "nor see that it was there");
    assert_eq!(holding(place.data(), PERSON.as_bytes()), Vec::<std::path::PathBuf>::new());
    hub.stop().await?;
    let (hub, caller) = place.start().await?;
    assert_eq!(text(&caller.get(&path).await?, "/erased/by"), "guest");
    assert_eq!(records(&caller, "complains").await?, Vec::<Value>::new());
    place.end(hub).await
}
