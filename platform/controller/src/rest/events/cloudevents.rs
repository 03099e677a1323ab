//! The HTTP binding of CloudEvents: which mode, and the events in it (spec 7.3).

use bytes::Bytes;
use evoke_schemas::{
    Data, Event,
    event::{Attribute, EventError, batch_from_json, event_from_json},
};
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode;

use crate::rest::{body::media_type, error::ApiError};

/// How a request carries events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Several, as a JSON array.
    Batch,
    /// One, as a JSON object.
    Structured,
    /// One, its attributes in headers.
    Binary,
    /// None: plain JSON.
    Plain,
}

const BATCH: &str = "application/cloudevents-batch";
const STRUCTURED: &str = "application/cloudevents";
const PREFIX: &str = "ce-";
/// One of these makes a request an event in binary mode; that all are there is checked then.
const REQUIRED: [&str; 4] = ["ce-specversion", "ce-id", "ce-source", "ce-type"];

/// The mode that the headers tell. The batch's prefix comes first: it has the other's too.
pub(super) fn mode(headers: &HeaderMap) -> Mode {
    let media = media_type(headers);
    if media.starts_with(BATCH) {
        Mode::Batch
    } else if media.starts_with(STRUCTURED) {
        Mode::Structured
    } else if REQUIRED.iter().any(|name| headers.contains_key(*name)) {
        Mode::Binary
    } else {
        Mode::Plain
    }
}

/// The event of a structured request.
pub(super) fn structured(headers: &HeaderMap, bytes: &Bytes) -> Result<Event, ApiError> {
    expect_format(headers, STRUCTURED)?;
    Ok(event_from_json(bytes)?)
}

/// The events of a batch.
pub(super) fn batch(headers: &HeaderMap, bytes: &Bytes) -> Result<Vec<Event>, ApiError> {
    expect_format(headers, BATCH)?;
    Ok(batch_from_json(bytes)?)
}

/// JSON is the only format there is.
fn expect_format(headers: &HeaderMap, kind: &str) -> Result<(), ApiError> {
    let media = media_type(headers);
    match media.strip_prefix(kind) {
        Some("+json") => Ok(()),
        _ => Err(ApiError::CloudEventFormat(media.into_owned())),
    }
}

/// The event of a request in binary mode.
pub(super) fn binary(headers: &HeaderMap, bytes: Bytes) -> Result<Event, ApiError> {
    let mut event = Event::new("", "", "");
    let mut version = false;
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        if attribute == "datacontenttype" {
            let text = "header `ce-datacontenttype` is not allowed: the media type is in \
                        `Content-Type`";
            return Err(ApiError::Bad(text.to_owned()));
        }
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(EventError::Twice(attribute.to_owned()).into());
        }
        version |= attribute == "specversion";
        event.set(attribute, Attribute::Text(decoded(attribute, value)?))?;
    }
    if !version {
        return Err(EventError::Missing("specversion").into());
    }
    let media = match headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) {
        None => None,
        Some(Ok(media)) => Some(media.to_owned()),
        Some(Err(_not_ascii)) => {
            return Err(ApiError::Bad("header `Content-Type` must be ASCII".to_owned()));
        }
    };
    event.data = Data::of_type(media.as_deref(), bytes).map_err(|error| {
        ApiError::Malformed(format!("Unexpected data, the media type says JSON: {error}"))
    })?;
    event.datacontenttype = media;
    event.check()?;
    Ok(event)
}

/// A header's value: quotes undone as old senders set them, then one round of percent-decoding.
fn decoded(attribute: &str, value: &HeaderValue) -> Result<String, ApiError> {
    let bytes = value.as_bytes();
    let inner = match bytes.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        Some(quoted) => unquoted(quoted),
        None => bytes.to_vec(),
    };
    let decoded: Vec<u8> = percent_decode(&inner).collect();
    match String::from_utf8(decoded) {
        Ok(text) => Ok(text),
        Err(_invalid) => Err(EventError::Value {
            name: attribute.chars().take(64).collect(),
            want: "percent-encoded UTF-8",
        }
        .into()),
    }
}

