//! The JSON format of CloudEvents: structured mode and batches.

use std::{borrow::Cow, fmt};

use base64::Engine as _;
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use super::{Attribute, Data, Event, EventError, SPEC_VERSION, is_json_type};

/// Most events of one batch.
const MAX_BATCH: usize = 10_000;

/// Reads one event in JSON format.
///
/// # Errors
/// What is wrong, with the attribute named.
pub fn event_from_json(text: &[u8]) -> Result<Event, EventError> {
    let wire: Members<'_> =
        serde_json::from_slice(text).map_err(|e| EventError::Json(e.to_string()))?;
    wire.into_event()
}

/// Reads a batch in JSON format; the empty one is legal.
///
/// # Errors
/// The first wrong event, with its place; then none is taken.
pub fn batch_from_json(text: &[u8]) -> Result<Vec<Event>, EventError> {
    let all: Vec<Members<'_>> =
        serde_json::from_slice(text).map_err(|e| EventError::Json(e.to_string()))?;
    if all.len() > MAX_BATCH {
        return Err(EventError::Json(format!("more than {MAX_BATCH} events in one batch")));
    }
    all.into_iter()
        .enumerate()
        .map(|(index, wire)| {
            wire.into_event().map_err(|error| EventError::InBatch { index, error: Box::new(error) })
        })
        .collect()
}

/// The members of the object as they stand; the data is not looked into.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event as a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A member's name, borrowed where the text has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Simple;
        impl Visitor<'_> for Simple {
            type Value = Attribute;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a boolean or a 32-bit integer")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Attribute::Boolean(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                let integer = i32::try_from(value);
                integer.map(Attribute::Integer).map_err(|_large| E::custom("not 32 bits"))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                let integer = i32::try_from(value);
                integer.map(Attribute::Integer).map_err(|_large| E::custom("not 32 bits"))
            }

            /// JSON has one kind of number: 7.0 is 7.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
                let whole = value.fract() == 0.0
                    && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value);
                #[expect(clippy::cast_possible_truncation, reason = "it is a whole one of 32 bits")]
                let integer = whole.then_some(Attribute::Integer(value as i32));
                integer.ok_or_else(|| E::custom("not a 32-bit integer"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Attribute::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Simple)
    }
}

impl Members<'_> {
    fn into_event(self) -> Result<Event, EventError> {
        let mut event = Event::new("", "", "");
        let (mut data, mut data_base64, mut version) = (None, None, false);
        let mut seen: Vec<Cow<'_, str>> = Vec::with_capacity(self.0.len());
        for (name, value) in self.0 {
            if seen.contains(&name) {
                return Err(EventError::Twice(name.into_owned()));
            }
            match name.as_ref() {
                "data" => data = Some(value),
                "data_base64" if value.get() == "null" => {}
                "data_base64" => data_base64 = Some(value),
                _ if value.get() == "null" => {}
                attribute => {
                    version |= attribute == "specversion";
                    event.set(attribute, attribute_value(attribute, value)?)?;
                }
            }
            seen.push(name);
        }
        if !version {
            return Err(EventError::Missing("specversion"));
        }
        event.data = match (data, data_base64) {
            (None, None) => Data::None,
            (Some(_), Some(_)) => return Err(EventError::TwoData),
            (Some(value), None) => json_data(event.datacontenttype.as_deref(), value)?,
            (None, Some(value)) => base64_data(event.datacontenttype.as_deref(), value)?,
        };
        event.check()?;
        Ok(event)
    }
}

fn attribute_value(name: &str, value: &RawValue) -> Result<Attribute, EventError> {
    serde_json::from_str(value.get()).map_err(|_untyped| EventError::Value {
        name: name.chars().take(64).collect(),
        want: "a string, a boolean or a 32-bit integer",
    })
}

fn json_data(content_type: Option<&str>, value: &RawValue) -> Result<Data, EventError> {
    if content_type.is_none_or(is_json_type) {
        return Ok(Data::Json(Bytes::copy_from_slice(value.get().as_bytes())));
    }
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) => Ok(Data::Text(text)),
        Err(_structured) => Ok(Data::Json(Bytes::copy_from_slice(value.get().as_bytes()))),
    }
}

fn base64_data(content_type: Option<&str>, value: &RawValue) -> Result<Data, EventError> {
    let wrong = || EventError::Value { name: "data_base64".to_owned(), want: "base64 text" };
    let text: String = serde_json::from_str(value.get()).map_err(|_not_text| wrong())?;
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(text).map_err(|_not_base64| wrong())?;
    let bytes = Bytes::from(bytes);
    match content_type {
        Some(media) if is_json_type(media) => {
            Ok(Data::json(bytes.clone()).unwrap_or(Data::Binary(bytes)))
        }
        _ => Ok(Data::Binary(bytes)),
    }
}

impl Serialize for Event {
    /// The JSON format, structured mode.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", SPEC_VERSION)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.r#type)?;
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in &self.extensions {
            map.serialize_entry(name, value)?;
        }
        match &self.data {
            Data::None => {}
            Data::Json(text) => {
                let raw: &RawValue =
                    serde_json::from_slice(text).map_err(serde::ser::Error::custom)?;
                map.serialize_entry("data", raw)?;
            }
            Data::Text(text) => map.serialize_entry("data", text)?,
            Data::Binary(bytes) => {
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                map.serialize_entry("data_base64", &text)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        event_from_json(raw.get().as_bytes()).map_err(de::Error::custom)
    }
}
