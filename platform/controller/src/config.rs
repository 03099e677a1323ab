//! How the API is configured.

use std::time::Duration;

use evoke_schemas::{
    NamespaceLimits,
    limits::{LimitRanges, MAX_BATCH_BYTES, MAX_BLOCKING_WAIT_MS, MAX_CODE_BYTES},
};
use serde::{Deserialize, Serialize};

/// Configuration of the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most bytes of one batch of events.
    pub max_batch_bytes: usize,
    /// Most bytes of the body of any other request.
    pub max_entity_bytes: usize,
    /// Most memory for the bodies of all requests under way, small ones left out. Unit: bytes.
    pub max_request_memory: usize,
    /// Longest time for a body to arrive. Unit: milliseconds.
    pub body_within_ms: u64,
    /// Longest wait of a blocking invocation. Unit: milliseconds.
    pub max_blocking_ms: u64,
    /// Blocking invocations under way at once; more are answered 429.
    pub max_blocking: usize,
    /// Actions kept ready to run, so that a call need not read the store.
    pub cached_actions: usize,
    /// Caps of namespaces that have none of their own.
    #[serde(skip)]
    pub namespace: NamespaceLimits,
    /// Bounds of actions' limits.
    #[serde(skip)]
    pub limits: LimitRanges,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_batch_bytes: MAX_BATCH_BYTES,
            max_entity_bytes: MAX_CODE_BYTES + 4 * 1024 * 1024,
            max_request_memory: 512 << 20,
            body_within_ms: 60_000,
            max_blocking_ms: MAX_BLOCKING_WAIT_MS,
            max_blocking: 4_096,
            cached_actions: 4_096,
            namespace: NamespaceLimits::default(),
            limits: LimitRanges::default(),
        }
    }
}

impl Config {
    /// Longest time for a body to arrive.
    #[must_use]
    pub fn body_within(&self) -> Duration {
        Duration::from_millis(self.body_within_ms)
    }
}
