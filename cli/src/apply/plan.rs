//! From a manifest to entities, and whether an entity is already so: values, no hub.

use std::{collections::BTreeMap, fmt, path::Path};

use serde_json::{Map, Value, json};

use super::manifest::{Action, Feed, Manifest, Package, Rule, Trigger};
use crate::{
    code,
    error::CliError,
    feed,
    name::{Name, referenced},
    parameters::{key_values, value_of},
};

/// wskdeploy's name for "no package".
const DEFAULT_PACKAGE: &str = "default";

/// An entity as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) collection: Collection,
    name: Name,
    /// Body of the PUT that makes it so.
    pub(super) body: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Collection {
    Packages,
    Actions,
    Triggers,
    Rules,
    Feeds,
}

/// Everything that a manifest describes, in the order in which it can be made.
///
/// # Errors
/// [`CliError::Usage`]: an action without code, two of one name, a file that is not there.
pub(super) fn wanted(manifest: &Manifest, folder: &Path) -> Result<Vec<Wanted>, CliError> {
    let mut all = Vec::new();
    for (name, package) in manifest.all_packages() {
        let package_name = Some(name.as_str()).filter(|name| *name != DEFAULT_PACKAGE);
        if let Some(name) = package_name {
            all.push(package_of(name, package));
        } else if !package.inputs.is_empty() || !package.annotations.is_empty() {
            let text = "package `default` is no package: it has no inputs and no annotations";
            return Err(CliError::Usage(text.to_owned()));
        }
        for (action, described) in &package.actions {
            all.push(action_of(&qualified(package_name, action), described, folder)?);
        }
        all.extend(package.triggers.iter().map(|(name, trigger)| trigger_of(name, trigger)));
        all.extend(package.rules.iter().map(|(name, rule)| rule_of(name, rule, package_name)));
        all.extend(package.feeds.iter().map(|(name, feed)| feed_of(name, feed)));
    }
    all.sort_by_key(|entity| entity.collection);
    let mut names = BTreeMap::new();
    for entity in &all {
        if names.insert(entity.to_string(), ()).is_some() {
            return Err(CliError::Usage(format!("{entity} is described twice")));
        }
    }
    Ok(all)
}

fn qualified(package: Option<&str>, name: &str) -> String {
    match package {
        Some(package) => format!("{package}/{name}"),
        None => name.to_owned(),
    }
}

fn new(collection: Collection, name: &str, body: Value) -> Wanted {
    Wanted { collection, name: Name::parse(name), body }
}

fn package_of(name: &str, package: &Package) -> Wanted {
    let body = json!({
        "parameters": key_values(&package.inputs),
        "annotations": key_values(&package.annotations),
    });
    new(Collection::Packages, name, body)
}

fn action_of(name: &str, action: &Action, folder: &Path) -> Result<Wanted, CliError> {
    let (kind, main) = (action.runtime.as_deref(), action.main.as_deref());
    let exec = match (&action.function, &action.code, kind) {
        (Some(file), None, kind) => code::exec(&folder.join(file), kind, main)?,
        (None, Some(code), Some(kind)) => {
            let mut exec = json!({"kind": kind, "code": code});
            if let (Some(main), Some(members)) = (main, exec.as_object_mut()) {
                members.insert("main".to_owned(), main.into());
            }
            exec
        }
        (None, Some(_), None) => {
            return Err(CliError::Usage(format!("action `{name}`: `code` wants `runtime` too")));
        }
        (Some(_), Some(_), _) | (None, None, _) => {
            let text = format!("action `{name}`: want either `function` (a file) or `code`");
            return Err(CliError::Usage(text));
        }
    };
    let limits = action.limits.as_ref().map_or_else(Map::new, |limits| {
        [("timeout", limits.timeout), ("memory", limits.memory_size), ("logs", limits.log_size)]
            .into_iter()
            .filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())))
            .collect()
    });
    let body = json!({
        "exec": exec,
        "parameters": key_values(&action.inputs),
        "annotations": key_values(&action.annotations),
        "limits": limits,
    });
    Ok(new(Collection::Actions, name, body))
}

fn trigger_of(name: &str, trigger: &Option<Trigger>) -> Wanted {
    let default = Trigger::default();
    let trigger = trigger.as_ref().unwrap_or(&default);
    let mut annotations = trigger.annotations.clone();
    if let Some(subscription) = &trigger.subscription {
        annotations.insert("subscription".to_owned(), subscription.clone());
    }
    let mut body = json!({
        "parameters": key_values(&trigger.inputs),
        "annotations": key_values(&annotations),
    });
    if let (Some(webhook), Some(members)) = (&trigger.webhook, body.as_object_mut()) {
        members.insert("webhook".to_owned(), webhook.clone());
    }
    new(Collection::Triggers, name, body)
}

