//! The wall clock as a value that is passed in.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the wall-clock time, which may step both ways.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Unit: epoch milliseconds.
    fn now_ms(&self) -> u64;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
