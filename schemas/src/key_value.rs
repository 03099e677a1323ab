//! Lists of key and value, as parameters and annotations are written.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

/// Parameters or annotations: `[{"key": "k", "value": v}, …]` on the wire, a map here.
///
/// Of equal keys the last wins; order does not count. A parameter may carry `init: true`: it is
/// given to the runtime at initialisation and left out of the arguments. One that carries
/// `secret: true` is written as [`MASK`]: its value leaves this type by name only.
/// Source: spec 1.3, OpenWhisk `Parameter.scala`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyValues(BTreeMap<String, Entry>);

/// What is shown and written in the place of a secret.
pub const MASK: &str = "***";

/// One value of a list.
#[derive(Clone, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// Whether it goes to initialisation instead of the arguments.
    pub init: bool,
    /// Whether nobody but the function may see it.
    pub secret: bool,
}

/// A parameter is marked secret, and neither it nor what was there has a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{0}` is secret and its value is not known: give it")]
pub struct UnknownSecret(pub String);

#[derive(Deserialize)]
struct Wire {
    key: String,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    init: bool,
    #[serde(default)]
    secret: bool,
}

#[derive(Serialize)]
struct WireRef<'a> {
    key: &'a str,
    value: &'a Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    init: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    secret: bool,
}

impl KeyValues {
    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).map(|entry| &entry.value)
    }

    /// Whether the value under `key` counts as true, as JavaScript and OpenWhisk have it.
    #[must_use]
    pub fn is_truthy(&self, key: &str) -> bool {
        match self.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(value)) => *value,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(_) | Value::Object(_)) => true,
        }
    }

    /// Sets one value.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(key.into(), Entry::plain(value.into()));
    }

    /// The values of all that are secret: to be sealed, never to be shown.
    #[must_use]
    pub fn secrets(&self) -> Map<String, Value> {
        let secrets = self.iter().filter(|(_, entry)| entry.secret);
        secrets.map(|(key, entry)| (key.to_owned(), entry.value.clone())).collect()
    }

    /// Gives those that are secret their values back.
    pub fn restore(&mut self, mut secrets: Map<String, Value>) {
        for (key, entry) in self.0.iter_mut().filter(|(_, entry)| entry.secret) {
            if let Some(value) = secrets.remove(key) {
                entry.value = value;
            }
        }
    }

    /// Takes over from `before` what is sent back as it was shown: a secret that is [`MASK`] or
    /// has no value.
    ///
    /// # Errors
    /// [`UnknownSecret`]: there was no such secret before.
    pub fn keep_masked(&mut self, before: Option<&Self>) -> Result<(), UnknownSecret> {
        for (key, entry) in &mut self.0 {
            let masked = entry.value.as_str() == Some(MASK);
            let absent = entry.secret && entry.value.is_null();
            let known = before.and_then(|before| before.0.get(key)).filter(|known| known.secret);
            match known {
                Some(known) if masked || absent => {
                    entry.value = known.value.clone();
                    entry.secret = true;
                }
                None if entry.secret && (masked || absent) => {
                    return Err(UnknownSecret(key.clone()));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Whether any of them is secret.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.0.values().any(|entry| entry.secret)
    }

    /// Takes one value out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).map(|entry| entry.value)
    }

    /// Takes over every entry of `upper`, which wins.
    pub fn overlay(&mut self, upper: &Self) {
        self.0.extend(upper.0.iter().map(|(key, entry)| (key.clone(), entry.clone())));
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are arguments, as an object.
    #[must_use]
    pub fn arguments(&self) -> Map<String, Value> {
        self.iter()
            .filter(|(_, entry)| !entry.init)
            .map(|(key, entry)| (key.to_owned(), entry.value.clone()))
            .collect()
    }

    /// Those that go to initialisation, as environment variables: strings as they are, null as
    /// the empty string, all else as JSON.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.iter()
            .filter(|(_, entry)| entry.init)
            .map(|(key, entry)| {
                let text = match &entry.value {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                (key.to_owned(), text)
            })
            .collect()
    }

    /// Size as OpenWhisk counts it: the keys' and the values' JSON, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.iter().map(|(key, entry)| key.len() + entry.value.to_string().len()).sum()
    }
}

// === impl Entry ===

impl Entry {
    fn plain(value: Value) -> Self {
        Self { value, init: false, secret: false }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mask = Value::from(MASK);
        let value = if self.secret { &mask } else { &self.value };
        let mut shown = f.debug_struct("Entry");
        shown.field("value", value).field("init", &self.init).field("secret", &self.secret);
        shown.finish()
    }
}

impl FromIterator<(String, Value)> for KeyValues {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key, Entry::plain(value))).collect())
    }
}

