//! A feed: a stream of events of one source that all belong to one trigger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    key_value::KeyValues,
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
    /// What its owner notes about it.
    #[serde(default, skip_serializing_if = "KeyValues::is_empty")]
    pub annotations: KeyValues,
    /// Feed action of `/whisk.system` that it was made by, as `package/action`: its actions get
    /// what OpenWhisk's provider would send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed_action: Option<String>,
    /// Whether it rests.
    pub paused: bool,
    /// The newest wish to read from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// Time of the last change. Unit: epoch milliseconds.
    pub updated: u64,
}

/// What a feed's events carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedPayload {
    /// One CloudEvent for each record, change or tick; functions get its attributes too.
    CloudEvent,
    /// Exactly what OpenWhisk's provider sends a trigger, and functions get that alone.
    OpenWhisk,
}

impl Feed {
    /// What its events carry.
    #[must_use]
    pub fn payload(&self) -> FeedPayload {
        if self.feed_action.is_some() { FeedPayload::OpenWhisk } else { FeedPayload::CloudEvent }
    }
}

/// A wish to read a source from another place than where the feed stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reset {
    /// Generation of the wish: it is fulfilled once a position of this or a later one is kept.
    pub generation: u64,
    /// From where.
    pub to: ResetTo,
}

/// Where to read from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ResetTo {
    /// The oldest that the source has.
    Earliest,
    /// The source's present end.
    Latest,
    /// What came at this time and later. Unit: epoch milliseconds.
    Time(u64),
    /// A place as the provider names it: offsets, a sequence.
    Position(Value),
}
