//! What follows an attempt: done, another one, or dead. Whose failure it is, is known already.

use evoke_schemas::{ActivationId, DeliveryPolicy, EntityUid, rule::MISSING_ACTION_MS};

use crate::{
    invoker::Verdict,
    record::{Attempts, Outcome, Reason},
};

/// First wait after a failure of the platform; doubles with each. Unit: milliseconds.
const PLATFORM_BACKOFF_MS: u64 = 100;
/// Longest wait after a failure of the platform. Unit: milliseconds.
pub(super) const PLATFORM_MAX_BACKOFF_MS: u64 = 30_000;

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Done(Outcome),
    Retry { due_ms: u64 },
    Dead(Reason),
}

/// What the decision looks at besides the verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) rule: EntityUid,
    pub(super) policy: &'a DeliveryPolicy,
    pub(super) since_ms: u64,
    pub(super) activation_id: ActivationId,
    pub(super) now_ms: u64,
}

/// Decides, and notes the attempt down.
pub(super) fn decide(case: Case<'_>, attempts: &mut Attempts, verdict: &Verdict) -> Next {
    let now_ms = case.now_ms;
    if !matches!(verdict, Verdict::ActionMissing) {
        attempts.missing_since_ms = None;
    }
    match verdict {
        Verdict::Success => Next::Done(Outcome::Success),
        Verdict::FunctionFailed { reason } => {
            attempts.failures = attempts.failures.saturating_add(1);
            attempts.note(now_ms, reason);
            if case.rule == EntityUid::DIRECT {
                return Next::Done(Outcome::Failed);
            }
            if attempts.failures >= case.policy.attempts {
                return Next::Dead(Reason::Exhausted);
            }
            let (first, most) = (case.policy.backoff_ms, case.policy.max_backoff_ms);
            let wait_ms = backoff(case, first, most, attempts.failures);
            until_deadline(case, wait_ms)
        }
        Verdict::PlatformFailed { reason, retry_after_ms } => {
            attempts.note(now_ms, reason);
            let wait_ms = platform_backoff(case, attempts);
            until_deadline(case, wait_ms.max(retry_after_ms.unwrap_or(0)))
        }
        Verdict::ActionMissing => {
            attempts.note(now_ms, "the action does not exist");
            let since_ms = *attempts.missing_since_ms.get_or_insert(now_ms);
            if now_ms.saturating_sub(since_ms) >= MISSING_ACTION_MS {
                return Next::Dead(Reason::ActionMissing);
            }
            until_deadline(case, platform_backoff(case, attempts))
        }
    }
}

/// Another attempt after the wait, the last of them at the deadline.
fn until_deadline(case: Case<'_>, wait_ms: u64) -> Next {
    let deadline_ms = case.since_ms.saturating_add(case.policy.deadline_ms());
    if case.now_ms >= deadline_ms {
        return Next::Dead(Reason::Deadline);
    }
    Next::Retry { due_ms: case.now_ms.saturating_add(wait_ms).min(deadline_ms) }
}

fn platform_backoff(case: Case<'_>, attempts: &Attempts) -> u64 {
    let failures = attempts.made.saturating_sub(attempts.failures).max(1);
    backoff(case, PLATFORM_BACKOFF_MS, PLATFORM_MAX_BACKOFF_MS, failures)
}

