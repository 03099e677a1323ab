//! The task that drives every feed's lifecycle and owns the feeds' tasks.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use evoke_schemas::{EntityUid, Feed};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Command, Statuses};
use crate::{
    clock::Clock,
    lifecycle::{DRAIN_MS, Effect, End, Event, MAX_BACKOFF_MS, Rest, State, Then, backoff_ms},
    provider::{Deliveries, FeedContext},
    pump::Pump,
    registry::Registry,
    report::{Report, StatusCell},
    sink::{EventSink, FeedKey},
    status::{FeedState, FeedStatus},
};

/// What feeds are made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) registry: Arc<Registry>,
    pub(super) sink: Arc<dyn EventSink>,
    pub(super) clock: Arc<dyn Clock>,
    /// Told of each source that has ended for good.
    pub(super) endings: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Driver {
    parts: Parts,
    statuses: Statuses,
    stop: CancellationToken,
    started: Instant,
    slots: HashMap<EntityUid, Slot>,
    tasks: JoinSet<Done>,
    owners: HashMap<Id, EntityUid>,
}

/// One feed.
#[derive(Debug)]
struct Slot {
    state: State,
    /// As it was last wanted.
    feed: Option<Arc<Feed>>,
    status: StatusCell,
    cancel: CancellationToken,
    abort: Option<AbortHandle>,
    /// Who waits until no task of an earlier wish runs.
    waiters: Vec<oneshot::Sender<()>>,
}

/// What a task of the set came to.
#[derive(Debug)]
enum Done {
    Ended(End),
    Forgotten,
}

// === impl Driver ===

impl Driver {
    pub(super) fn new(parts: Parts, statuses: Statuses, stop: CancellationToken) -> Self {
        Self {
            parts,
            statuses,
            stop,
            started: Instant::now(),
            slots: HashMap::new(),
            tasks: JoinSet::new(),
            owners: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            let due = self.next_due();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(joined) = self.tasks.join_next_with_id() => self.joined(joined),
                command = inbox.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                () = sleep_until(due) => self.fire_due(),
            }
        }
        self.drain().await;
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Apply { feed, settled } => {
                let (uid, generation, paused) = (feed.uid, feed.generation, feed.paused);
                let slot = self.slot(uid);
                slot.waiters.push(settled);
                if slot.feed.as_ref().is_none_or(|known| known.generation < generation) {
                    slot.feed = Some(Arc::from(feed));
                }
                self.step(uid, Event::Want { generation, paused });
            }
            Command::Remove { uid, settled } => {
                self.slot(uid).waiters.push(settled);
                self.step(uid, Event::Remove);
            }
        }
    }

    fn slot(&mut self, uid: EntityUid) -> &mut Slot {
        let statuses = &self.statuses;
        self.slots.entry(uid).or_insert_with(|| {
            let status = StatusCell::new(FeedStatus::new(FeedState::Connecting, 0));
            let mut all = statuses.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(uid, status.clone());
            Slot {
                state: State::NEW,
                feed: None,
                status,
                cancel: CancellationToken::new(),
                abort: None,
                waiters: Vec::new(),
            }
        })
    }

    fn step(&mut self, uid: EntityUid, event: Event) {
        let (now_ms, wall_ms) = (self.now_ms(), self.parts.clock.now_ms());
        let Some(slot) = self.slots.get_mut(&uid) else { return };
        let Some((state, effects)) = slot.state.step(event.clone(), now_ms) else {
            tracing::warn!(feed = %uid, ?event, state = ?slot.state, "impossible event of a feed");
            return;
        };
        slot.state = state;
        slot.show(now_ms, wall_ms);
        for effect in effects {
            self.act(uid, effect);
        }
        self.settle(uid);
    }

    fn act(&mut self, uid: EntityUid, effect: Effect) {
        match effect {
            Effect::Start(generation) => self.start(uid, generation),
            Effect::Cancel => self.slot(uid).cancel.cancel(),
            Effect::Abort => {
                if let Some(abort) = &self.slot(uid).abort {
                    tracing::warn!(feed = %uid, "a feed did not drain in time and is aborted");
                    abort.abort();
                }
            }
            Effect::Forget => {
                let forget = forget(Arc::clone(&self.parts.sink), uid, self.stop.clone());
                let task = self.tasks.spawn(forget);
                self.owners.insert(task.id(), uid);
            }
        }
    }

    fn start(&mut self, uid: EntityUid, generation: u64) {
        let cancel = self.stop.child_token();
        let sink = Arc::clone(&self.parts.sink);
        let clock = Arc::clone(&self.parts.clock);
        let slot = self.slot(uid);
        slot.cancel = cancel.clone();
        let Some(feed) = slot.feed.clone() else { return };
        let status = slot.status.clone();
        status.change(|status| {
            status.generation = generation;
            status.pinned = false;
            status.lag = None;
        });
        let provider = self.parts.registry.get(&feed.provider).cloned();
        let task = self.tasks.spawn(async move {
            let provider = match provider {
                Ok(provider) => provider,
                Err(error) => return Done::Ended(End::Fatal(error.to_string())),
            };
            let context = FeedContext {
                key: FeedKey { uid, generation },
                namespace: feed.namespace.clone(),
                name: feed.name.clone(),
                payload: feed.payload(),
                clock,
                deliveries: Deliveries::new(
                    Arc::clone(&sink),
                    feed.namespace.clone(),
                    feed.trigger.clone(),
                ),
                report: Report::new(status.clone()),
            };
            Done::Ended(Pump { feed, provider, sink, context, status, cancel }.run().await)
        });
        self.owners.insert(task.id(), uid);
        self.slot(uid).abort = Some(task);
    }

    fn joined(&mut self, joined: Result<(Id, Done), JoinError>) {
        let (id, done) = match joined {
            Ok((id, done)) => (id, done),
            Err(error) => {
                let reason = if error.is_panic() { "its provider panicked" } else { "aborted" };
                let end = End::Retry { reason: reason.to_owned(), progressed: false, waits: false };
                (error.id(), Done::Ended(end))
            }
        };
        let Some(uid) = self.owners.remove(&id) else { return };
        match done {
            Done::Ended(end) => {
                self.log_end(uid, &end);
                self.slot(uid).abort = None;
                let is_over = matches!(end, End::Finished);
                self.step(uid, Event::Ended(end));
                if is_over {
                    self.parts.endings.notify_one();
                }
            }
            Done::Forgotten => {
                self.slots.remove(&uid);
                self.statuses.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
            }
        }
    }

    fn log_end(&mut self, uid: EntityUid, end: &End) {
        let feed = self.slot(uid).feed.clone();
        let name = feed.as_ref().map(|feed| format!("{}/{}", feed.namespace, feed.name));
        let feed = name.unwrap_or_default();
        match end {
            End::Drained => tracing::debug!(feed, "feed drained"),
            End::Finished => tracing::info!(feed, "feed finished"),
            End::Superseded => tracing::warn!(feed, "another owner took the feed over"),
            End::Retry { reason, .. } => tracing::warn!(feed, reason, "feed failed, tried again"),
            End::Fatal(reason) => tracing::error!(feed, reason, "feed failed for good"),
        }
    }

    /// Tells those who wait that no task of an earlier wish runs.
    fn settle(&mut self, uid: EntityUid) {
        let Some(slot) = self.slots.get_mut(&uid) else { return };
        if !slot.state.is_draining() {
            for waiter in slot.waiters.drain(..) {
                // Who asked may have gone away.
                let _gone = waiter.send(());
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.slots.values().filter_map(|slot| slot.state.due_ms()).min()?;
        Some(self.started + Duration::from_millis(due))
    }

    fn fire_due(&mut self) {
        let now = self.now_ms();
        let due = |slot: &Slot| slot.state.due_ms().is_some_and(|due| due <= now);
        let all: Vec<_> =
            self.slots.iter().filter(|(_, slot)| due(slot)).map(|(uid, _)| *uid).collect();
        for uid in all {
            self.step(uid, Event::Due);
        }
    }

    /// Every task was told to end by the tree of tokens.
    async fn drain(mut self) {
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_millis(DRAIN_MS), drained).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "feeds did not drain in time, aborting");
            self.tasks.shutdown().await;
        }
    }
}

