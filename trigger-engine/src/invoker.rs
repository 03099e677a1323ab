//! The port to the platform: one attempt of a delivery is one call.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_schemas::{
    Activation, ActivationId, EntityName, FullName, KeyValues, Namespace, Occasion, Position,
    trace::TraceContext,
};

use crate::record::StoredEvent;

/// Runs actions.
///
/// Running an action cannot fail: how it went is the returned value. A call ends only when the
/// sandbox it ran in no longer works for it. The engine never calls twice at once for one delivery.
#[async_trait]
pub trait ActionInvoker: Send + Sync + std::fmt::Debug {
    /// Makes one attempt and waits for its end.
    async fn invoke(&self, attempt: Attempt) -> AttemptEnd;
}

/// One attempt of one delivery.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Id that the activation record must have, the same in each attempt.
    pub activation_id: ActivationId,
    /// Namespace that the action acts in.
    pub namespace: Namespace,
    /// The action, as the rule names it now.
    pub action: FullName,
    /// The rule; `None` for an accepted invocation.
    pub rule: Option<EntityName>,
    /// Parameters of the trigger as they are now, below headers and payload; empty where the
    /// trigger is gone.
    pub trigger_parameters: Arc<KeyValues>,
    /// The event with its subject, origin and headers.
    pub event: Arc<StoredEvent>,
    /// Where the event stands.
    pub position: Position,
    /// Whether it comes as it came, or by a replay.
    pub occasion: Occasion,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When the event was accepted, unix milliseconds.
    pub accepted_ms: u64,
    /// The attempt's place in the event's trace.
    pub trace: TraceContext,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct AttemptEnd {
    /// Whose success or failure it is.
    pub verdict: Verdict,
    /// The activation's record, where something ran. It must have the attempt's id.
    pub activation: Option<Activation>,
}

/// Whose success or failure an attempt is (decision 19).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The function returned a result.
    Success,
    /// The function failed: error result, exception, exit, timeout, its own memory limit.
    FunctionFailed {
        /// What to note down.
        reason: String,
    },
    /// The platform failed: retried until the deadline, not counted as an attempt of the rule.
    PlatformFailed {
        /// What to note down.
        reason: String,
        /// Not before this long, where the platform knows. Unit: milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// There is no such action.
    ActionMissing,
}
