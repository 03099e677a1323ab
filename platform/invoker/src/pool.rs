//! The pool of sandboxes as a state machine on values: what is started, granted, paused, killed.
//!
//! No task, no clock, no kernel: `step` takes what happened and the time, and gives back what is
//! to be done. The shell around it (`invoker`) and the simulator drive the very same code.
//!
//! ```text
//!           Start             Started           Grant (fresh)
//!   cold ──────────▶ Warming ─────────▶ Stem ──────────────────┐
//!                       │                │                     ▼
//!                       │ StartFailed    │ evicted   ┌──────▶ Busy ◀───────────────┐
//!                       ▼                │           │         │ Released          │ Grant (paused)
//!                     gone               │     Grant │         ▼                   │
//!                       ▲                │    (warm) └────── Ready ─▶ Pausing ─▶ Paused
//!               Removed │                ▼                     │                   │
//!                       └──────────── Removing ◀───────────────┴───────────────────┘
//!                                        ▲    evicted · too long idle · lost · retired
//!                                        └─── Busy, where the run left it dirty
//! ```
//!
//! Admission is by measured use: a sandbox counts with what it was last measured to use (at first
//! with what one is expected to use), and `reserve` stays free for those that grow. Idle sandboxes
//! make room, the longest idle first.

#[cfg(test)]
mod chance;
mod queue;
mod release;
mod slots;
mod supply;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use evoke_schemas::{EntityUid, Namespace};

use self::{
    queue::Queue,
    slots::{Slot, State},
};

/// A sandbox of this pool; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(pub u64);

/// A run that asks for a sandbox; chosen by the caller, never reused, ascending in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What a warm sandbox serves, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WarmKey {
    /// Namespace that invokes.
    pub namespace: Namespace,
    /// The action.
    pub action: EntityUid,
    /// The action's revision.
    pub revision: u64,
}

/// What a sandbox is before it serves anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// The kind, as an index that the caller gives meaning to.
    pub kind: usize,
    /// Memory limit. Unit: MB.
    pub memory_mb: u64,
    /// Whether it reaches the network.
    pub egress: bool,
}

/// Bounds of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Memory for all sandboxes. Unit: bytes.
    pub budget: u64,
    /// Part of it that admission leaves free.
    pub reserve: u64,
    /// What a sandbox counts before it was measured. Unit: bytes.
    pub expected: u64,
    /// Least memory that the whole machine must have left. Unit: bytes.
    pub machine_floor: u64,
    /// Most sandboxes, those being removed included.
    pub sandboxes: usize,
    /// Most that start at once.
    pub starting: usize,
    /// Most tickets that wait.
    pub waiting: usize,
    /// Expected wait above which another sandbox is started. Unit: microseconds.
    pub grow_us: u64,
    /// Sandboxes of a key that keep every processor busy: with as many under way, a run waits for
    /// one of them rather than wake another, where the expected wait is below `share_us`.
    pub crowd: usize,
    /// Expected wait below which a run shares. Unit: microseconds.
    pub share_us: u64,
    /// Wait after which a sandbox may be claimed from those above their share. Unit: milliseconds.
    pub patience_ms: u64,
    /// Idle time before the pause. Unit: milliseconds.
    pub pause_ms: u64,
    /// Idle time, the pause included, before the removal. Unit: milliseconds.
    pub remove_ms: u64,
    /// Sandboxes kept started, by shape.
    pub stems: Vec<(Shape, usize)>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A run wants a sandbox.
    Acquire {
        /// Who asks.
        ticket: Ticket,
        /// What it will serve.
        key: WarmKey,
        /// What it must be.
        shape: Shape,
    },
    /// The run waits no longer.
    Cancel {
        /// Who asked.
        ticket: Ticket,
    },
    /// A sandbox stands, uninitialised.
    Started {
        /// Which.
        sandbox: SandboxId,
    },
    /// A sandbox did not start, and nothing of it is left.
    StartFailed {
        /// Which.
        sandbox: SandboxId,
    },
    /// A run gives its sandbox back.
    Released {
        /// Which.
        sandbox: SandboxId,
        /// How it left it.
        fate: Fate,
        /// How long one run took, initialisation not counted. Unit: microseconds.
        held_us: u64,
    },
    /// An idle sandbox was found dead.
    Lost {
        /// Which.
        sandbox: SandboxId,
    },
    /// A sandbox stands still.
    Paused {
        /// Which.
        sandbox: SandboxId,
    },
    /// No trace of a sandbox is left.
    Removed {
        /// Which.
        sandbox: SandboxId,
    },
    /// What a sandbox uses.
    Measured {
        /// Which.
        sandbox: SandboxId,
        /// Unit: bytes.
        bytes: u64,
    },
    /// Only `current` of the action's revisions is still wanted, or none.
    Retire {
        /// The action.
        action: EntityUid,
        /// Its revision.
        current: Option<u64>,
    },
    /// Time passed.
    Tick {
        /// Memory that the machine has left, where known. Unit: bytes.
        available: Option<u64>,
    },
    /// No run is taken any more.
    Close,
}

