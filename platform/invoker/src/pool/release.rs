//! What becomes of a sandbox that a run gives back, that is lost, paused or no longer wanted.

use std::collections::BTreeSet;

use evoke_schemas::EntityUid;

use super::{Effect, Fate, Granted, Now, Pool, Refusal, SandboxId, WarmKey, slots::State};

/// Weight of what was known against one new measurement of a run's duration.
const KNOWN_WEIGHT: u64 = 7;
/// Pause after a failed start before stem cells are tried again. Unit: milliseconds.
const STEM_RETRY_MS: u64 = 5000;

impl Pool {
    pub(super) fn released(
        &mut self,
        sandbox: SandboxId,
        fate: Fate,
        held_us: u64,
        now: &mut Now<'_>,
    ) {
        let Some(slot) = self.slots.get(&sandbox) else { return };
        let State::Busy { key, was } = &slot.state else { return };
        let (key, was) = (key.clone(), *was);
        if fate == Fate::Destroy || slot.retired || self.closed || self.is_claimed(&key, now.ms) {
            self.kill(sandbox, now);
            return self.supply(now);
        }
        if let Some(known) = self.keys.get_mut(&key) {
            known.away -= 1;
            known.progress_ms = now.ms;
            if fate == Fate::Keep {
                let before = known.held_us.unwrap_or(held_us);
                known.held_us = Some((before * KNOWN_WEIGHT + held_us) / (KNOWN_WEIGHT + 1));
            }
        }
        match (fate, was) {
            (Fate::Untouched, Granted::Fresh) => {
                self.set(sandbox, State::Stem { since_ms: now.ms });
                self.forget_if_unused(&key);
            }
            (Fate::Untouched, Granted::Paused) => {
                self.idle_again(sandbox, State::Paused { key, since_ms: now.ms }, now);
            }
            (Fate::Keep | Fate::Untouched | Fate::Destroy, _) => {
                self.idle_again(sandbox, State::Ready { key, since_ms: now.ms }, now);
            }
        }
        self.supply_if_idle(sandbox, now);
    }

    /// Serves the next of its key or rests in the state `idle`.
    fn idle_again(&mut self, sandbox: SandboxId, idle: State, now: &mut Now<'_>) {
        let Some(key) = idle.key().cloned() else { return };
        let standing_still = matches!(idle, State::Paused { .. });
        if let Some(ticket) = self.queue.pop(&key) {
            let state = if standing_still { Granted::Paused } else { Granted::Warm };
            return self.grant(ticket, key, (sandbox, state), now);
        }
        let known = self.keys.entry(key).or_default();
        if standing_still {
            known.paused.push(sandbox)
        } else {
            known.ready.push(sandbox)
        }
        self.set(sandbox, idle);
    }

    /// An idle sandbox can be evicted for another's good; one that went on to the next cannot.
    fn supply_if_idle(&mut self, sandbox: SandboxId, now: &mut Now<'_>) {
        let busy = self.slots.get(&sandbox).is_some_and(|s| matches!(s.state, State::Busy { .. }));
        if busy {
            return;
        }
        self.evict_above_budget(now);
        if self.queue.len() > 0 {
            self.supply(now);
        }
    }

    /// Whether a ticket of another key has waited long enough, without room in sight, that a
    /// sandbox of `key` must go: within a namespace the older ticket wins, between namespaces the
    /// one that holds less than its share.
    fn is_claimed(&self, key: &WarmKey, now_ms: u64) -> bool {
        let claim = self.queue.heads().find(|(_, waiting)| {
            waiting.key != *key
                && waiting.since_ms + self.limits.patience_ms <= now_ms
                && self.wanted(&waiting.key, now_ms) > 0
                && self.is_stuck(waiting.shape)
        });
        let Some((ticket, claim)) = claim else { return false };
        if claim.key.namespace == key.namespace {
            return self.queue.first(key).is_none_or(|first| ticket < first);
        }
        let held = |namespace: &evoke_schemas::Namespace| {
            self.count(|slot| slot.state.key().is_some_and(|key| key.namespace == *namespace))
        };
        held(&claim.key.namespace) < held(&key.namespace) && held(&key.namespace) > self.share()
    }

    /// Sandboxes that each namespace may hold while others wait.
    fn share(&self) -> usize {
        let mut namespaces: BTreeSet<_> = self.queue.namespaces().collect();
        namespaces
            .extend(self.slots.values().filter_map(|slot| Some(&slot.state.key()?.namespace)));
        self.slots.len() / namespaces.len().max(1)
    }

    pub(super) fn lost(&mut self, sandbox: SandboxId, now: &mut Now<'_>) {
        let idle = self.slots.get(&sandbox).is_some_and(|slot| {
            slot.state.is_idle() || matches!(slot.state, State::Pausing { .. })
        });
        if idle {
            self.kill(sandbox, now);
            self.supply(now);
        }
    }

    pub(super) fn paused(&mut self, sandbox: SandboxId, now: &mut Now<'_>) {
        let Some(State::Pausing { key, since_ms }) =
            self.take_state(sandbox, |state| matches!(state, State::Pausing { .. }))
        else {
            return;
        };
        if let Some(known) = self.keys.get_mut(&key) {
            known.away -= 1;
        }
        self.idle_again(sandbox, State::Paused { key, since_ms }, now);
        let unwanted = self.closed || self.slots.get(&sandbox).is_some_and(|slot| slot.retired);
        if unwanted && self.slots.get(&sandbox).is_some_and(|slot| slot.state.is_idle()) {
            self.kill(sandbox, now);
        }
        self.supply_if_idle(sandbox, now);
    }

    pub(super) fn removed(&mut self, sandbox: SandboxId, now: &mut Now<'_>) {
        if self.slots.get(&sandbox).is_some_and(|slot| slot.state == State::Removing) {
            self.forget(sandbox);
            self.supply(now);
        }
    }

    pub(super) fn started(&mut self, sandbox: SandboxId, now: &mut Now<'_>) {
        if self.take_state(sandbox, |state| *state == State::Warming).is_none() {
            return;
        }
        self.set(sandbox, State::Stem { since_ms: now.ms });
        if self.closed {
            self.kill(sandbox, now);
        }
        self.supply(now);
        self.evict_above_budget(now);
    }

    pub(super) fn start_failed(&mut self, sandbox: SandboxId, now: &mut Now<'_>) {
        if self.slots.get(&sandbox).is_none_or(|slot| slot.state != State::Warming) {
            return;
        }
        let Some(slot) = self.forget(sandbox) else { return };
        self.stems_from_ms = now.ms + STEM_RETRY_MS;
        let meant_for = self.queue.heads().find(|(_, waiting)| waiting.shape == slot.shape);
        if let Some((_, waiting)) = meant_for {
            let key = waiting.key.clone();
            if let Some(ticket) = self.queue.pop(&key) {
                now.effects.push(Effect::Refuse { ticket, why: Refusal::StartFailed });
            }
            self.forget_if_unused(&key);
        }
        self.supply(now);
    }

    pub(super) fn retire(&mut self, action: EntityUid, current: Option<u64>, now: &mut Now<'_>) {
        let mut idle = Vec::new();
        for (id, slot) in &mut self.slots {
            let old = slot
                .state
                .key()
                .is_some_and(|key| key.action == action && Some(key.revision) != current);
            if old && slot.state.is_idle() {
                idle.push(*id);
            } else if old {
                slot.retired = true;
            }
        }
        for sandbox in idle {
            self.kill(sandbox, now);
        }
    }
}
