//! The shell of delivery: one task that owns what is under way, and carries out what the core wants.

mod attempt;
mod reads;
mod traces;
mod triggers;

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use evoke_event_log::{
    Append, AppendError, Appended, Cursor, EventLog, Page, ReadError, ReadLimit, SegmentId,
};
use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
};

use super::{Clock, Steps, checkpoints::Checkpoints, intake::Intake, upkeep};
use crate::{
    activations::{ActivationSink, ActivationSinkError},
    delivery::{CommandError, Deliveries, DeliveryEffect, DeliveryInput, Ticket},
    invoker::ActionInvoker,
};
use attempt::AttemptDone;
use traces::Outcomes;

/// Wishes that may wait for the driver; who wishes more waits.
const COMMANDS: usize = 256;
/// Dead letters that are announced at once, each with its event in memory.
const ANNOUNCED_AT_ONCE: usize = 32;
/// Most items and bytes of one page of the log.
const PAGE: ReadLimit = ReadLimit { items: 1_024, bytes: 4 << 20 };
/// Longest sleep of an idle driver; a clock that stepped is noticed after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What deliveries stand on.
pub(crate) struct DispatchParts {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) activations: Arc<dyn ActivationSink>,
    pub(crate) invoker: Arc<dyn ActionInvoker>,
    pub(crate) clock: Clock,
    pub(crate) intake: Arc<Intake>,
    pub(crate) checkpoints: Option<Checkpoints>,
}

/// What the driver and the questioners share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) activations: Arc<dyn ActivationSink>,
    pub(crate) invoker: Arc<dyn ActionInvoker>,
    pub(crate) clock: Clock,
    pub(crate) intake: Arc<Intake>,
    pub(crate) checkpoints: Option<Checkpoints>,
    core: Mutex<Deliveries>,
    /// Changes of rules that the driver has not taken yet; whoever makes them takes turns.
    changes: Mutex<VecDeque<DeliveryInput>>,
    changed: Notify,
    failure: watch::Sender<Option<Arc<str>>>,
    /// Told whenever more of the log is loaded.
    loaded: watch::Sender<()>,
    /// Room to announce dead letters.
    pub(crate) announcing: Semaphore,
}

/// Who waits for the answer to a command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tickets(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last: Ticket,
    by_ticket: HashMap<Ticket, oneshot::Sender<Result<(), CommandError>>>,
}

/// The task.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<DeliveryInput>,
    attempts: JoinSet<AttemptDone>,
    reads: JoinSet<Result<DeliveryInput, Cause>>,
    tickets: Tickets,
    flush: Option<Boxed<Result<(), ActivationSinkError>>>,
    append: Option<Boxed<Result<Appended, AppendError>>>,
    page: Option<Boxed<Result<Page, ReadError>>>,
    inputs: VecDeque<DeliveryInput>,
    first: Vec<DeliveryEffect>,
    steps: Steps,
    outcomes: Outcomes,
}

/// What the driver was told.
enum Told {
    Input(DeliveryInput),
    Attempt(Result<AttemptDone, JoinError>),
    Read(Result<Result<DeliveryInput, Cause>, JoinError>),
    Flushed(Result<(), ActivationSinkError>),
    Appended(Result<Appended, AppendError>),
    Page(Result<Page, ReadError>),
    Change,
    Time,
    Stop,
}

// === impl Tickets ===

impl Tickets {
    /// A new ticket, and its answer when it comes.
    pub(crate) fn take(&self) -> (Ticket, oneshot::Receiver<Result<(), CommandError>>) {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.last += 1;
        let ticket = waiting.last;
        waiting.by_ticket.insert(ticket, sender);
        (ticket, answer)
    }

