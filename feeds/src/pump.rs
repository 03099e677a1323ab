//! The task of one feed: opens its source at the durable position and appends what it yields.

mod flights;
mod refused;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use evoke_schemas::Feed;
use tokio_util::sync::CancellationToken;

use self::flights::Flights;
use crate::{
    lifecycle::{End, backoff_ms},
    provider::{Batch, BatchEnd, FeedContext, Source, SourceError, Start},
    registry::Erased,
    report::StatusCell,
    sink::{Ack, EventSink, FeedBatch, FeedKey, SinkError},
    status::FeedState,
};

/// Longest time that a sink's wish to wait is followed without asking again.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Shortest wait before a full sink is asked again.
const MIN_WAIT: Duration = Duration::from_millis(10);

/// One run of a feed's task.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) feed: Arc<Feed>,
    pub(crate) provider: Arc<dyn Erased>,
    pub(crate) sink: Arc<dyn EventSink>,
    pub(crate) context: FeedContext,
    pub(crate) status: StatusCell,
    pub(crate) cancel: CancellationToken,
}

/// What an append came to.
enum Sent {
    Kept { revision: u64 },
    Refused(String),
    Cancelled,
}

/// What the end of a batch means.
enum Ended {
    Kept,
    /// The source goes on without it: the batch after those on their way names this revision.
    Passed {
        next: u64,
    },
    /// The task ends.
    Task(End),
}

// === impl Pump ===

impl Pump {
    /// Works until the source ends, fails, or the task is told to end; an append under way is
    /// finished first.
    pub(crate) async fn run(self) -> End {
        let mut progressed = false;
        match self.work(&mut progressed).await {
            Ok(end) => end,
            Err(SourceError::Fatal(reason)) => End::Fatal(reason),
            Err(SourceError::Retry(reason)) => End::Retry { reason, progressed, waits: false },
            Err(SourceError::Waiting(reason)) => End::Retry { reason, progressed, waits: true },
        }
    }

