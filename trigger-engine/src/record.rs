//! What the engine writes to the log: one codec a kind of record, no I/O.

mod event;
mod held;
mod id;
mod outcome;
mod replay;
pub mod stream;
mod wire;

pub use event::{HalfRecords, StoredEvent, StoredRule, StoredTrigger, deliveries_in};
pub use held::{AttemptNote, Attempts, Death, HeldRecord, Home, Reason};
pub use id::DeliveryId;
pub use outcome::{Outcome, OutcomeRecord};
pub use replay::{ReplayRecord, ReplayStatus};
pub use wire::DecodeError;

pub(crate) use event::{EventParts, write_trigger};
pub(crate) use replay::read_cursor;
pub(crate) use wire::{Reader, Writer};
