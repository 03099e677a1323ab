//! What functions see: when runs start and how they end.

use evoke_schemas::{ActivationId, EntityUid};
use evoke_trigger_engine::Verdict;
use evoke_trigger_engine::record::DeliveryId;

use super::{Known, Oracle, Settled};
use crate::simulator::disk::Disk;
use crate::simulator::plan::QUIET;
use crate::simulator::witness::{Token, Witness};

/// Attempts of others that may start before one that waits alone in its namespace: a turn for
/// each namespace there is, and one that was chosen already.
const MOST_BEFORE: u64 = 8;

/// A run that starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Number of the run, never used again.
    pub run: u64,
    /// Which delivery.
    pub id: DeliveryId,
    /// What the function is given.
    pub token: Option<Token>,
}

impl Oracle {
    /// A run starts.
    pub fn starts(&mut self, start: Start, disk: &Disk, witness: &Witness) {
        let Start { run, id, token } = start;
        let Some(known) = self.deliveries.get(&id).cloned() else {
            return self.accuse(format!("{id:?} runs and is not durable"));
        };
        if token.is_some_and(|token| token != known.token) {
            self.accuse(format!("{id:?} runs with {token:?}, not {:?}", known.token));
        }
        if token.is_some_and(|token| !witness.is_safe(disk, token)) {
            self.accuse(format!("{id:?} runs and its event {token:?} is not durable"));
        }
        // A checkpoint may know of a revival that the log does not know yet.
        let revived = matches!(known.state, Settled::Dead(_)) && self.revived.contains(&id);
        if !known.state.is_under_way() && !revived {
            self.accuse(format!("{id:?} runs after its end: {known:?}"));
        }
        if known.running {
            self.accuse(format!("{id:?} runs twice at once"));
        }
        let failures = known.failures.saturating_sub(known.crashes);
        self.check_policy(id, if revived { 0 } else { failures });
        self.check_order(id, known.turn, known.token);
        if let Some(known) = self.deliveries.get_mut(&id) {
            known.running = true;
            known.starts += 1;
        }
        self.running.insert(run, id);
        *self.running_by_rule.entry(id.rule).or_default() += 1;
        *self.running_by_namespace.entry(known.namespace).or_default() += 1;
    }

    fn check_policy(&mut self, id: DeliveryId, failures: u32) {
        let policies = self.policies.get(&id.rule).copied();
        let (attempts, concurrency) = match policies {
            Some(policies) => (policies.most_attempts, policies.most_concurrency),
            None => (1, u32::MAX),
        };
        if failures >= attempts {
            self.accuse(format!("{id:?} runs again after {failures} of {attempts} failures"));
        }
        let running = self.running_by_rule.get(&id.rule).copied().unwrap_or_default();
        if running >= concurrency as usize {
            self.accuse(format!("{id:?}: {running} of its rule run already"));
        }
    }

    /// The dispatcher chose a delivery for its next attempt: one whose namespace has nothing else
    /// to do gets its turn after a few.
    pub fn chosen(&mut self, id: DeliveryId) {
        let before = self.starts;
        self.starts += 1;
        let Some(known) = self.deliveries.get_mut(&id) else { return };
        let others = known.alone_since.take().map_or(0, |since| before - since);
        if others > MOST_BEFORE {
            self.accuse(format!("{id:?} of a quiet namespace waits for {others} others"));
        }
    }

    /// The dispatcher has read the log up to `number`.
    pub fn loads(&mut self, number: u64) {
        let from = std::mem::replace(&mut self.loaded, number);
        let quiet = |known: &Known| known.namespace.as_str() == QUIET && known.state.is_under_way();
        if self.deliveries.values().filter(|known| quiet(known)).count() != 1 {
            return;
        }
        let starts = self.starts;
        let fresh = |id: &DeliveryId| (from..number).contains(&id.position.offset);
        let new = |known: &Known| known.state == Settled::Open && known.starts == 0;
        let alone =
            self.deliveries.iter_mut().find(|(id, known)| quiet(known) && new(known) && fresh(id));
        if let Some((_, known)) = alone {
            known.alone_since = Some(starts);
        }
    }

    fn check_order(&mut self, id: DeliveryId, turn: u64, token: Token) {
        if !self.ordered(id.rule) {
            return;
        }
        let key = self.key_of(token);
        if let Some(other) = self.running_keys.insert((id.rule, key.clone()), id) {
            self.accuse(format!("{id:?} runs while {other:?} of its key does"));
        }
        let turns = self.turns.get(&(id.rule, key, id.occasion));
        let ordered = turns.is_some_and(|turns| turns.contains(&(turn, id)));
        let before = turns.and_then(|turns| turns.range(..(turn, id)).next().copied());
        if let Some((_, before)) = before.filter(|_| ordered) {
            self.accuse(format!("{id:?} runs before {before:?} of its key is done"));
        }
    }

    /// A run ends.
    pub fn ends(&mut self, run: u64, verdict: &Verdict) {
        let Some(id) = self.running.remove(&run) else { return };
        if let Some(token) = self.token_of(&id).filter(|_| self.ordered(id.rule)) {
            self.running_keys.remove(&(id.rule, self.key_of(token)));
        }
        if let Some(count) = self.running_by_rule.get_mut(&id.rule) {
            *count -= 1;
        }
        let Some(known) = self.deliveries.get_mut(&id) else { return };
        known.running = false;
        match verdict {
            Verdict::Success => known.succeeded = true,
            Verdict::FunctionFailed { .. } => {
                known.failures += 1;
                known.failed = true;
            }
            Verdict::ActionMissing => known.missed = true,
            Verdict::PlatformFailed { .. } => {}
        }
        if let Some(count) = self.running_by_namespace.get_mut(&known.namespace) {
            *count -= 1;
        }
    }

    /// An activation record is staged: it must be the one of its delivery.
    pub fn staged(&mut self, id: ActivationId, token: Token, rule: EntityUid) {
        let known = self.ids.get(&id).and_then(|id| Some((id, self.deliveries.get(id)?)));
        if known.is_none_or(|(id, known)| known.token != token || id.rule != rule) {
            self.accuse(format!("activation {id} of {token:?} belongs to another delivery"));
        }
    }

    /// The process died, and every sandbox with it; what was not noted down is forgotten.
    pub fn died(&mut self) {
        self.running.clear();
        self.running_keys.clear();
        self.running_by_rule.clear();
        self.running_by_namespace.clear();
        for known in self.deliveries.values_mut() {
            known.running = false;
            if known.state.is_under_way() {
                known.failures = known.noted_failures;
                known.crashes += u32::from(known.starts > 0);
                known.alone_since = None;
            }
        }
    }

    /// Runs under way, in all.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }
}
