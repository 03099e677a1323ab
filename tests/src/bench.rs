//! Benchmarks: each row of `SPECIFICATION.md`, measured beside a control that alternates with it.
//!
//! What varies here by the hour is the disk and the clock, so a row is a ratio of medians over
//! rounds of one run, never an absolute time alone.

pub mod alarm_rows;
pub mod client;
pub mod control;
pub mod feed_rows;
pub mod hub;
pub mod idle_rows;
pub mod ingest_rows;
pub mod invoke_rows;
pub mod kafka_rows;
pub mod runners;
pub mod stats;
pub mod table;
