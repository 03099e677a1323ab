//! What every feed shares: provider contract, registry, lifecycle, supervision and status.
//!
//! Invariant: knows no concrete source and no engine. Events leave through the port [`EventSink`],
//! which takes them together with the source's position or not at all; sources come in through
//! [`Provider`] and the readable table [`Registry`].
//!
//! What decides over time ([`lifecycle`]) is plain code on values; [`Supervisor`] is its shell.
//!
//! To add a source: implement [`Provider`] and [`Source`], add it to the providers' table, and
//! give [`conformance`] a bench for it.

mod clock;
pub mod conformance;
mod face;
mod fields;
pub mod lifecycle;
mod memory;
mod provider;
mod pump;
mod registry;
mod report;
mod sink;
mod status;
mod supervisor;

pub use clock::{Clock, SystemClock};
pub use evoke_schemas::{FeedPayload, ResetTo};
pub use face::{ActionCard, FeedAction, FeedRefusal, NativeAction, PackageCard, ParameterCard};
pub use fields::{Fields, Mistakes};
pub use memory::MemorySink;
pub use provider::{
    Batch, BatchEnd, Deliveries, FeedContext, Provider, Source, SourceError, Start, WhenEnded,
};
pub use registry::{ParametersError, Registry};
pub use report::Report;
pub use sink::{Ack, EventSink, FeedBatch, FeedKey, SinkError, StoredPosition, Undelivered};
pub use status::{FeedState, FeedStatus};
pub use supervisor::{Supervisor, SupervisorClosed};
