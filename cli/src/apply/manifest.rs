//! The manifest's form: wskdeploy's, with feeds, delivery, subscriptions and webhooks of ours.
//!
//! A member that is not known is refused with file, line and name: a manifest that is read in
//! part would be worse than one that is refused.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::CliError;

/// A manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Packages with a name for all.
    pub(super) project: Option<Project>,
    /// Packages without one.
    #[serde(default)]
    pub(super) packages: BTreeMap<String, Package>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Project {
    /// For people; entities do not carry it.
    #[serde(rename = "name")]
    pub(super) _name: Option<String>,
    #[serde(default)]
    pub(super) packages: BTreeMap<String, Package>,
}

/// A package; its triggers, rules and feeds belong to the namespace, as wskdeploy has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Package {
    pub(super) inputs: Map<String, Value>,
    pub(super) annotations: Map<String, Value>,
    pub(super) actions: BTreeMap<String, Action>,
    pub(super) triggers: BTreeMap<String, Option<Trigger>>,
    pub(super) rules: BTreeMap<String, Rule>,
    pub(super) feeds: BTreeMap<String, Feed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Action {
    /// File of the code, from the manifest's folder.
    pub(super) function: Option<PathBuf>,
    /// The code itself, which wants `runtime`.
    pub(super) code: Option<String>,
    pub(super) runtime: Option<String>,
    pub(super) main: Option<String>,
    #[serde(default)]
    pub(super) inputs: Map<String, Value>,
    #[serde(default)]
    pub(super) annotations: Map<String, Value>,
    pub(super) limits: Option<Limits>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Limits {
    /// Unit: milliseconds.
    pub(super) timeout: Option<u64>,
    /// Unit: MB.
    pub(super) memory_size: Option<u64>,
    /// Unit: MB.
    pub(super) log_size: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Trigger {
    pub(super) inputs: Map<String, Value>,
    pub(super) annotations: Map<String, Value>,
    /// Which events of the namespace's hub it gets.
    pub(super) subscription: Option<Value>,
    /// Its own credential; never shown again, so it is set each time.
    pub(super) webhook: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) trigger: String,
    pub(super) action: String,
    /// How deliveries are made.
    pub(super) delivery: Option<Value>,
    #[serde(default)]
    pub(super) annotations: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Feed {
    pub(super) provider: String,
    pub(super) trigger: String,
    #[serde(default)]
    pub(super) parameters: Map<String, Value>,
}

/// Reads a manifest.
///
/// # Errors
/// A file that cannot be read, and the first mistake with its line.
pub(super) fn read(file: &Path) -> Result<Manifest, CliError> {
    let text = fs::read_to_string(file).map_err(|error| CliError::read(file, error))?;
    let manifest: Manifest = serde_yaml_ng::from_str(&text).map_err(|error| {
        let line = error.location().map(|at| format!(":{}", at.line())).unwrap_or_default();
        CliError::Usage(format!("{}{line}: {}", file.display(), without_place(&error)))
    })?;
    if manifest.project.is_none() && manifest.packages.is_empty() {
        let file = file.display();
        return Err(CliError::Usage(format!("{file}: neither `project` nor `packages` is there")));
    }
    Ok(manifest)
}

/// The error's text without the place at its end, which stands at the beginning.
fn without_place(error: &serde_yaml_ng::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

impl Manifest {
    /// All packages, those of the project first.
    pub(super) fn all_packages(&self) -> impl Iterator<Item = (&String, &Package)> {
        self.project.iter().flat_map(|project| &project.packages).chain(&self.packages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.yaml");
        fs::write(&file, text).unwrap();
        let error = read(&file).map(|_| ()).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "");
        assert_eq!(error, expected);
    }

    #[test]
    fn mistakes_are_told_with_file_line_and_key() {
        check(
            "project:\n  packages: {}\n  color: red\n",
            "/m.yaml:3: project: unknown field `color`, expected `name` or `packages`",
        );
        check(
            "packages:\n  default:\n    rules:\n      r:\n        trigger: t\n        action: a\n        retries: 3\n",
            "/m.yaml:7: packages.default.rules.r: unknown field `retries`, expected one of `trigger`, `action`, `delivery`, `annotations`",
        );
        check(
            "packages:\n  default:\n    rules:\n      r:\n        trigger: t\n",
            "/m.yaml:5: packages.default.rules.r: missing field `action`",
        );
        check(
            "packages:\n  p:\n    feeds:\n      f: 3\n",
            "/m.yaml:4: packages.p.feeds.f: invalid type: integer `3`, expected struct Feed",
        );
        check("{}", "/m.yaml: neither `project` nor `packages` is there");
        check("packages: [", "/m.yaml:1: packages: invalid type: sequence, expected a map");
    }

    #[test]
    fn a_trigger_may_be_empty() {
        let text = "packages:\n  default:\n    triggers:\n      t:\n      u: {inputs: {a: 1}}\n";
        let manifest: Manifest = serde_yaml_ng::from_str(text).unwrap();
        assert_eq!(manifest.packages["default"].triggers.len(), 2);
    }
}