    fn answer(&self, ticket: Ticket, answer: Result<(), CommandError>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.by_ticket.remove(&ticket)
            && sender.send(answer).is_err()
        {
            tracing::debug!(ticket, "nobody waits for the answer to a command any more");
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(parts: DispatchParts, core: Deliveries) -> Arc<Self> {
        let DispatchParts { log, activations, invoker, clock, intake, checkpoints } = parts;
        let core = Mutex::new(core);
        let (changes, changed) = (Mutex::default(), Notify::new());
        let failure = watch::Sender::new(None);
        Arc::new(Self {
            log,
            activations,
            invoker,
            clock,
            intake,
            checkpoints,
            core,
            changes,
            changed,
            failure,
            loaded: watch::Sender::default(),
            announcing: Semaphore::new(ANNOUNCED_AT_ONCE),
        })
    }

    /// Tells the driver of a change without waiting for it.
    pub(crate) fn change(&self, input: DeliveryInput) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(input);
        self.changed.notify_one();
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Deliveries> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once dispatch has seen the log up to there.
    pub(crate) async fn has_loaded(&self, end: &Cursor) {
        let mut loaded = self.loaded.subscribe();
        while !self.core().loaded().covers(end) {
            if loaded.changed().await.is_err() {
                return;
            }
        }
    }

    /// The engine cannot go on.
    pub(crate) fn fail(&self, cause: &dyn std::fmt::Display) {
        tracing::error!(%cause, "deliveries cannot go on");
        self.failure.send_replace(Some(cause.to_string().into()));
    }

    /// Returns with the cause when the engine cannot go on.
    pub(crate) async fn failed(&self) -> Arc<str> {
        let mut failure = self.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        failed.ok().and_then(|cause| cause.clone()).unwrap_or_else(|| "closed".into())
    }
}

// === impl Driver ===

impl Driver {
    /// A driver, and where it is told what to do; `first` is what it begins with.
    pub(crate) fn new(
        shared: Arc<Shared>,
        tickets: Tickets,
        first: Vec<DeliveryEffect>,
    ) -> (Self, mpsc::Sender<DeliveryInput>) {
        let (sender, inbox) = mpsc::channel(COMMANDS);
        let driver = Self {
            shared,
            inbox,
            attempts: JoinSet::new(),
            reads: JoinSet::new(),
            tickets,
            flush: None,
            append: None,
            page: None,
            inputs: VecDeque::from([DeliveryInput::Capacity(usize::MAX)]),
            first,
            steps: Steps::default(),
            outcomes: Outcomes::default(),
        };
        (driver, sender)
    }

    /// Delivers until told to stop and what is under way has ended, or until it cannot go on.
    pub(crate) async fn run(mut self, stop: tokio_util::sync::CancellationToken) {
        let mut stopping = false;
        loop {
            if let Err(cause) = self.pump().await {
                self.shared.fail(&cause);
                return;
            }
            if stopping && self.is_idle() {
                return;
            }
            self.read_on(stopping);
            match self.next(&stop, stopping).await {
                Told::Stop => {
                    stopping = true;
                    self.inputs.push_back(DeliveryInput::Capacity(0));
                }
                told => {
                    if let Err(cause) = self.take(told).and_then(|()| self.take_more()) {
                        self.shared.fail(&cause);
                        return;
                    }
                }
            }
        }
    }

    fn is_idle(&self) -> bool {
        let core = self.shared.core();
        // A full disk keeps nobody from stopping: what was not written down is delivered again.
        core.running() == 0 && (core.unsettled() == 0 || core.is_refused())
    }

    /// Steps the core through what happened, and carries out what it wants, in order.
    async fn pump(&mut self) -> Result<(), ActivationSinkError> {
        let mut effects = std::mem::take(&mut self.first);
        for effect in effects.drain(..) {
            self.carry_out(effect).await?;
        }
        if let Some(by_ms) = self.steps.look(&self.shared.clock) {
            tracing::warn!(by_ms, "the machine's clock was set; waits go on as they were");
            let end = self.shared.log.end();
            self.inputs.push_front(DeliveryInput::ClockStepped { by_ms, end });
        }
        while let Some(input) = self.inputs.pop_front() {
            let now_ms = self.shared.clock.now_ms();
            let loads = matches!(input, DeliveryInput::Loaded { .. });
            self.shared.core().step(input, now_ms, &mut effects);
            if loads {
                self.shared.loaded.send_replace(());
            }
            for effect in effects.drain(..) {
                self.carry_out(effect).await?;
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, effect: DeliveryEffect) -> Result<(), ActivationSinkError> {
        match effect {
            DeliveryEffect::Start(start) => {
                let shared = Arc::clone(&self.shared);
                self.attempts.spawn(attempt::make(shared, *start));
            }
            DeliveryEffect::RecordTriggers { position, event, accepted_ms } => {
                for record in triggers::records(
                    self.shared.log.uids().at(position),
                    position,
                    &event,
                    accepted_ms,
                ) {
                    self.shared.activations.stage(record).await?;
                }
            }
            DeliveryEffect::Flush => {
                let activations = Arc::clone(&self.shared.activations);
                self.flush = Some(Box::pin(async move { activations.flush().await }));
            }
            DeliveryEffect::Append(append) => self.submit(append),
            DeliveryEffect::Announce { id, namespace, trigger } => {
                let shared = Arc::clone(&self.shared);
                self.reads.spawn(reads::announce(shared, id, namespace, trigger));
            }
            DeliveryEffect::ReadRange { replay, limit } => {
                self.reads.spawn(reads::range(Arc::clone(&self.shared), *replay, limit));
            }
            DeliveryEffect::ReadHome { id, home } => {
                self.reads.spawn(reads::home(Arc::clone(&self.shared.log), id, home));
            }
            DeliveryEffect::DropSegment(segment) => self.drop_segment(segment),
            DeliveryEffect::CloseIntake { namespace, cap } => {
                self.shared.intake.set_closed(namespace, Some(cap));
            }
            DeliveryEffect::OpenIntake { namespace } => {
                self.shared.intake.set_closed(namespace, None);
            }
            DeliveryEffect::Answer { ticket, answer } => self.tickets.answer(ticket, answer),
        }
        Ok(())
    }

    fn submit(&mut self, append: Append) {
        self.outcomes.write(&append);
        let pending = self.shared.log.submit(append);
        self.append = Some(Box::pin(pending));
    }

    fn drop_segment(&mut self, segment: SegmentId) {
        let shared = Arc::clone(&self.shared);
        self.reads.spawn(async move {
            // The outcomes that stand in the segment must be known without it.
            if upkeep::save(&shared).await
                && let Err(error) = shared.log.drop_segment(segment).await
            {
                tracing::warn!(%error, "a segment of the log stays");
            }
            Ok(DeliveryInput::Tick)
        });
    }
}

impl Driver {
    /// Asks for the next page where one is wanted and none is on its way.
    fn read_on(&mut self, stopping: bool) {
        if stopping || self.page.is_some() || !self.shared.core().wants_items() {
            return;
        }
        let from = self.shared.core().loaded().clone();
        let log = Arc::clone(&self.shared.log);
        self.page = Some(Box::pin(async move {
            log.watch().past(&from).await?;
            log.read(&from, PAGE).await
        }));
    }

    async fn next(&mut self, stop: &tokio_util::sync::CancellationToken, stopping: bool) -> Told {
        let sleep = self.sleep();
        tokio::select! {
            biased;
            Some(done) = self.attempts.join_next() => Told::Attempt(done),
            done = some(&mut self.flush) => Told::Flushed(done),
            done = some(&mut self.append) => Told::Appended(done),
            done = some(&mut self.page) => Told::Page(done),
            Some(done) = self.reads.join_next() => Told::Read(done),
            Some(input) = self.inbox.recv() => Told::Input(input),
            () = self.shared.changed.notified() => Told::Change,
            () = stop.cancelled(), if !stopping => Told::Stop,
            () = tokio::time::sleep(sleep) => Told::Time,
        }
    }

    fn sleep(&self) -> Duration {
        let due = self.shared.core().wake_at();
        let now_ms = self.shared.clock.now_ms();
        let until = due.map(|due| Duration::from_millis(due.saturating_sub(now_ms)));
        until.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }

    fn take(&mut self, told: Told) -> Result<(), Cause> {
        let input = match told {
            Told::Input(input) => input,
            Told::Attempt(done) => self.ended(done?)?,
            Told::Read(done) => done??,
            Told::Flushed(done) => {
                self.flush = None;
                done?;
                DeliveryInput::Flushed
            }
            Told::Appended(done) => {
                self.append = None;
                match done {
                    Ok(appended) => {
                        self.outcomes.durable(self.shared.intake.tracer());
                        DeliveryInput::Durable { positions: appended.positions }
                    }
                    Err(AppendError::Busy { .. } | AppendError::Full) => {
                        DeliveryInput::AppendRefused
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Told::Page(done) => {
                self.page = None;
                let page = done?;
                DeliveryInput::Loaded { items: page.items, next: page.next }
            }
            Told::Time => DeliveryInput::Tick,
            Told::Change | Told::Stop => return Ok(()),
        };
        self.inputs.push_back(input);
        Ok(())
    }

    /// What the core is told of an attempt that ended.
    fn ended(&mut self, done: AttemptDone) -> Result<DeliveryInput, ActivationSinkError> {
        self.outcomes.ended(done.id, done.traced);
        attempt::input(done)
    }

    /// What else is there already goes into the same turn, so that effects come in groups.
    fn take_more(&mut self) -> Result<(), Cause> {
        while let Some(done) = self.attempts.try_join_next() {
            let input = self.ended(done?)?;
            self.inputs.push_back(input);
        }
        while let Ok(input) = self.inbox.try_recv() {
            self.inputs.push_back(input);
        }
        // Where something always happens, nobody comes to sleep until a time.
        if self.sleep().is_zero() {
            self.inputs.push_back(DeliveryInput::Tick);
        }
        let mut changes = self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner);
        // First: a delivery that begins now follows the rule as it is now.
        while let Some(change) = changes.pop_back() {
            self.inputs.push_front(change);
        }
        Ok(())
    }
}

/// Why deliveries cannot go on.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("a task of the engine failed: {0}")]
    Task(#[from] JoinError),
    #[error(transparent)]
    Records(#[from] ActivationSinkError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Waits for what is under way; for ever where nothing is.
async fn some<T>(under_way: &mut Option<Boxed<T>>) -> T {
    match under_way {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
