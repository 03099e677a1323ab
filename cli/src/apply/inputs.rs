//! `inputs` and `annotations`: names and values, in wskdeploy's short and long form.

use serde_json::{Map, Value, json};

use super::{
    fields::{self, Fields, written},
    mistakes::{At, Mistakes},
};
use crate::yaml::{Content, Node};

/// Members of an input's long form.
const LONG: [&str; 9] =
    ["type", "description", "value", "required", "default", "status", "schema", "init", "secret"];

/// OpenWhisk's words for types of inputs.
const TYPES: [&str; 9] =
    ["string", "integer", "number", "float", "boolean", "json", "object", "array", "list"];

/// Inputs as the API's list of key and value.
pub(super) fn list(inputs: Vec<(&str, &Node, At)>, mistakes: &mut Mistakes) -> Value {
    inputs
        .into_iter()
        .map(|(key, node, at)| {
            let (value, marks) = input(node, &at, mistakes);
            let set = [("init", marks.init), ("secret", marks.secret)].into_iter();
            let set = set.filter(|(_, is_set)| *is_set).map(|(name, _)| (name, Value::from(true)));
            let members = [("key", json!(key)), ("value", value)].into_iter().chain(set);
            Value::from_iter(members.map(|(name, value)| (name.to_owned(), value)))
        })
        .collect()
}

/// Inputs as an object, such as a feed's parameters are.
pub(super) fn object(
    inputs: Vec<(&str, &Node, At)>,
    mistakes: &mut Mistakes,
) -> Map<String, Value> {
    inputs
        .into_iter()
        .map(|(key, node, at)| (key.to_owned(), input(node, &at, mistakes).0))
        .collect()
}

/// A feed's parameters: as they stand, but for those with a type and a value, so that a number can
/// come out of the environment.
pub(super) fn parameters(
    given: Vec<(&str, &Node, At)>,
    mistakes: &mut Mistakes,
) -> Map<String, Value> {
    let has = |node: &Node, name: &str| match &node.content {
        Content::Map(members) => members.iter().any(|one| one.name == name),
        _ => false,
    };
    let mut one = |node: &Node, at: &At| match &node.content {
        Content::Map(members)
            if has(node, "type")
                && has(node, "value")
                && is_long(members.iter().map(|one| one.name.as_str())) =>
        {
            long(node, at, mistakes).0
        }
        _ => node.to_json(),
    };
    given.into_iter().map(|(key, node, at)| (key.to_owned(), one(node, &at))).collect()
}

/// What is said of an input beside its value.
#[derive(Clone, Copy, Default)]
struct Marks {
    /// It goes to the function's initialisation.
    init: bool,
    /// Nobody but the function may see it.
    secret: bool,
}

/// The value of one input.
fn input(node: &Node, at: &At, mistakes: &mut Mistakes) -> (Value, Marks) {
    match &node.content {
        // wskdeploy: a type alone stands for its empty value.
        Content::Text(text) if TYPES.contains(&text.as_str()) && !node.is_filled => {
            (empty(text), Marks::default())
        }
        Content::Map(members) if is_long(members.iter().map(|one| one.name.as_str())) => {
            long(node, at, mistakes)
        }
        _ => (node.to_json(), Marks::default()),
    }
}

/// A map of the long form's members only, with a type or a value; another map is a value itself.
fn is_long<'a>(mut names: impl Iterator<Item = &'a str> + Clone) -> bool {
    names.clone().all(|name| LONG.contains(&name))
        && names.any(|name| matches!(name, "value" | "default" | "type"))
}

/// Whether a value has to be written in the long form.
pub(crate) fn wants_long_form(value: &Value) -> bool {
    match value {
        Value::String(text) => TYPES.contains(&text.as_str()),
        Value::Object(members) => is_long(members.keys().map(String::as_str)),
        _ => false,
    }
}

fn long(node: &Node, at: &At, mistakes: &mut Mistakes) -> (Value, Marks) {
    let Some(mut fields) = Fields::of(node, at, mistakes) else {
        return (Value::Null, Marks::default());
    };
    let kind = fields.text("type", mistakes);
    let value = fields.any("value");
    let default = fields.any("default");
    let is_required = fields.flag("required", mistakes).unwrap_or(false);
    let marks = Marks {
        init: fields.flag("init", mistakes).unwrap_or(false),
        secret: fields.flag("secret", mistakes).unwrap_or(false),
    };
    for described in ["description", "status", "schema"] {
        let _described = fields.any(described).is_some();
    }
    fields.finish(mistakes);
    if let Some((kind, at)) = kind.as_ref().filter(|(kind, _)| !TYPES.contains(&kind.as_str())) {
        let known = TYPES.join("`, `");
        mistakes.add(at, format!("`{kind}` is no type (known: `{known}`)"));
        return (Value::Null, marks);
    }
    let kind = kind.map(|(kind, _)| kind);
    let value = match (value.or(default), kind) {
        (Some((node, at)), Some(kind)) => typed(node, &kind, &at, mistakes),
        (Some((node, _)), None) => node.to_json(),
        (None, _) if is_required => {
            mistakes.add(at, "is required and has no value");
            Value::Null
        }
        (None, kind) => kind.map_or(Value::Null, |kind| empty(&kind)),
    };
    (value, marks)
}

