//! Feeds of real sources through the whole hub, while the hub and the sources die: each record
//! becomes one event of the log, in its order, and at least one activation.
//!
//! Small counts; with EVOKE_FULL=1 those of SPECIFICATION.md.
#![expect(clippy::panic, reason = "a test that cannot go on ends")]

#[path = "feeds/alarms.rs"]
mod alarms;
#[path = "feeds/campaign.rs"]
mod campaign;
#[path = "feeds/couchdb.rs"]
mod couchdb;
#[path = "feeds/kafka.rs"]
mod kafka;
