//! What is known of the invokers there are.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Name of an invoker, unique in its fleet and stable over its restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InvokerId(Arc<str>);

/// What one invoker last said of itself; may be out of date by the time it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokerState {
    /// Its name.
    pub id: InvokerId,
    /// Whether it takes work at all.
    pub healthy: bool,
    /// Memory it may give to sandboxes. Unit: bytes.
    pub memory_bytes: u64,
    /// Memory that its sandboxes hold, idle ones included. Unit: bytes.
    pub used_bytes: u64,
    /// Runs that wait for a sandbox.
    pub waiting: usize,
}

/// The invokers there are.
pub trait Fleet: Send + Sync {
    /// Every invoker, in an order that does not change while none joins or leaves.
    fn invokers(&self) -> Vec<InvokerState>;
}

// === impl InvokerId ===

impl InvokerId {
    /// An id of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InvokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
