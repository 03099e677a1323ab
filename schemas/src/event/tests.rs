//! What the format must take, keep and refuse (spec/feeds-and-cloudevents 7, 9.3 E6).

use serde_json::{Value, json};

use super::*;

fn read(value: &Value) -> Result<Event, EventError> {
    event_from_json(value.to_string().as_bytes())
}

fn with(members: Value) -> Value {
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    for (name, value) in members.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

#[test]
fn every_kind_of_data_round_trips() {
    for (members, want) in [
        (json!({}), Data::None),
        (json!({"data": null}), Data::Json("null".into())),
        (json!({"data": {"a": [1]}}), Data::Json("{\"a\":[1]}".into())),
        (json!({"datacontenttype": "text/plain", "data": "hé"}), Data::Text("hé".to_owned())),
        (json!({"data": "a json string"}), Data::Json("\"a json string\"".into())),
        (json!({"data_base64": "AAH/"}), Data::Binary(vec![0, 1, 255].into())),
        (json!({"data_base64": null, "subject": null}), Data::None),
    ] {
        let event = read(&with(members)).unwrap();
        assert_eq!(event.data, want);
        let again = serde_json::to_value(&event).unwrap();
        assert_eq!(read(&again).unwrap(), event);
    }
}

#[test]
fn extensions_keep_their_types() {
    let event =
        read(&with(json!({"flag": true, "count": -7, "trace": "x", "none": null}))).unwrap();
    assert_eq!(event.extensions.get("flag"), Some(&Attribute::Boolean(true)));
    // JSON has one kind of number, however a sender writes it.
    let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":-7.0,"m":2e3}"#;
    let event = event_from_json(event).unwrap();
    assert_eq!(event.extensions.get("n"), Some(&Attribute::Integer(-7)));
    assert_eq!(event.extensions.get("m"), Some(&Attribute::Integer(2_000)));
    for bad in [json!(0.5), json!(4e9), json!(2_147_483_648_u32)] {
        assert!(read(&with(json!({"n": bad}))).is_err(), "{bad}");
    }
    let event =
        read(&with(json!({"flag": true, "count": -7, "trace": "x", "none": null}))).unwrap();
    assert_eq!(event.extensions.get("count"), Some(&Attribute::Integer(-7)));
    assert_eq!(event.extensions.get("trace"), Some(&Attribute::Text("x".to_owned())));
    assert_eq!(event.extensions.len(), 3);
    assert_eq!(event.attribute("count").as_deref(), Some("-7"));
}

#[test]
fn what_is_wrong_is_named() {
    for (event, want) in [
        (with(json!({"id": ""})), EventError::Missing("id")),
        (with(json!({"source": null})), EventError::Missing("source")),
        (json!({"id": "1", "source": "/s", "type": "t"}), EventError::Missing("specversion")),
        (with(json!({"specversion": "0.3"})), EventError::SpecVersion("0.3".to_owned())),
        (with(json!({"Foo": "x"})), EventError::Name("Foo".to_owned())),
        (with(json!({"data": 1, "data_base64": "AA=="})), EventError::TwoData),
    ] {
        assert_eq!(read(&event), Err(want), "{event}");
    }
    for (name, value) in [
        ("n", json!(2_147_483_648_i64)),
        ("n", json!(1.5)),
        ("n", json!({})),
        ("time", json!("yesterday")),
        ("time", json!("2024-13-01T00:00:00Z")),
        ("subject", json!("")),
        ("id", json!(7)),
        ("subject", json!("a\u{7}b")),
        ("data_base64", json!("%%%")),
    ] {
        let read = read(&with(json!({name: value})));
        assert!(matches!(&read, Err(EventError::Value { name: n, .. }) if n == name), "{read:?}");
    }
    assert!(matches!(event_from_json(b"[]"), Err(EventError::Json(_))));
    assert!(matches!(event_from_json(b"{"), Err(EventError::Json(_))));
    let twice = br#"{"specversion":"1.0","id":"1","id":"2","source":"s","type":"t"}"#;
    assert_eq!(event_from_json(twice), Err(EventError::Twice("id".to_owned())));
}

#[test]
fn a_batch_names_the_wrong_one() {
    assert_eq!(batch_from_json(b"[]"), Ok(vec![]));
    let batch = json!([with(json!({})), with(json!({"id": ""}))]);
    assert_eq!(
        batch_from_json(batch.to_string().as_bytes()),
        Err(EventError::InBatch { index: 1, error: Box::new(EventError::Missing("id")) })
    );
}

#[test]
fn arguments_are_the_members_of_an_object() {
    let arguments = |members: Value| Value::Object(read(&with(members)).unwrap().arguments());
    assert_eq!(arguments(json!({"data": {"a": 1}})), json!({"a": 1}));
    assert_eq!(arguments(json!({"data": [1]})), json!({"data": [1]}));
    assert_eq!(arguments(json!({"data_base64": "AAH/"})), json!({"data": "AAH/"}));
    assert_eq!(arguments(json!({})), json!({}));
}

#[test]
fn times_are_rfc3339() {
    for good in ["2020-01-01T00:00:00Z", "2020-01-01t23:59:60.123+05:30", "2020-12-31T00:00:00.1z"]
    {
        assert!(is_rfc3339(good), "{good}");
    }
    for bad in [
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:00:00.Z",
        "é020-01-01T00:00:00Z",
    ] {
        assert!(!is_rfc3339(bad), "{bad}");
    }
}

#[test]
fn media_types_decide_what_bytes_are() {
    let of = |media, bytes: &'static [u8]| Data::of_type(media, Bytes::from_static(bytes)).ok();
    assert_eq!(of(Some("application/json; charset=utf-8"), b"{}"), Some(Data::Json("{}".into())));
    assert_eq!(of(Some("application/x+json"), b"{"), None);
    assert_eq!(of(Some("text/xml"), b"<a/>"), Some(Data::Text("<a/>".to_owned())));
    assert_eq!(of(Some("text/plain"), b"\xff"), Some(Data::Binary(vec![255].into())));
    assert_eq!(of(Some("image/png"), b"x"), Some(Data::Binary("x".into())));
    assert_eq!(of(Some("image/png"), b""), Some(Data::None));
}
