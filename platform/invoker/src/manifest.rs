//! The runtimes manifest: which kinds there are, and what serves them, as data.
//!
//! To add a runtime: one launcher under `launchers/`, and one family in `runtimes.json`
//! (CONTRIBUTING.md shows it). An operator's own manifest may name a launcher by its path and needs no build.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The built-in launchers, by the name that a manifest uses: the files of `launchers/`.
pub(crate) const LAUNCHERS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/launchers.rs"));

/// Every kind that actions may have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Families by name, `nodejs` for one.
    pub families: BTreeMap<String, Family>,
}

/// The kinds that one launcher serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Family {
    /// A built-in launcher's name, or an absolute path. None: the kinds are known, not served.
    #[serde(default)]
    pub launcher: Option<String>,
    /// Absolute paths to look for; of those that are there, the first of the kind's version
    /// serves it, else the first of all.
    #[serde(default)]
    pub interpreters: Vec<String>,
    /// The interpreter's arguments before the launcher. `{memory75}` stands for three quarters of
    /// the memory limit in MB.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// What a dying interpreter writes to stderr when its own memory bound was reached.
    #[serde(default)]
    pub exhausted: Option<String>,
    /// The kinds.
    pub kinds: Vec<Kind>,
}

/// One kind: a label for compatibility.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Kind {
    /// `family:version`.
    pub kind: String,
    /// Beginning of the version of the interpreter that fits best.
    #[serde(default)]
    pub version: String,
    /// Whether `family:default` means this one.
    #[serde(default)]
    pub default: bool,
    /// Whether actions of it may only be read and deleted.
    #[serde(default)]
    pub deprecated: bool,
    /// Whether an action must name its entry point.
    #[serde(default)]
    pub require_main: bool,
    /// The image that OpenWhisk would run; shown, never pulled.
    pub image: Image,
    /// Sandboxes kept started for it.
    #[serde(default)]
    pub stem_cells: Vec<StemCell>,
}

/// Name of a container image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Who publishes it.
    pub prefix: String,
    /// Its name.
    pub name: String,
    /// Its tag.
    pub tag: String,
}

/// Sandboxes kept started for a kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StemCell {
    /// How many.
    pub count: usize,
    /// Memory limit they are made for, as `256 MB`.
    pub memory: String,
}

/// A manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read the runtimes manifest or a launcher at `{path}`")]
    Read {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not of the manifest's form.
    #[error("the runtimes manifest is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A launcher that is neither built in nor an absolute path.
    #[error("unknown launcher `{name}` of `{family}` (built in: {known}; or an absolute path)")]
    Launcher {
        /// The family.
        family: String,
        /// What it names.
        name: String,
        /// What there is.
        known: String,
    },
    /// A family has several kinds and not exactly one default.
    #[error("family `{0}` needs exactly one default kind")]
    Default(String),
    /// A kind is not of the form `family:version`, or is there twice.
    #[error("kind `{kind}` of family `{family}` must be `{family}:…` and there once")]
    Kind {
        /// The family.
        family: String,
        /// The kind.
        kind: String,
    },
    /// A stem cell's memory is not of the form `256 MB`.
    #[error("stem cell memory `{memory}` of `{kind}` must be like `256 MB`")]
    Memory {
        /// The kind.
        kind: String,
        /// What it says.
        memory: String,
    },
}

// === impl Manifest ===

impl Manifest {
    /// The built-in one as it is written.
    pub const BUILT_IN: &str = include_str!("../runtimes.json");

    /// The built-in one.
    ///
    /// # Errors
    /// Never, as a test holds; the same as [`Manifest::parse`] all the same.
    pub fn built_in() -> Result<Self, ManifestError> {
        Self::parse(Self::BUILT_IN)
    }

    /// Reads the manifest in a file.
    ///
    /// # Errors
    /// It cannot be read, or the first thing that is wrong with it.
    pub fn of_file(path: &Path) -> Result<Self, ManifestError> {
        Self::parse(&crate::runtimes::read_text(path)?)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        for (name, family) in &self.families {
            check_launcher(name, family)?;
            let defaults = family.kinds.iter().filter(|kind| kind.default).count();
            if defaults != 1 && family.kinds.len() != 1 {
                return Err(ManifestError::Default(name.clone()));
            }
            for (index, kind) in family.kinds.iter().enumerate() {
                let twice = family.kinds.iter().skip(index + 1).any(|k| k.kind == kind.kind);
                if twice || kind.kind.strip_prefix(name).is_none_or(|rest| !rest.starts_with(':')) {
                    return Err(ManifestError::Kind {
                        family: name.clone(),
                        kind: kind.kind.clone(),
                    });
                }
                for cell in &kind.stem_cells {
                    cell.memory_mb(&kind.kind)?;
                }
            }
        }
        Ok(())
    }

