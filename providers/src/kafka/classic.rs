//! Records as OpenWhisk's provider sends them: several in one event, `{"messages": […]}`.
//!
//! Source: `spec/feeds-and-cloudevents.md` 2.5. Different where that destroys data: bytes that are
//! no text are encoded as they are, and a record without a value is `null` in every form.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use evoke_schemas::{
    Data, Event,
    event::{Attribute, BATCH_OF},
    limits::MAX_PAYLOAD_BYTES,
};
use serde_json::{Value, json, value::RawValue};

use super::{
    event::{Record, source},
    parameters::{Form, Parameters},
    position::Position,
};

/// Type of the events.
pub const RECORDS_TYPE: &str = "org.apache.kafka.records";
/// Member of the data that holds the records.
const MESSAGES: &str = "messages";
/// Most bytes of the records of one event, as OpenWhisk's `PAYLOAD_LIMIT`.
const MAX_EVENT: usize = 900_000;
/// Characters of a line of base64.
const LINE: usize = 76;

/// Records on their way into events.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    source: String,
    /// Ids of the first and the last record.
    ids: Option<(String, String)>,
    messages: Vec<String>,
    bytes: usize,
}

// === impl Gathering ===

impl Gathering {
    /// Takes a record in; gives the event of those before it, where there is no more room with
    /// them, and the record's own, with the reason, where no action can be given it.
    pub(super) fn take(
        &mut self,
        record: &Record,
        position: &Position,
        parameters: &Parameters,
    ) -> Vec<(Event, Option<String>)> {
        let id = position.id(&record.topic, record.partition, record.offset);
        let source = source(position, &record.topic);
        let text = message(record, parameters.key, parameters.value);
        let mut ended = Vec::new();
        let is_other = self.source != source && !self.messages.is_empty();
        if is_other || self.bytes + text.len() > MAX_EVENT {
            ended.extend(self.end().map(|event| (event, None)));
        }
        if text.len() + MESSAGES.len() + ROOM > MAX_PAYLOAD_BYTES {
            let size = record.size();
            let without = Record { value: None, ..record.clone() };
            let without = message(&without, parameters.key, parameters.value);
            let why = format!(
                "the record {id} has {size} bytes: an event has {MAX_PAYLOAD_BYTES} at most"
            );
            ended.push((event(source, (&id, &id), &[without]), Some(why)));
            return ended;
        }
        self.source = source;
        self.bytes += text.len();
        self.messages.push(text);
        let first = self.ids.take().map_or_else(|| id.clone(), |(first, _)| first);
        self.ids = Some((first, id));
        ended
    }

    /// The event of what is gathered.
    pub(super) fn end(&mut self) -> Option<Event> {
        let (first, last) = self.ids.take()?;
        let Self { source, messages, .. } = std::mem::take(self);
        Some(event(source, (&first, &last), &messages))
    }
}

/// Bytes of an event's data around its records.
const ROOM: usize = 16;

fn event(source: String, (first, last): (&str, &str), messages: &[String]) -> Event {
    let id = if first == last { first.to_owned() } else { format!("{first}..{last}") };
    let mut event = Event::new(id, source, RECORDS_TYPE);
    event.datacontenttype = Some("application/json".to_owned());
    event.extensions.insert(BATCH_OF.to_owned(), Attribute::Text(MESSAGES.to_owned()));
    let data = format!("{{\"{MESSAGES}\":[{}]}}", messages.join(","));
    event.data = Data::Json(data.into());
    event
}

/// One record. Its value stays text, so that no number in it loses a digit.
fn message(record: &Record, key: Form, value: Form) -> String {
    let key = record.key.as_deref().map_or(Value::Null, |bytes| match key {
        Form::Binary => lines(bytes).into(),
        Form::Auto | Form::Json | Form::String => String::from_utf8_lossy(bytes).into(),
    });
    let value = record.value.as_deref().map_or(Cow::Borrowed("null"), |bytes| match value {
        Form::Binary => json!(lines(bytes)).to_string().into(),
        Form::Json => parsed(bytes),
        Form::Auto | Form::String => json!(String::from_utf8_lossy(bytes)).to_string().into(),
    });
    let Record { topic, partition, offset, .. } = record;
    let (topic, key) = (json!(topic), key);
    format!(
        "{{\"topic\":{topic},\"partition\":{partition},\"offset\":{offset},\"key\":{key},\"value\":{value}}}"
    )
}

/// JSON as it is; what is none, its text between quotes of its own.
fn parsed(bytes: &[u8]) -> Cow<'_, str> {
    let known = serde_json::from_slice::<Value>(bytes).is_ok();
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(raw) if known => Cow::Borrowed(raw.get()),
        _ => json!(format!("\"{}\"", String::from_utf8_lossy(bytes))).to_string().into(),
    }
}

