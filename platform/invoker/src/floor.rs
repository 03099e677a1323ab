//! The pool's shell: sandboxes by id, runs that wait, and the effects of each step carried out.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Instant,
};

use evoke_sandbox::{Life, SandboxDriver};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cell::Cell,
    config::Config,
    keeper,
    measures::Measures,
    pool::{Effect, Fate, Granted, Input, Pool, Refusal, SandboxId, Shape, Ticket, WarmKey},
    runtimes::Runtimes,
};

/// Everything that runs, background tasks and leases share.
pub(crate) struct Floor {
    pub(crate) config: Config,
    pub(crate) runtimes: Runtimes,
    pub(crate) driver: Arc<dyn SandboxDriver>,
    /// Starts, pauses and kills under way, and the keeper.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Wakes the keeper: somebody waits.
    pub(crate) waiting: Notify,
    /// Rung whenever a sandbox is gone.
    pub(crate) removed: Notify,
    /// How often the kernel had killed for memory when last looked.
    pub(crate) memory_kills: AtomicU64,
    pub(crate) measures: Measures,
    handle: Handle,
    origin: Instant,
    state: Mutex<State>,
}

/// What is behind the one lock; never held across an await.
pub(crate) struct State {
    pub(crate) pool: Pool,
    /// Sandboxes that no run holds.
    pub(crate) cells: HashMap<SandboxId, Box<Cell>>,
    pub(crate) lives: HashMap<SandboxId, Arc<Life>>,
    /// Sandboxes that ran since they were last measured.
    pub(crate) unmeasured: BTreeSet<SandboxId>,
    /// Why a sandbox last did not start.
    pub(crate) start_error: String,
    waiters: HashMap<Ticket, oneshot::Sender<Result<Lease, Refusal>>>,
    effects: Vec<Effect>,
    next_ticket: u64,
}

/// A sandbox granted to a run; dropped, it goes back, or is killed where it was used.
pub(crate) struct Lease {
    floor: Arc<Floor>,
    sandbox: SandboxId,
    cell: Option<Box<Cell>>,
    /// In which state it was granted.
    pub(crate) state: Granted,
    used: bool,
}

/// The answer to a run that asks for a sandbox.
pub(crate) enum Asked {
    /// At once.
    Answered(Result<Lease, Refusal>),
    /// Not yet.
    Waits(Wait),
}

/// A run's place in the queue; dropped, it is given up.
pub(crate) struct Wait {
    floor: Arc<Floor>,
    ticket: Ticket,
    answer: oneshot::Receiver<Result<Lease, Refusal>>,
}

// === impl Floor ===

