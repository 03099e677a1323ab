//! Runs actions: finds a sandbox, initialises it where it must, asks it, and judges the answer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use evoke_placement::{Fleet, InvokerId, InvokerState};
use evoke_sandbox::{Ending, Exit, Network, SandboxDriver};
use evoke_schemas::EntityUid;
use tokio::time::{Instant, timeout};

use crate::{
    cell::{Cell, NoAnswer, Reply},
    code::CodeSource,
    config::Config,
    floor::{Asked, Floor, Lease},
    judge::{Death, Phase, judge_death, judge_init, judge_run, judge_timeout},
    keeper,
    logs::Log,
    machine,
    manifest::ManifestError,
    measures::InvokerCounts,
    pool::{Fate, Granted, Input, Pool, Refusal, Shape, Usage, WarmKey},
    protocol::{code_bytes, init_frame, run_frame},
    run::{Outcome, PlatformFailure, Run, RunEnd},
    runtimes::Runtimes,
};

/// Sandboxes that one run may find dead before it is told that they are lost.
const MOST_LOST: usize = 3;
/// Longest wait at a shutdown for what was killed to be gone.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for the word how a program ended that closed its channel.
const EXIT_WAIT: Duration = Duration::from_secs(2);

/// Runs actions on this machine. Clones are the same invoker.
#[derive(Clone, Debug)]
pub struct Invoker {
    floor: Arc<Floor>,
    code: Source,
    id: InvokerId,
    budget: u64,
}

#[derive(Clone)]
struct Source(Arc<dyn CodeSource>);

/// What came of one sandbox.
enum Conduct {
    /// The run ended.
    Ended(Box<RunEnd>),
    /// The sandbox died before the function started: take another.
    Lost,
}

/// What a call ended with, before times and logs are known.
struct Verdict {
    outcome: Outcome,
    size: Option<u64>,
    /// Whether the sandbox may serve again.
    clean: bool,
}

// === impl Invoker ===

impl Invoker {
    /// Looks for interpreters and begins to keep sandboxes ready; wants a tokio runtime.
    ///
    /// # Errors
    /// The manifest cannot be used. A missing interpreter is told by [`Runtimes::report`] and by
    /// each run that wants it.
    pub async fn open(
        config: Config,
        driver: Arc<dyn SandboxDriver>,
        code: Arc<dyn CodeSource>,
    ) -> Result<Self, ManifestError> {
        let runtimes = Runtimes::discover(&config).await?;
        let limits = machine::pool_limits(&config, runtimes.stems());
        let (id, budget) = (InvokerId::new(&config.name), limits.budget);
        let floor = Floor::new(config, runtimes, driver, Pool::new(limits));
        floor.tasks.spawn(keeper::keep(Arc::clone(&floor)));
        Ok(Self { floor, code: Source(code), id, budget })
    }

    /// What serves each kind.
    #[must_use]
    pub fn runtimes(&self) -> &Runtimes {
        &self.floor.runtimes
    }

