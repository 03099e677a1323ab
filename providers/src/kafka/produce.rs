//! The actions of `/whisk.system/messaging` that produce a record.
//!
//! Source: `spec/feeds-and-cloudevents.md` 2.9. Bytes that are no text can be produced, too.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use evoke_feeds::{ActionCard, NativeAction, ParameterCard};
use evoke_schemas::Secret;
use rdkafka::{
    ClientConfig, ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{
    client::{is_refusal, plain, secure},
    parameters::{Password, Sasl, Tls, is_broker, is_topic, names},
    sink::SinkAction,
    tokens::Tokens,
};

/// Producers that are kept for the next call; the one longest unused goes.
const MAX_PRODUCERS: usize = 10;
/// Longest time until the brokers have a record.
const WITHIN: Duration = Duration::from_secs(25);

/// The actions `kafkaProduce`, `messageHubProduce` and `kafkaSink`.
pub fn native_actions() -> impl Iterator<Item = Arc<dyn NativeAction>> {
    let producers = Arc::new(Producers::default());
    let sink: Arc<dyn NativeAction> = Arc::new(SinkAction(Arc::clone(&producers)));
    let of = move |secured| Arc::new(Produce { secured, producers: Arc::clone(&producers) }) as _;
    [false, true].into_iter().map(of).chain([sink])
}

/// One of the actions.
#[derive(Debug)]
struct Produce {
    /// Whether it has credentials, over TLS.
    secured: bool,
    producers: Arc<Producers>,
}

/// Connected producers, those used last at the end.
#[derive(Debug, Default)]
pub(super) struct Producers(Mutex<VecDeque<(Target, Producer)>>);

/// Whom to produce to, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) brokers: Vec<String>,
    pub(super) sasl: Option<Sasl>,
    pub(super) tls: Option<Tls>,
}

#[derive(Clone)]
struct Producer {
    client: Arc<FutureProducer<Ear>>,
    trouble: watch::Receiver<Option<Trouble>>,
}

/// Hears of troubles.
#[derive(Debug)]
struct Ear {
    trouble: watch::Sender<Option<Trouble>>,
    tokens: Option<Tokens>,
}

#[derive(Clone, Debug)]
struct Trouble {
    text: String,
    refused: bool,
}

/// What is to be produced.
pub(super) struct Wanted {
    pub(super) topic: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
    pub(super) headers: Vec<(String, String)>,
}

#[async_trait]
impl NativeAction for Produce {
    fn card(&self) -> ActionCard {
        let parameter = |name, required, description| ParameterCard { name, required, description };
        let mut parameters = vec![
            parameter(self.brokers(), true, "`host:port` of the brokers"),
            parameter("topic", true, "the topic"),
            parameter("value", true, "the record's value"),
            parameter("key", false, "the record's key"),
            parameter("base64DecodeValue", false, "the value is base64 of the bytes to produce"),
            parameter("base64DecodeKey", false, "the key is base64 of the bytes to produce"),
            parameter("tls", false, "true, or an object of `ca`, `cert` and `key` as PEM"),
        ];
        let (name, description) = if self.secured {
            parameters.push(parameter("user", true, "who produces"));
            parameters.push(parameter("password", true, "the password of who produces"));
            ("messageHubProduce", "Produces a record to a topic of Event Streams.")
        } else {
            ("kafkaProduce", "Produces a record to a topic of Kafka.")
        };
        ActionCard { package: "messaging", name, description, parameters }
    }

    async fn run(&self, arguments: Map<String, Value>) -> Result<Map<String, Value>, Value> {
        let target = self.target(&arguments)?;
        let wanted = wanted(&arguments)?;
        self.producers.send(&target, wanted).await.map_err(Value::from)
    }
}

