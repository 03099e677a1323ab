//! Two times: the machine's clock, which people and NTP set, and one that only moves on.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// A difference between the two times that is a step of the clock, and no slewing of it.
/// Unit: milliseconds.
const STEP_MS: u64 = 1_000;
/// How long nothing is dropped by its age after a step: a clock that was set wrong is set right
/// by then, or it was set right. Unit: milliseconds.
const BELIEVED_AFTER_MS: u64 = 3_600_000;

type Reader = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock {
    wall: Reader,
    steady: Reader,
}

/// Notices that the machine's clock was set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    /// The machine's clock less the steady time, when last looked at.
    ahead_ms: i64,
    /// Steady time of the last step.
    stepped_ms: Option<u64>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        let (begun, begun_ms) = (Instant::now(), unix_ms());
        let steady = move || {
            let since = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            begun_ms.saturating_add(since)
        };
        Self { wall: Arc::new(unix_ms), steady: Arc::new(steady) }
    }

    /// A clock that nobody sets.
    #[must_use]
    pub fn of(time: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let wall: Reader = Arc::new(time);
        Self { steady: Arc::clone(&wall), wall }
    }

    /// The time now, unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.wall)()
    }

    /// The time as it would be had nobody set the clock since the start, unix milliseconds.
    #[must_use]
    pub fn steady_ms(&self) -> u64 {
        (self.steady)()
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Steps {
    /// By how much the clock was set since the last look, if it was. Unit: milliseconds.
    pub fn look(&mut self, clock: &Clock) -> Option<i64> {
        let (now_ms, steady_ms) = (clock.now_ms(), clock.steady_ms());
        let ahead_ms = i64::try_from(now_ms).unwrap_or(i64::MAX)
            - i64::try_from(steady_ms).unwrap_or(i64::MAX);
        let by_ms = ahead_ms - std::mem::replace(&mut self.ahead_ms, ahead_ms);
        let stepped = by_ms.unsigned_abs() >= STEP_MS;
        if stepped {
            self.stepped_ms = Some(steady_ms);
        }
        stepped.then_some(by_ms)
    }

    /// Whether the clock can be believed about what is old.
    #[must_use]
    pub fn is_settled(&self, clock: &Clock) -> bool {
        let long_ago = |at: u64| clock.steady_ms().saturating_sub(at) >= BELIEVED_AFTER_MS;
        self.stepped_ms.is_none_or(long_ago)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_step_is_seen_once_and_slewing_never() {
        let (wall, steady) = (Arc::new(AtomicU64::new(5_000)), Arc::new(AtomicU64::new(5_000)));
        let read = |time: &Arc<AtomicU64>| -> Reader {
            let time = Arc::clone(time);
            Arc::new(move || time.load(Ordering::SeqCst))
        };
        let clock = Clock { wall: read(&wall), steady: read(&steady) };
        let mut steps = Steps::default();
        for _ in 0..10_000 {
            wall.fetch_add(1_000, Ordering::SeqCst);
            steady.fetch_add(999, Ordering::SeqCst);
            assert_eq!(steps.look(&clock), None);
        }
        assert!(steps.is_settled(&clock));
        wall.fetch_add(7_200_000, Ordering::SeqCst);
        assert_eq!(steps.look(&clock), Some(7_200_000));
        assert_eq!((steps.look(&clock), steps.is_settled(&clock)), (None, false));
        wall.fetch_sub(7_200_000, Ordering::SeqCst);
        assert_eq!(steps.look(&clock), Some(-7_200_000));
        steady.fetch_add(BELIEVED_AFTER_MS, Ordering::SeqCst);
        wall.fetch_add(BELIEVED_AFTER_MS, Ordering::SeqCst);
        assert!(steps.look(&clock).is_none() && steps.is_settled(&clock));
    }
}
