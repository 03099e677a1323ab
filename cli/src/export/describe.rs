//! Entities of the hub as a manifest describes them.

use std::collections::BTreeMap;

use base64::Engine as _;
use evoke_schemas::limits::LimitRanges;
use serde_json::{Map, Value, json};

use super::{
    document::Document,
    package_of,
    placeholders::{Placeholders, escaped_value},
};
use crate::{
    apply::{
        Collection, DEFAULT_PACKAGE, FINGERPRINTS, MANAGED, OF_THE_HUB, escaped, wants_long_form,
    },
    error::CliError,
    hub::{Hub, post},
    name::{Name, number, text, with_package},
    parameters::value_of,
};

/// What belongs to which: the manifest's packages, and files of code beside it.
#[derive(Debug)]
pub(super) struct Described {
    /// The package that stands for none is the first.
    pub(super) packages: Vec<(String, Package)>,
    pub(super) codes: Vec<Code>,
}

/// A file of code, by its path from the manifest.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

/// Members of a package, and what is in it.
#[derive(Debug, Default)]
pub(super) struct Package {
    own: Vec<(String, Document)>,
    inside: BTreeMap<Collection, Vec<(String, Document)>>,
}

type Members = Vec<(String, Document)>;

/// Describes entities. A trigger's feed action is asked for the parameters, where it can tell.
pub(super) async fn describe(
    hub: &Hub,
    entities: &[(Collection, Value)],
    placeholders: &mut Placeholders,
    remarks: &mut Vec<String>,
) -> Result<Described, CliError> {
    let mut packages: BTreeMap<String, Package> = BTreeMap::new();
    let mut codes = Vec::new();
    for (collection, entity) in entities {
        let name = text(entity, "name").to_owned();
        let (package, described) = match collection {
            Collection::Packages => {
                packages.entry(name).or_default().own = package(entity, placeholders);
                continue;
            }
            Collection::Actions => {
                let (described, code) = action(entity, placeholders);
                codes.push(code);
                (package_of(entity), described)
            }
            Collection::Triggers => {
                let described = trigger(hub, entity, (&mut *placeholders, &mut *remarks)).await?;
                (DEFAULT_PACKAGE.to_owned(), described)
            }
            Collection::Rules => (DEFAULT_PACKAGE.to_owned(), rule(entity, placeholders)),
            Collection::Feeds => (DEFAULT_PACKAGE.to_owned(), feed(entity, placeholders)),
        };
        let inside = &mut packages.entry(package).or_default().inside;
        inside.entry(*collection).or_default().push((name, Document::Map(described)));
    }
    let mut packages: Vec<_> = packages.into_iter().collect();
    packages.sort_by_key(|(name, _)| name != DEFAULT_PACKAGE);
    Ok(Described { packages, codes })
}

fn value(name: &str, value: impl Into<Value>) -> (String, Document) {
    (name.to_owned(), Document::Value(value.into()))
}

fn package(entity: &Value, placeholders: &mut Placeholders) -> Members {
    let name = text(entity, "name");
    let mut members = inputs(entity, ("package", name), placeholders);
    members.extend(annotations(entity, ("package", name), &[], placeholders));
    if entity.get("publish") == Some(&Value::Bool(true)) {
        members.push(value("public", true));
    }
    members
}

fn action(entity: &Value, placeholders: &mut Placeholders) -> (Members, Code) {
    let name = with_package(entity);
    let exec = entity.get("exec").unwrap_or(&Value::Null);
    let kind = text(exec, "kind");
    let code = code(&name, exec);
    let mut members = vec![value("function", escaped(&code.path)), value("runtime", kind)];
    if let Some(main) = exec.get("main").and_then(Value::as_str) {
        members.push(value("main", escaped(main)));
    }
    let defaults = LimitRanges::default().defaults();
    let limits = [
        ("timeout", "timeout", defaults.timeout),
        ("memory", "memorySize", defaults.memory),
        ("logs", "logSize", defaults.logs),
        ("concurrency", "concurrentActivations", defaults.concurrency),
    ];
    let limits: Members = limits
        .into_iter()
        .filter_map(|(member, name, default)| {
            let limit = number(entity.get("limits")?, member)?;
            (limit != default).then(|| value(name, limit))
        })
        .collect();
    if !limits.is_empty() {
        members.push(("limits".to_owned(), Document::Map(limits)));
    }
    members.extend(inputs(entity, ("action", &name), placeholders));
    members.extend(annotations(entity, ("action", &name), &[], placeholders));
    (members, code)
}