    /// The kind of this very name, with its family.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<(&Family, &Kind)> {
        self.kinds().find(|(_, kind)| kind.kind == name)
    }

    /// What an action's `kind` means: `nodejs:default` is the family's default.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&Kind> {
        if let Some(family) = name.strip_suffix(":default") {
            let family = self.families.get(family)?;
            return family.kinds.iter().find(|kind| kind.default).or(family.kinds.first());
        }
        self.kind(name).map(|(_, kind)| kind)
    }

    /// All kinds.
    pub fn kinds(&self) -> impl Iterator<Item = (&Family, &Kind)> {
        self.families
            .values()
            .flat_map(|family| family.kinds.iter().map(move |kind| (family, kind)))
    }

    /// Names of all kinds, for messages.
    #[must_use]
    pub fn known(&self) -> String {
        self.kinds().map(|(_, kind)| kind.kind.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The object under `runtimes` that `GET /` answers with.
    ///
    /// Source: spec 5.7, 1.14.
    #[must_use]
    pub fn wire(&self) -> Value {
        let kinds = |family: &Family| family.kinds.iter().map(Kind::wire).collect::<Vec<_>>();
        self.families.iter().map(|(name, family)| (name.clone(), json!(kinds(family)))).collect()
    }
}

fn check_launcher(family: &str, entry: &Family) -> Result<(), ManifestError> {
    match &entry.launcher {
        Some(name)
            if !Path::new(name).is_absolute() && !LAUNCHERS.iter().any(|(n, _)| n == name) =>
        {
            Err(ManifestError::Launcher {
                family: family.to_owned(),
                name: name.clone(),
                known: LAUNCHERS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            })
        }
        Some(_) | None => Ok(()),
    }
}

// === impl Kind ===

impl Kind {
    fn wire(&self) -> Value {
        json!({
            "kind": self.kind,
            "image": format!("{}/{}:{}", self.image.prefix, self.image.name, self.image.tag),
            "default": self.default,
            "deprecated": self.deprecated,
            "requireMain": self.require_main,
            "attached": true,
        })
    }
}

// === impl StemCell ===

impl StemCell {
    /// Memory limit. Unit: MB.
    pub(crate) fn memory_mb(&self, kind: &str) -> Result<u64, ManifestError> {
        let number = self.memory.strip_suffix("MB").map(str::trim_end);
        number.and_then(|number| number.parse().ok()).ok_or_else(|| ManifestError::Memory {
            kind: kind.to_owned(),
            memory: self.memory.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_manifest_is_right() {
        let manifest = Manifest::built_in().unwrap();
        assert_eq!(manifest.resolve("nodejs:default").unwrap().kind, "nodejs:20");
        assert_eq!(manifest.resolve("python:default").unwrap().kind, "python:3.11");
        assert_eq!(manifest.resolve("nodejs:18").unwrap().kind, "nodejs:18");
        assert!(manifest.resolve("nodejs").is_none());
        assert!(manifest.resolve("cobol:default").is_none());
        for (name, _) in LAUNCHERS {
            let used = manifest.families.values().any(|f| f.launcher.as_deref() == Some(*name));
            assert!(used, "launcher {name} serves no family");
        }
    }

    fn check(change: impl FnOnce(&mut Value), wanted: &str) {
        let mut value: Value = serde_json::from_str(Manifest::BUILT_IN).unwrap();
        change(&mut value);
        let error = Manifest::parse(&value.to_string()).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }

    #[test]
    fn a_wrong_manifest_says_what_is_wrong() {
        check(
            |m| m["families"]["nodejs"]["launcher"] = json!("deno.ts"),
            "unknown launcher `deno.ts`",
        );
        check(
            |m| m["families"]["nodejs"]["kinds"][0]["default"] = json!(true),
            "exactly one default",
        );
        check(|m| m["families"]["nodejs"]["kinds"][0]["kind"] = json!("node:18"), "`nodejs:…`");
        check(|m| m["families"]["nodejs"]["kinds"][0]["kind"] = json!("nodejs:20"), "there once");
        check(
            |m| m["families"]["nodejs"]["kinds"][1]["stemCells"][0]["memory"] = json!("a lot"),
            "like `256 MB`",
        );
        check(|m| m["families"]["nodejs"]["colour"] = json!("red"), "malformed");
    }

    #[test]
    fn the_answer_of_the_root_has_openwhisks_shape() {
        let wire = Manifest::built_in().unwrap().wire();
        assert_eq!(
            wire["nodejs"][1],
            json!({
                "kind": "nodejs:20", "image": "openwhisk/action-nodejs-v20:nightly", "default": true,
                "deprecated": false, "requireMain": false, "attached": true,
            })
        );
    }
}