    /// What the pool holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.floor.lock().pool.usage()
    }

    /// How the pool stands, and what was done since the program started.
    #[must_use]
    pub fn counts(&self) -> InvokerCounts {
        self.floor.measures.counts(self.usage(), self.budget)
    }

    /// Only `current` of the action's revisions is still wanted, or none: sandboxes of others go,
    /// the busy ones after their run.
    pub fn retire(&self, action: EntityUid, current: Option<u64>) {
        self.floor.tell(Input::Retire { action, current });
    }

    /// Takes no more runs, lets those under way go on for `grace`, and kills what is left; returns
    /// when no sandbox is.
    pub async fn shutdown(&self, grace: Duration) {
        self.floor.tell(Input::Close);
        if timeout(grace, self.emptied()).await.is_err() {
            let lives: Vec<_> = self.floor.lock().lives.values().cloned().collect();
            futures::future::join_all(lives.iter().map(|life| life.kill())).await;
        }
        self.floor.stop.cancel();
        if timeout(KILL_WAIT, self.emptied()).await.is_err() {
            tracing::error!(left = ?self.usage(), "sandboxes are left after the shutdown");
        }
        self.floor.tasks.close();
        self.floor.tasks.wait().await;
    }

    async fn emptied(&self) {
        loop {
            let removed = self.floor.removed.notified();
            if self.usage().sandboxes == 0 {
                return;
            }
            removed.await;
        }
    }

    /// Runs an action and says how it ended; waits for a sandbox within the run's bound.
    ///
    /// Once it returns, a sandbox that failed is dead. If the future is dropped during the run,
    /// the sandbox is killed and never used again.
    pub async fn run(&self, run: Run) -> RunEnd {
        let asked = Instant::now();
        let mut lost = 0;
        loop {
            let lease = match self.obtain(&run, asked).await {
                Ok(lease) => lease,
                Err(reason) => {
                    self.floor.measures.unplaced.one();
                    return ended_before(reason, asked);
                }
            };
            if lease.is_sound().await {
                match self.conduct(lease, &run, asked).await {
                    Conduct::Ended(end) => return *end,
                    Conduct::Lost => {}
                }
            } else {
                lease.destroy().await;
            }
            self.floor.measures.lost.one();
            lost += 1;
            if lost >= MOST_LOST {
                return ended_before(PlatformFailure::Lost, asked);
            }
        }
    }

    async fn obtain(&self, run: &Run, asked: Instant) -> Result<Lease, PlatformFailure> {
        let action = &run.action;
        let kind = self.floor.runtimes.servable(&action.kind)?;
        let shape = Shape {
            kind,
            memory_mb: action.limits.memory,
            egress: action.network == Network::Egress,
        };
        let key = WarmKey {
            namespace: run.namespace.clone(),
            action: action.uid,
            revision: action.revision,
        };
        let mut wait = match self.floor.ask(key, shape) {
            Asked::Answered(answer) => return answer.map_err(|why| self.refused(why, shape)),
            Asked::Waits(wait) => wait,
        };
        let default = Duration::from_millis(self.floor.config.longest_wait_ms);
        let longest = run.longest_wait.unwrap_or(default);
        let answer = match timeout(longest.saturating_sub(asked.elapsed()), wait.answer()).await {
            Ok(answer) => Some(answer),
            Err(_elapsed) => wait.give_up(),
        };
        let too_late = || PlatformFailure::NoCapacity(millis(longest));
        answer.ok_or_else(too_late)?.map_err(|why| self.refused(why, shape))
    }

    fn refused(&self, why: Refusal, shape: Shape) -> PlatformFailure {
        match why {
            Refusal::QueueFull => PlatformFailure::QueueFull(self.floor.config.max_waiting),
            Refusal::TooLarge => {
                PlatformFailure::TooLarge { limit: shape.memory_mb, budget: self.budget >> 20 }
            }
            Refusal::StartFailed => PlatformFailure::Start(self.floor.lock().start_error.clone()),
            Refusal::Closed => PlatformFailure::ShuttingDown,
        }
    }

    /// Initialises where needed, runs, gives the sandbox back.
    async fn conduct(&self, mut lease: Lease, run: &Run, asked: Instant) -> Conduct {
        let code = match lease.state {
            Granted::Fresh => match self.code.load(run).await {
                Ok(code) => Some(code),
                Err(reason) => return Conduct::Ended(Box::new(ended_before(reason, asked))),
            },
            Granted::Warm | Granted::Paused => None,
        };
        self.floor.measures.granted(lease.state);
        let wait_ms = millis(asked.elapsed());
        let start_ms = epoch_ms();
        let mut log = Log::new(run.action.limits.logs);
        let mut init_ms = None;
        let mut verdict = None;
        if let Some(code) = code {
            let begun = Instant::now();
            verdict = match self.initialise(&mut lease, run, &code, &mut log).await {
                Ok(verdict) => verdict,
                Err(lost) => return lost,
            };
            init_ms = Some(millis(begun.elapsed()));
            self.floor.measures.cold_start.observe(asked.elapsed());
        }
        let begun = Instant::now();
        let verdict = match verdict {
            Some(verdict) => verdict,
            None => match self.call(&mut lease, run, &mut log, init_ms.is_some()).await {
                Some(verdict) => verdict,
                None => return Conduct::Lost,
            },
        };
        let held_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let developer_error = matches!(verdict.outcome, Outcome::DeveloperError { .. });
        let end_ms = epoch_ms().max(start_ms);
        if verdict.clean {
            lease.release(Fate::Keep, held_us);
        } else {
            lease.destroy().await;
        }
        Conduct::Ended(Box::new(RunEnd {
            outcome: verdict.outcome,
            logs: log.finish(developer_error, SystemTime::now()),
            start_ms,
            end_ms,
            init_ms,
            wait_ms,
            size: verdict.size,
        }))
    }

    /// None when the sandbox is initialised; a verdict when that ended the run.
    async fn initialise(
        &self,
        lease: &mut Lease,
        run: &Run,
        code: &[u8],
        log: &mut Log,
    ) -> Result<Option<Verdict>, Conduct> {
        let limit = run.action.limits.timeout;
        let mut request = init_frame(run, epoch_ms() + limit);
        let deadline = Instant::now() + Duration::from_millis(limit);
        let Some(cell) = lease.cell() else { return Err(Conduct::Lost) };
        match cell.initialise(&mut request, code, deadline, log).await {
            Ok(reply) => Ok(judge_init(reply.frame).map(|(outcome, size)| Verdict {
                outcome,
                size,
                clean: false,
            })),
            Err(NoAnswer::Unsent) => Err(Conduct::Lost),
            Err(end) => Ok(Some(self.judge(cell, run, (end, Phase::Init), log).await)),
        }
    }

    /// None where the sandbox died before it had the call.
    async fn call(
        &self,
        lease: &mut Lease,
        run: &Run,
        log: &mut Log,
        initialised_now: bool,
    ) -> Option<Verdict> {
        let limit = run.action.limits.timeout;
        let cell = lease.cell()?;
        let mut request = std::mem::take(&mut cell.request);
        run_frame(&mut request, run, epoch_ms() + limit);
        let deadline = Instant::now() + Duration::from_millis(limit);
        let answer = cell.call(&mut request, deadline, log).await.map(|reply| Verdict::of(&reply));
        cell.request = request;
        match answer {
            Ok(verdict) => Some(verdict),
            Err(NoAnswer::Unsent) if !initialised_now => None,
            Err(end) => Some(self.judge(cell, run, (end, Phase::Run), log).await),
        }
    }

    async fn judge(
        &self,
        cell: &mut Cell,
        run: &Run,
        (end, phase): (NoAnswer, Phase),
        log: &mut Log,
    ) -> Verdict {
        if end == NoAnswer::TimedOut {
            cell.drain(log);
            return Verdict::failed(judge_timeout(phase, run.action.limits.timeout));
        }
        let exited = timeout(EXIT_WAIT, cell.life.exited()).await;
        let exit =
            exited.unwrap_or(Exit { ending: Ending::Lost, oom_killed: cell.life.oom_killed() });
        cell.drain(log);
        let runtime = self.floor.runtimes.servable(&run.action.kind).ok();
        let exhausted = runtime
            .and_then(|index| self.floor.runtimes.get(index)?.exhausted.as_deref())
            .is_some_and(|words| log.mentions(words));
        let known = self.floor.memory_kills.load(Ordering::Relaxed);
        let host_short = machine::memory_kills() > known;
        Verdict::failed(judge_death(phase, Death { exit, said_exhausted: exhausted, host_short }))
    }
}

