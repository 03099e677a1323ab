//! An entity as a manifest wants it.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};

use super::mistakes::At;
use crate::{
    name::Name,
    parameters::key_values,
    yaml::{Content, Node},
};

/// Annotation that says whose an entity is; wskdeploy's name and its member `projectName`.
pub(crate) const MANAGED: &str = "whisk-managed";
/// Annotation that tells whether what the hub does not show is still as it was applied.
pub(crate) const FINGERPRINTS: &str = "evoke-fingerprints";

/// An entity as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(super) collection: Collection,
    pub(super) name: Name,
    pub(super) at: At,
    /// Lines of the fields below it, by their dotted names.
    pub(super) lines: BTreeMap<String, usize>,
    /// Members of the PUT that makes it so, but for its annotations.
    pub(super) body: Map<String, Value>,
    pub(super) annotations: Map<String, Value>,
    /// What the hub keeps and does not show, by its name in [`FINGERPRINTS`].
    pub(super) hidden: Option<(&'static str, Value)>,
    /// Rules: whether it rests.
    pub(super) is_inactive: bool,
    /// Triggers: the feed action that fires it.
    pub(super) feed: Option<TriggerFeed>,
}

/// A feed in OpenWhisk's way: an action that is told about the trigger.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TriggerFeed {
    pub(super) action: Name,
    pub(super) parameters: Map<String, Value>,
}

/// In the order in which entities can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Collection {
    Packages,
    Actions,
    Triggers,
    Rules,
    Feeds,
}

// === impl Wanted ===

impl Wanted {
    pub(super) fn new(collection: Collection, name: Name, at: &At, node: &Node) -> Self {
        let mut lines = BTreeMap::new();
        note_lines(node, "", &mut lines);
        Self {
            collection,
            name,
            at: at.clone(),
            lines,
            body: Map::new(),
            annotations: Map::new(),
            hidden: None,
            is_inactive: false,
            feed: None,
        }
    }

    /// The place of a field of it, or of the nearest thing around that.
    pub(super) fn place(&self, field: &str) -> At {
        let mut known = field;
        loop {
            if let Some(line) = self.lines.get(known) {
                return self.at.member(known, *line);
            }
            let Some((around, _)) = known.rsplit_once('.') else { return self.at.clone() };
            known = around;
        }
    }

    /// Below the namespace.
    pub(super) fn path(&self) -> Vec<&str> {
        self.name.path(self.collection.word())
    }

    /// What the hub keeps and does not show, with its name in [`FINGERPRINTS`]: also inputs that
    /// are secret.
    pub(super) fn unseen(&self) -> Option<(&'static str, Value)> {
        let inputs = self.body.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let secrets: Map<String, Value> = inputs
            .filter(|input| is_secret(input))
            .filter_map(|input| Some((input.get("key")?.as_str()?, input.get("value")?)))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect();
        match &self.hidden {
            hidden if secrets.is_empty() => hidden.clone(),
            Some((name, value)) => Some((name, json!([value, secrets]))),
            None => Some(("inputs", secrets.into())),
        }
    }

    /// The PUT's whole body; `fingerprint` is of what is hidden.
    pub(super) fn put_body(&self, project: Option<&str>, fingerprint: Option<&str>) -> Value {
        let mut annotations = self.annotations.clone();
        if let Some(project) = project {
            annotations.insert(MANAGED.to_owned(), json!({ "projectName": project }));
        }
        if let (Some((name, _)), Some(fingerprint)) = (self.unseen(), fingerprint) {
            annotations.insert(FINGERPRINTS.to_owned(), json!({ name: fingerprint }));
        }
        let mut body = self.body.clone();
        body.insert("annotations".to_owned(), key_values(&annotations));
        body.into()
    }

    /// The text under a member of the body.
    pub(super) fn text(&self, member: &str) -> &str {
        self.body.get(member).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Whether an entry of a list of key and value is shown to nobody.
pub(super) fn is_secret(entry: &Value) -> bool {
    entry.get("secret") == Some(&Value::Bool(true))
}

fn note_lines(node: &Node, path: &str, lines: &mut BTreeMap<String, usize>) {
    let Content::Map(members) = &node.content else { return };
    for member in members {
        let path = match path {
            "" => member.name.clone(),
            path => format!("{path}.{}", member.name),
        };
        note_lines(&member.value, &path, lines);
        lines.insert(path, member.line);
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.collection.noun(), self.name)
    }
}

// === impl Collection ===

impl Collection {
    pub(crate) const ALL: [Self; 5] =
        [Self::Packages, Self::Actions, Self::Triggers, Self::Rules, Self::Feeds];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Actions => "actions",
            Self::Triggers => "triggers",
            Self::Rules => "rules",
            Self::Feeds => "feeds",
        }
    }

    pub(crate) fn noun(self) -> &'static str {
        self.word().trim_end_matches('s')
    }
}
