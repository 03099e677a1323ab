//! The task of one feed: opens its source at the durable position and appends what it yields.

mod refused;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use evoke_schemas::Feed;
use tokio_util::sync::CancellationToken;

use crate::{
    lifecycle::{End, backoff_ms},
    provider::{Batch, BatchEnd, FeedContext, Source, SourceError, Start},
    registry::Erased,
    report::StatusCell,
    sink::{EventSink, FeedBatch, FeedKey, SinkError},
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
        loop {
            let next = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Ok(End::Drained),
                next = source.next() => next?,
            };
            let Some(batch) = next else { return Ok(End::Finished) };
            self.trace("fetched");
            match self.send(revision, batch).await {
                Ok(Sent::Kept { revision: next }) => {
                    revision = next;
                    *progressed = true;
                    self.trace("kept");
                    source.ended(BatchEnd::Kept).await?;
                    self.trace("acknowledged");
                }
                Ok(Sent::Refused(reason)) => source.ended(BatchEnd::Refused(reason)).await?,
                Ok(Sent::Cancelled) => return Ok(End::Drained),
                Err(SinkError::Superseded) => return Ok(End::Superseded),
                Err(error) => return Err(SourceError::Retry(error.to_string())),
            }
        }
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
        Ok(Some((source, revision)))
    }

    /// Appends, waiting as long as the sink has no room or no trigger.
    async fn send(&self, revision: u64, batch: Batch) -> Result<Sent, SinkError> {
        let has_events = !batch.events.is_empty();
        let mut batch = FeedBatch {
            feed: self.key(),
            revision,
            namespace: self.feed.namespace.clone(),
            trigger: self.feed.trigger.clone(),
            payload: self.context.payload,
            events: batch.events,
            set_aside: batch.set_aside,
            position: batch.position,
        };
        let mut missing = 0;
        loop {
            let (wait, why) = match self.sink.append(&batch).await {
                Ok(ack) => {
                    self.kept(&batch.position, has_events);
                    return Ok(Sent::Kept { revision: ack.revision });
                }
                Err(SinkError::Refused { reason, event: Some(event) })
                    if refused::make_smaller(&mut batch, event, &reason) =>
                {
                    tracing::warn!(feed = %self.feed.name, event, %reason, "an event is too large");
                    continue;
                }
                Err(SinkError::Refused { reason, .. }) => return Ok(Sent::Refused(reason)),
                Err(full @ SinkError::Full { retry_after }) => {
                    (retry_after.clamp(MIN_WAIT, MAX_WAIT), full.to_string())
                }
                Err(none @ SinkError::NoTrigger(_)) => {
                    missing += 1;
                    (Duration::from_millis(backoff_ms(missing)), none.to_string())
                }
                Err(end @ (SinkError::Superseded | SinkError::Unavailable(_))) => return Err(end),
            };
            self.waiting(wait, why);
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Ok(Sent::Cancelled),
                () = tokio::time::sleep(wait) => {}
            }
        }
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

    fn kept(&self, position: &Bytes, has_events: bool) {
        self.show(Some(position));
        self.status.enter(FeedState::Running);
        self.status.change(|status| status.pinned = true);
        if has_events {
            let now = self.context.clock.now_ms();
            self.status.change(|status| status.last_event = Some(now));
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
