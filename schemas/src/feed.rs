//! A feed: a stream of events of one source that all belong to one trigger.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    name::{EntityName, Namespace},
    uid::EntityUid,
};

/// A feed as the store keeps it: what is wanted. Where it stands is a record of the event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Feed {
    /// Namespace.
    pub namespace: Namespace,
    /// Name, one key space of its own.
    pub name: EntityName,
    /// Which life of the name this is.
    pub uid: EntityUid,
    /// Goes up with each change of what is wanted, so that a task of a former life cannot append.
    pub generation: u64,
    /// Kind of source: a name of the providers' table.
    pub provider: String,
    /// Trigger that gets the events.
    pub trigger: EntityName,
    /// The provider's parameters.
    pub parameters: Map<String, Value>,
    /// Whether it rests.
    pub paused: bool,
    /// Time of the last change. Unit: epoch milliseconds.
    pub updated: u64,
}
