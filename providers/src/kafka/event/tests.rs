//! Records of every kind.

use evoke_feeds::{Fields, Registry};
use serde_json::{Value, json};

use super::*;

fn parameters(more: &Value) -> Parameters {
    let mut all = json!({"brokers": "b:1", "topic": "t"});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let Value::Object(all) = all else { unreachable!() };
    let registry = Registry::new().with(crate::kafka::Kafka);
    registry.check("kafka", &all).unwrap();
    Fields::read(&all, Parameters::read).unwrap()
}

fn record(value: Option<&[u8]>, headers: &[(&str, &str)]) -> Record {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Some(Bytes::copy_from_slice(value.as_bytes()))));
    Record {
        topic: "t".to_owned(),
        partition: 2,
        offset: 9_000_000_000,
        key: Some(Bytes::from_static(b"k1")),
        value: value.map(Bytes::copy_from_slice),
        time_ms: Some(1_700_000_000_123),
        headers: headers.collect(),
    }
}

fn made(record: &Record, more: &Value) -> Event {
    let position = Position { cluster: "c".to_owned(), ..Position::default() };
    let (event, refused) = record.event(&position, &parameters(more));
    assert_eq!(refused, None);
    event
}

#[test]
fn a_record_is_known_by_its_place() {
    let event = made(&record(Some(b"{\"a\":1}"), &[("trace", "x"), ("trace", "y")]), &json!({}));
    assert_eq!((event.source.as_str(), event.id.as_str()), ("kafka://c/t", "t/2/9000000000"));
    assert_eq!((event.r#type.as_str(), event.subject.as_deref()), (RECORD_TYPE, Some("k1")));
    assert_eq!(event.time.as_deref(), Some("2023-11-14T22:13:20.123Z"));
    assert_eq!(event.data, Data::Json("{\"a\":1}".into()));
    let shown = event.attributes();
    assert_eq!(shown["partition"], json!(2));
    assert_eq!((&shown["offset"], &shown["topic"]), (&json!("9000000000"), &json!("t")));
    assert_eq!(shown["partitionkey"], json!("k1"));
    assert_eq!(shown["headers"], json!(r#"[["trace","x"],["trace","y"]]"#));
    event.check().unwrap();
}

#[test]
fn c5_no_byte_of_a_value_is_lost_in_strict_mode() {
    let all: Vec<u8> = (0..=255).collect();
    let data = |value: &[u8], form: &str, media: Option<&str>| {
        let headers: Vec<_> = media.iter().map(|media| ("content-type", *media)).collect();
        made(&record(Some(value), &headers), &json!({"value": form})).data
    };
    let binary = |bytes: &[u8]| Data::Binary(Bytes::copy_from_slice(bytes));
    let text = |text: &str| Data::Text(text.to_owned());
    for form in ["auto", "json", "string", "binary"] {
        assert_eq!(data(&all, form, None), binary(&all), "{form}");
    }
    assert_eq!(data(b"{\"a\": 1e400}", "auto", None), Data::Json("{\"a\": 1e400}".into()));
    assert_eq!(data(b"{\"a\":", "json", None), text("{\"a\":"));
    assert_eq!(data(b"foo", "auto", None), text("foo"));
    assert_eq!(data(b"1", "string", None), text("1"));
    assert_eq!(data(b"1", "auto", Some("text/plain; charset=utf-8")), text("1"));
    assert_eq!(data(b"1", "auto", Some("image/png")), binary(b"1"));
    assert_eq!(data(b"foo", "auto", Some("application/json")), text("foo"));
    assert_eq!(data(b"", "auto", None), text(""));
}

#[test]
fn f8_a_tombstone_is_an_event_without_data() {
    for form in ["auto", "json", "string", "binary"] {
        let event = made(&record(None, &[]), &json!({"value": form}));
        assert_eq!((event.data, event.subject.as_deref()), (Data::None, Some("k1")), "{form}");
    }
}

#[test]
fn e7_cloudevents_of_both_modes_keep_what_they_say() {
    let binary = record(
        Some(b"{\"x\":1}"),
        &[
            ("ce_specversion", "1.0"),
            ("ce_id", "i"),
            ("ce_source", "/s"),
            ("ce_type", "made"),
            ("ce_subject", "who"),
            ("ce_partitionkey", "own"),
            ("content-type", "application/json"),
        ],
    );
    let structured = record(
        Some(br#"{"specversion":"1.0","id":"i","source":"/s","type":"made","subject":"who","partitionkey":"own","datacontenttype":"application/json","data":{"x":1}}"#),
        &[("content-type", "application/cloudevents+json; charset=UTF-8")],
    );
    for event in [made(&binary, &json!({})), made(&structured, &json!({}))] {
        assert_eq!((event.id.as_str(), event.source.as_str()), ("i", "/s"));
        assert_eq!((event.r#type.as_str(), event.subject.as_deref()), ("made", Some("who")));
        let shown = event.attributes();
        assert_eq!(
            (&shown["partitionkey"], &shown["offset"]),
            (&json!("own"), &json!("9000000000"))
        );
        assert_eq!(event.data, Data::Json("{\"x\":1}".into()));
    }
    // What is none, for all that it says, is a record like others.
    let broken = record(Some(b"{"), &[("content-type", "application/cloudevents+json")]);
    assert_eq!(made(&broken, &json!({})).r#type, RECORD_TYPE);
    let half = record(Some(b"1"), &[("ce_specversion", "1.0"), ("ce_id", "i")]);
    assert_eq!(made(&half, &json!({})).r#type, RECORD_TYPE);
}

#[test]
fn f7_what_is_too_large_stays_known() {
    let value = vec![b'x'; MAX_PAYLOAD_BYTES + 1];
    let (event, refused) =
        record(Some(&value), &[]).event(&Position::default(), &parameters(&json!({})));
    assert!(refused.is_some_and(|why| why.contains("t/2/9000000000")));
    assert_eq!(event.data, Data::None);
    let shown = event.attributes();
    assert_eq!((&shown["topic"], &shown["partition"]), (&json!("t"), &json!(2)));
    assert!(shown.contains_key("valuetoolarge") && event.size() < 1_000);
}

#[test]
fn a_key_that_is_no_text_is_base64() {
    let mut record = record(Some(b"1"), &[]);
    record.key = Some(Bytes::from_static(&[0xff, 0]));
    assert_eq!(made(&record, &json!({})).subject.as_deref(), Some("/wA="));
    record.key = Some(Bytes::from_static(b"k1"));
    assert_eq!(made(&record, &json!({"key": "binary"})).subject.as_deref(), Some("azE="));
    record.key = None;
    let event = made(&record, &json!({}));
    assert!(event.subject.is_none() && event.attribute(PARTITION_KEY).is_none());
}
