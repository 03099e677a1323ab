//! Packages as answers show them.

use evoke_schemas::{Action, EntityName, KeyValues, Namespace, Package, SemVer};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// A package as it is read.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Package")]
pub(super) struct PackageShown<'a> {
    #[serde(flatten)]
    kept: PackageKept<'a>,
    actions: Vec<Inside<'a>>,
    /// Actions with an annotation `feed`.
    feeds: Vec<Inside<'a>>,
}

/// A package as changes answer it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PackageKept")]
pub(super) struct PackageKept<'a> {
    namespace: &'a Namespace,
    name: &'a EntityName,
    /// Empty: it is no binding.
    binding: Map<String, Value>,
    parameters: &'a KeyValues,
    annotations: &'a KeyValues,
    version: SemVer,
    publish: bool,
    /// Epoch milliseconds.
    updated: u64,
}

/// A package as lists show it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PackageSummary")]
pub(crate) struct PackageSummary<'a> {
    namespace: &'a Namespace,
    name: &'a EntityName,
    /// False: it is no binding.
    binding: bool,
    annotations: &'a KeyValues,
    version: SemVer,
    publish: bool,
    /// Epoch milliseconds.
    updated: u64,
}

/// An action of a package.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ActionOfPackage")]
struct Inside<'a> {
    name: &'a EntityName,
    version: SemVer,
    annotations: &'a KeyValues,
}

impl<'a> PackageShown<'a> {
    pub(super) fn of(package: &'a Package, inside: &'a [Action]) -> Self {
        let is_feed = |action: &&Action| action.annotations.get("feed").is_some();
        let (feeds, actions): (Vec<_>, Vec<_>) = inside.iter().partition(is_feed);
        let all = |of: Vec<&'a Action>| of.into_iter().map(Inside::of).collect();
        Self { kept: PackageKept::of(package), actions: all(actions), feeds: all(feeds) }
    }
}

impl<'a> PackageKept<'a> {
    pub(super) fn of(package: &'a Package) -> Self {
        Self {
            namespace: &package.namespace,
            name: &package.name,
            binding: Map::new(),
            parameters: &package.parameters,
            annotations: &package.annotations,
            version: package.version,
            publish: package.publish,
            updated: package.updated,
        }
    }
}

impl<'a> PackageSummary<'a> {
    pub(crate) fn of(package: &'a Package) -> Self {
        Self {
            namespace: &package.namespace,
            name: &package.name,
            binding: false,
            annotations: &package.annotations,
            version: package.version,
            publish: package.publish,
            updated: package.updated,
        }
    }
}

impl<'a> Inside<'a> {
    fn of(action: &'a Action) -> Self {
        let version = action.version;
        Self { name: &action.name.name, version, annotations: &action.annotations }
    }
}