impl Fleet for Invoker {
    fn invokers(&self) -> Vec<InvokerState> {
        let (used_bytes, waiting) = self.floor.lock().pool.load();
        vec![InvokerState {
            id: self.id.clone(),
            healthy: !self.floor.stop.is_cancelled(),
            memory_bytes: self.budget,
            used_bytes,
            waiting,
        }]
    }
}

// === impl Verdict ===

impl Verdict {
    fn of(reply: &Reply<'_>) -> Self {
        let (outcome, size) = judge_run(reply.frame);
        let kept = matches!(outcome, Outcome::Success { .. } | Outcome::ApplicationError { .. });
        Self { outcome, size, clean: kept && !reply.surplus }
    }

    fn failed(outcome: Outcome) -> Self {
        Self { outcome, size: None, clean: false }
    }
}

// === impl Source ===

impl Source {
    async fn load(&self, run: &Run) -> Result<Bytes, PlatformFailure> {
        let loaded = self.0.load(&run.action.code).await;
        let code = loaded.map_err(|error| PlatformFailure::Code(error.source.to_string()))?;
        code_bytes(&code, run.action.binary)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").finish_non_exhaustive()
    }
}

fn ended_before(reason: PlatformFailure, asked: Instant) -> RunEnd {
    let now_ms = epoch_ms();
    RunEnd {
        outcome: Outcome::Platform { reason },
        logs: Vec::new(),
        start_ms: now_ms,
        end_ms: now_ms,
        init_ms: None,
        wait_ms: millis(asked.elapsed()),
        size: None,
    }
}

fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
