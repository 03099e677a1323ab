//! What functions see: when runs start and how they end.

use evoke_schemas::{Activation, EntityUid};
use evoke_trigger_engine::Verdict;
use evoke_trigger_engine::record::DeliveryId;

use super::{Oracle, Settled};
use crate::simulator::disk::Disk;
use crate::simulator::witness::{Token, Witness};

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
        if matches!(known.state, Settled::Done(_) | Settled::Dead(_)) {
            self.accuse(format!("{id:?} runs after its end: {known:?}"));
        }
        if known.running {
            self.accuse(format!("{id:?} runs twice at once"));
        }
        self.check_policy(id, known.failures);
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

    fn check_order(&mut self, id: DeliveryId, turn: u64, token: Token) {
        if !self.ordered(id.rule) {
            return;
        }
        let key = (id.rule, self.key_of(token));
        let before = self.turns.get(&key).and_then(|turns| {
            let earlier = turns.range(..(turn, id));
            let unsettled = |(_, other): &&(u64, DeliveryId)| {
                let known = self.deliveries.get(other);
                known.is_some_and(|known| known.running || !known.succeeded)
            };
            earlier.clone().find(unsettled).copied()
        });
        if let Some((_, before)) = before {
            let what = format!("{id:?} runs before {before:?} of its key is done");
            self.accuse(what);
        }
    }

    /// A run ends.
    pub fn ends(&mut self, run: u64, verdict: &Verdict) {
        let Some(id) = self.running.remove(&run) else { return };
        if let Some(count) = self.running_by_rule.get_mut(&id.rule) {
            *count -= 1;
        }
        let Some(known) = self.deliveries.get_mut(&id) else { return };
        known.running = false;
        match verdict {
            Verdict::Success => known.succeeded = true,
            Verdict::FunctionFailed { .. } => known.failures += 1,
            Verdict::ActionMissing => known.missed = true,
            Verdict::PlatformFailed { .. } => {}
        }
        if let Some(count) = self.running_by_namespace.get_mut(&known.namespace) {
            *count -= 1;
        }
    }

    /// An activation record is staged: it must be the one of its delivery.
    pub fn staged(&mut self, activation: &Activation, token: Token, rule: EntityUid) {
        let id = activation.activation_id;
        let known = self.ids.get(&id).and_then(|id| Some((id, self.deliveries.get(id)?)));
        if known.is_none_or(|(id, known)| known.token != token || id.rule != rule) {
            self.accuse(format!("activation {id} of {token:?} belongs to another delivery"));
        }
    }

    /// The process died, and every sandbox with it; what was not noted down is forgotten.
    pub fn died(&mut self) {
        self.running.clear();
        self.running_by_rule.clear();
        self.running_by_namespace.clear();
        for known in self.deliveries.values_mut() {
            if matches!(known.state, Settled::Open | Settled::Parked) {
                known.running = false;
                known.failures = known.noted_failures;
            }
        }
    }

    /// Runs under way, in all.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }
}
