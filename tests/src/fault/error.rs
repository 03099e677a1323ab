//! Why a fault test could not be carried out; what it found about the hub is a `verdict::Problem`, not an error.

use std::{io, path::PathBuf, time::Duration};

/// Each ends the test.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// Files or processes of the test itself.
    #[error("the test's own files or processes")]
    Io(#[from] io::Error),
    /// Something did not come about in time.
    #[error("{what} did not happen within {limit:?}; {state}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
        /// What stood instead.
        state: String,
    },
    /// The hub ended by itself.
    #[error("the hub ended by itself ({status}) while {during}; the end of its log:\n{log}")]
    Ended {
        /// Exit status or signal.
        status: String,
        /// What the test was doing.
        during: &'static str,
        /// The last lines it wrote.
        log: String,
    },
    /// An answer that no retry can change.
    #[error("{method} {path} was answered {status}: {body}")]
    Answer {
        /// Of the request.
        method: String,
        /// Of the request.
        path: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// No hub to test.
    #[error("there is no program at `{}`: build it (`cargo build -p evoke`) or set EVOKE_BIN", .0.display())]
    NoProgram(PathBuf),
    /// The preloaded library stopped the hub, or was not loaded.
    #[error("the preloaded library: {0}")]
    Preload(String),
}
