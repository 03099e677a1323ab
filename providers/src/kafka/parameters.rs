//! Parameters of a feed of topics.

use std::collections::BTreeMap;

use chrono::DateTime;
use evoke_feeds::Fields;
use evoke_schemas::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::{
    position::Partitions,
    tokens::OAuth,
    topics::{Pattern, Topics},
};

/// Most brokers, and most topics, of one feed.
const MAX_NAMES: usize = 1_000;
/// Most records of a batch.
const MAX_MESSAGES: usize = 1_000;
/// Most bytes of a batch.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Longest wait for a batch to be full. Unit: milliseconds.
const MAX_WAIT_MS: u64 = 60_000;

/// Parameters of a feed of topics, checked.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// `host:port` of each broker to ask first.
    pub(super) brokers: Vec<String>,
    pub(super) topics: Topics,
    /// Group whose offsets are told to tools; the feed's own where none is given.
    pub(super) group: Option<String>,
    pub(super) start_from: StartFrom,
    pub(super) value: Form,
    pub(super) key: Form,
    pub(super) batch: Bounds,
    /// Whether records of transactions that are not committed are read too.
    pub(super) uncommitted: bool,
    pub(super) tls: Option<Tls>,
    pub(super) sasl: Option<Sasl>,
}

/// Where a new feed begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartFrom {
    Latest,
    Earliest,
    /// Where the group stands; the present end where it does not.
    Committed,
    /// At the first record of this time or later. Unit: epoch milliseconds.
    Time(u64),
    /// At these offsets; other partitions at their present end.
    Offsets(BTreeMap<String, Partitions>),
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    /// What the record's content type says; without one JSON, else text, else bytes, whichever
    /// they are.
    Auto,
    /// JSON; text where they are none.
    Json,
    /// Text; bytes where they are none.
    String,
    /// Bytes.
    Binary,
}

/// Bounds of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Bounds {
    pub(super) max_messages: usize,
    pub(super) max_bytes: usize,
    pub(super) max_wait_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_messages: 500, max_bytes: 1024 * 1024, max_wait_ms: 0 }
    }
}

/// How brokers and feed know each other; certificates and key as PEM text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tls {
    /// Authorities of the brokers; the system's where none is given.
    pub(super) ca: Option<String>,
    /// The feed's own certificate.
    pub(super) cert: Option<String>,
    pub(super) key: Option<Secret>,
    pub(super) key_password: Option<Secret>,
}

/// Who the feed is.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "mechanism")]
pub(super) enum Sasl {
    #[serde(rename = "PLAIN")]
    Plain(Password),
    #[serde(rename = "SCRAM-SHA-256")]
    Scram256(Password),
    #[serde(rename = "SCRAM-SHA-512")]
    Scram512(Password),
    #[serde(rename = "OAUTHBEARER")]
    OAuth(OAuth),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Password {
    pub(super) username: String,
    pub(super) password: Secret,
}

// === impl Tls ===

impl Tls {
    /// As an action is given it; where it is not given, without own settings or not at all.
    pub(super) fn read(given: Option<&Value>, secured: bool) -> Result<Option<Self>, String> {
        match given {
            None | Some(Value::Null) => Ok(secured.then(Self::default)),
            Some(Value::Bool(wanted)) => Ok(wanted.then(Self::default)),
            Some(given) => Self::deserialize(given)
                .map(Some)
                .map_err(|error| format!("`tls` must be true or an object of PEM texts: {error}")),
        }
    }
}

// === impl Sasl ===

impl Sasl {
    /// The mechanism's name, as Kafka has it.
    pub(super) fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain(_) => "PLAIN",
            Self::Scram256(_) => "SCRAM-SHA-256",
            Self::Scram512(_) => "SCRAM-SHA-512",
            Self::OAuth(_) => "OAUTHBEARER",
        }
    }

    /// The password, where it is one.
    pub(super) fn password(&self) -> Option<&Password> {
        match self {
            Self::Plain(password) | Self::Scram256(password) | Self::Scram512(password) => {
                Some(password)
            }
            Self::OAuth(_) => None,
        }
    }
}

// === impl Parameters ===

