//! Answers to batches and to the hub, and to what the engine refuses.

use std::time::Duration;

use axum::response::Response;
use evoke_schemas::ActivationId;
use evoke_trigger_engine::{Accepted, IngestError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::rest::{answer, error::ApiError};

/// What became of the events of a request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Taken")]
pub(super) struct Taken<'a> {
    /// How many there are.
    accepted: usize,
    /// In the order in which they were sent.
    events: Vec<TakenEvent<'a>>,
}

/// What became of one event.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TakenEvent")]
struct TakenEvent<'a> {
    id: &'a str,
    #[serde(serialize_with = "answer::as_text")]
    #[schemars(with = "evoke_schemas::Position")]
    position: evoke_schemas::Position,
    /// It had been taken before; absent where not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    /// Where it fired one trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_id: Option<ActivationId>,
    triggers: Vec<Fired<'a>>,
}

/// A trigger that an event fired.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FiredTrigger")]
struct Fired<'a> {
    name: &'a str,
    activation_id: ActivationId,
}

/// 202 with what became of each event, in the order they were sent; of a single event the
/// position stands in the header too.
pub(super) fn answer(accepted: &[Accepted]) -> Response {
    let events = accepted.iter().map(TakenEvent::of).collect();
    let answer = answer::accepted(&Taken { accepted: accepted.len(), events });
    match accepted {
        [one] => answer::with_position(answer, one.position),
        _ => answer,
    }
}

impl<'a> TakenEvent<'a> {
    fn of(accepted: &'a Accepted) -> Self {
        let fired = accepted.triggers.iter().filter_map(|trigger| {
            Some(Fired { name: trigger.name.as_str(), activation_id: trigger.activation_id? })
        });
        let triggers: Vec<_> = fired.collect();
        let activation_id =
            if let [one] = triggers.as_slice() { Some(one.activation_id) } else { None };
        Self {
            id: &accepted.event_id,
            position: accepted.position,
            duplicate: accepted.duplicate,
            activation_id,
            triggers,
        }
    }
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::EventTooLarge { .. }
            | IngestError::BatchTooLarge { .. }
            | IngestError::TooManyEvents { .. } => Self::PayloadTooLarge(error.to_string()),
            IngestError::TooManyRules { .. } => Self::Bad(error.to_string()),
            IngestError::TriggerMissing(_) => Self::Missing,
            IngestError::Closed { cap, retry_after_ms } => Self::TooMany {
                cap: cap.name(),
                reason: format!("Too many requests: {error}."),
                retry_after: Duration::from_millis(retry_after_ms),
            },
            IngestError::Superseded { .. } => Self::Concurrent,
            IngestError::Unavailable(_) => {
                tracing::error!(%error, "events cannot be accepted");
                Self::Unavailable("The event log is not available.".to_owned())
            }
        }
    }
}
