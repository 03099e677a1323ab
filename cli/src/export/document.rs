//! Writing YAML that people read: maps as blocks, values on one line.

use serde_json::Value;

use crate::yaml::{Content, plain};

/// A map of maps, whose ends are values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Document {
    Map(Vec<(String, Document)>),
    Value(Value),
}

impl Document {
    pub(super) fn to_yaml(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text
    }

    fn write(&self, text: &mut String, depth: usize) {
        let Self::Map(members) = self else { return };
        for (name, member) in members {
            text.push_str(&"  ".repeat(depth));
            text.push_str(&bare_or_quoted(name));
            text.push(':');
            match member {
                Self::Map(inside) if inside.is_empty() => text.push('\n'),
                Self::Map(_) => {
                    text.push('\n');
                    member.write(text, depth + 1);
                }
                Self::Value(value) => {
                    text.push(' ');
                    text.push_str(&flow(value));
                    text.push('\n');
                }
            }
        }
    }
}

/// A value on one line; JSON, which is YAML, but for what can stand without quotes.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => bare_or_quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                format!("{}: {}", bare_or_quoted(name), flow(value))
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

fn bare_or_quoted(text: &str) -> String {
    let begins = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_' || byte == b'/');
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./@:".contains(&byte);
    let is_text = matches!(plain(text), Content::Text(_));
    // Other readers take these for true and false.
    let is_word =
        matches!(text.to_ascii_lowercase().as_str(), "yes" | "no" | "on" | "off" | "y" | "n");
    if begins && is_text && !is_word && text.bytes().all(is_safe) && !text.ends_with(':') {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_the_same() {
        let value = json!({
            "plain": "text", "true": "true", "number": "12", "yes": "yes", "empty": "", "none": null,
            "deep": {"a b": [1, 2.5, {"x": "y: z"}], "#": "- a"}, "lines": "a\nb\t\"q\" \u{1f600}",
            "path": "/whisk.system/alarms", "~": "~", "0x1f": "1e3", "big": 18446744073709551615_u64,
        });
        let members = value.as_object().unwrap().iter();
        let members = members.map(|(name, value)| (name.clone(), Document::Value(value.clone())));
        let inside = Document::Map(members.collect());
        let text = Document::Map(vec![("top".to_owned(), inside)]).to_yaml();
        assert_eq!(crate::yaml::parse(&text).unwrap().to_json(), json!({"top": value}), "{text}");
    }

    #[test]
    fn maps_are_blocks_and_values_are_lines() {
        let tick = ("tick".to_owned(), Document::Map(Vec::new()));
        let rule = ("r".to_owned(), Document::Value(json!({"action": "a", "count": 1})));
        let text = Document::Map(vec![("a".to_owned(), Document::Map(vec![tick, rule]))]).to_yaml();
        assert_eq!(text, "a:\n  tick:\n  r: {action: a, count: 1}\n");
    }
}
