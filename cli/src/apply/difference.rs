//! What is different between an entity as it shall be and as the hub has it: values, no hub.
//!
//! Values that may be credentials (inputs, annotations, parameters of feeds, webhooks) are named and
//! never shown.

use std::collections::{BTreeMap, BTreeSet};

use evoke_schemas::limits::LimitRanges;
use serde_json::{Value, json};

use super::{
    fingerprint::Fingerprints,
    wanted::{Collection, FINGERPRINTS, MANAGED, Wanted, is_secret},
};
use crate::{
    name::{Name, number, text},
    output::short,
    parameters::value_of,
};

/// Annotations that the hub adds by itself.
pub(crate) const OF_THE_HUB: [&str; 2] = ["exec", "provide-api-key"];
/// What the hub shows in the place of a credential.
pub(crate) const MASK: &str = "***";
/// Longest value in a line.
const WIDTH: usize = 40;

/// A field that is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldChange {
    /// As the manifest names it, such as `limits.timeout`.
    pub(super) field: String,
    /// From and to; none where a value may not be shown.
    pub(super) values: Option<(Value, Value)>,
}

/// Every difference; none where all is so.
pub(super) fn difference(
    wanted: &Wanted,
    current: &Value,
    project: Option<&str>,
    fingerprints: &mut Fingerprints,
) -> Vec<FieldChange> {
    let mut found = Found::default();
    match wanted.collection {
        Collection::Packages => {
            found.parameters(wanted, current);
            found.member(wanted, current, ("publish", "public"));
        }
        Collection::Actions => {
            found.exec(wanted, current);
            found.parameters(wanted, current);
            found.limits(wanted, current);
        }
        Collection::Triggers => found.parameters(wanted, current),
        Collection::Rules => {
            found.reference(wanted, current, "trigger");
            found.reference(wanted, current, "action");
            let status = if wanted.is_inactive { "inactive" } else { "active" };
            found.values("status", current.get("status"), Some(&status.into()));
        }
        Collection::Feeds => {
            found.member(wanted, current, ("provider", "provider"));
            found.member(wanted, current, ("trigger", "trigger"));
            found.member(wanted, current, ("paused", "paused"));
            found.shown_parameters(wanted, current);
        }
    }
    found.annotations(wanted, current);
    found.project(current, project);
    found.hidden(wanted, current, fingerprints);
    found.0
}

#[derive(Default)]
struct Found(Vec<FieldChange>);

impl Found {
    fn name(&mut self, field: impl Into<String>) {
        self.0.push(FieldChange { field: field.into(), values: None });
    }

    fn values(&mut self, field: &str, from: Option<&Value>, to: Option<&Value>) {
        let (from, to) = (from.cloned().unwrap_or_default(), to.cloned().unwrap_or_default());
        if from != to {
            self.0.push(FieldChange { field: field.to_owned(), values: Some((from, to)) });
        }
    }

    fn member(&mut self, wanted: &Wanted, current: &Value, (member, field): (&str, &str)) {
        self.values(field, current.get(member), wanted.body.get(member));
    }

    /// Names of the members of two lists of key and value that differ.
    fn parameters(&mut self, wanted: &Wanted, current: &Value) {
        let there = entries(current.get("parameters"));
        let wanted = entries(wanted.body.get("parameters"));
        let names: BTreeSet<_> = there.keys().chain(wanted.keys()).collect();
        for name in names {
            if there.get(name) != wanted.get(name) {
                self.name(format!("inputs.{name}"));
            }
        }
    }

    /// Parameters of a feed, as far as the hub shows them.
    fn shown_parameters(&mut self, wanted: &Wanted, current: &Value) {
        let empty = json!({});
        let there = current.get("parameters").unwrap_or(&empty);
        let wanted = wanted.body.get("parameters").unwrap_or(&empty);
        let names = |value: &Value| -> BTreeSet<String> {
            value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
        };
        for name in names(there).union(&names(wanted)) {
            let (there, wanted) = (there.get(name), wanted.get(name));
            let is_same = match (there, wanted) {
                (Some(there), Some(wanted)) => looks_like(there, wanted),
                (there, wanted) => there == wanted,
            };
            if !is_same {
                self.name(format!("parameters.{name}"));
            }
        }
    }

