//! What is asked of an invoker, and what it answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use evoke_sandbox::Network;
use evoke_schemas::{
    ActivationId, ActivationResponse, ActivationStatus, EntityUid, FullName, Namespace, Secret,
    SemVer, action::CodeRef, activation::error_result, limits::ActionLimits,
};
use serde_json::value::RawValue;

/// Everything of an action that running it needs; made once per revision and shared.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnableAction {
    /// Full name, the action's own namespace first.
    pub name: FullName,
    /// Which life of the name.
    pub uid: EntityUid,
    /// Changes whenever anything of this struct changes: a warm sandbox serves one revision only.
    pub revision: u64,
    /// Version.
    pub version: SemVer,
    /// Kind with its version, as in the manifest.
    pub kind: String,
    /// Entry point; `main` where none.
    pub main: Option<String>,
    /// Whether the code is base64 of an archive.
    pub binary: bool,
    /// The code's address.
    pub code: CodeRef,
    /// Parameters marked `init`, as environment variables.
    pub environment: BTreeMap<String, String>,
    /// What one run may use.
    pub limits: ActionLimits,
    /// What its sandbox may reach.
    pub network: Network,
    /// Whether the run's `api_key` is handed on.
    pub provide_api_key: bool,
}

/// One run of an action.
#[derive(Clone, Debug)]
pub struct Run {
    /// Id of the activation.
    pub activation_id: ActivationId,
    /// Namespace that invokes; sandboxes are never shared between these.
    pub namespace: Namespace,
    /// What runs.
    pub action: Arc<RunnableAction>,
    /// Arguments: a JSON object, merged already. Not checked again: it must be valid JSON.
    pub arguments: Bytes,
    /// `__OW_TRANSACTION_ID`.
    pub transaction_id: String,
    /// `__OW_EVENT_ID`, where an event is the reason.
    pub event_id: Option<String>,
    /// `__OW_TRACEPARENT`, a W3C trace context.
    pub traceparent: Option<String>,
    /// The caller's `uuid:key`; reaches the function only where the action provides it.
    pub api_key: Option<Secret>,
    /// Longest wait for a sandbox; the configuration's where none.
    pub longest_wait: Option<Duration>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// Whose success or failure.
    pub outcome: Outcome,
    /// Formatted log lines.
    pub logs: Vec<String>,
    /// When the sandbox was there. Unit: epoch milliseconds.
    pub start_ms: u64,
    /// Unit: epoch milliseconds.
    pub end_ms: u64,
    /// Time of the initialisation, where there was one; part of `end_ms - start_ms`.
    pub init_ms: Option<u64>,
    /// Time from the call to `start_ms`.
    pub wait_ms: u64,
    /// Bytes of the answer as it came, where one came.
    pub size: Option<u64>,
}

/// Whose success or failure a run was (decision 19).
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The function returned a result.
    Success {
        /// An object or an array.
        result: Box<RawValue>,
    },
    /// The function returned an error, or more than is allowed.
    ApplicationError {
        /// `{"error": …}`, nothing else.
        result: Box<RawValue>,
    },
    /// The function failed: exception, exit, time, memory, no object returned.
    DeveloperError {
        /// `{"error": …}`.
        result: Box<RawValue>,
        /// Whether the time limit ended it.
        timeout: bool,
    },
    /// The function did not run, or was cut short by no fault of its own.
    Platform {
        /// What failed.
        reason: PlatformFailure,
    },
}

/// A failure of the platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformFailure {
    /// No sandbox became free in time.
    #[error("no sandbox became free within {0} ms")]
    NoCapacity(u64),
    /// Too many runs wait already.
    #[error("{0} runs wait for a sandbox already")]
    QueueFull(usize),
    /// The action's memory limit is above all that this invoker may give.
    #[error("the action's memory limit of {limit} MB is above this invoker's {budget} MB")]
    TooLarge {
        /// Unit: MB.
        limit: u64,
        /// Unit: MB.
        budget: u64,
    },
    /// The manifest has no such kind.
    #[error("unknown kind `{kind}` (known: {known})")]
    UnknownKind {
        /// What the action asks for.
        kind: String,
        /// What there is.
        known: String,
    },
    /// The kind's interpreter is not installed.
    #[error("no interpreter for `{kind}` is installed (looked for: {looked_for})")]
    NoInterpreter {
        /// What the action asks for.
        kind: String,
        /// Paths that were tried.
        looked_for: String,
    },
    /// The code could not be had.
    #[error("the code of the action could not be loaded: {0}")]
    Code(String),
    /// A sandbox did not start.
    #[error("the sandbox did not start: {0}")]
    Start(String),
    /// Sandboxes died, each before the function started.
    #[error("the sandbox was lost before the function started")]
    Lost,
    /// The machine ran out of memory and took the sandbox, which was within its own limit.
    #[error("the host ran out of memory")]
    HostMemory,
    /// The invoker is closing.
    #[error("the invoker is shutting down")]
    ShuttingDown,
}

/// What clients see of a platform failure. Source: OpenWhisk `Messages.scala`, spec 5.6.
const PROVISION: &str = "Failed to provision resources to run the action.";

// === impl RunEnd ===

impl RunEnd {
    /// Status, result and size as an activation's record has them.
    #[must_use]
    pub fn response(&self) -> ActivationResponse {
        ActivationResponse::new(self.outcome.status(), self.outcome.result(), self.size)
    }

    /// Whether the time limit ended it.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        matches!(self.outcome, Outcome::DeveloperError { timeout: true, .. })
    }
}

// === impl Outcome ===

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn status(&self) -> ActivationStatus {
        match self {
            Self::Success { .. } => ActivationStatus::Success,
            Self::ApplicationError { .. } => ActivationStatus::ApplicationError,
            Self::DeveloperError { .. } => ActivationStatus::DeveloperError,
            Self::Platform { .. } => ActivationStatus::InternalError,
        }
    }

    /// The result as clients see it; of a platform failure OpenWhisk's sentence.
    #[must_use]
    pub fn result(&self) -> Box<RawValue> {
        match self {
            Self::Success { result }
            | Self::ApplicationError { result }
            | Self::DeveloperError { result, .. } => result.clone(),
            Self::Platform { .. } => error_result(PROVISION),
        }
    }

    /// A developer error with this message.
    pub(crate) fn developer(message: &str) -> Self {
        Self::DeveloperError { result: error_result(message), timeout: false }
    }
}

// === impl PlatformFailure ===

impl PlatformFailure {
    /// Whether the same run may succeed another time; otherwise the action or the configuration
    /// must change first.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::NoCapacity(_)
            | Self::QueueFull(_)
            | Self::NoInterpreter { .. }
            | Self::Code(_)
            | Self::Start(_)
            | Self::Lost
            | Self::HostMemory
            | Self::ShuttingDown => true,
            Self::TooLarge { .. } | Self::UnknownKind { .. } => false,
        }
    }
}
