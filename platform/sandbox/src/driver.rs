//! The seam: a driver starts sandboxes; the table says which drivers there are.

use std::{any::Any, net::TcpListener, sync::Arc};

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{Config, IsolationReport, ProcessDriver, Sandbox, SandboxSpec, SpecError, SweepReport};

/// Every driver, by name.
pub const DRIVERS: &[DriverEntry] = &[DriverEntry {
    name: "process",
    open: |config, api| {
        Box::pin(async move {
            let driver = ProcessDriver::open(config, api).await?;
            Ok(Arc::new(driver) as Arc<dyn SandboxDriver>)
        })
    },
}];

/// A line of [`DRIVERS`].
#[derive(Clone, Copy)]
pub struct DriverEntry {
    /// The name in the configuration.
    pub name: &'static str,
    /// Opens the driver; wants a tokio runtime.
    pub open: OpenFn,
}

/// Opens a driver.
type OpenFn =
    fn(Config, Arc<dyn ApiServer>) -> BoxFuture<'static, Result<Arc<dyn SandboxDriver>, OpenError>>;

/// Starts sandboxes of one sort.
#[async_trait]
pub trait SandboxDriver: Send + Sync {
    /// Its name in [`DRIVERS`].
    fn name(&self) -> &'static str;

    /// What isolates here. Does not change while the driver lives.
    fn report(&self) -> IsolationReport;

    /// Starts `spec.argv` in a new sandbox; returns once the program was executed.
    ///
    /// Safe to cancel: a sandbox that nobody receives is killed.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left behind.
    async fn start(&self, spec: SandboxSpec) -> Result<Sandbox, StartError>;

    /// Kills and removes what a former life of the same hub left.
    ///
    /// Touches nothing of this driver's own living sandboxes nor of another hub.
    async fn sweep(&self) -> SweepReport;

    /// Waits until every sandbox is gone and removes what the driver made on the machine.
    ///
    /// The caller has dropped or killed its sandboxes and starts none.
    async fn close(&self) {}
}

/// Serves the API inside the network namespace of a sandbox.
pub trait ApiServer: Send + Sync {
    /// Takes over `listener` (non-blocking, on the sandbox's loopback) until the guard is dropped.
    ///
    /// Called within the tokio runtime, once per sandbox that has a network.
    fn serve(&self, sandbox: &str, listener: TcpListener) -> ApiGuard;
}

/// Dropped when the sandbox is gone: the server stops serving it.
pub type ApiGuard = Box<dyn Any + Send>;

/// Serves no API: connections are refused.
#[derive(Debug, Clone, Copy)]
pub struct NoApi;

/// Why a driver cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration names no such driver.
    #[error("unknown sandbox driver `{name}` (known: {known})")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Isolation is missing and `allow_unisolated` is not set.
    #[error("the sandbox cannot isolate here: {missing}; set `allow_unisolated` to go without")]
    Unisolated {
        /// What is missing.
        missing: String,
    },
    /// The configuration cannot hold.
    #[error("sandbox configuration: {0}")]
    Config(String),
    /// The machine refused something that needs no privilege.
    #[error("the sandbox driver cannot start")]
    Io(#[from] std::io::Error),
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The specification is wrong: tell the caller, do not retry.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A living sandbox has this name.
    #[error("a sandbox named `{0}` is alive")]
    NameTaken(String),
    /// Every slot is taken: retry once a sandbox is gone.
    #[error("all {0} sandbox slots are taken")]
    Full(usize),
    /// The program could not be executed inside: the runtime is not installed or not shown.
    #[error("cannot execute `{program}` in the sandbox")]
    Exec {
        /// `argv[0]`.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// Isolation is missing and `allow_unisolated` is not set.
    #[error("the sandbox cannot isolate: {missing}")]
    Unisolated {
        /// What is missing.
        missing: String,
    },
    /// A step of the set-up failed: a failure of the platform, retry elsewhere.
    #[error("sandbox set-up failed at `{step}`")]
    Setup {
        /// The step.
        step: String,
        /// Why.
        source: std::io::Error,
    },
    /// The set-up did not end in time.
    #[error("sandbox set-up took longer than {0:?}")]
    Timeout(std::time::Duration),
}

/// Opens the driver called `name`.
///
/// # Errors
/// [`OpenError::Unknown`] lists what there is; the others are the driver's.
pub async fn open_driver(
    name: &str,
    config: Config,
    api: Arc<dyn ApiServer>,
) -> Result<Arc<dyn SandboxDriver>, OpenError> {
    let Some(entry) = DRIVERS.iter().find(|entry| entry.name == name) else {
        let known = DRIVERS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
        return Err(OpenError::Unknown { name: name.to_owned(), known });
    };
    (entry.open)(config, api).await
}

// === impl DriverEntry ===

impl std::fmt::Debug for DriverEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriverEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl NoApi ===

impl ApiServer for NoApi {
    fn serve(&self, _sandbox: &str, _listener: TcpListener) -> ApiGuard {
        Box::new(())
    }
}
