//! Why a batch is not accepted.

use evoke_event_log::{AppendError, FeedRevision};
use evoke_schemas::EntityName;

use crate::config::RETRY_AFTER_MS;

/// Why nothing of a batch is accepted; each variant is what the sender does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// Never send this event again as it is (413).
    #[error("event {index} has {bytes} bytes, at most {limit} are allowed")]
    EventTooLarge {
        /// Which of the batch, from 0.
        index: usize,
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// Send fewer at once (413).
    #[error("the batch has {bytes} bytes, at most {limit} are allowed")]
    BatchTooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// Send fewer at once (413).
    #[error("the batch has {count} events, at most {limit} are allowed")]
    TooManyEvents {
        /// How many it has.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// The entities have to change first (400).
    #[error("the event matches {count} rules, at most {limit} are allowed")]
    TooManyRules {
        /// How many it matches.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// There is no such trigger (404).
    #[error("trigger `{0}` does not exist")]
    TriggerMissing(EntityName),
    /// Send again after the wait (429); the cap is named.
    #[error("{cap} is full")]
    Closed {
        /// What is full.
        cap: Cap,
        /// The least wait.
        retry_after_ms: u64,
    },
    /// The feed is owned by another task now.
    #[error("the feed's position is not where the guard says")]
    Superseded {
        /// Where it is.
        current: Option<FeedRevision>,
    },
    /// The log has failed or is closed; the batch may or may not be kept (503).
    #[error("the event log is unavailable: {0}")]
    Unavailable(String),
}

/// A bound that closes intake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cap {
    /// Bytes of one namespace that wait for delivery.
    UndeliveredBytes,
    /// Bytes that wait for the disk.
    LogQueue,
    /// Room on the disk.
    Disk,
    /// What the operator lets the data directory take of the disk.
    DiskBudget,
    /// Bytes of the event log that are still needed.
    LogSize,
}

impl Cap {
    /// The name that clients and `docs/limits.md` know it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UndeliveredBytes => "undelivered",
            Self::LogQueue => "log-queue",
            Self::Disk => "disk",
            Self::DiskBudget => "disk-budget",
            Self::LogSize => "log-size",
        }
    }
}

impl std::fmt::Display for Cap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UndeliveredBytes => "the namespace's bound on undelivered bytes",
            Self::LogQueue => "the event log's queue",
            Self::Disk => "the disk",
            Self::DiskBudget => "the disk budget of the data directory",
            Self::LogSize => "the event log",
        })
    }
}

impl IngestError {
    /// What the log's refusal means to the sender.
    #[must_use]
    pub fn of(error: &AppendError) -> Self {
        let closed = |cap| Self::Closed { cap, retry_after_ms: RETRY_AFTER_MS };
        match error {
            AppendError::Busy { .. } => closed(Cap::LogQueue),
            AppendError::Full => closed(Cap::Disk),
            AppendError::GuardMismatch { current, .. } => Self::Superseded { current: *current },
            AppendError::Malformed(_) | AppendError::Failed { .. } | AppendError::Closed => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}
