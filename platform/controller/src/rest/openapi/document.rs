//! The OpenAPI document: every path as its routes describe it.

use evoke_schemas::{ActivationId, EntityName, EntityUid, Namespace, Position};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    Path, Routes,
    operation::{Access, Answer, Content, Described},
    parameter,
};
use crate::rest::error::ErrorBody;

const DESCRIPTION: &str = "\
Apache OpenWhisk's REST API, and what Evoke adds to it: CloudEvents in, events, dead letters, \
replays and feeds. Every answer has the request's id in `X-Request-ID`; what a client sends there \
is taken. An error has the body `{\"error\": sentence, \"code\": id of the request}`.";

const TAGS: [(&str, &str); 12] = [
    ("actions", "Functions: kept, changed, called."),
    ("activations", "What became of calls and deliveries."),
    ("packages", "Groups of actions that share parameters."),
    ("triggers", "Where events come in; each fires its rules."),
    ("rules", "From a trigger to an action, with the policy of delivery."),
    ("namespaces", "Namespaces and what they may use."),
    ("events", "Events in by CloudEvents or plain JSON; what was accepted and what became of it."),
    ("deadletters", "Deliveries that were given up."),
    ("replays", "Ranges of the log delivered again."),
    ("feeds", "Sources that the hub reads by itself."),
    ("metrics", "For monitoring."),
    ("hub", "The hub itself."),
];

/// What an error of a status means.
const ERRORS: [(u16, &str, &str); 13] = [
    (400, "BadRequest", "The request is malformed or makes no sense; the sentence says what."),
    (401, "Unauthorized", "No credentials, or not good ones."),
    (403, "Forbidden", "Somebody else's."),
    (404, "NotFound", "It does not exist."),
    (406, "NotAcceptable", "The client takes no JSON."),
    (408, "RequestTimeout", "The body did not come in time."),
    (
        409,
        "Conflict",
        "It exists, is of another collection, is not empty, or was changed meanwhile.",
    ),
    (413, "ContentTooLarge", "The body or a part of it is too large."),
    (415, "UnsupportedMediaType", "The body's media type is not taken here."),
    (429, "TooManyRequests", "The hub takes no more now; come again after `Retry-After`."),
    (500, "InternalServerError", "Something of the hub failed."),
    (502, "BadGateway", "The function failed."),
    (503, "ServiceUnavailable", "Not now: the hub starts, or its log cannot be used."),
];

/// Headers of answers: name, text, schema.
fn header(name: &str) -> Value {
    let (text, schema) = match name {
        "X-Request-ID" => ("The request's id.", json!({ "type": "string" })),
        "X-OpenWhisk-Activation-Id" => (
            "The activation that the call or event became.",
            json!({ "$ref": "#/components/schemas/ActivationId" }),
        ),
        "X-Evoke-Position" => (
            "Where the event stands in the log.",
            json!({ "$ref": "#/components/schemas/Position" }),
        ),
        "Retry-After" => ("Seconds.", json!({ "type": "integer", "minimum": 1 })),
        "WWW-Authenticate" => ("How to say who one is.", json!({ "type": "string" })),
        "WebHook-Allowed-Origin" => ("Who may deliver.", json!({ "type": "string" })),
        "WebHook-Allowed-Rate" => {
            ("Requests a minute, or `*`.", json!({ "type": "string", "pattern": r"^(\*|[0-9]+)$" }))
        }
        "Location" => ("Where it is.", json!({ "type": "string" })),
        _ => ("What may be asked.", json!({ "type": "string" })),
    };
    json!({ "description": text, "schema": schema })
}

impl Routes {
    /// The document of these routes.
    pub(in crate::rest) fn document(&self) -> Value {
        let mut schemas = Schemas::new();
        let mut paths = Map::new();
        for path in &self.paths {
            paths.insert(path.template.to_owned(), item(path, &mut schemas));
        }
        let responses = ERRORS
            .iter()
            .map(|(status, name, text)| ((*name).to_owned(), error(*status, text, &mut schemas)));
        let responses: Map<_, _> = responses.collect();
        let tags = TAGS.map(|(name, text)| json!({ "name": name, "description": text }));
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Evoke",
                "version": env!("CARGO_PKG_VERSION"),
                "description": DESCRIPTION,
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "tags": tags,
            "paths": paths,
            "components": {
                "schemas": schemas.finish(),
                "responses": responses,
                "securitySchemes": security_schemes(),
            },
        })
    }
}

