//! How values that are written as texts or lists of their own look to others, as JSON Schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    event::{Event, MAX_ATTRIBUTE_BYTES},
    key_value::KeyValues,
    name::{EntityName, FullName, MAX_NAME, Namespace},
    position::Position,
    secret::Secret,
    uid::{ActivationId, EntityUid},
    version::SemVer,
};

/// As [`EntityName::new`] has it; `\w` is ASCII.
const NAME: &str = r"^([A-Za-z0-9_]|[A-Za-z0-9_][A-Za-z0-9_@ .&-]{0,254}[A-Za-z0-9_@.&-])$";
/// Text of an attribute that may not be empty: no control characters.
const FILLED: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";

macro_rules! schemas {
    ($($type:ident $schema:tt)+) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn schema_id() -> Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($type)).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

schemas! {
    EntityName {
        "description": "Name of an entity.",
        "type": "string", "minLength": 1, "maxLength": MAX_NAME, "pattern": NAME,
    }
    Namespace {
        "description": "Name of a namespace.",
        "type": "string", "minLength": 1, "maxLength": MAX_NAME, "pattern": NAME,
    }
    FullName {
        "description": "Namespace, package if any, and name: `ns/[pkg/]name`.",
        "type": "string", "examples": ["guest/hello"],
    }
    SemVer {
        "description": "Semantic version; the last part goes up with each change.",
        "type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9}){0,2}$", "examples": ["0.0.1"],
    }
    KeyValues {
        "description": "Parameters or annotations. Of equal keys the last wins. A parameter with \
                        `init` goes to the function's environment instead of its arguments; one \
                        with `secret` is encrypted at rest and never shown.",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "key": { "type": "string" }, "value": {}, "init": { "type": "boolean" },
                "secret": { "type": "boolean" },
            },
            "required": ["key", "value"],
        },
        "examples": [[{ "key": "name", "value": "World" }]],
    }
    ActivationId {
        "description": "Id of an activation.",
        "type": "string", "pattern": "^[0-9a-f]{32}$",
        "examples": ["44794bd6aab74415b4e42a308d880e5b"],
    }
    EntityUid {
        "description": "Id of one life of an entity, or of a replay.",
        "type": "string", "pattern": "^[0-9a-f]{32}$",
        "examples": ["019adf4bd6aa7441b4e42a308d880e5b"],
    }
    Position {
        "description": "Where an event stands in the log: `partition:offset`.",
        "type": "string", "pattern": "^[0-9]{1,4}:[0-9]{1,18}$", "examples": ["0:42"],
    }
    Secret {
        "description": "A credential; it is never shown.",
        "type": "string", "minLength": 1, "writeOnly": true,
    }
    Event {
        "description": "A CloudEvent 1.0 in JSON format. Every other member is an extension \
                        attribute; `data` and `data_base64` exclude each other.",
        "type": "object",
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "pattern": FILLED, "maxLength": MAX_ATTRIBUTE_BYTES },
            "source": { "type": "string", "pattern": FILLED, "maxLength": MAX_ATTRIBUTE_BYTES },
            "type": { "type": "string", "pattern": FILLED, "maxLength": MAX_ATTRIBUTE_BYTES },
            "subject": { "type": ["string", "null"], "pattern": FILLED },
            "time": { "type": ["string", "null"], "format": "date-time" },
            "datacontenttype": { "type": ["string", "null"], "pattern": FILLED },
            "dataschema": { "type": ["string", "null"], "pattern": FILLED },
            "data": {},
            "data_base64": { "type": ["string", "null"], "contentEncoding": "base64" },
        },
        "required": ["specversion", "id", "source", "type"],
        "propertyNames": { "pattern": "^([a-z0-9]{1,256}|data_base64)$" },
        "additionalProperties": { "anyOf": [
                { "type": ["string", "boolean", "null"] },
                { "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX },
            ] },
        "not": { "required": ["data", "data_base64"] },
        "examples": [{
            "specversion": "1.0", "id": "1", "source": "/shop/eu", "type": "order.placed",
            "datacontenttype": "application/json", "data": { "count": 2 },
        }],
    }
}
