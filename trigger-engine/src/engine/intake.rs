//! The shell of ingest: a short lock around the core, the log's answers awaited outside it.

mod traces;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll},
};

use evoke_event_log::{EventLog, Item, PendingAppend};
use evoke_schemas::{
    Namespace, Position,
    trace::{Tracer, now_ns},
};
use hashbrown::HashMap;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{
    Clock,
    counts::{Intakes, Way},
};
use crate::{
    accepted::Accepted,
    incoming::Incoming,
    ingest::{
        Batch, Cap, FeedMark, Ingest, IngestEffect, IngestError, IngestInput, Prepared, Token,
    },
    record::{HeldRecord, Home, StoredEvent, stream},
};

pub(crate) use traces::TRACEPARENT;
use traces::{AppendTime, Traced};

type Answer = Result<Vec<Accepted>, IngestError>;

/// Accepts events; shared by all who bring some.
#[derive(Debug)]
pub(crate) struct Intake {
    log: Arc<dyn EventLog>,
    clock: Clock,
    state: Mutex<State>,
    /// Work of batches whose submitter went away; it is finished all the same.
    orphans: TaskTracker,
    tracer: OnceLock<Tracer>,
}

#[derive(Debug)]
struct State {
    core: Ingest,
    waiting: HashMap<Token, Waiter>,
    last: Token,
    counts: HashMap<Namespace, Arc<Intakes>>,
}

/// Who waits for the answer to a batch, and where it is counted.
#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Answer>,
    /// None for a feed's position without events.
    counted: Option<(Arc<Intakes>, Way, usize)>,
}

/// What the core decided; with an answer, who waits for it.
type Decided = Vec<(IngestEffect, Option<Waiter>)>;

/// What one batch has outside the core.
enum Work {
    /// With when it was handed over, nanoseconds since 1970.
    Sync(Token, PendingAppend, u64),
    Read(Token, Position, Pin<Box<dyn Future<Output = Option<Arc<StoredEvent>>> + Send>>),
}

/// Drives a batch's work to its end, even where nobody waits for it any more: what the core has
/// begun, others may be waiting for.
struct Driven {
    intake: Arc<Intake>,
    work: VecDeque<Work>,
    appended: Option<AppendTime>,
}

// === impl Intake ===

impl Intake {
    pub(crate) fn new(core: Ingest, log: Arc<dyn EventLog>, clock: Clock) -> Self {
        let (waiting, counts) = (HashMap::new(), HashMap::new());
        let state = Mutex::new(State { core, waiting, last: 0, counts });
        Self { log, clock, state, orphans: TaskTracker::new(), tracer: OnceLock::new() }
    }

    /// Accepts a batch; returns when it is durable.
    pub(crate) async fn ingest(
        self: &Arc<Self>,
        events: Vec<Incoming>,
        feed: Option<FeedMark>,
    ) -> Answer {
        let way = events.first().map(|event| Way::of(event, feed.is_some()));
        let traced = Traced::of(self.tracer(), &events, way);
        let events: Vec<Prepared> = events.into_iter().map(Prepared::new).collect();
        let bytes = events.iter().map(|event| event.bytes).sum();
        let batch = Batch { events, feed };
        let (answer, receiver) = oneshot::channel();
        let effects = {
            let mut state = self.lock();
            state.last += 1;
            let token = state.last;
            let namespace = batch.events.first().map(|event| &event.incoming.namespace);
            let counts = namespace.map(|namespace| state.counts_of(namespace));
            let counted = counts.zip(way).map(|(counts, way)| (counts, way, bytes));
            state.waiting.insert(token, Waiter { answer, counted });
            self.decide(&mut state, IngestInput::Submit { token, batch })
        };
        let work = self.carry_out(effects);
        let appended = Driven { intake: Arc::clone(self), work, appended: None }.await;
        let answer = match receiver.await {
            Ok(answer) => answer,
            Err(closed) => Err(IngestError::Unavailable(closed.to_string())),
        };
        if let Some(traced) = traced {
            traced.end(&answer, self.log.uid(), appended);
        }
        answer
    }

    /// From now on acceptance is told to this tracer.
    pub(crate) fn trace_with(&self, tracer: Tracer) {
        if self.tracer.set(tracer).is_err() {
            tracing::error!("the engine has a tracer already");
        }
    }

    /// Where spans go.
    pub(crate) fn tracer(&self) -> &Tracer {
        static NONE: std::sync::LazyLock<Tracer> = std::sync::LazyLock::new(Tracer::default);
        self.tracer.get().unwrap_or_else(|| &NONE)
    }

    /// Closes a namespace, or opens it.
    pub(crate) fn set_closed(&self, namespace: Namespace, cap: Option<Cap>) {
        let input = match cap {
            Some(cap) => IngestInput::Close { namespace, cap },
            None => IngestInput::Open { namespace },
        };
        let work = self.step(input);
        debug_assert!(work.is_empty(), "opening and closing is done at once");
    }

