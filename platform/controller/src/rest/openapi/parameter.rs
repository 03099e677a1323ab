//! What stands in a path, a query or a header.

use std::fmt;

use evoke_schemas::limits::{DEFAULT_LIST, MAX_LIST};
use serde_json::{Value, json};

/// Something that a request says beside its body.
#[derive(Clone)]
pub(in crate::rest) struct Parameter {
    pub(super) name: &'static str,
    place: Place,
    text: &'static str,
    schema: Value,
    example: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
}

/// `limit`, `skip` and `count` of a list.
pub(in crate::rest) fn page() -> [Parameter; 3] {
    [
        query(
            "limit",
            "Most items of the answer; 0 is 200.",
            json!({
                "type": "integer", "minimum": 0, "maximum": MAX_LIST, "default": DEFAULT_LIST,
            }),
        ),
        query(
            "skip",
            "How many of the newest to leave out.",
            json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX, "default": 0 }),
        ),
        flag(
            "count",
            "Only their number, as `{\"<collection>\": n}`; `limit` does not count then.",
        ),
    ]
}

/// A yes or no of the query; no where it is absent.
pub(in crate::rest) fn flag(name: &'static str, text: &'static str) -> Parameter {
    query(name, text, json!({ "type": "boolean", "default": false }))
}

/// Something of the query that may be absent.
pub(in crate::rest) fn query(name: &'static str, text: &'static str, schema: Value) -> Parameter {
    Parameter { name, place: Place::Query, text, schema, example: None }
}

/// A header that may be absent.
pub(in crate::rest) fn header(name: &'static str, text: &'static str, schema: Value) -> Parameter {
    Parameter { name, place: Place::Header, text, schema, example: None }
}

/// The parameters of a path's parts in braces.
pub(super) fn of_path(template: &'static str) -> impl Iterator<Item = Parameter> {
    let parts = template.split('/');
    parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(part)
}

fn part(name: &'static str) -> Parameter {
    let named = |kind: &str| json!({ "$ref": format!("#/components/schemas/{kind}") });
    let (text, schema, example) = match name {
        "ns" => ("The namespace; `_` is the caller's own.", named("Namespace"), "_"),
        "package" => ("A package of the namespace.", named("EntityName"), "tools"),
        "name" => ("The entity.", named("EntityName"), "hello"),
        "activation" => {
            ("Id of the activation.", named("ActivationId"), "44794bd6aab74415b4e42a308d880e5b")
        }
        "position" => ("Where the event stands.", named("Position"), "0:42"),
        "replay" => ("Id of the replay.", named("EntityUid"), "019adf4bd6aa7441b4e42a308d880e5b"),
        _ => ("Nothing: there is none.", json!({ "type": "string", "minLength": 1 }), "x"),
    };
    Parameter { name, place: Place::Path, text, schema, example: Some(example.into()) }
}

impl Parameter {
    /// With an example.
    pub(in crate::rest) fn example(self, example: Value) -> Self {
        Self { example: Some(example), ..self }
    }

    /// As the document has it.
    pub(super) fn document(&self) -> Value {
        let place = match self.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        };
        let mut shown = json!({
            "name": self.name,
            "in": place,
            "description": self.text,
            "required": self.place == Place::Path,
            "schema": self.schema,
        });
        if let (Some(example), Some(members)) = (&self.example, shown.as_object_mut()) {
            members.insert("example".to_owned(), example.clone());
        }
        shown
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameter").field("name", &self.name).finish_non_exhaustive()
    }
}
