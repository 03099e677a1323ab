//! A feed's life as a pure state machine: what is wanted, what its task did, what to do now.
//!
//! ```text
//!             Want(active)               Ended(Retry)
//!  Resting ───────────────▶ Running ───────────────────▶ Backoff
//!   ▲ ▲                     │     ▲ ◀──────────────────────┘ Due, Want(active)
//!   │ └ Ended(Fatal,        │     │
//!   │     Finished, …) ─────┤     │ Ended, then Start
//!   │                       │     │
//!   │ Ended, then Rest      ▼     │      Ended, then Remove
//!   └────────────────── Draining ─┴──────────────────────────▶ Gone
//!                           Want(newer), Remove lead here from Running
//! ```
//!
//! Lifecycle events of the domain map onto it so: CREATE, UPDATE, PAUSE and UNPAUSE are each a
//! [`Event::Want`] with the next generation, DELETE is [`Event::Remove`], READ asks for the status.

/// First wait before a feed that failed is started again; it doubles with each failure.
pub const FIRST_BACKOFF_MS: u64 = 200;
/// Longest wait before a feed that failed is started again.
pub const MAX_BACKOFF_MS: u64 = 10_000;
/// How long a task that was told to end may finish what is under way.
pub const DRAIN_MS: u64 = 10_000;

/// Where a feed is in its life. Times are of a clock that never steps, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No task, and none until something else is wanted.
    Resting {
        /// Generation that rests.
        generation: u64,
        /// Why.
        why: Rest,
    },
    /// Its task works.
    Running {
        /// Generation at work.
        generation: u64,
        /// Failures in a row before this start.
        failures: u32,
    },
    /// Its task failed and is started again.
    Backoff {
        /// Generation to start.
        generation: u64,
        /// Failures in a row.
        failures: u32,
        /// When.
        until_ms: u64,
        /// What failed.
        reason: String,
        /// Whether somebody must change something first.
        waits: bool,
    },
    /// Its task was told to end.
    Draining {
        /// Generation that ends.
        generation: u64,
        /// When it is aborted; `None` once it was.
        abort_ms: Option<u64>,
        /// What comes after.
        then: Then,
    },
    /// Deleted.
    Gone,
}

/// Why a feed rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Not started yet.
    New,
    /// It was told to.
    Paused,
    /// The source has ended.
    Finished,
    /// Another owner writes its positions.
    Superseded,
    /// It cannot work with this configuration.
    Failed(String),
}

/// What follows when a drained task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Start this generation.
    Start(u64),
    /// Rest in this generation.
    Rest(u64),
    /// Be gone.
    Remove,
}

/// What happens to a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This is wanted from now on; generations that are not newer are ignored.
    Want {
        /// Which configuration.
        generation: u64,
        /// Whether it shall rest.
        paused: bool,
    },
    /// DELETE.
    Remove,
    /// The task has ended.
    Ended(End),
    /// Time passed [`State::due_ms`].
    Due,
}

/// How a feed's task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As it was told.
    Drained,
    /// The source has ended.
    Finished,
    /// Another owner took the feed over.
    Superseded,
    /// With an error that may pass.
    Retry {
        /// What failed.
        reason: String,
        /// Whether a batch had been kept, so that the failures are not in a row.
        progressed: bool,
        /// Whether somebody must change something first.
        waits: bool,
    },
    /// With an error that stays until the configuration changes.
    Fatal(String),
}

/// What the shell does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start a task of this generation.
    Start(u64),
    /// Tell the task to end.
    Cancel,
    /// End the task at once.
    Abort,
    /// Let the feed's position go.
    Forget,
}

/// The wait after this many failures in a row, which is at least one.
#[must_use]
pub fn backoff_ms(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_BACKOFF_MS << doublings).min(MAX_BACKOFF_MS)
}

// === impl State ===

impl State {
    /// A feed before anything was wanted; generations count from 1.
    pub const NEW: Self = Self::Resting { generation: 0, why: Rest::New };

