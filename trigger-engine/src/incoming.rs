//! What comes in: an event, what it is sent to, and how it came.

use evoke_schemas::{EntityName, Event, FullName, Namespace};
use serde_json::{Map, Value};

/// One event to accept.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Namespace that it is sent to.
    pub namespace: Namespace,
    /// What it is sent to.
    pub target: Target,
    /// The event; of an invocation, its data are the arguments.
    pub event: Event,
    /// How it came.
    pub origin: Origin,
    /// What `__ow_headers` is to show; the caller has taken the secrets out (decision 6).
    pub headers: Option<Map<String, Value>>,
    /// Who sends it; deliveries act for this subject.
    pub subject: String,
    /// Whether an event of the same source and id, sent to the same target within the window, is
    /// the same event.
    pub dedup: bool,
}

/// What an event is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One trigger of the namespace.
    Trigger(EntityName),
    /// The namespace's hub: every trigger whose subscription matches.
    Hub,
    /// An action, as an accepted non-blocking invocation.
    Action(FullName),
}

/// How an event came; decides what the function gets (decision 26).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// As plain JSON.
    Plain,
    /// As a CloudEvent.
    CloudEvent,
    /// From a feed of ours.
    Feed,
}
