//! Alarms, and what is deleted after them.

use evoke_tests::e2e::{
    caller::{Ask, Caller},
    client,
    entities::{ECHO, node, records, text},
    place::Place,
    wait::{SOON, until},
};
use serde_json::json;

use super::{Done, arguments, feed, result};

fn soon_ms(ms: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or_default() + ms
}

async fn gone(caller: &Caller, path: &str) -> Done {
    until("the deletion", SOON, async || {
        let reply = caller.send(Ask::new("GET", path)).await?;
        Ok(if reply.status == 404 { Ok(()) } else { Err(reply.text()) })
    })
    .await
}

#[tokio::test]
async fn c1_c11_alarms_fire_with_what_was_stored_and_go_when_they_are_told_to() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    let mut steps = Vec::new();
    for trigger in ["stays", "goes", "all"] {
        let rule = format!("{trigger}-echo");
        let rule = json!({"name": rule, "trigger": trigger, "action": "echo"});
        steps.push(("triggers", "create", json!({"name": trigger})));
        steps.push(("rules", "create", rule));
    }
    let date = soon_ms(15_000);
    for (trigger, deletion) in [("stays", "false"), ("goes", "true"), ("all", "rules")] {
        let asked = json!({"date": date, "deleteAfterFire": deletion,
            "trigger_payload": {"of": trigger}});
        steps.push(feed("/whisk.system/alarms/once", "create", trigger, asked));
    }
    steps.push(feed("/whisk.system/alarms/once", "get", "all", json!({})));
    let made = client::call(&place, &steps).await?;
    assert!(made.iter().all(|outcome| outcome["ok"].is_object()), "{made:?}");
    assert_eq!(
        result(&made[9])["config"],
        json!({"name": "all", "namespace": "guest", "payload": {"of": "all"}, "date": date,
            "deleteAfterFire": "rules", "strict": false})
    );
    let mut got = arguments(&caller, "echo", 3).await?;
    got.sort_by_key(|one| text(one, "/of"));
    assert_eq!(got, [json!({"of": "all"}), json!({"of": "goes"}), json!({"of": "stays"})]);
    for path in ["feeds/goes", "triggers/goes", "feeds/all", "triggers/all", "rules/all-echo"] {
        gone(&caller, path).await?;
    }
    assert_eq!(caller.get("rules/goes-echo").await?["status"], json!("inactive"));
    let after =
        client::call(&place, &[feed("/whisk.system/alarms/alarm", "get", "stays", json!({}))])
            .await?;
    let status = &result(&after[0])["status"];
    assert_eq!((&status["active"], &status["reason"]["kind"]), (&json!(false), &json!("AUTO")));
    assert_eq!(records(&caller, "echo").await?.len(), 3, "each fired once");
    place.end(hub).await
}

#[tokio::test]
async fn f23_what_is_to_go_after_its_tick_stays_while_that_is_a_dead_letter() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "fails", "function main() { return { error: 'not today' }; }").await?;
    let asked = json!({"date": soon_ms(10_000), "deleteAfterFire": "rules"});
    client::call(
        &place,
        &[
            ("triggers", "create", json!({"name": "t"})),
            ("rules", "create", json!({"name": "r", "trigger": "t", "action": "fails"})),
            feed("/whisk.system/alarms/once", "create", "t", asked),
        ],
    )
    .await?;
    let letters = until("the dead letter", SOON, async || {
        let letters = caller.get("deadletters").await?;
        Ok(if letters.as_array().is_some_and(Vec::is_empty) { Err("none") } else { Ok(letters) }
            .map_err(str::to_owned))
    })
    .await?;
    // It restarts, and still knows what it waits for.
    hub.stop().await?;
    let (hub, caller) = place.start().await?;
    until("the end of the feed", SOON, async || {
        let state = text(&caller.get("feeds/t").await?, "/status/state");
        Ok(if state == "finished" { Ok(()) } else { Err(state) })
    })
    .await?;
    for path in ["feeds/t", "triggers/t", "rules/r"] {
        assert_eq!(caller.send(Ask::new("GET", path)).await?.status, 200, "{path}");
    }
    let id = text(&letters[0], "/activationId");
    caller.post(&format!("deadletters/{id}"), &json!({"action": "discard"})).await?;
    for path in ["feeds/t", "triggers/t", "rules/r"] {
        gone(&caller, path).await?;
    }
    place.end(hub).await
}
