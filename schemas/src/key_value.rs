//! Lists of key and value, as parameters and annotations are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

/// Parameters or annotations: `[{"key": "k", "value": v}, …]` on the wire, a map here.
///
/// Of equal keys the last wins; order does not count. A parameter may carry `init: true`: it is
/// given to the runtime at initialisation and left out of the arguments.
/// Source: spec 1.3, OpenWhisk `Parameter.scala`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyValues(BTreeMap<String, Entry>);

/// One value of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// Whether it goes to initialisation instead of the arguments.
    pub init: bool,
}

#[derive(Deserialize)]
struct Wire {
    key: String,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    init: bool,
}

#[derive(Serialize)]
struct WireRef<'a> {
    key: &'a str,
    value: &'a Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    init: bool,
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
        self.0.insert(key.into(), Entry { value: value.into(), init: false });
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

impl FromIterator<(String, Value)> for KeyValues {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key, Entry { value, init: false })).collect())
    }
}

impl Serialize for KeyValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(key, entry)| WireRef {
            key,
            value: &entry.value,
            init: entry.init,
        }))
    }
}

impl<'de> Deserialize<'de> for KeyValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<Wire>::deserialize(deserializer)
            .map_err(|_detail| de::Error::custom("parameters malformed!"))?;
        Ok(Self(
            list.into_iter()
                .map(|wire| (wire.key, Entry { value: wire.value, init: wire.init }))
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
    fn an_object_is_no_list() {
        let error = serde_json::from_value::<KeyValues>(json!({"a": 1})).unwrap_err();
        assert!(error.to_string().contains("parameters malformed!"));
    }

    #[test]
    fn size_counts_keys_and_json() {
        assert_eq!(list(json!([{"key": "p", "value": "xx"}])).size(), 5);
    }
}