fn typed(node: &Node, kind: &str, at: &At, mistakes: &mut Mistakes) -> Value {
    let value = match (kind, &node.content) {
        ("string", _) => node.to_json(),
        (_, Content::Text(text)) if node.is_filled => serde_json::from_str(text)
            .unwrap_or_else(|_no_json| Node::new(node.line, written(node)).to_json()),
        _ => node.to_json(),
    };
    let fits = match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" | "float" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" | "list" => value.is_array(),
        _ => value.is_object() || value.is_array(),
    };
    if !fits {
        mistakes.add(at, format!("must be of type `{kind}`, not {}", node.kind()));
    }
    value
}

fn empty(kind: &str) -> Value {
    match kind {
        "string" => "".into(),
        "integer" => 0.into(),
        "number" | "float" => 0.0.into(),
        "boolean" => false.into(),
        "array" | "list" => json!([]),
        _ => json!({}),
    }
}

/// Annotations as an object.
pub(super) fn annotations(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Map<String, Value> {
    let given = fields.map("annotations", mistakes);
    given.into_iter().map(|(key, node, _)| (key.to_owned(), node.to_json())).collect()
}

/// `inputs` of a package, action or trigger.
pub(super) fn of(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Value {
    list(fields.map("inputs", mistakes), mistakes)
}

/// A member that is itself a map of settings, each checked alone by `read`.
pub(super) fn settings(
    fields: &mut Fields<'_>,
    name: &'static str,
    read: impl Fn(&Value) -> Result<(), String>,
    mistakes: &mut Mistakes,
) -> Option<(Value, At)> {
    let (node, at) = fields.any(name)?;
    let mut all = Map::new();
    for (key, node, at) in fields::members(node, &at, mistakes) {
        let value = Node::new(node.line, written(node));
        let value = if matches!(node.content, Content::Text(_)) { value } else { node.clone() };
        let value = value.to_json();
        if let Err(text) = read(&json!({ key: value.clone() })) {
            mistakes.add(&at, text);
        }
        all.insert(key.to_owned(), value);
    }
    Some((all.into(), at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn check(text: &str, expected: Value, wrong: &str) {
        let node = parse(text).unwrap();
        let (at, mut mistakes) = (At { line: 1, path: "i".into() }, Mistakes::default());
        let value = list(fields::members(&node, &at, &mut mistakes), &mut mistakes);
        assert_eq!(value, expected, "{text}");
        let told = if mistakes.is_empty() {
            String::new()
        } else {
            mistakes.into_error("m".into()).to_string()
        };
        assert_eq!(told, wrong, "{text}");
    }

    #[test]
    fn inputs_are_short_or_long() {
        let one = |value: Value| json!([{"key": "a", "value": value}]);
        check("a: 1", one(json!(1)), "");
        check("a: string", one(json!("")), "");
        check("a: {b: 1, type: x}", one(json!({"b": 1, "type": "x"})), "");
        check("a: {type: string, description: d, value: x}", one(json!("x")), "");
        check("a: {type: integer, default: 3}", one(json!(3)), "");
        check("a: {type: boolean}", one(json!(false)), "");
        check("a: {value: x, init: true}", json!([{"key": "a", "value": "x", "init": true}]), "");
        let secret = json!([{"key": "a", "value": "x", "secret": true}]);
        check("a: {value: x, secret: true}", secret, "");
        check(
            "a:\n  type: integer\n  value: x\n",
            one(json!("x")),
            "m:3: i.a.value: must be of type `integer`, not text",
        );
        check(
            "a: {type: string, required: true}",
            one(Value::Null),
            "m:1: i.a: is required and has no value",
        );
    }

    #[test]
    fn what_looks_like_the_long_form_is_known() {
        assert!(wants_long_form(&json!("integer")) && wants_long_form(&json!({"type": "x"})));
        assert!(!wants_long_form(&json!({"type": "x", "other": 1})));
    }
}