fn rule_of(name: &str, rule: &Rule, package: Option<&str>) -> Wanted {
    let mut annotations = rule.annotations.clone();
    if let Some(delivery) = &rule.delivery {
        annotations.insert("delivery".to_owned(), delivery.clone());
    }
    // An action named without a package is the one of the rule's own package.
    let action = match rule.action.contains('/') {
        true => rule.action.clone(),
        false => qualified(package, &rule.action),
    };
    let body = json!({
        "trigger": Name::parse(&rule.trigger).full(),
        "action": Name::parse(&action).full(),
        "annotations": key_values(&annotations),
    });
    new(Collection::Rules, name, body)
}

fn feed_of(name: &str, feed: &Feed) -> Wanted {
    new(Collection::Feeds, name, feed::body(&feed.provider, &feed.trigger, &feed.parameters))
}

// === impl Wanted ===

impl Wanted {
    /// Below the namespace.
    pub(super) fn path(&self) -> Vec<&str> {
        self.name.path(self.collection.word())
    }

    /// Whether the hub's entity is as it shall be. Annotations that the hub adds do not count.
    pub(super) fn is_so(&self, current: &Value) -> bool {
        match self.collection {
            Collection::Packages => self.has_parameters(current) && self.has_annotations(current),
            Collection::Actions => {
                self.has_exec(current)
                    && self.has_parameters(current)
                    && self.has_annotations(current)
                    && self.has_limits(current)
            }
            // A webhook's credential is never shown, so it can only be set again.
            Collection::Triggers => {
                self.body.get("webhook").is_none()
                    && self.has_parameters(current)
                    && self.has_annotations(current)
            }
            Collection::Rules => {
                self.refers(current, "trigger")
                    && self.refers(current, "action")
                    && self.has_annotations(current)
            }
            // Parameters that are secret are shown as `***`, so such a feed is put again.
            Collection::Feeds => {
                let same = |member: &str| current.get(member) == self.body.get(member);
                let is_paused = current.get("paused") == Some(&Value::Bool(true));
                same("provider")
                    && same("parameters")
                    && self.refers(current, "trigger")
                    && !is_paused
            }
        }
    }

    fn has_parameters(&self, current: &Value) -> bool {
        as_map(current.get("parameters")) == as_map(self.body.get("parameters"))
    }

    fn has_annotations(&self, current: &Value) -> bool {
        let there = current.get("annotations").unwrap_or(&Value::Null);
        as_map(self.body.get("annotations"))
            .into_iter()
            .all(|(key, value)| value_of(there, key) == Some(value))
    }

    fn has_limits(&self, current: &Value) -> bool {
        let wanted = self.body.get("limits").and_then(Value::as_object).into_iter().flatten();
        let there = current.get("limits").unwrap_or(&Value::Null);
        wanted.into_iter().all(|(name, limit)| there.get(name) == Some(limit))
    }

    /// The hub names the kind that `x:default` stands for.
    fn has_exec(&self, current: &Value) -> bool {
        let member = |entity: &Value, name: &str| {
            entity.get("exec").and_then(|exec| exec.get(name)).cloned().unwrap_or_default()
        };
        let (kind, there) = (member(&self.body, "kind"), member(current, "kind"));
        let same_kind = match kind.as_str().and_then(|kind| kind.strip_suffix(":default")) {
            Some(family) => there.as_str().and_then(|kind| kind.split(':').next()) == Some(family),
            None => kind == there,
        };
        let same = |name: &str| member(&self.body, name) == member(current, name);
        same_kind && same("code") && same("main")
    }

    fn refers(&self, current: &Value, member: &str) -> bool {
        referenced(current.get(member)) == referenced(self.body.get(member))
    }
}

fn as_map(list: Option<&Value>) -> BTreeMap<&str, &Value> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| Some((entry.get("key")?.as_str()?, entry.get("value")?))).collect()
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.collection.word().trim_end_matches('s'), self.name)
    }
}

impl Collection {
    fn word(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Actions => "actions",
            Self::Triggers => "triggers",
            Self::Rules => "rules",
            Self::Feeds => "feeds",
        }
    }
}

#[cfg(test)]
mod tests;