impl Serialize for KeyValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mask = Value::from(MASK);
        serializer.collect_seq(self.iter().map(|(key, entry)| WireRef {
            key,
            value: if entry.secret { &mask } else { &entry.value },
            init: entry.init,
            secret: entry.secret,
        }))
    }
}

impl<'de> Deserialize<'de> for KeyValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<Wire>::deserialize(deserializer)
            .map_err(|_detail| de::Error::custom("parameters malformed!"))?;
        Ok(Self(
            list.into_iter()
                .map(|Wire { key, value, init, secret }| (key, Entry { value, init, secret }))
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(value: Value) -> KeyValues {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_last_of_equal_keys_wins_and_init_is_kept_apart() {
        let values = list(json!([
            {"key": "a", "value": 1},
            {"key": "a", "value": 2},
            {"key": "E", "value": {"x": 1}, "init": true},
            {"key": "N", "value": null, "init": true},
        ]));
        assert_eq!(Value::Object(values.arguments()), json!({"a": 2}));
        let environment = values.environment();
        assert_eq!(environment.get("E").map(String::as_str), Some("{\"x\":1}"));
        assert_eq!(environment.get("N").map(String::as_str), Some(""));
        assert_eq!(
            serde_json::to_value(&values).unwrap(),
            json!([
                {"key": "E", "value": {"x": 1}, "init": true},
                {"key": "N", "value": null, "init": true},
                {"key": "a", "value": 2},
            ])
        );
    }

    #[test]
    fn a_secret_is_masked_wherever_it_is_written() {
        let mut values = list(json!([
            {"key": "token", "value": "hunter2", "secret": true},
            {"key": "E", "value": "hunter3", "init": true, "secret": true},
            {"key": "a", "value": 1},
        ]));
        let written = serde_json::to_string(&values).unwrap();
        assert!(!format!("{written}{values:?}").contains("hunter"), "{written}");
        let back: KeyValues = serde_json::from_str(&written).unwrap();
        assert_eq!(back.get("token"), Some(&json!("***")));
        assert_eq!(values.arguments().get("token"), Some(&json!("hunter2")));
        assert_eq!(values.environment().get("E").map(String::as_str), Some("hunter3"));

        let mut restored = back.clone();
        restored.restore(values.secrets());
        assert_eq!(restored, values);
        let mut sent = back.clone();
        sent.keep_masked(Some(&values)).unwrap();
        assert_eq!(sent, values, "what is sent back as it was shown stays");
        assert_eq!(sent.keep_masked(None), Ok(()));
        let mut unknown = back;
        assert_eq!(unknown.keep_masked(None), Err(UnknownSecret("E".to_owned())));
        let mut bare =
            list(json!([{"key": "token", "secret": true}, {"key": "a", "value": "***"}]));
        bare.keep_masked(Some(&values)).unwrap();
        assert_eq!(bare.get("token"), Some(&json!("hunter2")));
        assert_eq!(bare.get("a"), Some(&json!("***")), "that was no secret");
        values.set("token", "open");
        assert!(serde_json::to_string(&values).unwrap().contains("open"));
    }

    #[test]
    fn an_object_is_no_list() {
        let error = serde_json::from_value::<KeyValues>(json!({"a": 1})).unwrap_err();
        assert!(error.to_string().contains("parameters malformed!"));
    }

    #[test]
    fn size_counts_keys_and_json() {
        assert_eq!(list(json!([{"key": "p", "value": "xx"}])).size(), 5);
    }
}
