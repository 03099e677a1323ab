//! Ingest, matching, dispatch, retries, dead letters and replay.
//!
//! Invariant: what decides ([`ingest`], [`delivery`], [`record`], [`index`]) is
//! plain values with time passed in; [`Engine`] is the thin shell that gives them a log, a store of
//! activations and a platform. Nothing here knows HTTP, sandboxes or a source of events.

pub mod accepted;
pub mod activations;
pub mod config;
pub mod delivery;
pub mod engine;
pub mod filter;
pub mod incoming;
pub mod index;
pub mod ingest;
pub mod invoker;
pub mod record;

#[cfg(test)]
mod fixture;

pub use accepted::{Accepted, FiredTrigger, MatchedRule};
pub use activations::{ActivationSink, ActivationSinkError};
pub use config::EngineConfig;
pub use delivery::NamespaceBounds;
pub use engine::{
    Clock, Engine, EngineCounts, EngineParts, EraseEventError, ErasedEvent, EventFilter,
    IntakeCounts, OpenError, PlacedEvent, QuestionError, REFUSALS, Steps, WAYS, Way,
};
pub use evoke_event_log::Erasure;
pub use incoming::{Incoming, Origin, Target};
pub use ingest::{Cap, IngestError};
pub use invoker::{ActionInvoker, Attempt, AttemptEnd, Verdict};