fn unquoted(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            _ => plain.push(*byte),
        }
    }
    plain
}

impl From<EventError> for ApiError {
    fn from(error: EventError) -> Self {
        Self::Bad(format!("invalid CloudEvent: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(k, v): &(&str, &str)| {
            let value = HeaderValue::from_bytes(v.as_bytes()).unwrap();
            (HeaderName::from_bytes(k.as_bytes()).unwrap(), value)
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn minimal(more: &[(&str, &str)]) -> HeaderMap {
        let required =
            [("ce-specversion", "1.0"), ("CE-ID", "1"), ("ce-source", "/s"), ("ce-type", "t")];
        headers(&[required.as_slice(), more].concat())
    }

    #[test]
    fn the_mode_is_told_by_media_type_then_by_headers() {
        for (media, want) in [
            ("application/cloudevents-batch+json", Mode::Batch),
            ("Application/CloudEvents-Batch+JSON; charset=utf-8", Mode::Batch),
            ("application/cloudevents+json", Mode::Structured),
            ("APPLICATION/cloudevents+json;charset=UTF-8", Mode::Structured),
            ("application/cloudevents+avro", Mode::Structured),
            ("application/json", Mode::Plain),
        ] {
            assert_eq!(mode(&headers(&[("content-type", media)])), want, "{media}");
        }
        assert_eq!(mode(&HeaderMap::new()), Mode::Plain);
        assert_eq!(mode(&minimal(&[("content-type", "application/json")])), Mode::Binary);
        assert_eq!(mode(&headers(&[("ce-id", "1")])), Mode::Binary);
    }

    #[test]
    fn other_formats_than_json_are_refused() {
        let avro = headers(&[("content-type", "application/cloudevents+avro")]);
        assert!(matches!(structured(&avro, &Bytes::new()), Err(ApiError::CloudEventFormat(_))));
        let xml = headers(&[("content-type", "application/cloudevents-batch+xml")]);
        assert!(matches!(batch(&xml, &Bytes::new()), Err(ApiError::CloudEventFormat(_))));
    }

    #[test]
    fn attributes_are_decoded_once() {
        let event = binary(
            &minimal(&[
                ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
                ("ce-quoted", "\"a \\\"b\\\" c\""),
                ("ce-lower", "%e2%82%ac"),
                ("ce-twice", "%2520"),
                ("content-type", "application/json"),
            ]),
            Bytes::from("{\"a\":1}"),
        )
        .unwrap();
        assert_eq!(event.subject.as_deref(), Some("Euro € 😀"));
        let text = |name: &str| event.attribute(name).unwrap().into_owned();
        assert_eq!(text("quoted"), "a \"b\" c");
        assert_eq!(text("lower"), "€");
        assert_eq!(text("twice"), "%20");
        assert_eq!(event.data, Data::Json(Bytes::from("{\"a\":1}")));
        assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
    }

    #[test]
    fn what_is_no_event_is_said() {
        let say = |more: &[(&str, &str)], body: &'static str| {
            binary(&minimal(more), Bytes::from(body)).unwrap_err().to_string()
        };
        assert!(say(&[("ce-subject", "%C0%A0")], "").contains("percent-encoded UTF-8"));
        assert!(say(&[("ce-datacontenttype", "a/b")], "").contains("ce-datacontenttype"));
        assert!(say(&[("ce-id", "2")], "").contains("`id` is given twice"));
        assert!(say(&[("ce-a_b", "2")], "").contains("a-z and 0-9"));
        assert!(say(&[("content-type", "text/json")], "{").contains("says JSON"));
        let missing = binary(&headers(&[("ce-id", "1")]), Bytes::new()).unwrap_err();
        assert!(missing.to_string().contains("specversion"));
    }
}