    /// The hub names the kind that `x:default` stands for.
    fn exec(&mut self, wanted: &Wanted, current: &Value) {
        let member = |entity: Option<&Value>, name: &str| {
            entity.and_then(|exec| exec.get(name)).cloned().unwrap_or_default()
        };
        let (wanted, there) = (wanted.body.get("exec"), current.get("exec"));
        let (kind, kind_there) = (member(wanted, "kind"), member(there, "kind"));
        let family = kind.as_str().and_then(|kind| kind.strip_suffix(":default"));
        let is_same = match family {
            Some(family) => {
                kind_there.as_str().and_then(|kind| kind.split(':').next()) == Some(family)
            }
            None => kind == kind_there,
        };
        if !is_same {
            self.values("runtime", Some(&kind_there), Some(&kind));
        }
        self.values("main", Some(&member(there, "main")), Some(&member(wanted, "main")));
        if member(wanted, "code") != member(there, "code") {
            self.name("code");
        }
    }

    /// A limit that is not named shall be the default.
    fn limits(&mut self, wanted: &Wanted, current: &Value) {
        let defaults = LimitRanges::default().defaults();
        for (member, field, default) in [
            ("timeout", "limits.timeout", defaults.timeout),
            ("memory", "limits.memorySize", defaults.memory),
            ("logs", "limits.logSize", defaults.logs),
            ("concurrency", "limits.concurrentActivations", defaults.concurrency),
        ] {
            let limit = |limits: Option<&Value>| limits.and_then(|limits| number(limits, member));
            let wanted = limit(wanted.body.get("limits")).unwrap_or(default);
            if let Some(there) = limit(current.get("limits")) {
                self.values(field, Some(&there.into()), Some(&wanted.into()));
            }
        }
    }

    fn reference(&mut self, wanted: &Wanted, current: &Value, member: &str) {
        let own = text(current, "namespace");
        let there = current.get(member).map(|there| {
            let path = text(there, "path");
            let path = if path == own {
                "_".to_owned()
            } else {
                path.strip_prefix(&format!("{own}/"))
                    .map_or(path.to_owned(), |package| format!("_/{package}"))
            };
            format!("/{path}/{}", text(there, "name"))
        });
        let there = there.unwrap_or_default();
        let wanted = wanted.text(member);
        if there != wanted {
            let shown = |full: &str| Value::from(Name::parse(full).to_string());
            self.values(member, Some(&shown(&there)), Some(&shown(wanted)));
        }
    }

    fn annotations(&mut self, wanted: &Wanted, current: &Value) {
        let there = current.get("annotations").unwrap_or(&Value::Null);
        let listed = there.as_array().into_iter().flatten();
        let names: BTreeSet<&str> = listed
            .map(|entry| text(entry, "key"))
            .chain(wanted.annotations.keys().map(String::as_str))
            .filter(|name| ![MANAGED, FINGERPRINTS].contains(name))
            .collect();
        for name in names {
            let (there, wanted) = (value_of(there, name), wanted.annotations.get(name));
            if there == wanted || (wanted.is_none() && OF_THE_HUB.contains(&name)) {
                continue;
            }
            match name {
                "delivery" | "subscription" => self.members(name, there, wanted),
                "feed" => self.values("feed", there, wanted),
                _ => self.name(format!("annotations.{name}")),
            }
        }
    }

