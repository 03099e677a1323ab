//! Kafka for OpenWhisk's clients: the feeds of `/whisk.system/messaging`.
//!
//! Source: `spec/feeds-and-cloudevents.md` 2.1 and 2.2.

use std::sync::Arc;

use evoke_feeds::{ActionCard, FeedAction, FeedRefusal, ParameterCard, Provider as _};
use evoke_schemas::FullName;
use serde_json::{Map, Value, json};

use super::Kafka;

/// What the package is for.
pub const PACKAGE: &str = "Records of Kafka and Event Streams as events, and producing of them.";
/// Longest wait for more records of an event. Unit: milliseconds.
const MAX_WAIT_MS: u64 = 20;
/// Parameters of ours that are handed on as they are.
const OURS: [&str; 5] = ["startFrom", "group", "isolation", "batch", "tls"];
/// Parameters of OpenWhisk's that nothing here needs.
const UNUSED: [&str; 6] =
    ["kafka_admin_url", "dedicated", "DB_URL", "DB_NAME", "workers", "isIamKey"];

type Members = Map<String, Value>;

/// The feed actions `kafkaFeed` and `messageHubFeed`.
pub fn feed_actions() -> impl Iterator<Item = Arc<dyn FeedAction>> {
    [Kind::Kafka, Kind::MessageHub].into_iter().map(|kind| Arc::new(TopicAction { kind }) as _)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kafka,
    /// With credentials, over TLS.
    MessageHub,
}

#[derive(Debug)]
struct TopicAction {
    kind: Kind,
}

// === impl Kind ===

impl Kind {
    fn brokers(self) -> &'static str {
        match self {
            Self::Kafka => "brokers",
            Self::MessageHub => "kafka_brokers_sasl",
        }
    }
}

// === impl TopicAction ===

impl FeedAction for TopicAction {
    fn card(&self) -> ActionCard {
        let mut parameters = vec![required("topic", "the topic")];
        parameters.push(required(self.kind.brokers(), "`host:port` of the brokers"));
        if self.kind == Kind::MessageHub {
            parameters.extend([
                required("user", "who reads"),
                required("password", "the password of who reads"),
                required("kafka_admin_url", "address of the administration; not asked here"),
            ]);
        }
        for (name, description) in [
            ("isJSONData", "values are parsed as JSON"),
            ("isBinaryValue", "values come as base64"),
            ("isBinaryKey", "keys come as base64"),
        ] {
            parameters.push(ParameterCard { name, required: false, description });
        }
        let (name, description) = match self.kind {
            Kind::Kafka => ("kafkaFeed", "Fires a trigger with the records of a topic."),
            Kind::MessageHub => {
                ("messageHubFeed", "Fires a trigger with the records of a topic of Event Streams.")
            }
        };
        ActionCard { package: "messaging", name, description, parameters }
    }

    fn provider(&self) -> &'static str {
        Kafka::NAME
    }

    fn create(&self, asked: &Members) -> Result<Members, FeedRefusal> {
        let asked = with_bound_credentials(asked);
        if !is_given(&asked, "topic") {
            return Err(FeedRefusal::bad("You must supply a \"topic\" parameter."));
        }
        let [json, binary, binary_key] =
            ["isJSONData", "isBinaryValue", "isBinaryKey"].map(|name| is_true(asked.get(name)));
        if json && binary {
            return Err(FeedRefusal::bad("isJSONData and isBinaryValue cannot both be enabled."));
        }
        let mut made = Map::new();
        made.insert("topic".to_owned(), json!(asked.get("topic")));
        made.insert("brokers".to_owned(), brokers(&asked, self.kind.brokers())?);
        let value = if json {
            "json"
        } else if binary {
            "binary"
        } else {
            "string"
        };
        made.insert("value".to_owned(), value.into());
        made.insert("key".to_owned(), if binary_key { "binary" } else { "string" }.into());
        if self.kind == Kind::MessageHub {
            for name in ["user", "password", "kafka_admin_url"] {
                if !is_given(&asked, name) {
                    return Err(FeedRefusal::bad(format!(
                        "You must supply a \"{name}\" parameter."
                    )));
                }
            }
            let sasl = json!({"mechanism": "PLAIN", "username": asked.get("user"),
                "password": asked.get("password")});
            made.insert("sasl".to_owned(), sasl);
            made.insert("tls".to_owned(), true.into());
        }
        made.insert("isolation".to_owned(), "read_uncommitted".into());
        made.insert("batch".to_owned(), json!({"maxWaitMs": MAX_WAIT_MS}));
        let ours = asked.iter().filter(|(name, _)| OURS.contains(&name.as_str()));
        made.extend(ours.map(|(name, value)| (name.clone(), value.clone())));
        let unknown: Vec<_> = asked.keys().filter(|name| !self.knows(name)).cloned().collect();
        if unknown.is_empty() {
            Ok(made)
        } else {
            Err(FeedRefusal::bad(format!("unknown parameter `{}`", unknown.join("`, `"))))
        }
    }

    fn update(&self, present: &Members, asked: &Members) -> Result<Members, FeedRefusal> {
        if asked.is_empty() {
            return Err(FeedRefusal::bad("You must supply at least one parameter to update."));
        }
        let mut after = self.asked_for(present);
        after.extend(with_bound_credentials(asked));
        self.create(&after)
    }

    fn identity(&self, trigger: &FullName) -> Members {
        let name = format!("/{}/{}", trigger.namespace, trigger.name);
        Map::from_iter([("triggerName".to_owned(), name.into())])
    }

    fn config(&self, present: &Members) -> Members {
        let mut config = self.asked_for(present);
        config.retain(|name, _| name != "password" && name != "kafka_admin_url");
        config.retain(|name, _| !OURS.contains(&name.as_str()));
        config
    }

    fn created(&self, uuid: &str) -> Members {
        Map::from_iter([("uuid".to_owned(), uuid.into())])
    }

    fn done(&self) -> Members {
        Map::new()
    }

    fn refused(&self, refusal: &FeedRefusal) -> Members {
        Map::from_iter([("error".to_owned(), refusal.message.as_str().into())])
    }
}

