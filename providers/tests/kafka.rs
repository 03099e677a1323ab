//! The Kafka provider on a real broker.

#![cfg(feature = "kafka")]
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "kafka/broker.rs"]
mod broker;
#[path = "kafka/conforms.rs"]
mod conforms;
#[path = "kafka/contents.rs"]
mod contents;
#[path = "kafka/faults.rs"]
mod faults;
#[path = "kafka/identity.rs"]
mod identity;
#[path = "kafka/openwhisk.rs"]
mod openwhisk;
#[path = "kafka/positions.rs"]
mod positions;
#[path = "kafka/rig.rs"]
mod rig;
