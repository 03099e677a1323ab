//! What records become.

use evoke_schemas::Data;
use serde_json::{Value, json};

use super::{
    broker::{Sent, finish, send},
    rig::{Rig, number, plain},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c5_values_keys_and_headers_come_as_they_are() {
    let rig = Rig::new(1).await;
    rig.apply(plain(), false).await;
    let bytes: Vec<u8> = (0..=255).collect();
    rig.send(Sent { key: Some(b"k"), value: Some(b"{\"a\":[1]}"), ..Sent::default() }).await;
    rig.send(Sent { value: Some(&bytes), headers: &[("h", "v")], ..Sent::default() }).await;
    rig.send(Sent { key: Some(b"k"), value: None, ..Sent::default() }).await;
    rig.send(Sent { value: Some("grün".as_bytes()), ..Sent::default() }).await;
    let events = rig.events(4).await;
    let data: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
    let wanted = [
        Data::Json("{\"a\":[1]}".into()),
        Data::Binary(bytes.into()),
        Data::None,
        Data::Text("grün".to_owned()),
    ];
    assert_eq!(data, wanted);
    assert_eq!(events[0].subject.as_deref(), Some("k"));
    assert_eq!(events[1].attributes()["headers"], json!("[[\"h\",\"v\"]]"));
    for (offset, event) in events.iter().enumerate() {
        assert_eq!(event.id, format!("{}/0/{offset}", rig.topic));
        assert_eq!(event.source, format!("kafka://MkU3OEVBNTcwNTJENDM2Qg/{}", rig.topic));
        assert!(event.time.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_record_that_is_too_large_is_known_and_its_neighbours_come() {
    let rig = Rig::new(1).await;
    rig.apply(plain(), false).await;
    let large = vec![b'x'; 2_000_000];
    rig.send(Sent { value: Some(b"1"), ..Sent::default() }).await;
    rig.send(Sent { value: Some(&large), ..Sent::default() }).await;
    rig.send(Sent { value: Some(b"3"), ..Sent::default() }).await;
    let events = rig.events(3).await;
    assert_eq!((number(&events[0]), number(&events[2])), (1, 3));
    assert_eq!(events[1].data, Data::None);
    let shown = events[1].attributes();
    assert_eq!((&shown["offset"], &shown["partition"]), (&json!("1"), &json!(0)));
    assert!(shown.contains_key("valuetoolarge"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_aborted_records_come_only_where_they_are_asked_for() {
    for (isolation, wanted) in [("read_committed", vec![2]), ("read_uncommitted", vec![1, 2])] {
        let rig = Rig::new(1).await;
        rig.apply(json!({"isolation": isolation}), false).await;
        for (text, commit) in [("1", false), ("2", true)] {
            let producer = rig.broker.transaction(&format!("{isolation}-{text}")).await;
            let value = Some(text.as_bytes());
            send(&producer, &rig.topic, Sent { value, ..Sent::default() }).await;
            finish(producer, commit).await;
        }
        let numbers: Vec<_> = rig.events(wanted.len()).await.iter().map(number).collect();
        assert_eq!(numbers, wanted, "{isolation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_takes_new_topics_from_their_beginning() {
    let rig = Rig::new(1).await;
    let pattern = format!("{}*", rig.topic);
    rig.apply(json!({"topicPattern": pattern}), false).await;
    rig.produce(1, 1).await;
    rig.events(1).await;
    let second = format!("{}-second", rig.topic);
    rig.broker.make(&second, 1).await;
    let value: Option<&[u8]> = Some(b"7");
    send(&rig.broker.producer(), &second, Sent { value, ..Sent::default() }).await;
    let events = rig.events(2).await;
    assert_eq!(events[1].attributes()["topic"], Value::from(second));
}
