//! Names as people write them: `a`, `p/a`, `/ns/a`, `/ns/p/a`.

use std::fmt;

use serde_json::Value;

/// An entity's name, `_` being the key's own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    /// Package, if any, and name.
    path: Vec<String>,
}

impl Name {
    /// Any text; whether it is a name, the hub decides.
    pub(crate) fn parse(text: &str) -> Self {
        let owned = |part: &str| part.to_owned();
        match text.strip_prefix('/').and_then(|rest| rest.split_once('/')) {
            Some((namespace, path)) => {
                Self { namespace: owned(namespace), path: path.split('/').map(owned).collect() }
            }
            None => Self { namespace: owned("_"), path: text.split('/').map(owned).collect() },
        }
    }

    /// The path of the entity below its namespace.
    pub(crate) fn path<'a>(&'a self, collection: &'a str) -> Vec<&'a str> {
        std::iter::once(collection).chain(self.path.iter().map(String::as_str)).collect()
    }

    /// `/ns/[pkg/]name`.
    pub(crate) fn full(&self) -> String {
        format!("/{}/{}", self.namespace, self.path.join("/"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "_" => f.write_str(&self.path.join("/")),
            _ => f.write_str(&self.full()),
        }
    }
}

/// The text under a member; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// The number under a member.
pub(crate) fn number(value: &Value, member: &str) -> Option<u64> {
    value.get(member).and_then(Value::as_u64)
}

/// An action's or trigger's name with its package, from `namespace` and `name` of its JSON.
pub(crate) fn with_package(entity: &Value) -> String {
    let name = text(entity, "name");
    match text(entity, "namespace").split_once('/') {
        Some((_, package)) => format!("{package}/{name}"),
        None => name.to_owned(),
    }
}

/// `path` and `name` of a rule's trigger or action, without the namespace.
pub(crate) fn referenced(reference: Option<&Value>) -> String {
    let Some(reference) = reference else { return String::new() };
    if let Some(full) = reference.as_str() {
        return full.trim_start_matches('/').split_once('/').map_or(full, |(_, n)| n).to_owned();
    }
    let name = text(reference, "name");
    match text(reference, "path").split_once('/') {
        Some((_, package)) => format!("{package}/{name}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_have_namespace_package_and_name() {
        let check = |text: &str, full: &str, shown: &str| {
            let name = Name::parse(text);
            assert_eq!((name.full().as_str(), name.to_string().as_str()), (full, shown));
        };
        check("a", "/_/a", "a");
        check("p/a", "/_/p/a", "p/a");
        check("/ns/a", "/ns/a", "/ns/a");
        check("/_/p/a", "/_/p/a", "p/a");
        let name = Name::parse("/ns/p/a");
        assert_eq!(name.path("actions"), ["actions", "p", "a"]);
    }

    #[test]
    fn references_lose_their_namespace() {
        assert_eq!(referenced(Some(&json!({"path": "guest/p", "name": "a"}))), "p/a");
        assert_eq!(referenced(Some(&json!({"path": "guest", "name": "a"}))), "a");
        assert_eq!(referenced(Some(&json!("/guest/a"))), "a");
    }
}
