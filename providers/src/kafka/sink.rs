//! The action of `/whisk.system/messaging` that lets events leave the hub: as a rule's target it
//! produces each event as a record, a CloudEvent in binary mode where it is one.
//!
//! Source: CloudEvents' Kafka protocol binding 1.0, 3.2; the key is the `partitionkey`.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use evoke_feeds::{ActionCard, NativeAction, ParameterCard};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    parameters::{Sasl, Tls, is_broker, is_topic, names},
    produce::{Producers, Target, Wanted},
};

/// Parameter that says where to.
const PLACE: &str = "kafka";
/// Argument that holds the attributes of a CloudEvent.
const ATTRIBUTES: &str = "__ce";

/// The action `kafkaSink`.
#[derive(Debug)]
pub(super) struct SinkAction(pub(super) Arc<Producers>);

/// Where to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    brokers: Value,
    topic: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    tls: Option<Value>,
    #[serde(default)]
    sasl: Option<Sasl>,
}

#[async_trait]
impl NativeAction for SinkAction {
    fn card(&self) -> ActionCard {
        let description = "where to: an object of `brokers`, `topic`, and where needed `key`, \
                           `tls` and `sasl`";
        ActionCard {
            package: "messaging",
            name: "kafkaSink",
            description: "Produces the event that it gets as a record, a CloudEvent as one.",
            parameters: vec![ParameterCard { name: PLACE, required: true, description }],
        }
    }

    async fn run(&self, mut arguments: Map<String, Value>) -> Result<Map<String, Value>, Value> {
        let place = arguments.remove(PLACE).unwrap_or_default();
        let place: Place = serde_json::from_value(place).map_err(|error| {
            format!("`{PLACE}` must be an object of `brokers` and `topic`: {error}")
        })?;
        let brokers = names(&place.brokers, is_broker);
        let brokers = brokers.ok_or("`kafka.brokers` must be one or more `host:port`")?;
        if !is_topic(&place.topic) {
            return Err("`kafka.topic` must be a topic's name".into());
        }
        let target =
            Target { brokers, sasl: place.sasl, tls: Tls::read(place.tls.as_ref(), false)? };
        let record = record(place.topic, place.key, arguments);
        self.0.send(&target, record).await.map_err(Value::from)
    }
}

/// The record of what an action got.
fn record(topic: String, key: Option<String>, mut arguments: Map<String, Value>) -> Wanted {
    arguments.remove("__ow_headers");
    let Some(Value::Object(attributes)) = arguments.remove(ATTRIBUTES) else {
        let value = Value::Object(arguments).to_string().into_bytes();
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        return Wanted { topic, key: key.map(String::into_bytes), value, headers };
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let media = attributes.get("datacontenttype").map(text);
    let own = attributes.get("partitionkey").map(text);
    let named = attributes.iter().filter(|(name, _)| *name != "datacontenttype");
    let mut headers: Vec<(String, String)> =
        named.map(|(name, value)| (format!("ce_{name}"), text(value))).collect();
    let media = media.unwrap_or_else(|| "application/json".to_owned());
    let value = data(&media, arguments);
    headers.push(("content-type".to_owned(), media));
    Wanted { topic, key: key.or(own).map(String::into_bytes), value, headers }
}

/// The data that the arguments were made of.
fn data(media: &str, arguments: Map<String, Value>) -> Vec<u8> {
    let other = !evoke_schemas::event::is_json_type(media);
    match arguments.get("data") {
        Some(Value::String(text)) if other && arguments.len() == 1 => {
            let decoded =
                if media.starts_with("text/") { None } else { STANDARD.decode(text).ok() };
            decoded.unwrap_or_else(|| text.clone().into_bytes())
        }
        _ => Value::Object(arguments).to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn e7_a_cloudevent_is_a_record_in_binary_mode() {
        let made = record(
            "t".to_owned(),
            None,
            members(json!({"count": 2, "__ce": {"specversion": "1.0", "id": "1", "source": "/s",
                "type": "order", "partitionkey": "c7", "n": 3, "datacontenttype": "application/json"}})),
        );
        assert_eq!(made.key.as_deref(), Some(&b"c7"[..]));
        assert_eq!(made.value, b"{\"count\":2}");
        let mut headers = made.headers;
        headers.sort();
        let wanted = [
            ("ce_id", "1"),
            ("ce_n", "3"),
            ("ce_partitionkey", "c7"),
            ("ce_source", "/s"),
            ("ce_specversion", "1.0"),
            ("ce_type", "order"),
            ("content-type", "application/json"),
        ];
        assert!(headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).eq(wanted), "{headers:?}");
    }

    #[test]
    fn other_data_is_as_it_was_and_a_plain_firing_is_json() {
        for (media, arguments, value) in [
            ("text/plain", json!({"data": "hi"}), &b"hi"[..]),
            ("application/octet-stream", json!({"data": "AAEC"}), &[0, 1, 2]),
            ("application/json", json!({"data": "hi"}), b"{\"data\":\"hi\"}"),
        ] {
            assert_eq!(data(media, members(arguments)), value, "{media}");
        }
        let made = record(
            "t".to_owned(),
            Some("k".to_owned()),
            members(json!({"a": 1, "__ow_headers": {}})),
        );
        assert_eq!(
            (made.value.as_slice(), made.key.as_deref()),
            (&b"{\"a\":1}"[..], Some(&b"k"[..]))
        );
        assert_eq!(made.headers.len(), 1);
    }

    #[tokio::test]
    async fn where_to_must_be_said() {
        let action = SinkAction(Arc::default());
        for (kafka, words) in [
            (json!(null), "an object of `brokers` and `topic`"),
            (json!({"brokers": "b:1", "topic": "t", "colour": 1}), "colour"),
            (json!({"brokers": "b", "topic": "t"}), "`kafka.brokers`"),
            (json!({"brokers": "b:1", "topic": "no topic"}), "`kafka.topic`"),
            (json!({"brokers": "b:1", "topic": "t", "tls": 7}), "`tls` must be"),
        ] {
            let refused = action.run(members(json!({"kafka": kafka.clone()}))).await.unwrap_err();
            assert!(refused.as_str().unwrap().contains(words), "{kafka}: {refused}");
        }
    }
}
