//! What one action may use, and the bounds of the hub.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

// Source: spec 1.4, OpenWhisk `Limits.scala`.
/// Limits of an action, as its JSON has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionLimits {
    /// Longest time of one run, and of one initialisation. Unit: milliseconds.
    pub timeout: u64,
    /// Memory of one sandbox. Unit: MB (2^20 bytes).
    pub memory: u64,
    /// Most log text kept of one run. Unit: MB; 0 keeps none.
    pub logs: u64,
    /// Runs at once in one sandbox.
    pub concurrency: u64,
    /// Most sandboxes of the action, where set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
}

/// Bounds of a limit, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Least.
    pub min: u64,
    /// Value where none is given.
    pub default: u64,
    /// Most.
    pub max: u64,
}

/// Bounds of every action's limits; an operator's setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRanges {
    /// Unit: milliseconds.
    pub timeout: Range,
    /// Unit: MB.
    pub memory: Range,
    /// Unit: MB.
    pub logs: Range,
    /// Runs at once in one sandbox.
    pub concurrency: Range,
}

/// A limit out of bounds. The texts are OpenWhisk's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Unit: MB.
    #[error("requirement failed: memory size {0} MB {1} allowed threshold of {2} MB")]
    Memory(u64, Side, u64),
    /// Unit: milliseconds.
    #[error(
        "requirement failed: duration {0} milliseconds {1} allowed threshold of {2} milliseconds"
    )]
    Timeout(u64, Side, u64),
    /// Unit: MB.
    #[error("requirement failed: log size {0} MB {1} allowed threshold of {2} MB")]
    Logs(u64, Side, u64),
    /// Runs at once.
    #[error("requirement failed: concurrency {0} {1} allowed threshold of {2}")]
    Concurrency(u64, Side, u64),
}

/// Which bound was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Above the most.
    Exceeds,
    /// Below the least.
    Below,
}

/// Most bytes of an action's code as sent (base64 counts as it stands).
pub const MAX_CODE_BYTES: usize = 48 * 1024 * 1024;
/// Most bytes of an entity's parameters, or of its annotations.
pub const MAX_PARAMETER_BYTES: usize = 1024 * 1024;
/// Most bytes of one invocation's or event's body.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// Most bytes of one batch of events.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Most bytes of one result; longer ones are cut and become an application error.
pub const MAX_RESULT_BYTES: usize = 1024 * 1024;
/// Most rules that one event may match.
pub const MAX_RULES_PER_EVENT: usize = 1000;
/// Longest wait of a blocking invocation. Unit: milliseconds.
pub const MAX_BLOCKING_WAIT_MS: u64 = 60_000;
/// Most items of one listing.
pub const MAX_LIST: usize = 200;
/// Items of a listing where no limit is given.
pub const DEFAULT_LIST: usize = 30;

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exceeds => "exceeds",
            Self::Below => "below",
        })
    }
}

impl Range {
    fn side(&self, value: u64) -> Option<(Side, u64)> {
        if value > self.max {
            Some((Side::Exceeds, self.max))
        } else if value < self.min {
            Some((Side::Below, self.min))
        } else {
            None
        }
    }
}

impl Default for LimitRanges {
    fn default() -> Self {
        Self {
            timeout: Range { min: 100, default: 60_000, max: 300_000 },
            memory: Range { min: 128, default: 256, max: 512 },
            logs: Range { min: 0, default: 10, max: 10 },
            concurrency: Range { min: 1, default: 1, max: 1 },
        }
    }
}

impl LimitRanges {
    /// The limits of an action that names none.
    #[must_use]
    pub fn defaults(&self) -> ActionLimits {
        ActionLimits {
            timeout: self.timeout.default,
            memory: self.memory.default,
            logs: self.logs.default,
            concurrency: self.concurrency.default,
            instances: None,
        }
    }

    /// Whether limits are within bounds; memory is told first, as OpenWhisk does.
    ///
    /// # Errors
    /// The first [`LimitError`].
    pub fn check(&self, limits: &ActionLimits) -> Result<(), LimitError> {
        let fail = |failure: Option<LimitError>| failure.map_or(Ok(()), Err);
        let memory = limits.memory;
        fail(
            self.memory.side(memory).map(|(side, bound)| LimitError::Memory(memory, side, bound)),
        )?;
        let timeout = limits.timeout;
        fail(
            self.timeout
                .side(timeout)
                .map(|(side, bound)| LimitError::Timeout(timeout, side, bound)),
        )?;
        let logs = limits.logs;
        fail(self.logs.side(logs).map(|(side, bound)| LimitError::Logs(logs, side, bound)))?;
        let concurrency = limits.concurrency;
        fail(
            self.concurrency
                .side(concurrency)
                .map(|(side, bound)| LimitError::Concurrency(concurrency, side, bound)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_first() {
        let ranges = LimitRanges::default();
        let mut limits = ranges.defaults();
        assert_eq!(ranges.check(&limits), Ok(()));
        limits.timeout = 1;
        limits.memory = 127;
        assert_eq!(
            ranges.check(&limits).map_err(|error| error.to_string()),
            Err("requirement failed: memory size 127 MB below allowed threshold of 128 MB"
                .to_owned())
        );
        limits.memory = 512;
        assert_eq!(
            ranges.check(&limits).map_err(|error| error.to_string()),
            Err("requirement failed: duration 1 milliseconds below allowed threshold of 100 milliseconds".to_owned())
        );
    }
}
