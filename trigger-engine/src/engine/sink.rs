//! The engine as feeds see it: events with a position, kept together or not at all.

use std::time::Duration;

use async_trait::async_trait;
use evoke_event_log::{Append, FEED_REMOVED, Guard};
use evoke_feeds::{Ack, EventSink, FeedBatch, SinkError, StoredPosition, Undelivered};
use evoke_schemas::{
    EntityName, EntityUid, Event, FeedPayload, Namespace,
    event::{Attribute, BATCH_OF, SET_ASIDE},
};

use super::Engine;
use crate::{
    incoming::{Incoming, Origin, Target},
    ingest::{FeedMark, IngestError},
    record::stream,
};

/// Longest text of why an event is set aside. Unit: bytes.
const MAX_REASON_BYTES: usize = 512;

#[async_trait]
impl EventSink for Engine {
    async fn append(&self, batch: &FeedBatch) -> Result<Ack, SinkError> {
        let guard = Guard {
            feed: feed_of(batch.feed.uid),
            generation: batch.feed.generation,
            revision: batch.revision,
        };
        let incoming = |(index, event): (usize, &Event)| Incoming {
            namespace: batch.namespace.clone(),
            target: Target::Trigger(batch.trigger.clone()),
            event: marked(event.clone(), batch, index),
            origin: match batch.payload {
                FeedPayload::CloudEvent => Origin::Feed,
                FeedPayload::OpenWhisk => Origin::Plain,
            },
            headers: None,
            subject: batch.namespace.to_string(),
            dedup: false,
        };
        let events = batch.events.iter().enumerate().map(incoming).collect();
        let mark = FeedMark { guard, state: batch.position.clone() };
        match self.intake.ingest(events, Some(mark)).await {
            Ok(_accepted) => Ok(Ack { revision: guard.next().revision }),
            Err(error) => Err(refusal(error)),
        }
    }

    async fn position(&self, uid: EntityUid) -> Result<Option<StoredPosition>, SinkError> {
        // What a former task of the feed still has in the log's queue must be seen too.
        self.intake.drained().await;
        let log = &self.parts.log;
        let found = log.feed_position(feed_of(uid)).await;
        let found = found.map_err(|error| SinkError::Unavailable(error.to_string()))?;
        match found {
            Some(position) if position.at.generation == FEED_REMOVED => Err(SinkError::Superseded),
            Some(position) => Ok(Some(StoredPosition {
                generation: position.at.generation,
                revision: position.at.revision,
                position: position.state,
            })),
            None => Ok(None),
        }
    }

    async fn undelivered(
        &self,
        namespace: &Namespace,
        trigger: &EntityName,
    ) -> Result<Undelivered, SinkError> {
        let asked = self.owed(namespace, trigger).await;
        let (open, dead) = asked.map_err(|error| SinkError::Unavailable(error.to_string()))?;
        Ok(Undelivered { open, dead })
    }

    async fn remove(&self, uid: EntityUid) -> Result<(), SinkError> {
        let guard = Guard { feed: feed_of(uid), generation: FEED_REMOVED, revision: 0 };
        let append = Append::guarded(Vec::new(), guard, stream::PROGRESS_PARTITION, &[]);
        match self.parts.log.append(append).await {
            Ok(_appended) => Ok(()),
            Err(evoke_event_log::AppendError::GuardMismatch { .. }) => Ok(()),
            Err(error) => Err(refusal(IngestError::of(&error))),
        }
    }
}

/// The event with the marks that its feed may set, and without those that it came with: records
/// of a source may be CloudEvents of anybody's.
fn marked(mut event: Event, batch: &FeedBatch, index: usize) -> Event {
    event.extensions.remove(SET_ASIDE);
    if batch.payload == FeedPayload::CloudEvent {
        event.extensions.remove(BATCH_OF);
    }
    if let Some(reason) = batch.set_aside.get(&index) {
        let end = reason.floor_char_boundary(MAX_REASON_BYTES);
        let reason = reason.get(..end).unwrap_or_default().to_owned();
        event.extensions.insert(SET_ASIDE.to_owned(), Attribute::Text(reason));
    }
    event
}

fn feed_of(uid: EntityUid) -> u128 {
    u128::from_be_bytes(uid.0)
}

fn refusal(error: IngestError) -> SinkError {
    match error {
        IngestError::TriggerMissing(trigger) => SinkError::NoTrigger(trigger),
        IngestError::Superseded { .. } => SinkError::Superseded,
        IngestError::Closed { retry_after_ms, .. } => {
            SinkError::Full { retry_after: Duration::from_millis(retry_after_ms) }
        }
        IngestError::Unavailable(cause) => SinkError::Unavailable(cause),
        IngestError::EventTooLarge { index, bytes, limit } => {
            // The index is told beside it, and means nothing to people later.
            let reason = format!("the event has {bytes} bytes, at most {limit} are allowed");
            SinkError::Refused { reason, event: Some(index) }
        }
        error @ (IngestError::BatchTooLarge { .. }
        | IngestError::TooManyEvents { .. }
        | IngestError::TooManyRules { .. }) => {
            SinkError::Refused { reason: error.to_string(), event: None }
        }
    }
}