/// How a run left its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Initialised and clean.
    Keep,
    /// As it was granted: nothing was done with it.
    Untouched,
    /// Not to be used again.
    Destroy,
}

/// In which state a sandbox is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// Started, not initialised.
    Fresh,
    /// Initialised for the key.
    Warm,
    /// Initialised for the key, and to be resumed first.
    Paused,
}

/// Why a ticket is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many wait as may.
    QueueFull,
    /// The memory limit is above the budget.
    TooLarge,
    /// The sandbox meant for it did not start.
    StartFailed,
    /// The pool is closed.
    Closed,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Hand a sandbox to a run, which releases it later.
    Grant {
        /// To whom.
        ticket: Ticket,
        /// What.
        sandbox: SandboxId,
        /// In which state.
        state: Granted,
    },
    /// Tell a run that it gets none.
    Refuse {
        /// Whom.
        ticket: Ticket,
        /// Why.
        why: Refusal,
    },
    /// Start a sandbox; `Started` or `StartFailed` follows.
    Start {
        /// Its name from now on.
        sandbox: SandboxId,
        /// What it must be.
        shape: Shape,
    },
    /// Pause a sandbox; `Paused` or `Lost` follows.
    Pause {
        /// Which.
        sandbox: SandboxId,
    },
    /// Kill a sandbox; `Removed` follows.
    Kill {
        /// Which.
        sandbox: SandboxId,
    },
}

/// What a pool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sandboxes, those being started or removed included.
    pub sandboxes: usize,
    /// Of these, granted to a run.
    pub busy: usize,
    /// Of these, idle: ready, paused or uninitialised.
    pub idle: usize,
    /// Of the idle, those that stand still.
    pub paused: usize,
    /// Memory they count with. Unit: bytes.
    pub charge: u64,
    /// Tickets that wait.
    pub waiting: usize,
}

/// The pool; see the module.
#[derive(Debug)]
pub struct Pool {
    limits: PoolLimits,
    slots: BTreeMap<SandboxId, Slot>,
    keys: BTreeMap<WarmKey, KeyState>,
    queue: Queue,
    next: u64,
    charge: u64,
    available: Option<u64>,
    stems_from_ms: u64,
    closed: bool,
}

/// What is known of a key while a sandbox or a ticket of it is there.
#[derive(Debug, Default)]
struct KeyState {
    /// Ready ones, the last used last.
    ready: Vec<SandboxId>,
    /// Paused ones, the last used last.
    paused: Vec<SandboxId>,
    /// Granted ones and those being paused: they come back.
    away: usize,
    /// How long a run lately took. Unit: microseconds.
    held_us: Option<u64>,
    /// When a sandbox last came back.
    progress_ms: u64,
}

/// The time of a step, and what it leads to.
struct Now<'a> {
    /// Unit: milliseconds.
    ms: u64,
    effects: &'a mut Vec<Effect>,
}