    fn members(&mut self, field: &str, there: Option<&Value>, wanted: Option<&Value>) {
        let empty = json!({});
        let (there, wanted) = (there.unwrap_or(&empty), wanted.unwrap_or(&empty));
        let members = |value: &Value| -> BTreeSet<String> {
            value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
        };
        let before = self.0.len();
        for name in members(there).union(&members(wanted)) {
            self.values(&format!("{field}.{name}"), there.get(name), wanted.get(name));
        }
        if self.0.len() == before {
            self.values(field, Some(there), Some(wanted));
        }
    }

    fn project(&mut self, current: &Value, project: Option<&str>) {
        let there = project_of(current);
        if project.is_some() && there != project {
            let shown = |name: Option<&str>| name.map(Value::from);
            self.values("project", shown(there).as_ref(), shown(project).as_ref());
        }
    }

    fn hidden(&mut self, wanted: &Wanted, current: &Value, fingerprints: &mut Fingerprints) {
        let is_trigger = wanted.collection == Collection::Triggers;
        if wanted.hidden.is_none() && is_trigger && current.get("webhook").is_some() {
            self.name("webhook");
        }
        let Some((name, value)) = &wanted.unseen() else { return };
        // A feed of which all is shown has been compared; the slow way is not needed.
        let shown = current.get("parameters").unwrap_or(&Value::Null);
        if wanted.collection == Collection::Feeds && !has_mask(shown) {
            return;
        }
        // What differs anyway is put whole, and its fingerprint with it.
        if self.0.iter().any(|change| change.field.starts_with(name)) {
            return;
        }
        let annotations = current.get("annotations").unwrap_or(&Value::Null);
        let known = value_of(annotations, FINGERPRINTS).map(|all| text(all, name));
        if !known.is_some_and(|known| fingerprints.is_of(known, value)) {
            self.name(if *name == "feed" { "inputs" } else { name });
        }
    }
}

/// The project that an entity belongs to.
pub(crate) fn project_of(entity: &Value) -> Option<&str> {
    value_of(entity.get("annotations")?, MANAGED)?.get("projectName")?.as_str()
}

/// Values, as far as the hub shows them, with whether they go to initialisation, by their keys.
fn entries(list: Option<&Value>) -> BTreeMap<&str, (Option<&Value>, bool)> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let is_init = entry.get("init") == Some(&Value::Bool(true));
            let value = if is_secret(entry) { None } else { Some(entry.get("value")?) };
            Some((entry.get("key")?.as_str()?, (value, is_init)))
        })
        .collect()
}

/// Whether something in a value is not shown.
fn has_mask(shown: &Value) -> bool {
    match shown {
        Value::String(text) => text.contains(MASK),
        Value::Array(items) => items.iter().any(has_mask),
        Value::Object(members) => members.values().any(has_mask),
        _ => false,
    }
}

/// Whether a value can be the one that the hub shows so, credentials being masked.
fn looks_like(shown: &Value, value: &Value) -> bool {
    match (shown, value) {
        (Value::String(shown), _) if shown == MASK => true,
        (Value::String(shown), Value::String(value)) => match shown.split_once("***@") {
            Some((scheme, host)) => value.starts_with(scheme) && value.ends_with(host),
            None => shown == value,
        },
        (Value::Array(shown), Value::Array(value)) => {
            shown.len() == value.len()
                && shown.iter().zip(value).all(|(shown, value)| looks_like(shown, value))
        }
        (Value::Object(shown), Value::Object(value)) => {
            shown.len() == value.len()
                && shown.iter().all(|(name, shown)| {
                    value.get(name).is_some_and(|value| looks_like(shown, value))
                })
        }
        (shown, value) => shown == value,
    }
}

impl std::fmt::Display for FieldChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.field)?;
        let shown = |value: &Value| match value {
            Value::Null => "(none)".to_owned(),
            Value::String(text) => short(text, WIDTH),
            value => short(&value.to_string(), WIDTH),
        };
        match &self.values {
            Some((from, to)) => write!(f, ": {} → {}", shown(from), shown(to)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
