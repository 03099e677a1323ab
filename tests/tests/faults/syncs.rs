//! A sync that fails: what the disk has is not known any more, so the hub ends and recovers.

use evoke_tests::{
    e2e::{
        caller::Ask,
        place::Place,
        wait::{SOON, until},
    },
    fault::machine::Machine,
};
use serde_json::json;

use super::{Done, accept, furnish, numbers};

/// Syncs of the event log.
const LOG: &str = "/data/log/";
#[tokio::test]
#[expect(clippy::print_stdout, reason = "how long it took is for people to read")]
async fn a_failed_sync_ends_the_hub_and_the_next_start_has_all_that_was_acknowledged() -> Done {
    let mut place = Place::new()?;
    let machine = Machine::new(place.room())?;
    place.launch.environment.extend(machine.environment(LOG));
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    let mut accepted = 0;
    for _ in 0..20 {
        accept(&caller, &mut accepted, 0).await?;
    }
    machine.fail_syncs(true)?;
    // It may end before the answer is out; what it does answer is no acceptance.
    until("the event to be refused, or no answer", SOON, async || {
        let ask = Ask::new("POST", "triggers/t").json(&json!({"number": 1_000_000}));
        Ok(match caller.send(ask).await {
            Ok(reply) if reply.status == 202 => Err(reply.text()),
            Ok(reply) => {
                assert_eq!(reply.status, 503, "{}", reply.text());
                Ok(())
            }
            Err(_no_answer) => Ok(()),
        })
    })
    .await?;
    let status = hub.ended().await?;
    assert_eq!(status.code(), Some(1), "{}", place.log());
    assert!(place.log().contains("the event log failed; it accepts nothing more"));
    machine.fail_syncs(false)?;
    let mut hub = place.launch.start()?;
    let took = hub.ready().await?;
    println!("failed sync: ready {took:?} after the next start");
    accept(&caller, &mut accepted, 0).await?;
    until("all that was acknowledged", SOON, async || {
        let found = numbers(&caller).await?;
        let missing = (0..accepted).filter(|number| !found.contains(number)).count();
        Ok(if missing == 0 { Ok(()) } else { Err(format!("{missing} of {accepted} are missing")) })
    })
    .await?;
    place.end(hub).await
}