fn code(name: &str, exec: &Value) -> Code {
    let (kind, code) = (text(exec, "kind"), text(exec, "code"));
    let family = kind.split(':').next().unwrap_or_default();
    let is_binary = exec.get("binary") == Some(&Value::Bool(true));
    let decoded = base64::engine::general_purpose::STANDARD.decode(code).ok();
    let (ending, bytes) = match (is_binary, decoded, family) {
        (true, Some(bytes), "java") => ("jar", bytes),
        (true, Some(bytes), _) => ("zip", bytes),
        (_, _, "nodejs") => ("js", code.as_bytes().to_vec()),
        (_, _, "python") => ("py", code.as_bytes().to_vec()),
        _ => ("txt", code.as_bytes().to_vec()),
    };
    Code { path: format!("actions/{name}.{ending}"), bytes }
}

async fn trigger(
    hub: &Hub,
    entity: &Value,
    (placeholders, remarks): (&mut Placeholders, &mut Vec<String>),
) -> Result<Members, CliError> {
    let name = text(entity, "name");
    let annotation = |key| entity.get("annotations").and_then(|list| value_of(list, key));
    let mut members = Vec::new();
    let feed = annotation("feed").and_then(Value::as_str);
    match feed {
        None => members.extend(inputs(entity, ("trigger", name), placeholders)),
        Some(feed) => {
            members.push(value("feed", escaped(feed)));
            match feed_inputs(hub, feed, name).await? {
                Some(parameters) => {
                    let inputs = placeholders.unmasked(&parameters, ("trigger", name, ""));
                    members.extend(settings("inputs", &inputs));
                }
                None => remarks.push(format!(
                    "trigger {name}: what its feed {feed} was given is not known; add it as \
                     `inputs`"
                )),
            }
        }
    }
    if let Some(subscription) = annotation("subscription") {
        members.extend(settings("subscription", &escaped_value(subscription)));
    }
    if let Some(webhook) = entity.get("webhook") {
        let inside = match text(webhook, "kind") {
            "hmac" => {
                let secret = placeholders.of("trigger", name, "webhook secret");
                json!({"hmac": {"secret": secret, "header": text(webhook, "header")}})
            }
            _ => {
                let token = placeholders.of("trigger", name, "webhook token");
                json!({"bearer": {"token": token}})
            }
        };
        members.push(value("webhook", inside));
    }
    members.extend(annotations(entity, ("trigger", name), &["feed", "subscription"], placeholders));
    Ok(members)
}

/// What a feed action was given, as far as it tells.
async fn feed_inputs(hub: &Hub, feed: &str, trigger: &str) -> Result<Option<Value>, CliError> {
    let action = Name::parse(feed);
    if action.namespace != "whisk.system" {
        return Ok(None);
    }
    let path = action.path("actions");
    let body = json!({
        "lifecycleEvent": "READ", "triggerName": Name::parse(trigger).full(), "authKey": hub.key(),
    });
    let request = post(&path).of(&action.namespace).query("blocking", true).body(body);
    let answer = hub.answer(request).await?;
    let config = answer.body.pointer("/response/result/config").and_then(Value::as_object);
    Ok(config.map(|config| asked_for(config, &path)))
}

/// The parameters of which a READ tells, as CREATE takes them.
fn asked_for(config: &Map<String, Value>, path: &[&str]) -> Value {
    let mut inputs = config.clone();
    inputs.retain(|name, _| !["name", "namespace", "triggerName"].contains(&name.as_str()));
    match path {
        [_, "alarms", _] => {
            let payload = inputs.remove("payload");
            if let Some(payload) = payload.filter(|payload| {
                *payload != json!({}) && *payload != json!("{}") && *payload != json!("")
            }) {
                inputs.insert("trigger_payload".to_owned(), payload);
            }
            let defaults = [("strict", json!(false)), ("dialect", json!("openwhisk"))];
            inputs.retain(|name, value| {
                !defaults.iter().any(|(key, default)| key == name && default == value)
            });
        }
        [_, "messaging", _] if inputs.contains_key("user") => {
            inputs.insert("password".to_owned(), crate::apply::MASK.into());
        }
        [_, "cloudant" | "couchdb", _] => {
            let name = if inputs.contains_key("username") { "password" } else { "iamApiKey" };
            inputs.insert(name.to_owned(), crate::apply::MASK.into());
        }
        _ => {}
    }
    inputs.into()
}

