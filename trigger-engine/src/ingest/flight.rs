//! A batch between its submission and its answer.

use std::{num::NonZeroU64, sync::Arc};

use evoke_event_log::{Append, Appended, Class, Record};
use evoke_schemas::{LogUid, Position};
use hashbrown::HashMap;

use super::{
    Token,
    batch::{Batch, Prepared},
    error::IngestError,
};
use crate::{
    accepted::{Accepted, FiredTrigger, direct_activation_id},
    config::IngestConfig,
    incoming::Target,
    index::{IndexedTrigger, RuleIndex},
    record::{EventParts, StoredEvent, stream},
};

/// What one event of a batch is.
#[derive(Debug)]
pub(super) enum Slot {
    /// Not known: it goes into the log.
    New,
    /// Known and durable, answered as it was then.
    Again(Accepted),
    /// The same as an event that is on its way to the log.
    Same {
        /// That event's batch.
        original: Token,
        /// Its place there.
        place: usize,
    },
    /// Now in the log.
    Done(Accepted),
}

/// A batch under way.
#[derive(Debug)]
pub(super) enum Flight {
    Confirming { batch: Batch, found: HashMap<Position, Option<Arc<StoredEvent>>>, open: usize },
    UnderWay(UnderWay),
}

#[derive(Debug)]
pub(super) struct UnderWay {
    events: Vec<Prepared>,
    slots: Vec<Slot>,
    /// Triggers that each new event fires, in the order of the new events.
    fired: Vec<Vec<Arc<IndexedTrigger>>>,
    /// Batches whose events this one repeats and that are not durable yet.
    originals: Vec<Token>,
    /// Batches that repeat events of this one.
    waiters: Vec<Token>,
    syncing: bool,
    failed: Option<IngestError>,
}

/// Triggers fired by each new event of a batch.
type Fired = Vec<Vec<Arc<IndexedTrigger>>>;

/// Matches the new events and makes the one append of the batch; no append where nothing is new.
pub(super) fn append(
    index: &RuleIndex,
    config: &IngestConfig,
    batch: &Batch,
    slots: &[Slot],
) -> Result<(Option<Append>, Fired), IngestError> {
    let new = batch.events.iter().zip(slots).filter(|(_, slot)| matches!(slot, Slot::New));
    let mut records = Vec::with_capacity(batch.events.len() + 1);
    let mut fired = Vec::with_capacity(batch.events.len());
    for (event, _) in new {
        let triggers = matched(index, event)?;
        let deliveries = triggers.iter().map(|trigger| trigger.active()).sum();
        if deliveries > config.rules_per_event {
            let limit = config.rules_per_event;
            return Err(IngestError::TooManyRules { count: deliveries, limit });
        }
        records.push(record(event, &triggers, deliveries));
        fired.push(triggers);
    }
    let guard = batch.feed.as_ref().map(|feed| {
        records.push(feed.guard.record(stream::PROGRESS_PARTITION, &feed.state));
        feed.guard
    });
    let append = (!records.is_empty()).then_some(Append { records, guard, class: Class::Intake });
    Ok((append, fired))
}

/// The other batches that a batch has to wait for.
pub(super) fn originals(token: Token, slots: &[Slot]) -> Vec<Token> {
    let mut originals: Vec<Token> = slots
        .iter()
        .filter_map(|slot| match slot {
            Slot::Same { original, .. } if *original != token => Some(*original),
            Slot::Same { .. } | Slot::New | Slot::Again(_) | Slot::Done(_) => None,
        })
        .collect();
    originals.sort_unstable();
    originals.dedup();
    originals
}

fn matched(index: &RuleIndex, event: &Prepared) -> Result<Vec<Arc<IndexedTrigger>>, IngestError> {
    let incoming = &event.incoming;
    match &incoming.target {
        Target::Trigger(name) => {
            let trigger = index.trigger(&incoming.namespace, name);
            let trigger = trigger.ok_or_else(|| IngestError::TriggerMissing(name.clone()))?;
            Ok(vec![Arc::clone(trigger)])
        }
        Target::Hub => {
            Ok(index.subscribed(&incoming.namespace, &incoming.event).cloned().collect())
        }
        Target::Action(_) => Ok(Vec::new()),
    }
}

fn record(event: &Prepared, triggers: &[Arc<IndexedTrigger>], active: usize) -> Record {
    let incoming = &event.incoming;
    let direct = matches!(incoming.target, Target::Action(_));
    let encoded: Vec<&[u8]> = triggers.iter().map(|trigger| trigger.encoded()).collect();
    let parts = EventParts {
        namespace: &incoming.namespace,
        target: &incoming.target,
        origin: incoming.origin,
        subject: &incoming.subject,
        event: &incoming.event,
        headers: event.headers.as_deref(),
        triggers: &encoded,
        deliveries: active + usize::from(direct),
    };
    Record {
        stream: if direct { stream::INVOCATION } else { stream::EVENT },
        partition: event.partition,
        dedup: event.hash,
        data: parts.encode(),
    }
}

// === impl Flight ===