impl Parameters {
    /// Reads all of them; every mistake is noted.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let want = "one or more `host:port`, as an array or separated by commas";
        let brokers = fields.optional_with("brokers", want, |value| names(value, is_broker));
        if brokers.is_none() && !fields.has("brokers") {
            fields.mistake(format!("`brokers` is missing: it must be {want}"));
        }
        let topics = read_topics(fields);
        let group = fields.optional_with("group", "1 to 249 characters", |value| {
            value.as_str().filter(|name| (1..=249).contains(&name.len())).map(str::to_owned)
        });
        let want = "`latest`, `earliest`, `committed`, {\"time\": …} or {\"offsets\": {topic: {partition: offset}}}";
        let start_from = fields.optional_with("startFrom", want, read_start);
        let want = "`auto`, `json`, `string` or `binary`";
        let value = fields.optional("value", want).unwrap_or(Form::Auto);
        let key = fields.optional("key", want).unwrap_or(Form::String);
        let want = "an object of `maxMessages` (1 to 1000), `maxBytes` (1 to 8388608) and `maxWaitMs` (up to 60000)";
        let batch = fields.optional_with("batch", want, read_bounds).unwrap_or_default();
        let want = "`read_committed` or `read_uncommitted`";
        let uncommitted =
            fields.optional_with("isolation", want, |value| match value.as_str()? {
                "read_committed" => Some(false),
                "read_uncommitted" => Some(true),
                _ => None,
            });
        let tls = read_tls(fields);
        let want = "{\"mechanism\": `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`, \"username\", \"password\"}, or {\"mechanism\": `OAUTHBEARER`, \"tokenUrl\", \"clientId\", \"clientSecret\", \"scope\"}";
        let sasl = fields.optional("sasl", want);
        Some(Self {
            brokers: brokers?,
            topics: topics?,
            group,
            start_from: start_from.unwrap_or(StartFrom::Latest),
            value,
            key,
            batch,
            uncommitted: uncommitted.unwrap_or(false),
            tls,
            sasl,
        })
    }
}

fn read_topics(fields: &mut Fields<'_>) -> Option<Topics> {
    let given = ["topic", "topics", "topicPattern"].iter().filter(|name| fields.has(name)).count();
    if given != 1 {
        fields.mistake("one of `topic`, `topics` and `topicPattern` must be given");
    }
    let want = "a topic's name: 1 to 249 of letters, digits, `.`, `_` and `-`";
    let one = fields.optional_with("topic", want, |value| {
        value.as_str().filter(|name| is_topic(name)).map(|name| vec![name.to_owned()])
    });
    let want = "an array of topics' names";
    let many = fields.optional_with("topics", want, |value| names(value, is_topic));
    let want = "a topic's name with `*` for any characters and `?` for one";
    let pattern = fields.optional_with("topicPattern", want, |value| Pattern::new(value.as_str()?));
    one.or(many).map(Topics::Named).or(pattern.map(Topics::Pattern))
}

fn read_tls(fields: &mut Fields<'_>) -> Option<Tls> {
    let want = "true, or an object of `ca`, `cert`, `key` (PEM texts) and `keyPassword`";
    let tls = fields.optional_with("tls", want, |value| match value {
        Value::Bool(wanted) => Some(wanted.then(Tls::default)),
        other => Tls::deserialize(other).ok().map(Some),
    });
    let tls = tls.flatten()?;
    if tls.cert.is_some() != tls.key.is_some() {
        fields.mistake("`tls.cert` and `tls.key` go together");
    }
    Some(tls)
}

fn read_bounds(value: &Value) -> Option<Bounds> {
    let bounds = Bounds::deserialize(value).ok()?;
    let good = (1..=MAX_MESSAGES).contains(&bounds.max_messages)
        && (1..=MAX_BYTES).contains(&bounds.max_bytes)
        && bounds.max_wait_ms <= MAX_WAIT_MS;
    good.then_some(bounds)
}

