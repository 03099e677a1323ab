//! Secrets in an export: a variable in the place of each, and the text of all else escaped.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::apply::{MASK, escaped};

/// Words in the names of inputs whose values are secrets.
const SECRET_WORDS: [&str; 9] =
    ["auth", "credential", "credentials", "pass", "passwd", "password", "pwd", "secret", "token"];
/// Words that make a key a secret one.
const KEY_WORDS: [&str; 4] = ["api", "access", "private", "secret"];

/// Variables that stand for secrets, each with what it is of.
#[derive(Debug, Default)]
pub(super) struct Placeholders(BTreeMap<String, String>);

impl Placeholders {
    /// A variable for a secret, as a manifest writes it.
    pub(super) fn of(&mut self, noun: &str, name: &str, field: &str) -> String {
        let of = format!("{noun} {name}: {field}");
        let wanted = variable(&format!("{noun}_{name}_{field}"));
        let mut number = 1;
        loop {
            let variable = if number == 1 { wanted.clone() } else { format!("{wanted}_{number}") };
            let there = self.0.entry(variable.clone()).or_insert_with(|| of.clone());
            if *there == of {
                return format!("${{{variable}}}");
            }
            number += 1;
        }
    }

    /// The variables, by name.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, of)| (name.clone(), of.clone())).collect()
    }

    /// A value with variables where the hub has masked a credential.
    pub(super) fn unmasked(&mut self, value: &Value, at: (&str, &str, &str)) -> Value {
        let (noun, name, field) = at;
        match value {
            Value::String(text) if text == MASK => self.of(noun, name, field).into(),
            Value::String(text) => match text.split_once("://***@") {
                Some((scheme, host)) => {
                    let credentials = self.of(noun, name, &format!("{field} credentials"));
                    format!("{}://{credentials}@{}", escaped(scheme), escaped(host)).into()
                }
                None => escaped(text).into(),
            },
            Value::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    self.unmasked(item, (noun, name, &format!("{field} {index}")))
                });
                items.collect()
            }
            Value::Object(members) => {
                let members = members.iter().map(|(key, value)| {
                    let field = format!("{field} {key}");
                    (escaped(key), self.unmasked(value, (noun, name, field.trim())))
                });
                Value::Object(members.collect::<Map<_, _>>())
            }
            plain => plain.clone(),
        }
    }

    /// An input: a variable where its name says that it is a secret.
    pub(super) fn input(&mut self, value: &Value, at: (&str, &str, &str)) -> Value {
        let (noun, name, key) = at;
        match value {
            Value::String(text) if is_secret(key) && !text.is_empty() => {
                self.of(noun, name, key).into()
            }
            value => escaped_value(value),
        }
    }
}

/// A value in which nothing is taken for a variable.
pub(super) fn escaped_value(value: &Value) -> Value {
    match value {
        Value::String(text) => escaped(text).into(),
        Value::Array(items) => items.iter().map(escaped_value).collect(),
        Value::Object(members) => {
            let one = |(name, value): (&String, &Value)| (escaped(name), escaped_value(value));
            Value::Object(members.iter().map(one).collect())
        }
        plain => plain.clone(),
    }
}

fn variable(text: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    text.chars().map(upper).collect()
}

/// Whether a name such as `dbPassword`, `api_key` or `TOKEN` is a secret's.
fn is_secret(name: &str) -> bool {
    let words = words(name);
    let is_key = |pair: &[String]| matches!(pair, [first, second] if second == "key" && KEY_WORDS.contains(&first.as_str()));
    words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()) || word == "apikey")
        || words.windows(2).any(is_key)
}

fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let begins = c.is_ascii_uppercase() && before.is_ascii_lowercase();
        if begins || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn masked_credentials_become_variables() {
        let mut placeholders = Placeholders::default();
        let shown = json!({
            "url": "http://***@host/db", "password": "***", "sasl": {"token": "***", "user": "$A"},
            "brokers": ["k://***@b1", "b2"], "n": 1,
        });
        assert_eq!(
            placeholders.unmasked(&shown, ("feed", "my-feed", "")),
            json!({
                "url": "http://${FEED_MY_FEED_URL_CREDENTIALS}@host/db",
                "password": "${FEED_MY_FEED_PASSWORD}",
                "sasl": {"token": "${FEED_MY_FEED_SASL_TOKEN}", "user": "$$A"},
                "brokers": ["k://${FEED_MY_FEED_BROKERS_0_CREDENTIALS}@b1", "b2"], "n": 1,
            })
        );
        assert_eq!(placeholders.variables().len(), 4);
    }

    #[test]
    fn two_secrets_never_share_a_variable() {
        let mut placeholders = Placeholders::default();
        assert_eq!(placeholders.of("feed", "a-b", "x"), "${FEED_A_B_X}");
        assert_eq!(placeholders.of("feed", "a.b", "x"), "${FEED_A_B_X_2}");
        assert_eq!(placeholders.of("feed", "a-b", "x"), "${FEED_A_B_X}");
    }

    #[test]
    fn secret_names_are_told_by_their_words() {
        for name in ["dbPassword", "API_KEY", "token", "auth-token", "apikey", "secretKey", "pwd"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["author", "partitionkey", "key", "monkey", "passenger", "certainty", ""] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
