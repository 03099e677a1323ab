//! Waiting for a condition: looked at again and again, within a bound, with what stood instead.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::fault::error::FaultError;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(25);
/// Longest wait for what takes moments on a quiet machine.
pub const SOON: Duration = Duration::from_secs(60);

/// What a look found: what was waited for, or what stood instead.
pub type Look<T> = Result<T, String>;

/// Looks until the condition holds.
///
/// # Errors
/// `TimedOut` with what stood at the last look; what the look itself says.
pub async fn until<T>(
    what: &'static str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Look<T>, FaultError>,
) -> Result<T, FaultError> {
    let start = Instant::now();
    loop {
        match look().await? {
            Ok(found) => return Ok(found),
            Err(state) if start.elapsed() > limit => {
                return Err(FaultError::TimedOut { what, limit, state });
            }
            Err(_not_yet) => sleep(LOOK).await,
        }
    }
}
