//! A running sandbox as its owner holds it: three streams and a life that ends when dropped.

use std::{io, sync::Arc};

use async_trait::async_trait;
use tokio::net::UnixStream;

use crate::Output;

/// A running sandbox. Dropping it (or its `life`) kills it.
#[derive(Debug)]
pub struct Sandbox {
    /// The other end of the program's file descriptor 3.
    pub channel: UnixStream,
    /// What the program writes to its file descriptor 1.
    pub stdout: Output,
    /// What the program writes to its file descriptor 2.
    pub stderr: Output,
    /// Pauses, kills, watches it.
    pub life: Life,
}

/// The life of a sandbox; dropped, it ends.
#[derive(Debug)]
pub struct Life {
    control: Arc<dyn SandboxControl>,
}

/// What a driver implements for each sandbox it starts.
#[async_trait]
pub trait SandboxControl: Send + Sync + std::fmt::Debug {
    /// Stops all its processes; returns once they stand still.
    ///
    /// # Errors
    /// See [`LifeError`]; on an error they run.
    async fn pause(&self) -> Result<(), LifeError>;
    /// Lets them go on.
    ///
    /// # Errors
    /// See [`LifeError`].
    async fn resume(&self) -> Result<(), LifeError>;
    /// Begins to kill, without waiting; harmless when it is over.
    fn doom(&self);
    /// Returns when no process and no trace on the machine is left.
    async fn gone(&self);
    /// Returns when the program ended.
    async fn exited(&self) -> Exit;
    /// Memory in use that cannot be taken back without loss. Unit: bytes.
    ///
    /// # Errors
    /// See [`LifeError`].
    fn memory_usage(&self) -> Result<u64, LifeError>;
    /// Whether a process was killed because the memory bound was reached.
    fn oom_killed(&self) -> bool;
    /// The sandbox's first process as the host sees it.
    fn host_pid(&self) -> i32;
}

/// How a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// What ended the program.
    pub ending: Ending,
    /// Whether the memory bound was reached.
    pub oom_killed: bool,
}

/// What ended the program of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it, not by our hand.
    Signal(i32),
    /// We killed it.
    Killed,
    /// It is gone and nobody saw how.
    Lost,
}

/// Why a living sandbox did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// It ended.
    #[error("the sandbox has ended")]
    Ended,
    /// Its processes did not stand still in time; they run again.
    #[error("the sandbox did not stand still")]
    Restless,
    /// The machine refused.
    #[error("the sandbox does not answer")]
    Io(#[from] io::Error),
}

// === impl Life ===

impl Life {
    /// The life behind `control`; for drivers and for fakes of them.
    #[must_use]
    pub fn new(control: Arc<dyn SandboxControl>) -> Self {
        Self { control }
    }

    /// Stops all its processes; returns once they stand still.
    ///
    /// # Errors
    /// See [`LifeError`]; on an error they run.
    pub async fn pause(&self) -> Result<(), LifeError> {
        self.control.pause().await
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// See [`LifeError`].
    pub async fn resume(&self) -> Result<(), LifeError> {
        self.control.resume().await
    }

    /// Kills every process; returns when all are dead and their control groups are gone.
    pub async fn kill(&self) {
        self.control.doom();
        self.control.gone().await;
    }

    /// Waits for the end of the program, by itself or killed.
    pub async fn exited(&self) -> Exit {
        self.control.exited().await
    }

    /// Memory in use that cannot be taken back without loss. Unit: bytes.
    ///
    /// # Errors
    /// See [`LifeError`].
    pub fn memory_usage(&self) -> Result<u64, LifeError> {
        self.control.memory_usage()
    }

    /// Whether a process was killed because the memory bound was reached.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        self.control.oom_killed()
    }

    /// The sandbox's first process as the host sees it.
    #[must_use]
    pub fn host_pid(&self) -> i32 {
        self.control.host_pid()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.control.doom();
    }
}
