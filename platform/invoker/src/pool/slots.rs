//! The state of each sandbox, and the sums kept over all of them.

use super::{Effect, Granted, Now, Pool, SandboxId, Shape, WarmKey};

/// One sandbox.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) shape: Shape,
    pub(super) state: State,
    /// Memory it counts with. Unit: bytes.
    pub(super) charge: u64,
    /// Whether it is to be killed as soon as it is idle.
    pub(super) retired: bool,
}

/// Where a sandbox is in its life; see the diagram of the pool.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Being started.
    Warming,
    /// Started, serves nobody yet.
    Stem { since_ms: u64 },
    /// Granted to a run, in the state `was`.
    Busy { key: WarmKey, was: Granted },
    /// Idle and running.
    Ready { key: WarmKey, since_ms: u64 },
    /// Idle and about to stand still.
    Pausing { key: WarmKey, since_ms: u64 },
    /// Idle and standing still.
    Paused { key: WarmKey, since_ms: u64 },
    /// Being killed.
    Removing,
}

// === impl State ===

impl State {
    /// Whether it could be killed for the good of another.
    pub(super) fn is_idle(&self) -> bool {
        self.idle_since().is_some()
    }

    /// Since when it is idle, where it is.
    pub(super) fn idle_since(&self) -> Option<u64> {
        match self {
            Self::Stem { since_ms }
            | Self::Ready { since_ms, .. }
            | Self::Paused { since_ms, .. } => Some(*since_ms),
            Self::Warming | Self::Busy { .. } | Self::Pausing { .. } | Self::Removing => None,
        }
    }

    /// What it serves.
    pub(super) fn key(&self) -> Option<&WarmKey> {
        match self {
            Self::Busy { key, .. }
            | Self::Ready { key, .. }
            | Self::Pausing { key, .. }
            | Self::Paused { key, .. } => Some(key),
            Self::Warming | Self::Stem { .. } | Self::Removing => None,
        }
    }
}

// === impl Pool ===

impl Pool {
    /// Makes a sandbox of this shape and asks for its start.
    pub(super) fn start(&mut self, shape: Shape, now: &mut Now<'_>) {
        let sandbox = SandboxId(self.next);
        self.next += 1;
        let charge = self.expected(shape);
        self.charge += charge;
        let slot = Slot { shape, state: State::Warming, charge, retired: false };
        self.slots.insert(sandbox, slot);
        now.effects.push(Effect::Start { sandbox, shape });
    }

    /// What a sandbox of this shape counts before it was measured.
    pub(super) fn expected(&self, shape: Shape) -> u64 {
        self.limits.expected.min(shape.memory_mb << 20)
    }

    /// Moves a sandbox to another state; the lists of its key are the caller's.
    pub(super) fn set(&mut self, sandbox: SandboxId, state: State) {
        if let Some(slot) = self.slots.get_mut(&sandbox) {
            slot.state = state;
        }
    }

    /// Takes the state out of a sandbox, where it is one that `wanted` accepts.
    pub(super) fn take_state(
        &mut self,
        sandbox: SandboxId,
        wanted: fn(&State) -> bool,
    ) -> Option<State> {
        let slot = self.slots.get_mut(&sandbox)?;
        wanted(&slot.state).then(|| std::mem::replace(&mut slot.state, State::Removing))
    }

    /// Kills a sandbox in whatever state.
    pub(super) fn kill(&mut self, sandbox: SandboxId, now: &mut Now<'_>) {
        let Some(state) = self.take_state(sandbox, |state| *state != State::Removing) else {
            return;
        };
        if let Some(key) = state.key() {
            if let Some(known) = self.keys.get_mut(key) {
                match state {
                    State::Ready { .. } => known.ready.retain(|other| *other != sandbox),
                    State::Paused { .. } => known.paused.retain(|other| *other != sandbox),
                    State::Busy { .. } | State::Pausing { .. } => known.away -= 1,
                    State::Warming | State::Stem { .. } | State::Removing => {}
                }
            }
            self.forget_if_unused(key);
        }
        now.effects.push(Effect::Kill { sandbox });
    }

    /// Forgets a sandbox of which nothing is left.
    pub(super) fn forget(&mut self, sandbox: SandboxId) -> Option<Slot> {
        let slot = self.slots.remove(&sandbox)?;
        self.charge -= slot.charge;
        Some(slot)
    }

    pub(super) fn count(&self, of: impl Fn(&Slot) -> bool) -> usize {
        self.slots.values().filter(|slot| of(slot)).count()
    }

    /// The sandbox that is idle longest.
    pub(super) fn longest_idle(&self) -> Option<SandboxId> {
        self.slots
            .iter()
            .filter_map(|(id, slot)| Some((slot.state.idle_since()?, *id)))
            .min()
            .map(|(_, id)| id)
    }
}
