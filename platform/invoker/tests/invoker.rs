//! Runs through real sandboxes: what the runtimes promise, and what the invoker does about them.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "invoker/archives.rs"]
mod archives;
#[path = "invoker/contract.rs"]
mod contract;
#[path = "invoker/contributed.rs"]
mod contributed;
#[path = "invoker/languages.rs"]
mod languages;
#[path = "invoker/pooling.rs"]
mod pooling;
#[path = "invoker/site.rs"]
mod site;
#[path = "invoker/snippets.rs"]
mod snippets;