    /// Takes nothing of anybody while that is full.
    pub(crate) fn set_shut(&self, cap: Option<Cap>) {
        let work = self.step(IngestInput::Shut(cap));
        debug_assert!(work.is_empty(), "shutting is done at once");
    }

    /// Works on the core, which holds the index too. The closure must be short.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Ingest) -> T) -> T {
        work(&mut self.lock().core)
    }

    /// What came in, by namespace.
    pub(crate) fn counts(&self) -> Vec<(Namespace, Arc<Intakes>)> {
        let state = self.lock();
        let counts = state.counts.iter();
        counts.map(|(name, counts)| (name.clone(), Arc::clone(counts))).collect()
    }

    /// Waits until the work of those that went away is done.
    pub(crate) async fn drained(&self) {
        self.orphans.close();
        self.orphans.wait().await;
        self.orphans.reopen();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, input: IngestInput) -> VecDeque<Work> {
        let effects = self.decide(&mut self.lock(), input);
        self.carry_out(effects)
    }

    fn decide(&self, state: &mut State, input: IngestInput) -> Decided {
        let mut effects = Vec::with_capacity(2);
        // A window of time must not close early because somebody set the clock.
        state.core.step(input, self.clock.steady_ms(), &mut effects);
        let with_waiter = |effect| {
            let waiter = match &effect {
                IngestEffect::Answer { token, .. } => state.waiting.remove(token),
                IngestEffect::Append { .. } | IngestEffect::Confirm { .. } => None,
            };
            (effect, waiter)
        };
        effects.into_iter().map(with_waiter).collect()
    }

    /// What the core decided, outside its lock: hashing what is appended takes longer than all
    /// decisions.
    fn carry_out(&self, effects: Decided) -> VecDeque<Work> {
        let mut work = VecDeque::new();
        for (effect, waiter) in effects {
            match effect {
                IngestEffect::Append { token, append } => {
                    work.push_back(Work::Sync(token, self.log.submit(append), now_ns()));
                }
                IngestEffect::Confirm { token, position } => {
                    let read = read_event(Arc::clone(&self.log), position);
                    work.push_back(Work::Read(token, position, Box::pin(read)));
                }
                IngestEffect::Answer { answer, .. } => {
                    let Some(Waiter { answer: waiting, counted }) = waiter else { continue };
                    if let Some((counts, way, bytes)) = counted {
                        counts.count(way, bytes, &answer);
                    }
                    // The submitter may be gone; the events are accepted none the less.
                    drop(waiting.send(answer));
                }
            }
        }
        work
    }
}

// === impl State ===

impl State {
    fn counts_of(&mut self, namespace: &Namespace) -> Arc<Intakes> {
        if let Some(counts) = self.counts.get(namespace) {
            return Arc::clone(counts);
        }
        let counts = Arc::<Intakes>::default();
        self.counts.insert(namespace.clone(), Arc::clone(&counts));
        counts
    }
}

/// The event that stands at `position`, or was copied there; `None` where there is none to read.
pub(crate) async fn read_event(
    log: Arc<dyn EventLog>,
    position: Position,
) -> Option<Arc<StoredEvent>> {
    let record = match log.get(position).await {
        Ok(Some(Item::Record(record))) => record,
        Ok(Some(Item::Unreadable(_) | Item::Lost(_) | Item::Erased(_)) | None) => return None,
        Err(error) => {
            tracing::warn!(%error, %position, "an event could not be read");
            return None;
        }
    };
    let data = match record.stream {
        stream::EVENT | stream::INVOCATION => record.data,
        stream::PARKED | stream::DEAD => match HeldRecord::decode(record.data).ok()?.home {
            Home::Copy(data) => data,
            Home::At(_) => return None,
        },
        _ => return None,
    };
    StoredEvent::decode(data).ok().map(Arc::new)
}

// === impl Driven ===

impl Future for Driven {
    /// When its last append was handed over and durable, where there was one.
    type Output = Option<AppendTime>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AppendTime>> {
        let this = &mut *self;
        while let Some(work) = this.work.front_mut() {
            let input = match work {
                Work::Sync(token, append, begun_ns) => match Pin::new(append).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(appended)) => {
                        this.appended = Some((*begun_ns, now_ns()));
                        IngestInput::Synced { token: *token, appended }
                    }
                    Poll::Ready(Err(error)) => IngestInput::Refused { token: *token, error },
                },
                Work::Read(token, position, read) => match read.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(stored) => {
                        IngestInput::Confirmed { token: *token, position: *position, stored }
                    }
                },
            };
            this.work.pop_front();
            let more = this.intake.step(input);
            this.work.extend(more);
        }
        Poll::Ready(this.appended)
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let work = std::mem::take(&mut self.work);
        if !work.is_empty() && tokio::runtime::Handle::try_current().is_ok() {
            let intake = Arc::clone(&self.intake);
            self.intake.orphans.spawn(Self { intake, work, appended: None });
        }
    }
}
