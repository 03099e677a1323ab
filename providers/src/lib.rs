//! One event source each, behind the contract of the feed room.
//!
//! Invariant: a provider knows its source and nothing of rules, actions or the platform.
//!
//! To add one: a file with an `impl Provider`, a line in [`registry`], a bench in the
//! conformance test.

pub mod alarms;
#[cfg(feature = "couchdb")]
pub mod couchdb;
#[cfg(feature = "kafka")]
pub mod kafka;

use evoke_feeds::Registry;

/// Every provider there is.
#[must_use]
pub fn registry() -> Registry {
    let table = Registry::new().with(alarms::Alarms::default());
    #[cfg(feature = "couchdb")]
    let table = table.with(couchdb::CouchDb::default());
    #[cfg(feature = "kafka")]
    let table = table.with(kafka::Kafka);
    table
}