/// Doubles from `first` to `most`, less up to half of it, by a hash: many that failed together
/// do not come back together, and a run repeats exactly.
fn backoff(case: Case<'_>, first_ms: u64, most_ms: u64, failures: u32) -> u64 {
    let doubled = first_ms.saturating_mul(1_u64 << (failures - 1).min(32));
    let whole = doubled.min(most_ms).max(1);
    let mut seed = crc32c::crc32c(&case.activation_id.0);
    seed = crc32c::crc32c_append(seed, &failures.to_le_bytes());
    whole - whole * u64::from(seed) / (u64::from(u32::MAX) * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn policy(change: impl FnOnce(&mut DeliveryPolicy)) -> DeliveryPolicy {
        let mut policy = DeliveryPolicy::default();
        change(&mut policy);
        policy
    }

    fn function() -> Verdict {
        Verdict::FunctionFailed { reason: "boom".to_owned() }
    }

    fn platform(retry_after_ms: Option<u64>) -> Verdict {
        Verdict::PlatformFailed { reason: "evicted".to_owned(), retry_after_ms }
    }

    fn after(
        policy: &DeliveryPolicy,
        attempts: &mut Attempts,
        verdict: &Verdict,
        now_ms: u64,
    ) -> Next {
        let case = Case {
            rule: EntityUid([1; 16]),
            policy,
            since_ms: 0,
            activation_id: ActivationId([5; 16]),
            now_ms,
        };
        attempts.made += 1;
        decide(case, attempts, verdict)
    }

    #[test]
    fn a_function_is_retried_as_often_as_the_rule_says() {
        let once = policy(|_| ());
        let thrice = policy(|policy| policy.attempts = 3);
        let mut attempts = Attempts::default();
        assert_eq!(after(&once, &mut attempts, &function(), 5), Next::Dead(Reason::Exhausted));
        let mut attempts = Attempts::default();
        for _ in 0..2 {
            assert!(matches!(after(&thrice, &mut attempts, &function(), 5), Next::Retry { .. }));
            let between = after(&thrice, &mut attempts, &platform(None), 5);
            assert!(matches!(between, Next::Retry { .. }), "the platform's do not count");
        }
        assert_eq!(after(&thrice, &mut attempts, &function(), 5), Next::Dead(Reason::Exhausted));
        assert_eq!((attempts.made, attempts.failures, attempts.notes.len()), (5, 3, 5));
    }

    #[test]
    fn the_last_attempt_is_at_the_deadline() {
        let ordered = policy(|policy| policy.ordered = true);
        let mut attempts = Attempts::default();
        let mut now_ms = 0;
        let mut dues = vec![];
        loop {
            match after(&ordered, &mut attempts, &platform(None), now_ms) {
                Next::Retry { due_ms } => {
                    assert!(due_ms > now_ms);
                    dues.push(due_ms);
                    now_ms = due_ms;
                }
                end => {
                    assert_eq!(end, Next::Dead(Reason::Deadline));
                    break;
                }
            }
        }
        assert_eq!(dues.last(), Some(&(10 * MINUTE)));
    }

    #[test]
    fn a_missing_action_is_waited_for_a_quarter_of_an_hour_each_time() {
        let daily = policy(|_| ());
        let mut attempts = Attempts::default();
        let missing = Verdict::ActionMissing;
        assert!(matches!(after(&daily, &mut attempts, &missing, 0), Next::Retry { .. }));
        let late = after(&daily, &mut attempts, &missing, 15 * MINUTE);
        assert_eq!(late, Next::Dead(Reason::ActionMissing));
        let mut attempts = Attempts::default();
        assert!(matches!(after(&daily, &mut attempts, &missing, 0), Next::Retry { .. }));
        let back = after(&daily, &mut attempts, &platform(None), 14 * MINUTE);
        assert!(matches!(back, Next::Retry { .. }));
        let again = after(&daily, &mut attempts, &missing, 16 * MINUTE);
        assert!(matches!(again, Next::Retry { .. }), "it was there in between");
    }

    #[test]
    fn waits_double_within_their_bounds() {
        let often = policy(|policy| policy.attempts = 1_000);
        let mut attempts = Attempts::default();
        for failures in 1..40_u32 {
            let Next::Retry { due_ms } = after(&often, &mut attempts, &function(), 0) else {
                panic!("within deadline and attempts");
            };
            let whole = (1_000_u64 << (failures - 1).min(20)).min(300_000);
            assert!((whole / 2..=whole).contains(&due_ms), "{failures}: {due_ms} of {whole}");
        }
        let asked = after(&often, &mut attempts, &platform(Some(1_000_000)), 0);
        assert_eq!(asked, Next::Retry { due_ms: 1_000_000 });
    }

    #[test]
    fn an_invocation_that_failed_is_done() {
        let policy = policy(|_| ());
        let case = Case {
            rule: EntityUid::DIRECT,
            policy: &policy,
            since_ms: 0,
            activation_id: ActivationId([5; 16]),
            now_ms: 9,
        };
        let mut attempts = Attempts { made: 1, ..Attempts::default() };
        let next = decide(case, &mut attempts, &function());
        assert_eq!(next, Next::Done(Outcome::Failed));
    }
}
