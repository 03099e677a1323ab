//! The deterministic simulator: years of bad luck in seconds, the same for the same seed.
//!
//! It links the crates that the program links, as they are, and drives their cores: the log's
//! committer and recovery, ingest with dedup and match, delivery, the checkpoint codec, retention,
//! the pool of sandboxes. Everything around them is a world made by a seed: a disk that forgets
//! what was not synced, tears writes at sectors and fills up; clocks that step by hours; clients
//! that repeat a request until it is acknowledged; functions that fail, hang and vanish;
//! sandboxes that die; alarms whose clock is set; operators who change rules and tend dead letters; and a process that is
//! killed or loses power at any border between two effects.
//!
//! ```text
//!   plan ──▶ world ──▶ process ──────────────────────────────┐
//!   (seed)    │ queue     │ log (commit, recovery)           │ cores of the product,
//!             │           │ ingest · delivery · checkpoint   │ driven effect by effect
//!             │           └ runs ─▶ sandboxes (pool)         │
//!             ├ disk · store · clock · functions · clients ◀─┘
//!             └ oracle: what is durable, what was told, what ran ─▶ broken promises
//! ```
//!
//! # How to use it
//!
//! ```text
//! make simulate                              10,000 seeds; counts; fails on a broken promise
//! simulate --from 0 --seeds 500 --stop       until the first failure
//! simulate --seed 4711                       one seed with its whole trace
//! tests/defects/run.sh                       plants each known defect and wants it found
//! ```
//!
//! A failure names its seed; the seed replays to the same trace, which its hash proves. A count of
//! zero for anything in [`expected`] fails as well: a fault that never occurs tests nobody.
//!
//! # How to read a failure
//!
//! The violation says which promise was broken for which delivery (position, rule, occasion). Run
//! the seed alone and search the trace for the position; each line has the true time, which no
//! step of the wall clock moves.
//!
//! # How to add to it
//!
//! A new fault is an [`plan::Act`] with its line in the plan's table and in [`expected`]. A new
//! border at which the process can die is a [`crash::Moment`]. A new promise is a check in
//! [`oracle`], which must not ask the cores what is right: it knows the record formats and what
//! clients, functions and the disk saw. Then plant the defect that breaks the promise under
//! `tests/defects/` and see it found.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulator is a test: what cannot be in it is a defect, and stops it"
)]

pub mod alarms;
pub mod bounds;
pub mod campaign;
pub mod chance;
pub mod clients;
pub mod clock;
mod commands;
pub mod crash;
pub mod disk;
mod dispatch;
pub mod entities;
pub mod env;
pub mod expected;
pub mod feed;
mod feeding;
pub mod functions;
mod intake;
pub mod log;
pub mod operators;
pub mod oracle;
pub mod plan;
pub mod process;
pub mod queue;
pub mod runs;
pub mod sandboxes;
pub mod sources;
pub mod store;
pub mod tally;
pub mod trace;
mod upkeep;
pub mod witness;
pub mod world;
