//! Every data directory that a former version wrote is opened by this one, for ever.
//!
//! `tests/fixtures/data-vN` are made by the program `fixture`, one for each version, and kept.

use std::{
    fs,
    path::{Path, PathBuf},
};

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{records, text},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
    fixture::{self, Expected},
};
use serde_json::json;

use super::{Done, ends};

/// The fixtures, by name.
fn all() -> Result<Vec<PathBuf>, FaultError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut found: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.join(fixture::PACKED).is_file());
    found.sort();
    Ok(found)
}

/// A room whose data directory is that of the fixture. What is kept is kept whatever its age.
fn room_of(fixture: &Path) -> Result<(Place, Expected), FaultError> {
    let mut place = Place::new()?;
    fs::remove_dir(place.data())?;
    let expected = fixture::unpack(&fixture.join(fixture::PACKED), place.data())?;
    for age in ["EVOKE_LOG_AGE", "EVOKE_ACTIVATION_AGE"] {
        place.launch.environment.push((age, "1000000".into()));
    }
    Ok((place, expected))
}

#[tokio::test]
async fn every_former_data_directory_opens_with_all_that_is_in_it() -> Done {
    let fixtures = all()?;
    assert!(!fixtures.is_empty(), "there is no fixture");
    for fixture in fixtures {
        let (mut place, expected) = room_of(&fixture)?;
        let (hub, caller) = place.start().await?;
        entities(&caller, &expected).await?;
        history(&caller, &expected).await?;
        undelivered(&caller).await?;
        keys(&place, &expected).await?;
        goes_on(&caller).await?;
        hub.stop().await?;
        // And once more, as this version left it.
        let (hub, caller) = place.start().await?;
        entities(&caller, &expected).await?;
        history(&caller, &expected).await?;
        hub.stop().await?;
        let verified = ends(&place, 0, &["log", "verify", "--data", "DATA"]).await?;
        assert!(verified.contains("good"), "{verified}");
        place.done();
    }
    Ok(())
}

/// Actions, triggers, rules, packages and feeds are as they were, and so is what is sealed.
async fn entities(caller: &Caller, expected: &Expected) -> Done {
    for (path, former) in &expected.entities {
        let now = caller.get(path).await?;
        for (member, value) in former.as_object().into_iter().flatten() {
            assert_eq!(now.get(member), Some(value), "{path}: `{member}` of {now}");
        }
    }
    let fired = Ask::new("POST", "/api/v1/namespaces/guest/triggers/hook")
        .header("authorization", format!("Bearer {}", expected.bearer))
        .json(&json!({}));
    let reply = caller.nobody().send(fired).await?;
    assert_eq!(reply.status, 202, "the sealed credential opens: {}", reply.text());
    Ok(())
}

/// Events, activations and the dead letter are there.
async fn history(caller: &Caller, expected: &Expected) -> Done {
    for former in &expected.activations {
        let id = text(former, "/activationId");
        let now = caller.get(&format!("activations/{id}")).await?;
        for member in ["name", "response", "start", "end", "logs"] {
            assert_eq!(now.get(member), former.get(member), "{id}: `{member}`");
        }
    }
    for position in &expected.events {
        let event = caller.get(&format!("events/{position}")).await?;
        assert!(event.pointer("/event/data").is_some(), "{position}: {event}");
    }
    let dead = caller.get("deadletters").await?;
    let ids: Vec<_> =
        dead.as_array().into_iter().flatten().map(|it| text(it, "/activationId")).collect();
    assert_eq!(ids, expected.dead, "{dead}");
    Ok(())
}

/// What was accepted and not delivered is delivered now: once begun and cut off, once parked.
async fn undelivered(caller: &Caller) -> Done {
    for action in ["held", "flaky"] {
        let runs = until("the delivery", SOON, async || {
            let all = records(caller, action).await?;
            let good =
                all.iter().filter(|run| run.pointer("/response/success") == Some(&json!(true)));
            let numbers: Vec<_> =
                good.filter_map(|run| run.pointer("/response/result/number")).cloned().collect();
            Ok(if numbers.is_empty() { Err(format!("`{action}`: {all:?}")) } else { Ok(numbers) })
        })
        .await?;
        assert_eq!(runs, [json!(7)], "{action}");
    }
    Ok(())
}

/// The other namespace's key opens it.
async fn keys(place: &Place, expected: &Expected) -> Done {
    let shop = place.caller_with(&expected.shop);
    assert_eq!(shop.get("/api/v1/namespaces").await?, json!(["shop"]));
    let mine = shop.get("actions").await?;
    assert_eq!(mine.as_array().map(Vec::len), Some(1), "{mine}");
    Ok(())
}

/// It takes new events, new entities and runs old code.
async fn goes_on(caller: &Caller) -> Done {
    let fired = caller.post("triggers/orders", &json!({"number": 99})).await?;
    assert_eq!(fired.status, 202, "{}", fired.text());
    until("the new event's run", SOON, async || {
        let runs = records(caller, "echo").await?;
        let mut numbers = runs.iter().filter_map(|run| run.pointer("/response/result/number"));
        Ok(if numbers.any(|number| *number == json!(99)) {
            Ok(())
        } else {
            Err(format!("{runs:?}"))
        })
    })
    .await?;
    let called = Ask::new("POST", "actions/tools/sum?blocking=true&result=true");
    let reply = caller.send(called.json(&json!({"a": 2}))).await?;
    assert_eq!(reply.json(), json!({"sum": 42}), "code, and parameters of the package");
    Ok(())
}
