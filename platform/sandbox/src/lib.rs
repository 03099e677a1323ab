//! The sandbox an action runs in: what starts, bounds, pauses and kills one, and knows nothing above it.
//!
//! Invariant: no other crate of the workspace holds `unsafe`, and this one knows neither actions
//! nor REST: it runs an `argv` and hands back three streams and a life.
//!
//! To add a driver: one file that implements [`SandboxDriver`], one line in [`DRIVERS`].

pub mod cgroup;
mod config;
mod driver;
mod init;
mod life;
mod net;
mod output;
mod process;
mod report;
mod spec;
mod sys;

pub use config::{Cidr, Config, ParseCidrError};
pub use driver::{
    ApiGuard, ApiServer, DRIVERS, DriverEntry, NoApi, OpenError, SandboxDriver, StartError,
    open_driver,
};
pub use init::sandbox_init_main;
pub use life::{Ending, Exit, Life, LifeError, Sandbox, SandboxControl};
pub use output::{Drained, Output};
pub use process::ProcessDriver;
pub use report::{CgroupKind, IsolationReport, Outside, SweepReport};
pub use spec::{Network, PlacedFile, SandboxSpec, Shown, SpecError};