impl Floor {
    pub(crate) fn new(
        config: Config,
        runtimes: Runtimes,
        driver: Arc<dyn SandboxDriver>,
        pool: Pool,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            runtimes,
            driver,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            waiting: Notify::new(),
            removed: Notify::new(),
            memory_kills: AtomicU64::new(0),
            measures: Measures::default(),
            handle: Handle::current(),
            origin: Instant::now(),
            state: Mutex::new(State {
                pool,
                cells: HashMap::new(),
                lives: HashMap::new(),
                unmeasured: BTreeSet::new(),
                start_error: String::new(),
                waiters: HashMap::new(),
                effects: Vec::new(),
                next_ticket: 0,
            }),
        })
    }

    /// A panic elsewhere leaves the maps whole: every step completes before its effects begin.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks for a sandbox.
    pub(crate) fn ask(self: &Arc<Self>, key: WarmKey, shape: Shape) -> Asked {
        let mut state = self.lock();
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        let mut answer = None;
        let input = Input::Acquire { ticket, key, shape };
        let unwanted = self.step(&mut state, input, &mut |other, result| {
            if other == ticket {
                answer = Some(result);
                None
            } else {
                Some(result)
            }
        });
        let asked = answer.map_or_else(
            || {
                let (sender, answer) = oneshot::channel();
                state.waiters.insert(ticket, sender);
                Asked::Waits(Wait { floor: Arc::clone(self), ticket, answer })
            },
            Asked::Answered,
        );
        drop(state);
        drop(unwanted);
        if matches!(asked, Asked::Waits(_)) {
            self.waiting.notify_one();
        }
        asked
    }

    /// Tells the pool what happened and carries out what follows.
    pub(crate) fn tell(self: &Arc<Self>, input: Input) {
        let mut state = self.lock();
        let unwanted = self.step(&mut state, input, &mut |_, result| Some(result));
        drop(state);
        // A lease gives itself back, which takes the lock.
        drop(unwanted);
    }

    /// One step; `claim` may keep an answer for itself, the others go to those who wait. What
    /// nobody takes is given back, to be dropped without the lock.
    fn step(
        self: &Arc<Self>,
        state: &mut State,
        input: Input,
        claim: &mut dyn FnMut(Ticket, Result<Lease, Refusal>) -> Option<Result<Lease, Refusal>>,
    ) -> Vec<Result<Lease, Refusal>> {
        let mut unwanted = Vec::new();
        let mut effects = std::mem::take(&mut state.effects);
        state.pool.step(input, self.now_ms(), &mut effects);
        for effect in effects.drain(..) {
            let (ticket, answer) = match effect {
                Effect::Grant { ticket, sandbox, state: granted } => {
                    (ticket, Ok(self.lease(state, sandbox, granted)))
                }
                Effect::Refuse { ticket, why } => (ticket, Err(why)),
                Effect::Start { sandbox, shape } => {
                    self.spawn(keeper::start(Arc::clone(self), sandbox, shape));
                    continue;
                }
                Effect::Pause { sandbox } => {
                    let life = state.lives.get(&sandbox).cloned();
                    self.spawn(keeper::pause(Arc::clone(self), sandbox, life));
                    continue;
                }
                Effect::Kill { sandbox } => {
                    state.cells.remove(&sandbox);
                    state.unmeasured.remove(&sandbox);
                    let life = state.lives.remove(&sandbox);
                    self.spawn(keeper::kill(Arc::clone(self), sandbox, life));
                    continue;
                }
            };
            if let Some(answer) = claim(ticket, answer) {
                match state.waiters.remove(&ticket) {
                    Some(waiter) => unwanted.extend(waiter.send(answer).err()),
                    None => unwanted.push(answer),
                }
            }
        }
        state.effects = effects;
        unwanted
    }

    fn lease(self: &Arc<Self>, state: &mut State, sandbox: SandboxId, granted: Granted) -> Lease {
        let cell = state.cells.remove(&sandbox);
        Lease { floor: Arc::clone(self), sandbox, cell, state: granted, used: false }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.handle);
    }

    /// Takes a started sandbox in.
    pub(crate) fn admit(self: &Arc<Self>, sandbox: SandboxId, cell: Cell) {
        let mut state = self.lock();
        state.lives.insert(sandbox, Arc::clone(&cell.life));
        state.cells.insert(sandbox, Box::new(cell));
        state.unmeasured.insert(sandbox);
        drop(state);
        self.tell(Input::Started { sandbox });
    }

    fn give_back(self: &Arc<Self>, sandbox: SandboxId, cell: Box<Cell>, fate: Fate, held_us: u64) {
        let mut state = self.lock();
        let cell = if fate == Fate::Destroy {
            Some(cell)
        } else {
            state.cells.insert(sandbox, cell);
            state.unmeasured.insert(sandbox);
            None
        };
        let input = Input::Released { sandbox, fate, held_us };
        let unwanted = self.step(&mut state, input, &mut |_, result| Some(result));
        drop(state);
        drop((unwanted, cell));
    }
}

impl std::fmt::Debug for Floor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Floor").field("usage", &self.lock().pool.usage()).finish_non_exhaustive()
    }
}

// === impl Lease ===

impl Lease {
    /// The sandbox, which counts as used from now on; none where it was lost.
    pub(crate) fn cell(&mut self) -> Option<&mut Cell> {
        self.used = true;
        self.cell.as_deref_mut()
    }

    /// Whether the sandbox lives and is ready to be asked; does not count as a use.
    pub(crate) async fn is_sound(&self) -> bool {
        let Some(cell) = &self.cell else { return false };
        if self.state == Granted::Paused && cell.life.resume().await.is_err() {
            return false;
        }
        cell.is_quiet()
    }

    /// Gives it back; `held_us` is how long the run took.
    pub(crate) fn release(mut self, fate: Fate, held_us: u64) {
        if let Some(mut cell) = self.cell.take() {
            cell.rest();
            self.floor.give_back(self.sandbox, cell, fate, held_us);
        }
    }

    /// Kills it; returns when no process of it is left.
    pub(crate) async fn destroy(mut self) {
        if let Some(cell) = self.cell.take() {
            let life = Arc::clone(&cell.life);
            self.floor.give_back(self.sandbox, cell, Fate::Destroy, 0);
            life.kill().await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            let fate = if self.used { Fate::Destroy } else { Fate::Untouched };
            self.floor.give_back(self.sandbox, cell, fate, 0);
        }
    }
}

// === impl Wait ===

impl Wait {
    /// The answer, once there is one.
    pub(crate) async fn answer(&mut self) -> Result<Lease, Refusal> {
        (&mut self.answer).await.unwrap_or(Err(Refusal::Closed))
    }

    /// Gives up, unless the answer came at this very moment.
    pub(crate) fn give_up(mut self) -> Option<Result<Lease, Refusal>> {
        self.floor.lock().waiters.remove(&self.ticket);
        self.answer.try_recv().ok()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.floor.lock().waiters.remove(&self.ticket);
        self.floor.tell(Input::Cancel { ticket: self.ticket });
    }
}
