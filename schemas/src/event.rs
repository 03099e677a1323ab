//! The event: a CloudEvent 1.0, checked when it is made.

mod halves;
mod json;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

pub use halves::Halves;
pub use json::{batch_from_json, event_from_json};

/// The only `specversion` there is.
pub const SPEC_VERSION: &str = "1.0";
/// Attribute that orders the deliveries of an `ordered` rule.
pub const PARTITION_KEY: &str = "partitionkey";
/// Extension of an event that its feed set aside, as no action can be given it: why.
pub const SET_ASIDE: &str = "setaside";
/// Extension of an event that stands for several records: the member of its data that holds
/// them, an array.
pub const BATCH_OF: &str = "batchof";
/// Longest attribute value taken. Unit: bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 8 * 1024;
/// Most extension attributes of one event.
pub const MAX_EXTENSIONS: usize = 64;
/// `type` of the event that a plain-JSON firing becomes.
pub const FIRE_TYPE: &str = "org.evoke.trigger.fired";

/// A CloudEvent 1.0.
///
/// Source: spec/feeds-and-cloudevents 7.1, CloudEvents 1.0.2.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// With `source`, what the event is known by; not empty.
    pub id: String,
    /// URI-reference of where it happened; not empty.
    pub source: String,
    /// Kind of occurrence; not empty.
    pub r#type: String,
    /// What it is about, inside the source.
    pub subject: Option<String>,
    /// When it happened, RFC 3339.
    pub time: Option<String>,
    /// Media type of the data.
    pub datacontenttype: Option<String>,
    /// URI of the data's schema.
    pub dataschema: Option<String>,
    /// Extension attributes by name.
    pub extensions: BTreeMap<String, Attribute>,
    /// What it carries.
    pub data: Data,
}

/// Value of an extension attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Attribute {
    /// CloudEvents Boolean.
    Boolean(bool),
    /// CloudEvents Integer.
    Integer(i32),
    /// Every other type, in its canonical text.
    Text(String),
}

/// What an event carries.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Data {
    /// No data, which is not the same as JSON `null`.
    #[default]
    None,
    /// JSON text, checked to be valid.
    Json(Bytes),
    /// Text of another media type.
    Text(String),
    /// Bytes of another media type.
    Binary(Bytes),
}

/// What is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A required attribute is missing or empty.
    #[error("attribute `{0}` is required and may not be empty")]
    Missing(&'static str),
    /// Another version of the specification.
    #[error("attribute `specversion` is `{0}`, only `1.0` is known")]
    SpecVersion(String),
    /// A name with other characters than `a-z` and `0-9`, or `data`.
    #[error("attribute name `{0}` may only have the characters a-z and 0-9")]
    Name(String),
    /// A value of the wrong type or form.
    #[error("attribute `{name}` must be {want}")]
    Value {
        /// The attribute.
        name: String,
        /// What it must be.
        want: &'static str,
    },
    /// `data` and `data_base64` at once.
    #[error("`data` and `data_base64` exclude each other")]
    TwoData,
    /// An attribute twice.
    #[error("attribute `{0}` is given twice")]
    Twice(String),
    /// More extension attributes than [`MAX_EXTENSIONS`].
    #[error("more than {MAX_EXTENSIONS} extension attributes")]
    TooMany,
    /// Not JSON, or not of the format's shape.
    #[error("not a CloudEvent in JSON format: {0}")]
    Json(String),
    /// One event of a batch.
    #[error("event {index} of the batch: {error}")]
    InBatch {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<EventError>,
    },
}

// === impl Event ===

