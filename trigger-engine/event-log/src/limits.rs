//! The bounds of a log: what one batch may hold and how much may wait.

use serde::{Deserialize, Serialize};

/// Bounds that every append is held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest record, bytes of data. Default: 4 MiB.
    pub record_bytes: usize,
    /// Longest batch, bytes on disk. Default: 16 MiB.
    pub batch_bytes: usize,
    /// Most records in a batch. Default: 10,000.
    pub batch_records: usize,
    /// Bytes of intake that may wait for the disk; progress may go to twice that. Default: 64 MiB.
    pub queue_bytes: usize,
    /// Bytes written before one sync, except that a single batch may be larger. Default: 8 MiB.
    pub group_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes: 4 << 20,
            batch_bytes: 16 << 20,
            batch_records: 10_000,
            queue_bytes: 64 << 20,
            group_bytes: 8 << 20,
        }
    }
}
