//! A package: a named group of actions with parameters of its own.

use serde::{Deserialize, Serialize};

use crate::{
    key_value::KeyValues,
    name::{EntityName, Namespace},
    uid::EntityUid,
    version::SemVer,
};

/// A package as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Package {
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: EntityName,
    /// Which life of the name this is.
    pub uid: EntityUid,
    /// Parameters of all its actions.
    pub parameters: KeyValues,
    /// Annotations.
    pub annotations: KeyValues,
    /// Version.
    pub version: SemVer,
    /// Whether every namespace may read and invoke its actions.
    pub publish: bool,
    /// Time of the last change. Unit: epoch milliseconds.
    pub updated: u64,
}