impl TopicAction {
    fn knows(&self, name: &str) -> bool {
        let own: &[&str] = match self.kind {
            Kind::Kafka => &[],
            Kind::MessageHub => &["user", "password"],
        };
        ["topic", "isJSONData", "isBinaryValue", "isBinaryKey", self.kind.brokers()].contains(&name)
            || own.contains(&name)
            || OURS.contains(&name)
            || UNUSED.contains(&name)
    }

    /// The parameters that a feed with these of the provider was asked for with.
    fn asked_for(&self, present: &Members) -> Members {
        let is = |name: &str, form: &str| present.get(name).is_some_and(|value| value == form);
        let mut asked = Map::from_iter([
            ("topic".to_owned(), json!(present.get("topic"))),
            (self.kind.brokers().to_owned(), json!(present.get("brokers"))),
            ("isJSONData".to_owned(), is("value", "json").into()),
            ("isBinaryValue".to_owned(), is("value", "binary").into()),
            ("isBinaryKey".to_owned(), is("key", "binary").into()),
        ]);
        if let Some(sasl) = present.get("sasl") {
            asked.insert("user".to_owned(), json!(sasl.get("username")));
            asked.insert("password".to_owned(), json!(sasl.get("password")));
            // It is not kept, and must be given only once.
            asked.insert("kafka_admin_url".to_owned(), "-".into());
        }
        let ours = present.iter().filter(|(name, _)| OURS.contains(&name.as_str()));
        asked.extend(ours.map(|(name, value)| (name.clone(), value.clone())));
        asked
    }
}

/// Credentials that a binding gives replace those of the call.
fn with_bound_credentials(asked: &Members) -> Members {
    let mut asked = asked.clone();
    let bound = asked.remove("__bx_creds");
    let bound = bound.as_ref().and_then(|bound| bound.get("messagehub")?.as_object());
    for name in ["kafka_brokers_sasl", "user", "password", "kafka_admin_url"] {
        if let Some(bound) = bound {
            asked.insert(name.to_owned(), json!(bound.get(name)));
        }
    }
    asked
}

/// An array of texts, or one text between commas.
fn brokers(asked: &Members, name: &str) -> Result<Value, FeedRefusal> {
    if !is_given(asked, name) {
        return Err(FeedRefusal::bad(format!("You must supply a \"{name}\" parameter.")));
    }
    let list: Vec<Value> = match asked.get(name) {
        Some(Value::String(text)) => text.split(',').map(|broker| broker.trim().into()).collect(),
        Some(Value::Array(list)) => list.clone(),
        _ => Vec::new(),
    };
    if list.is_empty() || !list.iter().all(Value::is_string) {
        let text =
            format!("You must supply a \"{name}\" parameter as an array of Message Hub brokers.");
        return Err(FeedRefusal::bad(text));
    }
    Ok(list.into())
}

fn is_given(asked: &Members, name: &str) -> bool {
    asked.get(name).is_some_and(|value| !value.is_null() && value != "")
}

fn is_true(value: Option<&Value>) -> bool {
    value.is_some_and(|value| match value {
        Value::Bool(flag) => *flag,
        Value::String(text) => text.trim().eq_ignore_ascii_case("true"),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    })
}

fn required(name: &'static str, description: &'static str) -> ParameterCard {
    ParameterCard { name, required: true, description }
}

