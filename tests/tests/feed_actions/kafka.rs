//! Kafka: records produced and received through OpenWhisk's actions, one of which does harm.

use std::collections::BTreeSet;

use evoke_tests::e2e::{
    client,
    entities::{node, records, text},
    place::Place,
    service::Service,
    wait::{SOON, until},
};
use serde_json::{Value, json};

use super::{Done, feed, result};

const FEED: &str = "/whisk.system/messaging/kafkaFeed";
const RECORDS: usize = 20;
/// Fails with the record of number 7, whatever others come with it.
const PICKY: &str = "function main({ messages }) {
  if (messages.some(message => message.value.n === 7)) return { error: 'not seven' };
  return { numbers: messages.map(message => message.value.n) };
}";

fn numbers(record: &Value) -> Vec<u64> {
    let numbers = record.pointer("/response/result/numbers").and_then(Value::as_array);
    numbers.into_iter().flatten().filter_map(Value::as_u64).collect()
}

#[tokio::test]
async fn c1_f9_records_come_in_batches_and_the_one_that_does_harm_ends_alone() -> Done {
    let place = Place::new()?;
    let kafka = Service::kafka(place.room()).await?;
    kafka.tool("org.apache.kafka.tools.TopicCommand", &["--create", "--topic", "orders"]).await?;
    let (hub, caller) = place.start().await?;
    node(&caller, "picky", PICKY).await?;
    let asked = json!({"brokers": [kafka.address()], "topic": "orders", "isJSONData": true,
        "batch": {"maxWaitMs": 2_000}});
    let mut steps = vec![
        ("triggers", "create", json!({"name": "ordered"})),
        ("rules", "create", json!({"name": "r", "trigger": "ordered", "action": "picky"})),
        feed(FEED, "create", "ordered", asked),
        feed(FEED, "get", "ordered", json!({})),
    ];
    for number in 0..RECORDS {
        let params = json!({"brokers": kafka.address(), "topic": "orders", "value": {"n": number}});
        let name = "/whisk.system/messaging/kafkaProduce";
        let call = json!({"name": name, "blocking": true, "result": true, "params": params});
        steps.push(("actions", "invoke", call));
    }
    let outcomes = client::call(&place, &steps).await?;
    assert!(outcomes.iter().all(|outcome| outcome.get("ok").is_some()), "{outcomes:?}");
    assert_eq!(text(result(&outcomes[2]), "/uuid").len(), 36);
    assert_eq!(
        result(&outcomes[3])["config"],
        json!({"triggerName": "/guest/ordered", "topic": "orders", "brokers": [kafka.address()],
            "isJSONData": true, "isBinaryValue": false, "isBinaryKey": false})
    );
    let got = until("every record but one", SOON, async || {
        let got = records(&caller, "picky").await?;
        let seen: usize = got.iter().map(|record| numbers(record).len()).sum();
        Ok(if seen == RECORDS - 1 { Ok(got) } else { Err(format!("{seen} records")) })
    })
    .await?;
    let seen: BTreeSet<u64> = got.iter().flat_map(numbers).collect();
    assert!(seen.len() == RECORDS - 1 && !seen.contains(&7), "each once: {seen:?}");
    let most = got.iter().map(|record| numbers(record).len()).max();
    assert!(most > Some(1), "they come together");
    let letters = caller.get("deadletters").await?;
    assert_eq!(letters.as_array().map(Vec::len), Some(1), "{letters}");
    let id = text(&letters[0], "/activationId");
    let letter = caller.get(&format!("deadletters/{id}")).await?;
    let messages = letter.pointer("/event/data/messages").and_then(Value::as_array);
    let alone: Vec<&Value> = messages.into_iter().flatten().map(|it| &it["value"]["n"]).collect();
    assert_eq!(alone, [&json!(7)], "{letter}");
    let ended = client::call(&place, &[feed(FEED, "delete", "ordered", json!({}))]).await?;
    assert_eq!(result(&ended[0]), &json!({}));
    place.end(hub).await
}