/// Texts of an array, or of one text between commas.
pub(super) fn names(value: &Value, is_good: fn(&str) -> bool) -> Option<Vec<String>> {
    let names: Vec<String> = match value {
        Value::String(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        other => Vec::deserialize(other).ok()?,
    };
    let good = (1..=MAX_NAMES).contains(&names.len()) && names.iter().all(|name| is_good(name));
    good.then_some(names)
}

pub(super) fn is_broker(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(['/', '@', ' ', ','])
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

pub(super) fn is_topic(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=249).contains(&name.len()) && name.chars().all(allowed)
}

fn read_start(value: &Value) -> Option<StartFrom> {
    match value {
        Value::String(text) => match text.as_str() {
            "latest" => Some(StartFrom::Latest),
            "earliest" => Some(StartFrom::Earliest),
            "committed" => Some(StartFrom::Committed),
            _ => None,
        },
        Value::Object(members) if members.len() == 1 => {
            if let Some(time) = members.get("time") {
                return read_time(time).map(StartFrom::Time);
            }
            offsets(members.get("offsets")?).ok()
        }
        _ => None,
    }
}

fn read_time(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => {
            DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis().try_into().ok()
        }
        other => other.as_u64(),
    }
}

/// Offsets as people give them: `{topic: {partition: offset}}`.
pub(super) fn offsets(value: &Value) -> Result<StartFrom, String> {
    let want = "offsets must be {\"topic\": {\"partition\": offset}}";
    let offsets = BTreeMap::<String, BTreeMap<i32, i64>>::deserialize(value);
    let offsets = offsets.map_err(|error| format!("{want}: {error}"))?;
    let mut all = offsets.values().flatten();
    if all.any(|(partition, offset)| *partition < 0 || *offset < 0) {
        return Err(format!("{want}, none of them below 0"));
    }
    Ok(StartFrom::Offsets(offsets))
}

#[cfg(test)]
mod tests {
    use evoke_feeds::Registry;
    use serde_json::json;

    use super::*;
    use crate::kafka::Kafka;

    fn check(parameters: &Value) -> Result<(), String> {
        let registry = Registry::new().with(Kafka);
        let checked = registry.check("kafka", parameters.as_object().unwrap());
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn c2_what_is_right_is_taken() {
        for more in [
            json!({"topic": "a"}),
            json!({"topics": ["a", "b.c"], "startFrom": "earliest", "value": "binary"}),
            json!({"topicPattern": "orders-*", "startFrom": {"time": "2026-01-01T00:00:00Z"}}),
            json!({"topic": "a", "startFrom": {"offsets": {"a": {"0": 12}}}, "group": "g"}),
            json!({"topic": "a", "tls": {"ca": "PEM", "cert": "PEM", "key": "PEM"}}),
            json!({"topic": "a", "tls": true, "isolation": "read_uncommitted",
                "batch": {"maxMessages": 1, "maxBytes": 10, "maxWaitMs": 5},
                "sasl": {"mechanism": "SCRAM-SHA-512", "username": "u", "password": "p"}}),
        ] {
            for brokers in [json!("b1:9092, b2:9093"), json!(["b1:9092"])] {
                let mut parameters = more.clone();
                parameters["brokers"] = brokers;
                assert_eq!(check(&parameters), Ok(()), "{parameters}");
            }
        }
    }

    #[test]
    fn c2_each_mistake_is_named() {
        let wrong = json!({
            "brokers": ["b1"], "topic": "no topic", "topicPattern": "[", "startFrom": "then",
            "value": "xml", "batch": {"maxMessages": 0}, "tls": {"cert": "PEM"},
            "sasl": {"mechanism": "GSSAPI", "username": "u", "password": "hunter2"}, "isolation": 1,
            "colour": "red",
        });
        let error = check(&wrong).unwrap_err();
        for part in [
            "`brokers` must be",
            "one of `topic`, `topics` and `topicPattern`",
            "`topic` must be",
            "`topicPattern` must be",
            "`startFrom` must be",
            "`value` must be",
            "`batch` must be",
            "`tls.cert` and `tls.key` go together",
            "`sasl` must be",
            "`isolation` must be",
            "unknown parameter `colour`",
        ] {
            assert!(error.contains(part), "no {part} in {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
        let error = check(&json!({})).unwrap_err();
        assert!(error.contains("`brokers` is missing") && error.contains("one of `topic`"));
    }
}