/// Base64 in lines, as MIME has it.
fn lines(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines = text.as_bytes().chunks(LINE).map(String::from_utf8_lossy);
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use evoke_feeds::Fields;

    use super::*;

    fn parameters(value: &str, key: &str) -> Parameters {
        let all = json!({"brokers": "b:1", "topic": "t", "value": value, "key": key});
        let Value::Object(all) = all else { unreachable!() };
        Fields::read(&all, Parameters::read).unwrap()
    }

    fn record(offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Record {
        Record {
            topic: "t".to_owned(),
            partition: 2,
            offset,
            key: key.map(Bytes::copy_from_slice),
            value: value.map(Bytes::copy_from_slice),
            ..Record::default()
        }
    }

    fn position() -> Position {
        Position { cluster: "c".to_owned(), ..Position::default() }
    }

    fn one(record: &Record, parameters: &Parameters) -> Value {
        let mut gathering = Gathering::default();
        assert!(gathering.take(record, &position(), parameters).is_empty());
        let event = gathering.end().unwrap();
        event.check().unwrap();
        let mut messages = event.arguments()["messages"].take();
        messages[0].take()
    }

    #[test]
    fn c5_values_by_the_table() {
        let all: Vec<u8> = (0..=255).collect();
        for (form, value, wanted) in [
            ("string", Some(&b"text"[..]), json!("text")),
            ("string", Some(b"{\"a\":1}"), json!("{\"a\":1}")),
            ("string", Some(b"a\xffb"), json!("a\u{fffd}b")),
            ("string", None, Value::Null),
            ("json", Some(b"{\"a\":[1,null]}"), json!({"a": [1, null]})),
            ("json", Some(b" true "), json!(true)),
            ("json", Some(b"foo"), json!("\"foo\"")),
            ("json", Some(b""), json!("\"\"")),
            ("json", Some(b"NaN"), json!("\"NaN\"")),
            ("json", Some(b"1e999"), json!("\"1e999\"")),
            ("binary", Some(b"hi"), json!("aGk=")),
            ("binary", Some(&all), json!(lines(&all))),
        ] {
            let message = one(&record(7, Some(b"k"), value), &parameters(form, "string"));
            assert_eq!(
                message,
                json!({"topic": "t", "partition": 2, "offset": 7, "key": "k", "value": wanted}),
                "{form} {value:?}"
            );
        }
    }

    #[test]
    fn c5_base64_has_lines_of_76_characters_and_keeps_every_byte() {
        let all: Vec<u8> = (0..=255).collect();
        let text = lines(&all);
        let lengths: Vec<_> = text.split('\n').map(str::len).collect();
        assert_eq!(lengths, [76, 76, 76, 76, 40]);
        assert_eq!(STANDARD.decode(text.replace('\n', "")).unwrap(), all);
        let message = one(&record(1, Some(&all), None), &parameters("string", "binary"));
        assert_eq!(message["key"], json!(text));
        let message = one(&record(1, None, Some(b"x")), &parameters("string", "binary"));
        assert_eq!(message["key"], Value::Null);
    }

    #[test]
    fn c5_numbers_keep_their_digits() {
        let text = b"123456789012345678901234567890";
        let mut gathering = Gathering::default();
        gathering.take(&record(1, None, Some(text)), &position(), &parameters("json", "string"));
        let Data::Json(data) = gathering.end().unwrap().data else { panic!("JSON") };
        assert!(data.windows(text.len()).any(|window| window == text));
    }

    #[test]
    fn f8_a_record_without_a_value_is_null_also_as_json() {
        let message = one(&record(1, None, None), &parameters("json", "string"));
        assert_eq!(message["value"], Value::Null);
    }

    #[test]
    fn c6_two_large_records_are_two_events_in_their_order() {
        let large = vec![b'x'; 600_000];
        let (mut gathering, parameters) = (Gathering::default(), parameters("string", "string"));
        let mut take = |offset| {
            let record = record(offset, None, Some(&large));
            gathering.take(&record, &position(), &parameters)
        };
        assert!(take(1).is_empty());
        let first = take(2).remove(0).0;
        let second = gathering.end().unwrap();
        assert_eq!((first.id.as_str(), second.id.as_str()), ("t/2/1", "t/2/2"));
        assert_eq!(first.arguments()["messages"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn c7_small_records_share_an_event_that_says_which() {
        let (mut gathering, parameters) = (Gathering::default(), parameters("string", "string"));
        for offset in 0..100 {
            let record = record(offset, None, Some(b"x"));
            assert!(gathering.take(&record, &position(), &parameters).is_empty());
        }
        let event = gathering.end().unwrap();
        assert_eq!(event.id, "t/2/0..t/2/99");
        assert_eq!(event.arguments()["messages"].as_array().map(Vec::len), Some(100));
        assert_eq!(gathering.end(), None);
    }

    #[test]
    fn f7_a_record_too_large_is_set_aside_between_its_neighbours() {
        let large = vec![b'x'; 2_000_000];
        let (mut gathering, parameters) = (Gathering::default(), parameters("string", "string"));
        let mut take = |offset, value: &[u8]| {
            gathering.take(&record(offset, None, Some(value)), &position(), &parameters)
        };
        take(1, b"one");
        let ended = take(2, &large);
        assert_eq!(take(3, b"three"), []);
        let [(before, None), (aside, Some(why))] = ended.as_slice() else { panic!("{ended:?}") };
        assert_eq!(before.id, "t/2/1");
        assert!(why.contains("t/2/2 has 2000000 bytes"), "{why}");
        assert_eq!(aside.arguments()["messages"][0]["offset"], json!(2));
        assert_eq!(gathering.end().unwrap().id, "t/2/3");
    }
}