impl Produce {
    fn brokers(&self) -> &'static str {
        if self.secured { "kafka_brokers_sasl" } else { "brokers" }
    }

    fn target(&self, arguments: &Map<String, Value>) -> Result<Target, Value> {
        let secured: &[&str] = if self.secured { &["user", "password"] } else { &[] };
        let wanted = [&[self.brokers()], secured, &["topic", "value"]].concat();
        let given = |name: &&&str| {
            arguments.get(**name).is_some_and(|value| !value.is_null() && value != "")
        };
        let missing: Vec<_> = wanted.iter().filter(|name| !given(name)).copied().collect();
        if !missing.is_empty() {
            let text = format!("You must supply all of: {}", missing.join(", "));
            return Err(text.into());
        }
        let brokers = arguments.get(self.brokers()).and_then(|value| names(value, is_broker));
        let brokers = brokers
            .ok_or_else(|| format!("`{}` must be one or more `host:port`", self.brokers()))?;
        let text = |name: &str| {
            let text = arguments.get(name).and_then(Value::as_str);
            text.map(str::to_owned).ok_or_else(|| format!("`{name}` must be text"))
        };
        let sasl = if self.secured {
            Some(Sasl::Plain(Password {
                username: text("user")?,
                password: Secret::new(text("password")?),
            }))
        } else {
            None
        };
        let tls = Tls::read(arguments.get("tls"), self.secured)?;
        Ok(Target { brokers, sasl, tls })
    }
}

fn wanted(arguments: &Map<String, Value>) -> Result<Wanted, Value> {
    let topic = arguments.get("topic").and_then(Value::as_str).filter(|name| is_topic(name));
    let topic = topic.ok_or("`topic` must be a topic's name")?.to_owned();
    let bytes = |name: &str, decode: &str| -> Result<Option<Vec<u8>>, Value> {
        let text = match arguments.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        if arguments.get(decode) != Some(&Value::Bool(true)) {
            return Ok(Some(text.into_bytes()));
        }
        let decoded = STANDARD.decode(text.replace(['\n', '\r'], ""));
        let decoded = decoded.ok().filter(|decoded| !decoded.is_empty());
        decoded.map(Some).ok_or_else(|| format!("{name} parameter is not Base64 encoded").into())
    };
    let key = bytes("key", "base64DecodeKey")?;
    let value = bytes("value", "base64DecodeValue")?.unwrap_or_default();
    Ok(Wanted { topic, key, value, headers: Vec::new() })
}

// === impl Producers ===

impl Producers {
    /// Produces the record, and returns when the brokers have it.
    pub(super) async fn send(
        &self,
        target: &Target,
        wanted: Wanted,
    ) -> Result<Map<String, Value>, String> {
        let producer = match self.kept(target) {
            Some(producer) => producer,
            None => Producer::open(target).await?,
        };
        let sent = producer.send(wanted).await;
        // Only what works is kept: whatever else it is, the next call begins anew.
        self.keep(target, sent.is_ok().then_some(producer));
        sent
    }

    fn kept(&self, target: &Target) -> Option<Producer> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(known, _)| known.is(target));
        found.map(|(_, producer)| producer.clone())
    }

    fn keep(&self, target: &Target, producer: Option<Producer>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| !known.is(target));
        if let Some(producer) = producer {
            while kept.len() >= MAX_PRODUCERS {
                kept.pop_front();
            }
            kept.push_back((target.clone(), producer));
        }
    }
}

// === impl Target ===

impl Target {
    fn is(&self, other: &Self) -> bool {
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|it| it.reveal().to_owned());
        let sasl = |target: &Self| {
            let password = target.sasl.as_ref().and_then(Sasl::password);
            password.map(|it| (it.username.clone(), it.password.reveal().to_owned()))
        };
        let tls = |target: &Self| {
            let tls = target.tls.as_ref();
            tls.map(|tls| (tls.ca.clone(), tls.cert.clone(), secret(&tls.key)))
        };
        self.brokers == other.brokers && sasl(self) == sasl(other) && tls(self) == tls(other)
    }
}

// === impl Producer ===

