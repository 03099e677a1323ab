//! The sandbox pool, the runtimes, and the logs of one run.
//!
//! Invariant: this crate knows neither triggers nor REST nor a store: it is given an action, finds
//! or makes a sandbox for it, and says how the run ended. What decides about sandboxes is
//! [`pool::Pool`], without I/O.
//!
//! To add a runtime: one launcher under `launchers/`, one family in `runtimes.json`.

mod cell;
mod code;
mod config;
mod floor;
mod invoker;
mod judge;
mod keeper;
mod logs;
mod machine;
mod manifest;
mod measures;
pub mod pool;
mod protocol;
mod run;
mod runtimes;

pub use code::{CodeError, CodeSource};
pub use config::Config;
pub use evoke_sandbox::Network;
pub use invoker::Invoker;
pub use manifest::{Family, Image, Kind, Manifest, ManifestError, StemCell};
pub use measures::InvokerCounts;
pub use run::{Outcome, PlatformFailure, Run, RunEnd, RunnableAction};
pub use runtimes::{Interpreter, RuntimeReport, Runtimes};