impl Event {
    /// An event with the required attributes and nothing else.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        source: impl Into<String>,
        r#type: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            source: source.into(),
            r#type: r#type.into(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: BTreeMap::new(),
            data: Data::None,
        }
    }

    /// Sets one context attribute from its canonical text, as the binary modes carry it.
    ///
    /// # Errors
    /// [`EventError`] names the attribute and what it must be.
    pub fn set(&mut self, name: &str, value: Attribute) -> Result<(), EventError> {
        let text = match (&value, CORE.contains(&name)) {
            (Attribute::Text(text), _) => text.as_str(),
            (Attribute::Boolean(_) | Attribute::Integer(_), false) => "",
            (Attribute::Boolean(_) | Attribute::Integer(_), true) => {
                return Err(EventError::Value { name: name.to_owned(), want: "a string" });
            }
        };
        check_text(name, text)?;
        let filled = |want: &'static str| {
            if text.is_empty() {
                Err(EventError::Value { name: name.to_owned(), want })
            } else {
                Ok(text.to_owned())
            }
        };
        match name {
            "specversion" if text == SPEC_VERSION => {}
            "specversion" => return Err(EventError::SpecVersion(text.to_owned())),
            "id" => text.clone_into(&mut self.id),
            "source" => text.clone_into(&mut self.source),
            "type" => text.clone_into(&mut self.r#type),
            "subject" => self.subject = Some(filled("a string that is not empty")?),
            "time" if is_rfc3339(text) => self.time = Some(text.to_owned()),
            "time" => {
                return Err(EventError::Value {
                    name: name.to_owned(),
                    want: "a time as RFC 3339 has it",
                });
            }
            "datacontenttype" => self.datacontenttype = Some(filled("a media type")?),
            "dataschema" => self.dataschema = Some(filled("a URI")?),
            _ => {
                check_name(name)?;
                self.extensions.insert(name.to_owned(), value);
                if self.extensions.len() > MAX_EXTENSIONS {
                    return Err(EventError::TooMany);
                }
            }
        }
        Ok(())
    }

    /// Whether the required attributes are there.
    ///
    /// # Errors
    /// [`EventError::Missing`] names the first that is not.
    pub fn check(&self) -> Result<(), EventError> {
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.r#type)] {
            if value.is_empty() {
                return Err(EventError::Missing(name));
            }
        }
        Ok(())
    }

    /// The text of an attribute, core or extension.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        use std::borrow::Cow;
        match name {
            "specversion" => Some(Cow::Borrowed(SPEC_VERSION)),
            "id" => Some(Cow::Borrowed(&self.id)),
            "source" => Some(Cow::Borrowed(&self.source)),
            "type" => Some(Cow::Borrowed(&self.r#type)),
            "subject" => self.subject.as_deref().map(Cow::Borrowed),
            "time" => self.time.as_deref().map(Cow::Borrowed),
            "datacontenttype" => self.datacontenttype.as_deref().map(Cow::Borrowed),
            "dataschema" => self.dataschema.as_deref().map(Cow::Borrowed),
            _ => self.extensions.get(name).map(Attribute::text),
        }
    }

    /// All context attributes as JSON members, `specversion` among them.
    #[must_use]
    pub fn attributes(&self) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert("specversion".to_owned(), SPEC_VERSION.into());
        for name in CORE.iter().skip(1) {
            if let Some(text) = self.attribute(name) {
                all.insert((*name).to_owned(), text.into_owned().into());
            }
        }
        for (name, value) in &self.extensions {
            let value = match value {
                Attribute::Boolean(value) => Value::Bool(*value),
                Attribute::Integer(value) => Value::from(*value),
                Attribute::Text(text) => Value::from(text.as_str()),
            };
            all.insert(name.clone(), value);
        }
        all
    }

    /// The arguments a function gets from the data (decision 26): an object's members, any other
    /// data under `data`, nothing where there is none. Binary data is base64.
    #[must_use]
    pub fn arguments(&self) -> Map<String, Value> {
        let under_data = |value: Value| Map::from_iter([("data".to_owned(), value)]);
        match &self.data {
            Data::None => Map::new(),
            Data::Json(text) => match serde_json::from_slice(text) {
                Ok(Value::Object(members)) => members,
                Ok(other) => under_data(other),
                Err(_checked_when_made) => Map::new(),
            },
            Data::Text(text) => under_data(text.as_str().into()),
            Data::Binary(bytes) => under_data(base64_text(bytes).into()),
        }
    }

    /// Rough size of the event. Unit: bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let data = match &self.data {
            Data::None => 0,
            Data::Json(bytes) | Data::Binary(bytes) => bytes.len(),
            Data::Text(text) => text.len(),
        };
        let extensions: usize =
            self.extensions.iter().map(|(name, value)| name.len() + value.text().len()).sum();
        let core: usize =
            CORE.iter().filter_map(|name| self.attribute(name)).map(|t| t.len()).sum();
        data + extensions + core
    }
}