impl Producer {
    async fn open(target: &Target) -> Result<Self, String> {
        let tokens = match &target.sasl {
            Some(Sasl::OAuth(oauth)) => {
                Some(Tokens::open(oauth).await.map_err(|error| error.to_string())?)
            }
            _ => None,
        };
        let mut config = ClientConfig::new();
        let within = WITHIN.as_millis().to_string();
        config
            .set("bootstrap.servers", target.brokers.join(","))
            .set("client.id", "evoke")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("message.timeout.ms", within)
            // A topic that is missing is told soon.
            .set("topic.metadata.propagation.max.ms", "3000")
            .set("allow.auto.create.topics", "false")
            .set("log_level", "4");
        secure(&mut config, target.tls.as_ref(), target.sasl.as_ref());
        let (ear, trouble) = watch::channel(None);
        let client: FutureProducer<Ear> = config
            .create_with_context(Ear { trouble: ear, tokens })
            .map_err(|error| plain(&error))?;
        Ok(Self { client: Arc::new(client), trouble })
    }

    /// Returns when the brokers have the record.
    async fn send(&self, wanted: Wanted) -> Result<Map<String, Value>, String> {
        let Wanted { topic, key, value, headers } = wanted;
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: Some(value) })
        });
        let mut record = FutureRecord::to(&topic).payload(&value).headers(headers);
        if let Some(key) = &key {
            record = record.key(key);
        }
        let mut trouble = self.trouble.clone();
        let refused = trouble.wait_for(|it| it.as_ref().is_some_and(|it| it.refused));
        let sent = tokio::select! {
            sent = self.client.send(record, WITHIN) => sent,
            Ok(refused) = refused => {
                let text = refused.as_ref().map(|it| it.text.clone()).unwrap_or_default();
                return Err(format!("The credentials are refused: {text}"));
            }
        };
        match sent {
            Ok(delivery) => {
                let (partition, offset) = (delivery.partition, delivery.offset);
                let text =
                    format!("Successfully sent message to {topic}:{partition} at offset {offset}");
                let result = json!({"success": true, "message": text});
                Ok(result.as_object().cloned().unwrap_or_default())
            }
            Err((error, _record)) => {
                let heard = self.trouble.borrow().as_ref().map(|it| it.text.clone());
                let heard = heard.map(|text| format!(" ({text})")).unwrap_or_default();
                Err(format!("The record was not produced: {}{heard}", plain(&error)))
            }
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if Arc::strong_count(&self.client) == 1 {
            // To end a client waits for its threads: nobody waits for that.
            let client = Arc::clone(&self.client);
            let ending = std::thread::Builder::new().name("kafka-end".to_owned());
            if let Err(error) = ending.spawn(move || drop(client)) {
                tracing::warn!(%error, "a client of Kafka is ended here and now");
            }
        }
    }
}

impl ClientContext for Ear {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let tokens = self.tokens.as_ref();
        tokens.map(Tokens::newest).ok_or_else(|| "the producer has no tokens".into())
    }

    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let refused = code.is_some_and(is_refusal);
        let says_less = code == Some(RDKafkaErrorCode::AllBrokersDown);
        self.trouble.send_if_modified(|trouble| {
            let known = trouble.as_ref().is_some_and(|trouble| trouble.refused || says_less);
            if !known {
                *trouble = Some(Trouble { text: reason.to_owned(), refused });
            }
            !known
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    async fn refusal(name: &str, arguments: Value) -> String {
        let action = native_actions().find(|action| action.card().name == name).unwrap();
        let refused = action.run(members(arguments)).await.unwrap_err();
        refused.as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn what_is_missing_is_said_at_once() {
        let said = refusal("kafkaProduce", json!({"topic": "t"})).await;
        assert_eq!(said, "You must supply all of: brokers, value");
        let said = refusal("messageHubProduce", json!({"kafka_brokers_sasl": "b:1"})).await;
        assert_eq!(said, "You must supply all of: user, password, topic, value");
        for (more, words) in [
            (json!({"brokers": "nowhere"}), "one or more `host:port`"),
            (json!({"topic": "no topic"}), "a topic's name"),
            (json!({"base64DecodeValue": true}), "value parameter is not Base64"),
            (json!({"key": "%", "base64DecodeKey": true}), "key parameter is not Base64"),
            (json!({"tls": 7}), "`tls` must be"),
        ] {
            let mut arguments = members(json!({"brokers": "b:1", "topic": "t", "value": "%"}));
            arguments.extend(members(more.clone()));
            let said = refusal("kafkaProduce", arguments.into()).await;
            assert!(said.contains(words), "{more}: {said}");
        }
    }
}
