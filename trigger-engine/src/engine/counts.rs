//! What the engine counts, gathered for who asks.

use std::sync::Arc;

use evoke_event_log::{Health, LogCounts, LogSizes};
use evoke_schemas::{Namespace, measure::Counter};

use super::Engine;
use crate::{
    accepted::Accepted,
    delivery::DeliveryCounts,
    incoming::{Incoming, Target},
    ingest::IngestError,
};

/// By what way events come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Sent to one trigger.
    Trigger,
    /// Sent to the namespace's hub.
    Hub,
    /// An accepted invocation of an action.
    Action,
    /// Read by a feed.
    Feed,
}

/// Every way, in the order in which they are counted.
pub const WAYS: [Way; 4] = [Way::Trigger, Way::Hub, Way::Action, Way::Feed];
/// Words for why batches are refused, in the order in which they are counted.
pub const REFUSALS: [&str; 4] = ["invalid", "full", "superseded", "unavailable"];

/// What came in for one namespace, as it happens.
#[derive(Debug, Default)]
pub(crate) struct Intakes {
    accepted: [Counter; WAYS.len()],
    bytes: Counter,
    duplicates: Counter,
    refused: [Counter; REFUSALS.len()],
}

/// What came in for one namespace since the program started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Whose.
    pub namespace: Namespace,
    /// Events that are in the log, by [`WAYS`].
    pub accepted: [u64; WAYS.len()],
    /// Their rough size. Unit: bytes.
    pub bytes: u64,
    /// Events that were there before.
    pub duplicates: u64,
    /// Batches that were refused, by [`REFUSALS`].
    pub refused: [u64; REFUSALS.len()],
}

/// Everything that the engine counts.
#[derive(Clone, Debug)]
pub struct EngineCounts {
    /// What came in.
    pub intake: Vec<IntakeCounts>,
    /// What went out.
    pub delivery: DeliveryCounts,
    /// Ids remembered, so that an event is taken once.
    pub remembered: usize,
    /// What the log did.
    pub log: LogCounts,
    /// How large it is.
    pub sizes: LogSizes,
    /// Whether it has no room for new events.
    pub is_full: bool,
}

// === impl Way ===

impl Way {
    /// The way that an event comes.
    pub(crate) fn of(event: &Incoming, from_feed: bool) -> Self {
        match event.target {
            _ if from_feed => Self::Feed,
            Target::Trigger(_) => Self::Trigger,
            Target::Hub => Self::Hub,
            Target::Action(_) => Self::Action,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Hub => "hub",
            Self::Action => "action",
            Self::Feed => "feed",
        }
    }
}

// === impl Intakes ===

impl Intakes {
    /// Counts the answer to a batch of so many bytes.
    pub(crate) fn count(
        &self,
        way: Way,
        bytes: usize,
        answer: &Result<Vec<Accepted>, IngestError>,
    ) {
        let accepted = match answer {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(counter) = self.refused.get(refusal(error)) {
                    counter.one();
                }
                return;
            }
        };
        let duplicates = accepted.iter().filter(|accepted| accepted.duplicate).count();
        let place = WAYS.iter().position(|known| *known == way).unwrap_or_default();
        if let Some(counter) = self.accepted.get(place) {
            counter.add((accepted.len() - duplicates) as u64);
        }
        self.duplicates.add(duplicates as u64);
        if duplicates < accepted.len() {
            self.bytes.add(bytes as u64);
        }
    }

    fn counts(&self, namespace: Namespace) -> IntakeCounts {
        IntakeCounts {
            namespace,
            accepted: std::array::from_fn(|at| self.accepted.get(at).map_or(0, Counter::get)),
            bytes: self.bytes.get(),
            duplicates: self.duplicates.get(),
            refused: std::array::from_fn(|at| self.refused.get(at).map_or(0, Counter::get)),
        }
    }
}

/// Place in [`REFUSALS`].
fn refusal(error: &IngestError) -> usize {
    match error {
        IngestError::EventTooLarge { .. }
        | IngestError::BatchTooLarge { .. }
        | IngestError::TooManyEvents { .. }
        | IngestError::TooManyRules { .. }
        | IngestError::TriggerMissing(_) => 0,
        IngestError::Closed { .. } => 1,
        IngestError::Superseded { .. } => 2,
        IngestError::Unavailable(_) => 3,
    }
}

impl Engine {
    /// Everything that is counted, as it stands now. Looks at each delivery that is not done.
    #[must_use]
    pub fn counts(&self) -> EngineCounts {
        let log = &self.parts.log;
        let running = self.running.get();
        let delivery = running.map(|running| running.shared.core().counts(&log.end()));
        let intake = self.intake.counts().into_iter();
        EngineCounts {
            intake: intake.map(|(name, counts): (_, Arc<Intakes>)| counts.counts(name)).collect(),
            delivery: delivery.unwrap_or_default(),
            remembered: self.intake.with(|ingest| ingest.dedup().len()),
            log: log.counts(),
            sizes: log.sizes(),
            is_full: log.health() == Health::Full,
        }
    }
}