// === impl Attribute ===

impl Attribute {
    /// The canonical text.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Boolean(value) => if *value { "true" } else { "false" }.into(),
            Self::Integer(value) => value.to_string().into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

// === impl Data ===

impl Data {
    /// JSON data from text that may not be JSON.
    ///
    /// # Errors
    /// What the parser says.
    pub fn json(text: Bytes) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<&RawValue>(&text)?;
        Ok(Self::Json(text))
    }

    /// Data of a media type from its bytes: JSON types are checked and kept as JSON, text that is
    /// UTF-8 as text, all else as bytes.
    ///
    /// # Errors
    /// A JSON type whose bytes are no JSON.
    pub fn of_type(content_type: Option<&str>, bytes: Bytes) -> Result<Self, serde_json::Error> {
        match content_type {
            _ if bytes.is_empty() => Ok(Self::None),
            None => Self::json(bytes),
            Some(media) if is_json_type(media) => Self::json(bytes),
            Some(media) if media.trim_start().to_ascii_lowercase().starts_with("text/") => {
                Ok(match std::str::from_utf8(&bytes) {
                    Ok(text) => Self::Text(text.to_owned()),
                    Err(_not_text) => Self::Binary(bytes),
                })
            }
            Some(_) => Ok(Self::Binary(bytes)),
        }
    }
}

/// Core attributes in the order they are written, `specversion` first.
const CORE: [&str; 8] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];

/// Whether a media type is JSON: `*/json` or `*/*+json`, parameters left out.
#[must_use]
pub fn is_json_type(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .split_once('/')
        .is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn check_name(name: &str) -> Result<(), EventError> {
    let legal = !name.is_empty()
        && name != "data"
        && name.len() <= 256
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if legal { Ok(()) } else { Err(EventError::Name(name.chars().take(64).collect())) }
}

/// CloudEvents String: no control characters, no noncharacters; within [`MAX_ATTRIBUTE_BYTES`].
fn check_text(name: &str, text: &str) -> Result<(), EventError> {
    let bad = |c: char| {
        matches!(c, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fdd0}'..='\u{fdef}')
            || (c as u32) & 0xfffe == 0xfffe
    };
    let wrong = |want| {
        let name = name.chars().take(64).collect();
        Err(EventError::Value { name, want })
    };
    if text.len() > MAX_ATTRIBUTE_BYTES {
        return wrong("at most 8 KiB");
    }
    if text.chars().any(bad) {
        return wrong("text without control characters");
    }
    Ok(())
}

/// The form of RFC 3339, with the ranges of its fields.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = text.get(range)?;
        if part.bytes().all(|b| b.is_ascii_digit()) { part.parse().ok() } else { None }
    };
    let within = |range, low, high| digits(range).is_some_and(|n: u32| (low..=high).contains(&n));
    let mark = |at: usize, want: &[u8]| bytes.get(at).is_some_and(|b| want.contains(b));
    let date = digits(0..4).is_some()
        && mark(4, b"-")
        && within(5..7, 1, 12)
        && mark(7, b"-")
        && within(8..10, 1, 31)
        && mark(10, b"Tt ")
        && within(11..13, 0, 23)
        && mark(13, b":")
        && within(14..16, 0, 59)
        && mark(16, b":")
        && within(17..19, 0, 60);
    let rest = text.get(19..).unwrap_or_default();
    let zone = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
    };
    let offset = |zone: &str| {
        let zone = zone.as_bytes();
        matches!(zone, [b'+' | b'-', h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) && *m1 < b'6')
    };
    date && (zone.eq_ignore_ascii_case("z") || offset(zone))
}

#[cfg(test)]
mod tests;
