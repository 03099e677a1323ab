//! The end of a hub: told to the service manager, unready first, within a bound.

use std::{os::unix::net::UnixDatagram, time::Duration};

use evoke_tests::{
    e2e::{
        caller::Ask,
        entities::{action, node, records_when, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};

use super::Done;

/// Tells through the API in its sandbox that it has begun; then takes its time.
const BEGUN: &str = "async function main({ wait }) {
  const key = Buffer.from(process.env.__OW_API_KEY).toString('base64');
  await fetch(process.env.__OW_API_HOST + '/api/v1/namespaces/_/triggers/begun', {
    method: 'POST', headers: { authorization: 'Basic ' + key },
  });
  await new Promise(done => setTimeout(done, wait));
  return { wait };
}";

#[tokio::test]
async fn a_hub_that_ends_is_unready_first_and_takes_what_still_comes() -> Done {
    let mut place = Place::new()?;
    let socket = place.room().join("notify");
    let manager = UnixDatagram::bind(&socket)?;
    manager.set_read_timeout(Some(SOON))?;
    let told = || {
        let mut text = [0; 64];
        let length = manager.recv(&mut text)?;
        Ok::<_, FaultError>(String::from_utf8_lossy(&text[..length]).into_owned())
    };
    place.launch.environment.push(("NOTIFY_SOCKET", socket.clone().into()));
    place.launch.environment.push(("EVOKE_DRAIN_DELAY", "10".into()));
    let (mut hub, caller) = place.start().await?;
    assert_eq!(told()?, "READY=1");
    caller.put("triggers/t", &json!({})).await?;
    node(&caller, "echo", "function main(args) { return args }").await?;
    trigger(&caller, "t", &json!({}), &["echo"], &Value::Null).await?;
    hub.told_to_end()?;
    assert_eq!(told()?, "STOPPING=1");
    let nobody = caller.nobody();
    until("/readyz to say no", SOON, async || {
        let reply = nobody.send(Ask::new("GET", "/readyz")).await?;
        Ok(if reply.status == 503 { Ok(()) } else { Err(reply.text()) })
    })
    .await?;
    // Who has not looked yet is answered as ever.
    assert_eq!(caller.post("triggers/t", &json!({"late": true})).await?.status, 202);
    hub.alive("it answers on")?;
    let ended = hub.ended().await?;
    assert!(ended.success(), "{ended}");
    place.launch.environment.clear();
    let (hub, caller) = place.start().await?;
    let run = records_when(&caller, "echo", 1).await?.remove(0);
    assert_eq!(run.pointer("/response/result/late"), Some(&json!(true)), "{run}");
    place.end(hub).await
}

#[tokio::test]
async fn the_end_is_bounded_and_what_it_cuts_off_is_delivered_at_the_next_start() -> Done {
    let mut place = Place::new()?;
    place.launch.environment.push(("EVOKE_DRAIN_WITHIN", "1".into()));
    let (hub, caller) = place.start().await?;
    let slow = json!({
        "exec": {"kind": "nodejs:default", "code": BEGUN},
        "annotations": [{"key": "provide-api-key", "value": true}],
    });
    action(&caller, "slow", &slow).await?;
    trigger(&caller, "t", &json!({}), &["slow"], &Value::Null).await?;
    caller.put("triggers/begun", &json!({})).await?;
    caller.post("triggers/t", &json!({"wait": 8000})).await?;
    until("the delivery to be under way", SOON, async || {
        let begun = caller.get("events?trigger=begun").await?;
        Ok(if begun == json!([]) { Err("it has not begun".to_owned()) } else { Ok(()) })
    })
    .await?;
    hub.told_to_end()?;
    let ended = tokio::time::timeout(Duration::from_secs(30), hub.ended()).await;
    let ended = ended.unwrap_or_else(|_| panic!("the end has no bound"))?;
    assert_eq!(ended.code(), Some(1), "an end that was cut off is told");
    assert!(place.log().contains("the end took too long"), "{}", place.log());
    place.launch.environment.clear();
    let (hub, caller) = place.start().await?;
    let run = records_when(&caller, "slow", 1).await?.remove(0);
    assert_eq!(run.pointer("/response/result/wait"), Some(&json!(8000)), "{run}");
    place.end(hub).await
}