#[cfg(test)]
mod tests {
    use evoke_feeds::Registry;

    use super::*;

    const KAFKA: TopicAction = TopicAction { kind: Kind::Kafka };
    const HUB: TopicAction = TopicAction { kind: Kind::MessageHub };

    fn members(value: Value) -> Members {
        serde_json::from_value(value).unwrap()
    }

    fn made(action: &TopicAction, asked: Value) -> Members {
        let made = action.create(&members(asked)).unwrap();
        Registry::new().with(Kafka).check("kafka", &made).unwrap();
        made
    }

    fn hub() -> Value {
        json!({"kafka_brokers_sasl": ["b:1", "c:2"], "user": "u", "password": "hunter2",
            "kafka_admin_url": "https://admin", "topic": "t"})
    }

    #[test]
    fn c1_what_was_asked_for_is_read_back_without_the_password() {
        let feed = made(
            &KAFKA,
            json!({"brokers": "b:1,c:2", "topic": "t", "isJSONData": " True ", "isBinaryKey": true}),
        );
        assert_eq!(
            Value::Object(KAFKA.config(&feed)),
            json!({"topic": "t", "brokers": ["b:1", "c:2"], "isJSONData": true,
                "isBinaryValue": false, "isBinaryKey": true})
        );
        let feed = made(&HUB, hub());
        assert_eq!((&feed["sasl"]["mechanism"], &feed["tls"]), (&json!("PLAIN"), &json!(true)));
        assert_eq!(
            Value::Object(HUB.config(&feed)),
            json!({"topic": "t", "kafka_brokers_sasl": ["b:1", "c:2"], "isJSONData": false,
                "isBinaryValue": false, "isBinaryKey": false, "user": "u"})
        );
        let bound = json!({"topic": "t", "user": "other", "__bx_creds": {"messagehub": hub()}});
        assert_eq!(made(&HUB, bound)["sasl"]["username"], json!("u"));
        assert_eq!(Value::Object(KAFKA.created("1-2")), json!({"uuid": "1-2"}));
        assert_eq!(KAFKA.done(), Map::new());
        let name = FullName::parse("/guest/t", &evoke_schemas::Namespace::new("x").unwrap());
        let identity = KAFKA.identity(&name.unwrap());
        assert_eq!(Value::Object(identity), json!({"triggerName": "/guest/t"}));
    }

    #[test]
    fn c2_checks_come_in_openwhisks_order() {
        let without = |name: &str| {
            let mut asked = members(hub());
            asked.remove(name);
            Value::Object(asked)
        };
        for (action, asked, words) in [
            (&KAFKA, json!({}), "supply a \"topic\""),
            (&KAFKA, json!({"topic": "", "isJSONData": true}), "supply a \"topic\""),
            (
                &KAFKA,
                json!({"topic": "t", "isJSONData": true, "isBinaryValue": "true"}),
                "isJSONData and isBinaryValue cannot both be enabled",
            ),
            (&KAFKA, json!({"topic": "t"}), "supply a \"brokers\""),
            (&KAFKA, json!({"topic": "t", "brokers": []}), "as an array"),
            (&KAFKA, json!({"topic": "t", "brokers": 7}), "as an array"),
            (&KAFKA, json!({"topic": "t", "brokers": "b:1", "colour": 1}), "parameter `colour`"),
            (&HUB, without("kafka_brokers_sasl"), "supply a \"kafka_brokers_sasl\""),
            (&HUB, without("user"), "supply a \"user\""),
            (&HUB, without("password"), "supply a \"password\""),
            (&HUB, without("kafka_admin_url"), "supply a \"kafka_admin_url\""),
        ] {
            let refusal = action.create(&members(asked.clone())).unwrap_err();
            assert_eq!(refusal.status, 400);
            assert!(refusal.message.contains(words), "{asked}: {refusal}");
            let result = Value::Object(action.refused(&refusal));
            assert_eq!(result, json!({"error": refusal.message}), "plain text");
        }
    }

    #[test]
    fn an_update_changes_everything_that_it_names() {
        let feed = made(&HUB, hub());
        let asked = members(json!({"isBinaryValue": true, "password": "other", "topic": "u"}));
        let after = HUB.update(&feed, &asked).unwrap();
        assert_eq!((&after["value"], &after["topic"]), (&json!("binary"), &json!("u")));
        assert_eq!(after["sasl"]["password"], json!("other"));
        assert_eq!(after["sasl"]["username"], json!("u"));
        let both = members(json!({"isJSONData": true}));
        assert!(HUB.update(&after, &both).is_err(), "with what stands they exclude each other");
        assert!(HUB.update(&feed, &Map::new()).is_err());
    }
}
