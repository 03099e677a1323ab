//! What a record becomes: an event of its own, or the CloudEvent that it carries.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use evoke_schemas::{
    Data, Event,
    event::{Attribute, PARTITION_KEY},
    limits::MAX_PAYLOAD_BYTES,
};
use rdkafka::{
    Message as _,
    message::{BorrowedMessage, Headers as _},
};

use super::{
    parameters::{Form, Parameters},
    position::Position,
};

/// Type of the event of a record that is no CloudEvent itself.
pub const RECORD_TYPE: &str = "org.apache.kafka.record";
/// Headers of a CloudEvent in binary mode begin so.
const BINARY: &str = "ce_";
/// Media type of a CloudEvent in structured mode.
const STRUCTURED: &str = "application/cloudevents+json";

/// A record, taken out of the client's memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    /// Unit: epoch milliseconds.
    pub(super) time_ms: Option<i64>,
    pub(super) headers: Vec<(String, Option<Bytes>)>,
}

// === impl Record ===

impl Record {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            let one = |header: rdkafka::message::Header<'_, &[u8]>| {
                (header.key.to_owned(), header.value.map(Bytes::copy_from_slice))
            };
            headers.iter().map(one).collect()
        });
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            time_ms: message.timestamp().to_millis(),
            headers: headers.unwrap_or_default(),
        }
    }

    /// Bytes of what it carries.
    pub(super) fn size(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        of(&self.key) + of(&self.value)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value.as_ref()?).ok())
    }

    /// Its event, and why no action can be given it, where that is so.
    pub(super) fn event(
        &self,
        position: &Position,
        parameters: &Parameters,
    ) -> (Event, Option<String>) {
        let mut event = self
            .structured()
            .or_else(|| self.binary())
            .unwrap_or_else(|| self.plain(position, parameters));
        self.place(&mut event, parameters.key);
        let size = event.size();
        if size <= MAX_PAYLOAD_BYTES {
            return (event, None);
        }
        let why = format!(
            "the record {}/{}/{} has {size} bytes: an event has {MAX_PAYLOAD_BYTES} at most",
            self.topic, self.partition, self.offset
        );
        // What is needed to fetch it stays.
        event.data = Data::None;
        event.extensions.retain(|name, _| PLACE.contains(&name.as_str()));
        event.extensions.insert("valuetoolarge".to_owned(), Attribute::Text(size.to_string()));
        (event, Some(why))
    }

    fn plain(&self, position: &Position, parameters: &Parameters) -> Event {
        let id = position.id(&self.topic, self.partition, self.offset);
        let mut event = Event::new(id, source(position, &self.topic), RECORD_TYPE);
        let (data, media) = self.data(parameters.value);
        event.data = data;
        event.datacontenttype = media;
        event.subject = self.key_text(parameters.key);
        event.time = self.time();
        let own = self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(CONTENT_TYPE));
        let headers: Vec<_> = own.map(|(name, value)| (name, value.as_ref().map(text))).collect();
        if !headers.is_empty() {
            let headers = Attribute::Text(serde_json::json!(headers).to_string());
            event.extensions.insert("headers".to_owned(), headers);
        }
        event
    }

    /// Where it is in Kafka; what orders it.
    fn place(&self, event: &mut Event, key: Form) {
        let place = [
            ("topic", Attribute::Text(self.topic.clone())),
            ("partition", Attribute::Integer(self.partition)),
            ("offset", Attribute::Text(self.offset.to_string())),
        ];
        event.extensions.extend(place.map(|(name, value)| (name.to_owned(), value)));
        if let Some(key) = self.key_text(key) {
            event.extensions.entry(PARTITION_KEY.to_owned()).or_insert(Attribute::Text(key));
        }
    }

    /// A CloudEvent in structured mode.
    fn structured(&self) -> Option<Event> {
        let media = self.header(CONTENT_TYPE)?.to_ascii_lowercase();
        let is_one = media.split(';').next().is_some_and(|essence| essence.trim() == STRUCTURED);
        let event: Event = serde_json::from_slice(self.value.as_ref().filter(|_| is_one)?).ok()?;
        event.check().is_ok().then_some(event)
    }

    /// A CloudEvent in binary mode.
    fn binary(&self) -> Option<Event> {
        let attribute = |name: &str| self.header(&format!("{BINARY}{name}"));
        if attribute("specversion")? != "1.0" {
            return None;
        }
        let mut event = Event::new(attribute("id")?, attribute("source")?, attribute("type")?);
        for (name, value) in &self.headers {
            let Some(name) = name.strip_prefix(BINARY) else { continue };
            if !["specversion", "id", "source", "type"].contains(&name) {
                let value = std::str::from_utf8(value.as_ref()?).ok()?;
                event.set(name, Attribute::Text(value.to_owned())).ok()?;
            }
        }
        let (data, media) = self.data(Form::Auto);
        event.data = data;
        event.datacontenttype = media;
        event.check().is_ok().then_some(event)
    }

    /// The value as data, with its media type. Bytes are never lost: what is not of its form is of
    /// the next wider one.
    fn data(&self, form: Form) -> (Data, Option<String>) {
        let Some(value) = self.value.clone() else { return (Data::None, None) };
        let given = self.header(CONTENT_TYPE).map(str::to_owned);
        let form = match (form, &given) {
            (Form::Auto, Some(media)) if evoke_schemas::event::is_json_type(media) => Form::Json,
            (Form::Auto, Some(media)) if media.starts_with("text/") => Form::String,
            (Form::Auto, Some(_)) => Form::Binary,
            (form, _) => form,
        };
        if matches!(form, Form::Json | Form::Auto)
            && let Ok(json) = Data::json(value.clone())
        {
            return (json, Some(given.unwrap_or_else(|| "application/json".to_owned())));
        }
        if form != Form::Binary
            && let Ok(text) = std::str::from_utf8(&value)
        {
            return (Data::Text(text.to_owned()), Some("text/plain".to_owned()));
        }
        let media = given.filter(|media| !evoke_schemas::event::is_json_type(media));
        (Data::Binary(value), Some(media.unwrap_or_else(|| "application/octet-stream".to_owned())))
    }

    /// The key as text: base64 where it is asked for, or where it is no text.
    fn key_text(&self, form: Form) -> Option<String> {
        let key = self.key.as_ref().filter(|key| !key.is_empty())?;
        match std::str::from_utf8(key) {
            Ok(text) if form != Form::Binary && !text.contains(char::is_control) => {
                Some(text.to_owned())
            }
            _ => Some(STANDARD.encode(key)),
        }
    }

    pub(super) fn time(&self) -> Option<String> {
        let time = DateTime::from_timestamp_millis(self.time_ms?)?;
        Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

const CONTENT_TYPE: &str = "content-type";
/// Attributes that say where a record is.
const PLACE: [&str; 4] = ["topic", "partition", "offset", PARTITION_KEY];

/// Where events of a topic happen.
pub(super) fn source(position: &Position, topic: &str) -> String {
    format!("kafka://{}/{topic}", position.cluster)
}

/// A header's value: text where it is, base64 where it is none.
fn text(bytes: &Bytes) -> String {
    std::str::from_utf8(bytes).map_or_else(|_bytes| STANDARD.encode(bytes), str::to_owned)
}

#[cfg(test)]
mod tests;