// === impl Pool ===

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            slots: BTreeMap::new(),
            keys: BTreeMap::new(),
            queue: Queue::default(),
            next: 0,
            charge: 0,
            available: None,
            stems_from_ms: 0,
            closed: false,
        }
    }

    /// Takes what happened at `now_ms` and appends what is to be done.
    ///
    /// Inputs about a sandbox that is not in a state where this can happen change nothing.
    pub fn step(&mut self, input: Input, now_ms: u64, effects: &mut Vec<Effect>) {
        let now = &mut Now { ms: now_ms, effects };
        match input {
            Input::Acquire { ticket, key, shape } => {
                self.acquire(ticket, key, shape, now);
            }
            Input::Cancel { ticket } => self.cancel(ticket),
            Input::Started { sandbox } => self.started(sandbox, now),
            Input::StartFailed { sandbox } => self.start_failed(sandbox, now),
            Input::Released { sandbox, fate, held_us } => {
                self.released(sandbox, fate, held_us, now);
            }
            Input::Lost { sandbox } => self.lost(sandbox, now),
            Input::Paused { sandbox } => self.paused(sandbox, now),
            Input::Removed { sandbox } => self.removed(sandbox, now),
            Input::Measured { sandbox, bytes } => self.measured(sandbox, bytes, now),
            Input::Retire { action, current } => self.retire(action, current, now),
            Input::Tick { available } => self.tick(available, now),
            Input::Close => self.close(now),
        }
    }

    /// What it holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let count =
            |of: fn(&State) -> bool| self.slots.values().filter(|slot| of(&slot.state)).count();
        Usage {
            sandboxes: self.slots.len(),
            busy: count(|state| matches!(state, State::Busy { .. })),
            idle: count(State::is_idle),
            paused: count(|state| matches!(state, State::Paused { .. })),
            charge: self.charge,
            waiting: self.queue.len(),
        }
    }

    /// Memory that its sandboxes count with, in bytes, and how many tickets wait.
    #[must_use]
    pub fn load(&self) -> (u64, usize) {
        (self.charge, self.queue.len())
    }

    /// Idle sandboxes, for those who measure them and look whether they live.
    pub fn idle(&self) -> impl Iterator<Item = SandboxId> {
        self.slots.iter().filter(|(_, slot)| slot.state.is_idle()).map(|(id, _)| *id)
    }

    fn acquire(&mut self, ticket: Ticket, key: WarmKey, shape: Shape, now: &mut Now<'_>) {
        if self.closed {
            return now.effects.push(Effect::Refuse { ticket, why: Refusal::Closed });
        }
        if !self.shares(&key)
            && let Some(idle) = self.keys.get_mut(&key).and_then(KeyState::take_idle)
        {
            return self.grant(ticket, key, idle, now);
        }
        if shape.memory_mb << 20 > self.limits.budget {
            return now.effects.push(Effect::Refuse { ticket, why: Refusal::TooLarge });
        }
        if self.queue.len() >= self.limits.waiting {
            return now.effects.push(Effect::Refuse { ticket, why: Refusal::QueueFull });
        }
        self.keys.entry(key.clone()).or_default();
        self.queue.push(ticket, key, shape, now.ms);
        self.supply(now);
    }

    /// Whether one more run of a key should wait for a sandbox under way although another idles:
    /// more of them would only take the processors from each other.
    fn shares(&self, key: &WarmKey) -> bool {
        let Some(known) = self.keys.get(key) else { return false };
        let Some(held_us) = known.held_us.filter(|_| known.away >= self.limits.crowd) else {
            return false;
        };
        let ahead = self.queue.waiting(key) as u64 + 1;
        held_us.saturating_mul(ahead) <= self.limits.share_us.saturating_mul(known.away as u64)
    }

    fn cancel(&mut self, ticket: Ticket) {
        if let Some(key) = self.queue.remove(ticket) {
            self.forget_if_unused(&key);
        }
    }

    fn grant(
        &mut self,
        ticket: Ticket,
        key: WarmKey,
        (sandbox, state): (SandboxId, Granted),
        now: &mut Now<'_>,
    ) {
        let known = self.keys.entry(key.clone()).or_default();
        if known.away == 0 {
            known.progress_ms = now.ms;
        }
        known.away += 1;
        self.set(sandbox, State::Busy { key, was: state });
        now.effects.push(Effect::Grant { ticket, sandbox, state });
    }

    fn close(&mut self, now: &mut Now<'_>) {
        self.closed = true;
        for ticket in self.queue.drain() {
            now.effects.push(Effect::Refuse { ticket, why: Refusal::Closed });
        }
        let idle: Vec<_> = self.idle().collect();
        for sandbox in idle {
            self.kill(sandbox, now);
        }
    }

    fn forget_if_unused(&mut self, key: &WarmKey) {
        let unused = self.keys.get(key).is_some_and(|state| {
            state.ready.is_empty() && state.paused.is_empty() && state.away == 0
        });
        if unused && self.queue.waiting(key) == 0 {
            self.keys.remove(key);
        }
    }
}

// === impl KeyState ===

impl KeyState {
    fn has_idle(&self) -> bool {
        !self.ready.is_empty() || !self.paused.is_empty()
    }

    fn take_idle(&mut self) -> Option<(SandboxId, Granted)> {
        let ready = self.ready.pop().map(|sandbox| (sandbox, Granted::Warm));
        ready.or_else(|| self.paused.pop().map(|sandbox| (sandbox, Granted::Paused)))
    }
}
