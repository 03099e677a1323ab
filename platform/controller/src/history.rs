//! The port to what became of events: asked by the API, answered by the engine.

mod engine;

use std::sync::Arc;

use async_trait::async_trait;
use evoke_schemas::{ActivationId, EntityName, EntityUid, FullName, Namespace, Position};
use evoke_trigger_engine::record::{
    Attempts, HeldRecord, Outcome, Reason, ReplayRecord, StoredEvent,
};
use schemars::JsonSchema;
use serde::Serialize;

/// Which accepted events to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only those that fired this trigger.
    pub trigger: Option<EntityName>,
    /// Only those accepted at or after. Unit: epoch milliseconds.
    pub since: Option<u64>,
    /// Only those accepted at or before. Unit: epoch milliseconds.
    pub upto: Option<u64>,
    /// How many of the newest to leave out.
    pub skip: usize,
    /// How many to give.
    pub limit: usize,
}

/// An accepted event.
#[derive(Clone, Debug)]
pub struct Accounted {
    /// Where it stands.
    pub position: Position,
    /// When it was accepted. Unit: epoch milliseconds.
    pub accepted_ms: u64,
    /// What was accepted, with the triggers that it fired.
    pub event: Arc<StoredEvent>,
    /// What each rule decided; empty in lists.
    pub why: Vec<Why>,
}

/// What one rule decided about an event, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The trigger.
    pub trigger: Option<EntityName>,
    /// The rule; none for an accepted invocation.
    pub rule: Option<EntityName>,
    /// The action.
    pub action: FullName,
    /// Of the delivery, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation_id: Option<ActivationId>,
    /// In one word.
    pub decision: Decision,
    /// Attempts that failed, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Attempts>,
}

/// What became of a delivery, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// The rule was inactive when the event was accepted.
    Inactive,
    /// It waits for its turn, or runs.
    UnderWay,
    /// It waits for another attempt.
    Parked,
    /// It is a dead letter.
    Dead(Reason),
    /// It ended so.
    Ended(Outcome),
}

/// A delivery that was given up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Of the delivery.
    pub activation_id: ActivationId,
    /// Its history.
    pub held: HeldRecord,
    /// The event, where it can be read.
    pub event: Option<Arc<StoredEvent>>,
}

/// Which dead letters to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Only of this rule.
    pub rule: Option<EntityName>,
    /// How many of the newest to leave out.
    pub skip: usize,
    /// How many to give.
    pub limit: usize,
}

/// Which dead letters to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of this delivery.
    One(ActivationId),
    /// All of this rule.
    Rule(EntityName),
}

/// How to settle dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Deliver again; the attempts go on.
    Replay,
    /// Let go for ever.
    Discard,
}

/// An end of the range of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This event.
    Position(Position),
    /// The first event accepted from then on. Unit: epoch milliseconds.
    Time(u64),
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no such rule.
    #[error("rule `{0}` does not exist")]
    NoRule(EntityName),
    /// The range cannot be.
    #[error("{0}")]
    Range(String),
    /// What was asked for must wait for something that runs.
    #[error("{0}")]
    Busy(String),
    /// The log cannot be read or written now.
    #[error("the event log is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An event that was erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Erased {
    /// When. Unit: epoch milliseconds.
    pub at: u64,
    /// Who.
    pub by: String,
    /// Records of the log whose data went now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<usize>,
    /// Activation records that went now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activations: Option<usize>,
}

/// Answers what became of events, and takes orders about it.
#[async_trait]
pub trait History: Send + Sync + std::fmt::Debug {
    /// Accepted events, newest first.
    async fn events(
        &self,
        namespace: &Namespace,
        query: &EventQuery,
    ) -> Result<Vec<Accounted>, HistoryError>;

    /// How many events match, whatever is to be left out of them and given.
    async fn count_events(
        &self,
        namespace: &Namespace,
        query: &EventQuery,
    ) -> Result<usize, HistoryError>;

    /// The event at that position, with what each rule decided.
    async fn event(
        &self,
        namespace: &Namespace,
        position: Position,
    ) -> Result<Option<Accounted>, HistoryError>;

    /// Erases the event at that position with everything that was made of it, for ever. None where
    /// there is none.
    async fn erase(
        &self,
        _namespace: &Namespace,
        _position: Position,
        _by: &str,
    ) -> Result<Option<Erased>, HistoryError> {
        Ok(None)
    }

    /// When and by whom the event at that position was erased, if it was.
    async fn erased(
        &self,
        _namespace: &Namespace,
        _position: Position,
    ) -> Result<Option<Erased>, HistoryError> {
        Ok(None)
    }

    /// Dead letters, newest first.
    async fn dead_letters(
        &self,
        namespace: &Namespace,
        query: &DeadLetterQuery,
    ) -> Result<Vec<DeadLetter>, HistoryError>;

    /// How many dead letters there are, of this rule where one is given.
    async fn count_dead_letters(
        &self,
        namespace: &Namespace,
        rule: Option<&EntityName>,
    ) -> Result<usize, HistoryError>;

    /// The dead letter of that delivery.
    async fn dead_letter(
        &self,
        namespace: &Namespace,
        id: ActivationId,
    ) -> Result<Option<DeadLetter>, HistoryError>;

    /// Settles dead letters, durably; returns how many.
    async fn settle(
        &self,
        namespace: &Namespace,
        which: &Which,
        how: Settle,
    ) -> Result<usize, HistoryError>;

    /// Delivers a range again to one rule. Without `to` it ends now.
    async fn replay(
        &self,
        namespace: &Namespace,
        rule: &EntityName,
        from: Place,
        to: Option<Place>,
    ) -> Result<ReplayRecord, HistoryError>;

    /// Replays, newest first.
    async fn replays(&self, namespace: &Namespace) -> Result<Vec<ReplayRecord>, HistoryError>;

    /// Stops a replay; what was not dispatched is not. None where there is none.
    async fn cancel(
        &self,
        namespace: &Namespace,
        replay: EntityUid,
    ) -> Result<Option<ReplayRecord>, HistoryError>;
}
