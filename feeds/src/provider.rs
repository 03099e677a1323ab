//! The provider contract: what a source of events must do.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use evoke_schemas::{EntityName, Event, Feed, FeedPayload, Namespace, ResetTo};
use serde_json::Value;

use crate::{
    clock::Clock,
    fields::Fields,
    report::Report,
    sink::{EventSink, FeedKey, StoredPosition},
};

/// A kind of source.
///
/// A source reads, never acknowledges: the position goes with the events into the log, and a
/// restart opens at the newest position that is durable there. So a source keeps nothing.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug + 'static {
    /// Name in the table and in a feed's `provider`.
    const NAME: &'static str;
    /// The parameters, checked.
    type Parameters: Send + Sync + 'static;

    /// Reads the parameters. Every mistake is noted in `fields`, which also refuses the members
    /// that were not asked for; `None` where no parameters can be made.
    fn parameters(fields: &mut Fields<'_>) -> Option<Self::Parameters>;

    /// Opens the source where `from` says. Except after a position, the first batch pins where
    /// the feed began; it may have no events.
    ///
    /// # Errors
    /// [`SourceError`]: whether to try again.
    async fn open(
        &self,
        feed: FeedContext,
        parameters: Self::Parameters,
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError>;

    /// What becomes of the feed's trigger once the source has ended and all is delivered.
    fn when_ended(_parameters: &Self::Parameters) -> WhenEnded {
        WhenEnded::Keep
    }

    /// A position for people; its text where it is text.
    fn show_position(position: &[u8]) -> Value {
        serde_json::from_slice(position)
            .unwrap_or_else(|_not_json| String::from_utf8_lossy(position).into())
    }
}

/// What becomes of a feed's trigger once the source has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenEnded {
    /// Nothing.
    #[default]
    Keep,
    /// It is deleted, the feed with it, if every event was delivered.
    DeleteTrigger,
    /// So are the trigger's rules.
    DeleteTriggerAndRules,
}

/// Where a source is opened.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// Where the parameters say that a new feed begins; where they say nothing, at the source's
    /// present end.
    Fresh,
    /// After this position, which an earlier batch had.
    After(Bytes),
    /// Elsewhere, as people wished. Events that were read before are new ones now: their ids tell
    /// the feed's generation.
    Reset(ResetTo),
}

impl Start {
    /// Where to go on: at the position, unless a reset was wished for since.
    #[must_use]
    pub fn of(feed: &Feed, stored: Option<StoredPosition>) -> Self {
        let kept = stored.as_ref().map(|stored| stored.generation);
        match (&feed.reset, stored) {
            (Some(reset), _) if kept.is_none_or(|kept| kept < reset.generation) => {
                Self::Reset(reset.to.clone())
            }
            (_, Some(stored)) => Self::After(stored.position),
            (_, None) => Self::Fresh,
        }
    }
}

/// An open source.
#[async_trait]
pub trait Source: Send + std::fmt::Debug {
    /// Waits for the next batch; `None` when the source has ended for good.
    ///
    /// May be dropped at any await: what was read and not yielded must come again when the
    /// source is opened at the position of the last batch that was kept.
    ///
    /// # Errors
    /// [`SourceError`]: whether to try again.
    async fn next(&mut self) -> Result<Option<Batch>, SourceError>;

    /// Is told how the oldest batch that it has not been told of ended.
    ///
    /// # Errors
    /// Of a refused batch that the source cannot do without.
    async fn ended(&mut self, end: BatchEnd) -> Result<(), SourceError>;

    /// Most batches that it yields before it is told of the first one's end. A source that says
    /// more than 1 is read while the disk works; it must know its place after each of them.
    fn in_flight(&self) -> usize {
        1
    }
}

/// Events of a source with the position after them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// In the source's order; ids derived from the source, the same whenever it is read again.
    pub events: Vec<Event>,
    /// Those of the events, by their index, that no action can be given, each with the reason: they
    /// become dead letters instead of deliveries.
    pub set_aside: BTreeMap<usize, String>,
    /// Opening here gives what comes after these events.
    pub position: Bytes,
}

impl Batch {
    /// Events that are all to be delivered.
    #[must_use]
    pub fn new(events: Vec<Event>, position: Bytes) -> Self {
        Self { events, set_aside: BTreeMap::new(), position }
    }
}

/// How a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    /// Durable: what the source wants to be told (an offset for lag tools) may be told now.
    Kept,
    /// The hub can never take it as it is, for this reason. The position has not moved.
    Refused(String),
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Open it again after a wait: it cannot be reached, or broke off.
    #[error("{0}")]
    Retry(String),
    /// Open it again after a wait, for ever; but somebody must change something first: a
    /// credential, a missing topic or database.
    #[error("{0}")]
    Waiting(String),
    /// Of no use until the feed's configuration changes.
    #[error("{0}")]
    Fatal(String),
}

/// Whose events a source yields.
#[derive(Clone, Debug)]
pub struct FeedContext {
    /// The feed and its generation; ids of events are derived from the uid.
    pub key: FeedKey,
    /// Namespace of the feed.
    pub namespace: Namespace,
    /// Name of the feed.
    pub name: EntityName,
    /// What its events are to carry.
    pub payload: FeedPayload,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Whether its former events are still being delivered.
    pub deliveries: Deliveries,
    /// Where to tell how it is doing. A source says itself when it is running.
    pub report: Report,
}

/// A feed's look at what its trigger's rules have still to do.
#[derive(Clone, Debug)]
pub struct Deliveries {
    sink: Arc<dyn EventSink>,
    namespace: Namespace,
    trigger: EntityName,
}

impl Deliveries {
    /// Those of this trigger's rules.
    #[must_use]
    pub fn new(sink: Arc<dyn EventSink>, namespace: Namespace, trigger: EntityName) -> Self {
        Self { sink, namespace, trigger }
    }

    /// Whether one is under way: an action runs, waits for its turn or is tried again. Dead
    /// letters wait for people and do not count.
    ///
    /// # Errors
    /// [`SourceError::Retry`].
    pub async fn under_way(&self) -> Result<bool, SourceError> {
        let asked = self.sink.undelivered(&self.namespace, &self.trigger).await;
        let undelivered = asked.map_err(|error| SourceError::Retry(error.to_string()))?;
        Ok(undelivered.open > 0)
    }
}

impl FeedContext {
    /// `/namespaces/<ns>/feeds/<name>`: the `source` of events that have no better one.
    #[must_use]
    pub fn source(&self) -> String {
        let segment = |name: &str| name.replace(' ', "%20");
        format!(
            "/namespaces/{}/feeds/{}",
            segment(self.namespace.as_str()),
            segment(self.name.as_str())
        )
    }
}