    /// When [`Event::Due`] is to be told.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        match self {
            Self::Backoff { until_ms, .. } => Some(*until_ms),
            Self::Draining { abort_ms, .. } => *abort_ms,
            Self::Resting { .. } | Self::Running { .. } | Self::Gone => None,
        }
    }

    /// Whether a task of an earlier wish may still append.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        matches!(self, Self::Draining { .. })
    }

    /// The next state and what to do; `None` for what cannot happen.
    #[must_use]
    pub fn step(&self, event: Event, now_ms: u64) -> Option<(Self, Vec<Effect>)> {
        match event {
            Event::Want { generation, paused } => Some(self.want(generation, paused, now_ms)),
            Event::Remove => Some(self.remove(now_ms)),
            Event::Ended(end) => self.ended(end, now_ms),
            Event::Due => self.due(now_ms),
        }
    }

    /// The newest generation that was wanted.
    fn newest(&self) -> Option<u64> {
        match self {
            Self::Resting { generation, .. }
            | Self::Running { generation, .. }
            | Self::Backoff { generation, .. }
            | Self::Draining { then: Then::Start(generation) | Then::Rest(generation), .. } => {
                Some(*generation)
            }
            Self::Draining { then: Then::Remove, .. } | Self::Gone => None,
        }
    }

    fn want(&self, generation: u64, paused: bool, now_ms: u64) -> (Self, Vec<Effect>) {
        if self.newest().is_none_or(|newest| generation <= newest) {
            return (self.clone(), Vec::new());
        }
        let then = if paused { Then::Rest(generation) } else { Then::Start(generation) };
        self.after_task(then, now_ms)
    }

    fn remove(&self, now_ms: u64) -> (Self, Vec<Effect>) {
        if self.newest().is_none() {
            return (self.clone(), Vec::new());
        }
        self.after_task(Then::Remove, now_ms)
    }

    /// Does `then` now where no task is, else when it has ended.
    fn after_task(&self, then: Then, now_ms: u64) -> (Self, Vec<Effect>) {
        match self {
            Self::Running { generation, .. } => {
                let abort_ms = Some(now_ms.saturating_add(DRAIN_MS));
                let draining = Self::Draining { generation: *generation, abort_ms, then };
                (draining, vec![Effect::Cancel])
            }
            Self::Draining { generation, abort_ms, .. } => {
                let draining =
                    Self::Draining { generation: *generation, abort_ms: *abort_ms, then };
                (draining, Vec::new())
            }
            Self::Resting { .. } | Self::Backoff { .. } | Self::Gone => then.enter(),
        }
    }

    fn ended(&self, end: End, now_ms: u64) -> Option<(Self, Vec<Effect>)> {
        match self {
            Self::Running { generation, failures } => {
                Some((Self::after_end(*generation, *failures, end, now_ms), Vec::new()))
            }
            Self::Draining { then, .. } => Some(then.enter()),
            Self::Resting { .. } | Self::Backoff { .. } | Self::Gone => None,
        }
    }

    fn after_end(generation: u64, failures: u32, end: End, now_ms: u64) -> Self {
        let rest = |why| Self::Resting { generation, why };
        match end {
            End::Finished => rest(Rest::Finished),
            End::Superseded => rest(Rest::Superseded),
            End::Fatal(reason) => rest(Rest::Failed(reason)),
            End::Retry { reason, progressed, waits } => {
                let failures = if progressed { 1 } else { failures.saturating_add(1) };
                let until_ms = now_ms.saturating_add(backoff_ms(failures));
                Self::Backoff { generation, failures, until_ms, reason, waits }
            }
            // Only the shell's own shutdown drains a task that nobody told to end.
            End::Drained => rest(Rest::Paused),
        }
    }

    fn due(&self, now_ms: u64) -> Option<(Self, Vec<Effect>)> {
        if self.due_ms()? > now_ms {
            return Some((self.clone(), Vec::new()));
        }
        match self {
            Self::Backoff { generation, failures, .. } => Some((
                Self::Running { generation: *generation, failures: *failures },
                vec![Effect::Start(*generation)],
            )),
            Self::Draining { generation, then, .. } => Some((
                Self::Draining { generation: *generation, abort_ms: None, then: *then },
                vec![Effect::Abort],
            )),
            Self::Resting { .. } | Self::Running { .. } | Self::Gone => None,
        }
    }
}

// === impl Then ===

impl Then {
    fn enter(self) -> (State, Vec<Effect>) {
        match self {
            Self::Start(generation) => {
                (State::Running { generation, failures: 0 }, vec![Effect::Start(generation)])
            }
            Self::Rest(generation) => {
                (State::Resting { generation, why: Rest::Paused }, Vec::new())
            }
            Self::Remove => (State::Gone, vec![Effect::Forget]),
        }
    }
}

#[cfg(test)]
mod tests;