impl Flight {
    pub(super) fn under_way(
        events: Vec<Prepared>,
        slots: Vec<Slot>,
        fired: Fired,
        originals: Vec<Token>,
        syncing: bool,
    ) -> Self {
        let waiters = Vec::new();
        Self::UnderWay(UnderWay { events, slots, fired, originals, waiters, syncing, failed: None })
    }

    /// The events, once they are on their way to the log.
    pub(super) fn events(&self) -> Option<&Vec<Prepared>> {
        match self {
            Self::Confirming { .. } => None,
            Self::UnderWay(flight) => Some(&flight.events),
        }
    }

    pub(super) fn add_waiter(&mut self, token: Token) {
        if let Self::UnderWay(flight) = self {
            flight.waiters.push(token);
        }
    }

    pub(super) fn take_waiters(&mut self) -> Vec<Token> {
        match self {
            Self::Confirming { .. } => Vec::new(),
            Self::UnderWay(flight) => std::mem::take(&mut flight.waiters),
        }
    }

    /// Notes where the new events stand, and gives what is to be remembered of them.
    pub(super) fn synced(
        &mut self,
        log: LogUid,
        appended: &Appended,
    ) -> Vec<(NonZeroU64, Position)> {
        match self {
            Self::Confirming { .. } => Vec::new(),
            Self::UnderWay(flight) => flight.synced(log, appended),
        }
    }

    /// Answers for what is durable, by place in the batch.
    pub(super) fn answers(&self) -> HashMap<usize, Accepted> {
        match self {
            Self::Confirming { .. } => HashMap::new(),
            Self::UnderWay(flight) => flight.answers(),
        }
    }

    /// Takes the answers of an original that is durable now.
    pub(super) fn resolve(&mut self, token: Token, answers: &HashMap<usize, Accepted>) {
        if let Self::UnderWay(flight) = self {
            flight.originals.retain(|original| *original != token);
            flight.repeat(token, answers);
        }
    }

    /// An original was refused, and so is what repeats it.
    pub(super) fn fail(&mut self, token: Token, error: IngestError) {
        if let Self::UnderWay(flight) = self {
            flight.originals.retain(|original| *original != token);
            flight.failed = Some(error);
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Confirming { .. } => false,
            Self::UnderWay(flight) => !flight.syncing && flight.originals.is_empty(),
        }
    }

    pub(super) fn into_answer(self) -> Result<Vec<Accepted>, IngestError> {
        match self {
            Self::Confirming { .. } => Ok(Vec::new()),
            Self::UnderWay(UnderWay { failed: Some(error), .. }) => Err(error),
            Self::UnderWay(UnderWay { slots, .. }) => Ok(slots
                .into_iter()
                .filter_map(|slot| match slot {
                    Slot::Again(accepted) | Slot::Done(accepted) => Some(accepted),
                    Slot::New | Slot::Same { .. } => None,
                })
                .collect()),
        }
    }
}

// === impl UnderWay ===

impl UnderWay {
    fn synced(&mut self, log: LogUid, appended: &Appended) -> Vec<(NonZeroU64, Position)> {
        self.syncing = false;
        let mut remembered = Vec::with_capacity(appended.positions.len());
        let new = self.events.iter_mut().zip(&mut self.slots);
        let new = new.filter(|(_, slot)| matches!(slot, Slot::New));
        let placed = appended.positions.iter().zip(&self.fired);
        for ((event, slot), (position, fired)) in new.zip(placed) {
            if let Some(hash) = event.hash {
                remembered.push((hash, *position));
            }
            let fired = fired.iter().map(|t| FiredTrigger::of(log, *position, t.stored()));
            *slot = Slot::Done(Accepted {
                position: *position,
                event_id: event.incoming.event.id.clone(),
                duplicate: false,
                triggers: fired.collect(),
                activation_id: direct_activation_id(log, *position, &event.incoming.target),
            });
        }
        let own: Vec<Token> = self.own_tokens();
        if !own.is_empty() {
            let answers = self.answers();
            for token in own {
                self.repeat(token, &answers);
            }
        }
        remembered
    }

    /// Tokens of batches repeated that are not waited for: this batch's own.
    fn own_tokens(&self) -> Vec<Token> {
        let mut own: Vec<Token> = self
            .slots
            .iter()
            .filter_map(|slot| match slot {
                Slot::Same { original, .. } if !self.originals.contains(original) => {
                    Some(*original)
                }
                Slot::Same { .. } | Slot::New | Slot::Again(_) | Slot::Done(_) => None,
            })
            .collect();
        own.dedup();
        own
    }

    fn answers(&self) -> HashMap<usize, Accepted> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(place, slot)| match slot {
                Slot::Done(accepted) => Some((place, accepted.clone())),
                Slot::New | Slot::Again(_) | Slot::Same { .. } => None,
            })
            .collect()
    }

    fn repeat(&mut self, token: Token, answers: &HashMap<usize, Accepted>) {
        for slot in &mut self.slots {
            if let Slot::Same { original, place } = slot
                && *original == token
                && let Some(accepted) = answers.get(place)
            {
                *slot = Slot::Again(Accepted { duplicate: true, ..accepted.clone() });
            }
        }
    }
}