// === impl Slot ===

impl Slot {
    /// Writes what the lifecycle knows into the status; a task at work writes the rest.
    fn show(&self, now_ms: u64, wall_ms: u64) {
        let (state, reason, next_try) = match &self.state {
            State::Running { .. } | State::Gone => return,
            State::Draining { then: Then::Rest(_), .. } => (FeedState::Paused, None, None),
            State::Draining { .. } => return,
            State::Resting { why, .. } => {
                let (state, reason) = rest(why);
                (state, reason, None)
            }
            State::Backoff { until_ms, reason, waits, .. } => {
                let next_try = wall_ms.saturating_add(until_ms.saturating_sub(now_ms));
                let state = if *waits { FeedState::Waiting } else { FeedState::Connecting };
                (state, Some(reason.clone()), Some(next_try))
            }
        };
        let generation = self.feed.as_ref().map(|feed| feed.generation);
        self.status.change(|status| {
            status.state = state;
            status.next_try = next_try;
            status.generation = generation.unwrap_or(status.generation);
            if reason.is_some() {
                status.last_error.clone_from(&reason);
            }
            status.reason = reason;
        });
    }
}

fn rest(why: &Rest) -> (FeedState, Option<String>) {
    match why {
        Rest::New => (FeedState::Connecting, None),
        Rest::Paused => (FeedState::Paused, None),
        Rest::Finished => (FeedState::Finished, None),
        Rest::Superseded => {
            (FeedState::Failed, Some("another owner took the feed over".to_owned()))
        }
        Rest::Failed(reason) => (FeedState::Failed, Some(reason.clone())),
    }
}

/// Lets a feed's position go, trying until it is done or the hub stops.
async fn forget(sink: Arc<dyn EventSink>, uid: EntityUid, stop: CancellationToken) -> Done {
    let mut failures = 0;
    while let Err(error) = sink.remove(uid).await {
        failures += 1;
        tracing::warn!(feed = %uid, %error, "a removed feed's position could not be let go");
        let wait = Duration::from_millis(backoff_ms(failures).min(MAX_BACKOFF_MS));
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    Done::Forgotten
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