/// Schemas of what is answered and of what is taken: members with a default are always there in
/// the one and may be absent in the other.
struct Schemas {
    answered: SchemaGenerator,
    taken: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        let mut answered = settings().for_serialize().into_generator();
        // What paths and headers refer to.
        answered.subschema_for::<EntityName>();
        answered.subschema_for::<Namespace>();
        answered.subschema_for::<ActivationId>();
        answered.subschema_for::<EntityUid>();
        answered.subschema_for::<Position>();
        Self { answered, taken: settings().for_deserialize().into_generator() }
    }

    fn finish(mut self) -> Map<String, Value> {
        let mut all = self.taken.take_definitions(true);
        all.extend(self.answered.take_definitions(true));
        all
    }
}

fn item(path: &Path, schemas: &mut Schemas) -> Value {
    let mut item = Map::new();
    let parameters: Vec<Value> =
        parameter::of_path(path.template).map(|one| one.document()).collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    for operation in &path.operations {
        item.insert(operation.method.to_owned(), shown(operation, path, schemas));
    }
    item.into()
}

fn shown(operation: &Described, path: &Path, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    for status in operation.statuses(path.template) {
        if let Some((_, name, _)) = ERRORS.iter().find(|(known, ..)| *known == status) {
            let reference = json!({ "$ref": format!("#/components/responses/{name}") });
            responses.insert(status.to_string(), reference);
        }
    }
    for answer in &operation.answers {
        responses.insert(answer.status.to_string(), success(answer, schemas));
    }
    let mut shown = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [path.tag],
        "security": security(operation.access),
        "responses": responses,
    });
    if let Some(members) = shown.as_object_mut() {
        if !operation.details.is_empty() {
            members.insert("description".to_owned(), operation.details.into());
        }
        if !operation.parameters.is_empty() {
            let all = operation.parameters.iter().map(parameter::Parameter::document);
            members.insert("parameters".to_owned(), all.collect());
        }
        if let Some(body) = &operation.body {
            let content = contents(&body.contents, &mut schemas.taken);
            let body = json!({ "required": body.required, "content": content });
            members.insert("requestBody".to_owned(), body);
        }
    }
    shown
}

fn success(answer: &Answer, schemas: &mut Schemas) -> Value {
    let mut shown = json!({ "description": answer.text, "headers": headers(answer.headers) });
    if let (false, Some(members)) = (answer.contents.is_empty(), shown.as_object_mut()) {
        let contents = contents(&answer.contents, &mut schemas.answered);
        members.insert("content".to_owned(), contents.into());
    }
    shown
}

fn error(status: u16, text: &str, schemas: &mut Schemas) -> Value {
    let more: &[&str] = match status {
        401 => &["WWW-Authenticate"],
        429 => &["Retry-After"],
        _ => &[],
    };
    let schema = schemas.answered.subschema_for::<ErrorBody<'static>>();
    json!({
        "description": text,
        "headers": headers(more),
        "content": { "application/json": { "schema": schema } },
    })
}

fn contents(contents: &[Content], generator: &mut SchemaGenerator) -> Map<String, Value> {
    let one = |content: &Content| {
        let mut shown = json!({ "schema": (content.schema)(generator) });
        if let (Some(example), Some(members)) = (&content.example, shown.as_object_mut()) {
            members.insert("example".to_owned(), example.clone());
        }
        (content.media.to_owned(), shown)
    };
    contents.iter().map(one).collect()
}

fn headers(more: &[&str]) -> Map<String, Value> {
    let names = ["X-Request-ID"].iter().chain(more);
    names.map(|name| ((*name).to_owned(), header(name))).collect()
}

fn security(access: Access) -> Value {
    match access {
        Access::Anybody => json!([]),
        Access::Key => json!([{ "key": [] }]),
        Access::Sender => json!([{ "key": [] }, { "triggerToken": [] }, { "accessToken": [] }]),
    }
}

fn security_schemes() -> Value {
    json!({
        "key": {
            "type": "http", "scheme": "basic",
            "description": "The key of a namespace, `uuid:key`.",
        },
        "triggerToken": {
            "type": "http", "scheme": "bearer",
            "description": "A trigger's own token. Instead of one a trigger may have a secret; \
                            the HMAC-SHA256 of the body then comes in the header that the \
                            trigger names.",
        },
        "accessToken": {
            "type": "apiKey", "in": "query", "name": "access_token",
            "description": "The same token in the query.",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_answered_under_one_name_is_one_thing() {
        let routes = crate::rest::routes();
        let mut schemas = Schemas::new();
        for path in &routes.paths {
            item(path, &mut schemas);
        }
        let taken = schemas.taken.take_definitions(true);
        let answered = schemas.answered.take_definitions(true);
        let both = taken.iter().filter_map(|(name, one)| Some((name, one, answered.get(name)?)));
        for (name, one, other) in both {
            assert_eq!(one, other, "{name}");
        }
        assert!(taken.contains_key("ActionPut") && answered.contains_key("Action"));
    }
}
