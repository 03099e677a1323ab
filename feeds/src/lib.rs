//! What every feed shares: provider contract, registry, lifecycle, supervision and status.
//!
//! Invariant: knows no concrete source and no engine. Events leave through the port [`EventSink`],
//! which takes them together with the source's position or not at all; sources come in through
//! [`Provider`] and the readable table [`Registry`].
//!
//! What decides over time ([`lifecycle`]) is plain code on values; [`Supervisor`] is its shell.

mod clock;

mod fields;

mod provider;
mod registry;
mod sink;
mod status;

pub use clock::{Clock, SystemClock};
pub use fields::{Fields, Mistakes};

pub use provider::{Batch, BatchEnd, FeedContext, Provider, Source, SourceError};
pub use registry::{ParametersError, Registry};
pub use sink::{Ack, EventSink, FeedBatch, FeedKey, SinkError, StoredPosition};
pub use status::{FeedState, FeedStatus};
