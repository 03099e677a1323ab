//! The REST API, identity, and the way from a call or a delivery to an activation.
//!
//! Invariant: this crate knows no source of events and no sandbox. Handlers know no status
//! numbers: [`rest::ApiError`] does.
//!
//! To add a REST collection: one file `rest/<plural>.rs` with `routes`, one line in
//! `rest::routes`.

#[cfg(test)]
mod bench;
mod code;
mod config;
mod feed_control;
mod feed_endings;
mod feed_wishes;
pub mod handshakes;
mod history;
mod hub;
mod invocations;
pub mod metrics;
mod records;
pub mod rest;
mod runner;
mod system;
mod webhooks;

pub use code::StoredCode;
pub use config::Config;
pub use feed_control::{FeedControl, FeedRefused};
pub use feed_endings::delete_ended;
pub use hub::{Hub, HubParts, Loaded};
pub use invocations::{InvocationParts, Invocations};
pub use metrics::{Host, HostFacts, SpanCounts};
pub use records::Records;
pub use rest::{Api, openapi};
pub use runner::{Runner, Runners};
pub use system::System;
