//! Records as OpenWhisk's triggers get them, and records as its actions produce them.

use std::{collections::BTreeMap, sync::Arc};

use evoke_feeds::NativeAction;
use evoke_providers::native_actions;
use evoke_schemas::{Data, Event};
use serde_json::{Map, Value, json};

use super::{
    broker::Sent,
    rig::{Rig, number, plain, within},
};

fn messages(events: &[Event]) -> Vec<Value> {
    let of = |event: &Event| event.arguments()["messages"].as_array().unwrap().clone();
    events.iter().flat_map(of).collect()
}

/// Waits until so many records came; gives the events and the records.
async fn records(rig: &Rig, count: usize) -> (Vec<Event>, Vec<Value>) {
    let mut events = 0;
    loop {
        within("more records", rig.sink.wait_for(events)).await;
        let came = rig.sink.events();
        let records = messages(&came);
        assert!(records.len() <= count, "more than was to come: {records:?}");
        if records.len() == count {
            return (came, records);
        }
        events = came.len() + 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c7_records_come_together_each_once_and_in_order_also_over_a_restart() {
    let mut rig = Rig::new(3).await.openwhisk();
    rig.apply(json!({"value": "json"}), false).await;
    rig.produce(100, 3).await;
    let (events, _) = records(&rig, 100).await;
    assert!(events.len() < 100, "{} events of 100 records", events.len());
    rig.restart(json!({"value": "json"})).await;
    rig.produce(100, 3).await;
    let (_, records) = records(&rig, 200).await;
    let mut offsets: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut numbers = Vec::new();
    for record in &records {
        assert_eq!((&record["topic"], &record["key"]), (&json!(rig.topic), &Value::Null));
        let partition = record["partition"].as_i64().unwrap();
        offsets.entry(partition).or_default().push(record["offset"].as_i64().unwrap());
        numbers.push(record["value"].as_u64().unwrap());
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..200), "each once: {numbers:?}");
    for (partition, offsets) in offsets {
        let upto = i64::try_from(offsets.len()).unwrap();
        assert!(offsets.iter().copied().eq(0..upto), "{partition}: {offsets:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c6_f7_f8_large_and_empty_records_come_or_are_set_aside() {
    let rig = Rig::new(1).await.openwhisk();
    rig.apply(json!({"value": "string", "batch": {"maxWaitMs": 500}}), false).await;
    let (large, too_large) = (vec![b'x'; 600_000], vec![b'y'; 2_000_000]);
    for value in [Some(&large[..]), Some(&large), None, Some(&too_large), Some(b"last")] {
        rig.send(Sent { value, ..Sent::default() }).await;
    }
    let (events, records) = records(&rig, 5).await;
    let offsets: Vec<_> = records.iter().map(|record| record["offset"].clone()).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4].map(|offset| json!(offset)));
    assert_eq!(records[2]["value"], Value::Null);
    assert_eq!(records[4]["value"], json!("last"));
    assert!(events[0].id.ends_with("/0/0"), "a large record alone: {}", events[0].id);
    let aside = rig.sink.set_aside();
    let [(event, why)] = aside.as_slice() else { panic!("one is set aside: {aside:?}") };
    assert!(event.id.ends_with("/0/3") && why.contains("2000000 bytes"), "{why}");
    assert_eq!(messages(std::slice::from_ref(event))[0]["value"], Value::Null);
}

fn action(name: &str) -> Arc<dyn NativeAction> {
    let all = native_actions().unwrap();
    let named = |action: &Arc<dyn NativeAction>| {
        (action.card().package, action.card().name) == ("messaging", name)
    };
    all.into_iter().find(named).unwrap()
}

fn members(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_produced_byte_for_byte() {
    use base64::Engine as _;
    let rig = Rig::new(1).await;
    rig.apply(plain(), false).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let produce = action("kafkaProduce");
    let at = json!({"brokers": [rig.broker.address()], "topic": rig.topic});
    for (offset, more) in [
        json!({"value": "7", "key": "k"}),
        json!({"value": {"a": 1}}),
        json!({"value": encoded, "base64DecodeValue": true}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut arguments = members(at.clone());
        arguments.extend(members(more));
        let result = within("the producing", produce.run(arguments)).await.unwrap();
        let text = format!("Successfully sent message to {}:0 at offset {offset}", rig.topic);
        assert_eq!(Value::Object(result), json!({"success": true, "message": text}));
    }
    let events = rig.events(3).await;
    assert_eq!((number(&events[0]), events[0].subject.as_deref()), (7, Some("k")));
    assert_eq!(events[1].data, Data::Json("{\"a\":1}".into()));
    assert_eq!(events[2].data, Data::Binary(bytes.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_produced_with_credentials_and_refusals_are_told() {
    let rig = Rig::new(1).await;
    rig.apply(plain(), false).await;
    let (address, ca) = rig.broker.secured();
    let arguments = |password: &str| {
        members(json!({"kafka_brokers_sasl": address, "user": "alice", "password": password,
            "tls": {"ca": ca}, "topic": rig.topic, "value": "1"}))
    };
    let produce = action("messageHubProduce");
    let refused = within("the refusal", produce.run(arguments("hunter2"))).await.unwrap_err();
    let said = refused.as_str().unwrap();
    assert!(said.contains("credentials are refused") && !said.contains("hunter2"), "{said}");
    within("the producing", produce.run(arguments("alice-secret"))).await.unwrap();
    assert_eq!(number(&rig.events(1).await[0]), 1);
    let mut nowhere = arguments("alice-secret");
    nowhere.insert("topic".to_owned(), "there-is-none".into());
    let refused = within("the refusal", produce.run(nowhere)).await.unwrap_err();
    assert!(refused.as_str().unwrap().contains("was not produced"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e8_an_event_that_goes_out_comes_in_again_whole() {
    let rig = Rig::new(1).await;
    rig.apply(plain(), false).await;
    let mut event = Event::new("order-1", "/shop", "order.placed");
    event.subject = Some("tea & cake".to_owned());
    event.datacontenttype = Some("application/json".to_owned());
    for (name, value) in [("traceparent", "00-1-2-01"), ("partitionkey", "c7")] {
        let value = evoke_schemas::event::Attribute::Text(value.to_owned());
        event.extensions.insert(name.to_owned(), value);
    }
    event.data = Data::Json("{\"count\":2}".into());
    let mut arguments = event.arguments();
    arguments.insert("__ce".to_owned(), event.attributes().into());
    let place = json!({"brokers": [rig.broker.address()], "topic": rig.topic});
    arguments.insert("kafka".to_owned(), place);
    let result = within("the sink", action("kafkaSink").run(arguments)).await.unwrap();
    assert_eq!(result["success"], json!(true));
    let mut back = rig.events(1).await.remove(0);
    for place in ["topic", "partition", "offset"] {
        assert!(back.extensions.remove(place).is_some(), "{place}");
    }
    assert_eq!(back, event);
}