fn rule(entity: &Value, placeholders: &mut Placeholders) -> Members {
    let own = text(entity, "namespace");
    let reference = |member: &str| {
        let reference = entity.get(member).unwrap_or(&Value::Null);
        let (path, name) = (text(reference, "path"), text(reference, "name"));
        match path.strip_prefix(own) {
            Some("") => name.to_owned(),
            Some(package) if package.starts_with('/') => {
                format!("{}/{name}", package.trim_start_matches('/'))
            }
            _ => format!("/{path}/{name}"),
        }
    };
    let mut members = vec![
        value("trigger", escaped(&reference("trigger"))),
        value("action", escaped(&reference("action"))),
    ];
    if text(entity, "status") == "inactive" {
        members.push(value("status", "inactive"));
    }
    let delivery = entity.get("annotations").and_then(|list| value_of(list, "delivery"));
    members.extend(
        delivery.into_iter().flat_map(|delivery| settings("delivery", &escaped_value(delivery))),
    );
    let name = text(entity, "name");
    members.extend(annotations(entity, ("rule", name), &["delivery"], placeholders));
    members
}

fn feed(entity: &Value, placeholders: &mut Placeholders) -> Members {
    let name = text(entity, "name");
    let parameters = entity.get("parameters").unwrap_or(&Value::Null);
    let parameters = placeholders.unmasked(parameters, ("feed", name, ""));
    let mut members = vec![
        value("provider", text(entity, "provider")),
        value("trigger", text(entity, "trigger")),
    ];
    members.extend(settings("parameters", &parameters));
    if entity.get("paused") == Some(&Value::Bool(true)) {
        members.push(value("paused", true));
    }
    members.extend(annotations(entity, ("feed", name), &[], placeholders));
    members
}

/// A map, a member a line; nothing where it is empty.
fn settings(name: &str, members: &Value) -> Members {
    let members: Members = members
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, one)| value(name, one.clone()))
        .collect();
    if members.is_empty() { Vec::new() } else { vec![(name.to_owned(), Document::Map(members))] }
}

fn inputs(entity: &Value, (noun, name): (&str, &str), placeholders: &mut Placeholders) -> Members {
    let list = entity.get("parameters").and_then(Value::as_array);
    let one = |input: &Value| {
        let key = text(input, "key");
        let given = input.get("value").unwrap_or(&Value::Null);
        let marks: Map<String, Value> = ["init", "secret"]
            .into_iter()
            .filter(|mark| input.get(*mark) == Some(&Value::Bool(true)))
            .map(|mark| (mark.to_owned(), true.into()))
            .collect();
        let shown: Value = match marks.contains_key("secret") {
            true => placeholders.of(noun, name, key).into(),
            false => placeholders.input(given, (noun, name, key)),
        };
        let shown = if marks.is_empty() && !wants_long_form(given) {
            shown
        } else {
            let mut members = marks;
            members.insert("value".to_owned(), shown);
            members.into()
        };
        value(&escaped(key), shown)
    };
    let members: Members = list.into_iter().flatten().map(one).collect();
    if members.is_empty() {
        Vec::new()
    } else {
        vec![("inputs".to_owned(), Document::Map(members))]
    }
}

/// Annotations but for those that are fields of their own, or the hub's.
fn annotations(
    entity: &Value,
    (noun, name): (&str, &str),
    fields: &[&str],
    placeholders: &mut Placeholders,
) -> Members {
    let list = entity.get("annotations").and_then(Value::as_array).into_iter().flatten();
    let members: Map<String, Value> = list
        .filter_map(|entry| Some((text(entry, "key"), entry.get("value")?)))
        .filter(|(key, _)| ![MANAGED, FINGERPRINTS].contains(key))
        .filter(|(key, _)| !OF_THE_HUB.contains(key) && !fields.contains(key))
        .map(|(key, value)| (escaped(key), placeholders.input(value, (noun, name, key))))
        .collect();
    settings("annotations", &members.into())
}

// === impl Package ===

impl Package {
    pub(super) fn document(self) -> Document {
        let mut members = self.own;
        for (collection, mut inside) in self.inside {
            inside.sort_by(|(one, _), (other, _)| one.cmp(other));
            members.push((collection.word().to_owned(), Document::Map(inside)));
        }
        Document::Map(members)
    }
}