    async fn work(&self, progressed: &mut bool) -> Result<End, SourceError> {
        self.status.enter(FeedState::Connecting);
        let Some((mut source, mut revision)) = self.open().await? else {
            return Ok(if self.cancel.is_cancelled() { End::Drained } else { End::Superseded });
        };
        let mut flights = Flights::new(Arc::clone(&self.sink));
        loop {
            let has_room = flights.len() < source.in_flight().max(1);
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    self.drain(&mut flights, source.as_mut()).await;
                    return Ok(End::Drained);
                }
                (batch, answer) = flights.ended() => {
                    let ended = self.settle(batch, answer, source.as_mut(), &mut flights).await?;
                    match ended {
                        Ended::Kept => *progressed = true,
                        Ended::Passed { next } => revision = next,
                        Ended::Task(end) => return Ok(end),
                    }
                }
                next = source.next(), if has_room => {
                    if let Ok(Some(batch)) = next {
                        self.trace("fetched");
                        flights.push(self.batch(revision, batch));
                        revision += 1;
                        continue;
                    }
                    self.drain(&mut flights, source.as_mut()).await;
                    return next.map(|_none| End::Finished);
                }
            }
        }
    }

    /// Waits for what is on its way; what is not kept comes again after the position.
    async fn drain(&self, flights: &mut Flights, source: &mut dyn Source) {
        while flights.len() > 0 {
            if let (batch, Ok(ack)) = flights.ended().await {
                self.sent(&batch, ack);
                if let Err(error) = source.ended(BatchEnd::Kept).await {
                    tracing::debug!(feed = %self.feed.name, %error, "told at its end");
                }
            }
        }
    }

    /// The oldest batch has its answer. Where it was not kept it is sent again until it is, or
    /// passed over as its source says; those behind it follow.
    async fn settle(
        &self,
        mut batch: FeedBatch,
        answer: Result<Ack, SinkError>,
        source: &mut dyn Source,
        flights: &mut Flights,
    ) -> Result<Ended, SourceError> {
        let mut behind = Vec::new();
        let sent = match answer {
            Ok(ack) => Ok(self.sent(&batch, ack)),
            Err(error) => {
                behind = flights.recall().await;
                self.send_again(&mut batch, error).await
            }
        };
        let mut revision = batch.revision;
        let ended = match sent {
            Ok(Sent::Kept { revision: next }) => {
                revision = next;
                self.trace("kept");
                source.ended(BatchEnd::Kept).await?;
                self.trace("acknowledged");
                Ended::Kept
            }
            Ok(Sent::Refused(reason)) => {
                source.ended(BatchEnd::Refused(reason)).await?;
                Ended::Passed { next: revision + behind.len() as u64 }
            }
            Ok(Sent::Cancelled) => return Ok(Ended::Task(End::Drained)),
            Err(SinkError::Superseded) => return Ok(Ended::Task(End::Superseded)),
            Err(error) => return Err(SourceError::Retry(error.to_string())),
        };
        for mut batch in behind {
            batch.revision = revision;
            revision += 1;
            flights.push(batch);
        }
        Ok(ended)
    }

    /// The source at the durable position, with the revision that the first append must name;
    /// `None` where the feed is another's by now or the task was told to end.
    async fn open(&self) -> Result<Option<(Box<dyn Source>, u64)>, SourceError> {
        let stored = match self.sink.position(self.key().uid).await {
            Ok(stored) => stored,
            Err(SinkError::Superseded) => return Ok(None),
            Err(error) => return Err(SourceError::Retry(error.to_string())),
        };
        let Ok(revision) = self.key().first_revision(stored.as_ref()) else { return Ok(None) };
        self.show(stored.as_ref().map(|stored| &stored.position));
        let from = Start::of(&self.feed, stored);
        let pinned = matches!(from, Start::After(_));
        self.status.change(|status| status.pinned = pinned);
        let opening = self.provider.open(self.context.clone(), &self.feed.parameters, from);
        let source = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Ok(None),
            source = opening => source?,
        };
        self.trace("opened");
        Ok(Some((source, revision)))
    }

    /// A batch as the sink takes it.
    fn batch(&self, revision: u64, batch: Batch) -> FeedBatch {
        FeedBatch {
            feed: self.key(),
            revision,
            namespace: self.feed.namespace.clone(),
            trigger: self.feed.trigger.clone(),
            payload: self.context.payload,
            events: batch.events,
            set_aside: batch.set_aside,
            position: batch.position,
        }
    }

    /// Appends again and again after the error, waiting as long as the sink has no room or no
    /// trigger.
    async fn send_again(
        &self,
        batch: &mut FeedBatch,
        mut error: SinkError,
    ) -> Result<Sent, SinkError> {
        let mut missing = 0;
        loop {
            let wait = match error {
                SinkError::Refused { ref reason, event: Some(event) }
                    if refused::make_smaller(batch, event, reason) =>
                {
                    tracing::warn!(feed = %self.feed.name, event, %reason, "an event is too large");
                    None
                }
                SinkError::Refused { reason, .. } => return Ok(Sent::Refused(reason)),
                SinkError::Full { retry_after } => Some(retry_after.clamp(MIN_WAIT, MAX_WAIT)),
                SinkError::NoTrigger(_) => {
                    missing += 1;
                    Some(Duration::from_millis(backoff_ms(missing)))
                }
                SinkError::Superseded | SinkError::Unavailable(_) => return Err(error),
            };
            if let Some(wait) = wait
                && !self.wait(wait, error.to_string()).await
            {
                return Ok(Sent::Cancelled);
            }
            match self.sink.append(batch).await {
                Ok(ack) => return Ok(self.sent(batch, ack)),
                Err(again) => error = again,
            }
        }
    }

    /// Rests; `false` where the task was told to end meanwhile.
    async fn wait(&self, wait: Duration, why: String) -> bool {
        self.waiting(wait, why);
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    fn sent(&self, batch: &FeedBatch, ack: Ack) -> Sent {
        self.kept(&batch.position, batch.events.len() as u64);
        Sent::Kept { revision: ack.revision }
    }

    /// Each step of each batch, for who wants to know how far a feed was when the hub died.
    fn trace(&self, stage: &'static str) {
        tracing::trace!(feed = %self.feed.name, stage, "feed batch");
    }

    fn key(&self) -> FeedKey {
        self.context.key
    }

    fn show(&self, position: Option<&Bytes>) {
        let shown = position.map(|position| self.provider.show_position(position));
        self.status.change(|status| status.position = shown);
    }

    fn kept(&self, position: &Bytes, events: u64) {
        self.show(Some(position));
        self.status.enter(FeedState::Running);
        self.status.change(|status| status.pinned = true);
        if events > 0 {
            let now = self.context.clock.now_ms();
            self.status.change(|status| {
                status.last_event = Some(now);
                status.events += events;
            });
        }
    }

    fn waiting(&self, wait: Duration, why: String) {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let next_try = self.context.clock.now_ms().saturating_add(wait);
        self.status.change(|status| {
            status.state = FeedState::Waiting;
            status.reason = Some(why);
            status.next_try = Some(next_try);
        });
    }
}
