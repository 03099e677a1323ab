//! The core of ingest: limits, dedup, match, one append a batch, and only then an answer.
//!
//! ```text
//!            Submit
//!              │ limits, closed, trigger there
//!              ▼
//!          Confirming ── a hash is known: its record decides ──┐
//!              │ nothing (more) to confirm  ◄──────────────────┘ Confirmed
//!              ▼
//!   match, one Append ──────────────┐ nothing new in the batch
//!              │                    │
//!              ▼                    ▼
//!           Syncing ─ Synced ─► Waiting for originals that are not durable yet
//!              │ Refused            │ their Synced
//!              ▼                    ▼
//!           Answer(Err)          Answer(Ok)
//! ```

mod batch;
mod dedup;
mod error;
mod flight;
#[cfg(test)]
mod tests;

use std::{num::NonZeroU64, sync::Arc};

use evoke_event_log::{Append, AppendError, Appended, DedupEntry};
use evoke_schemas::{LogUids, Namespace, Position};
use hashbrown::HashMap;

use crate::{
    accepted::Accepted,
    config::{IngestConfig, RETRY_AFTER_MS},
    index::RuleIndex,
    record::StoredEvent,
};
pub use batch::{Batch, FeedMark, Prepared};
pub use dedup::DedupWindow;
pub use error::{Cap, IngestError};
use flight::{Flight, Slot};

/// Names one batch from its submission to its answer.
pub type Token = u64;

/// What happens to ingest.
#[derive(Debug)]
pub enum IngestInput {
    /// A batch to accept, under a token never used before.
    Submit {
        /// Its name.
        token: Token,
        /// The batch.
        batch: Batch,
    },
    /// The record that [`IngestEffect::Confirm`] asked for; `None` where it is gone or damaged.
    Confirmed {
        /// The batch that asked.
        token: Token,
        /// The position asked for.
        position: Position,
        /// What stands there.
        stored: Option<Arc<StoredEvent>>,
    },
    /// The batch's append is durable.
    Synced {
        /// The batch.
        token: Token,
        /// Where it stands.
        appended: Appended,
    },
    /// The batch's append was refused.
    Refused {
        /// The batch.
        token: Token,
        /// Why.
        error: AppendError,
    },
    /// A namespace takes nothing more for now.
    Close {
        /// Which.
        namespace: Namespace,
        /// What is full.
        cap: Cap,
    },
    /// Nothing is taken for now, of nobody; or again, where nothing is full any more.
    Shut(Option<Cap>),
    /// A namespace takes events again.
    Open {
        /// Which.
        namespace: Namespace,
    },
}

/// What ingest wants done.
#[derive(Debug)]
pub enum IngestEffect {
    /// Read the record at a position and answer with [`IngestInput::Confirmed`].
    Confirm {
        /// The batch that asks.
        token: Token,
        /// Where to read.
        position: Position,
    },
    /// Hand this to the log, in the order of one step's effects; steps have none among them.
    Append {
        /// The batch.
        token: Token,
        /// What to append.
        append: Append,
    },
    /// Answer the batch.
    Answer {
        /// The batch.
        token: Token,
        /// The answer, one for each event in the batch's order.
        answer: Result<Vec<Accepted>, IngestError>,
    },
}

/// The core of ingest, with the rule index that it matches in.
#[derive(Debug)]
pub struct Ingest {
    config: IngestConfig,
    log: LogUids,
    /// Triggers and rules; changed by whoever owns the entities.
    pub index: RuleIndex,
    dedup: DedupWindow,
    closed: HashMap<Namespace, Cap>,
    shut: Option<Cap>,
    flights: HashMap<Token, Flight>,
    /// Ids on their way to the log: which batch, which of its events.
    pending: HashMap<NonZeroU64, (Token, usize)>,
    duplicates: u64,
}

impl Ingest {
    /// Ingest into the log of that uid, nothing remembered.
    #[must_use]
    pub fn new(config: IngestConfig, log: impl Into<LogUids>) -> Self {
        Self {
            dedup: DedupWindow::new(config.dedup_window_ms, config.dedup_entries),
            config,
            log: log.into(),
            index: RuleIndex::default(),
            closed: HashMap::new(),
            shut: None,
            flights: HashMap::new(),
            pending: HashMap::new(),
            duplicates: 0,
        }
    }

    /// Remembers ids that the log holds; at start, oldest first.
    pub fn remember(&mut self, entries: &[DedupEntry]) {
        for entry in entries {
            self.dedup.insert(entry.hash, entry.position, entry.time_ms);
        }
    }

    /// What is full, where nothing is taken.
    #[must_use]
    pub fn shut(&self) -> Option<Cap> {
        self.shut
    }

    /// Duplicates answered so far.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The ids remembered.
    #[must_use]
    pub fn dedup(&self) -> &DedupWindow {
        &self.dedup
    }

    /// One step. Effects are to be carried out in order.
    pub fn step(&mut self, input: IngestInput, now_ms: u64, effects: &mut Vec<IngestEffect>) {
        match input {
            IngestInput::Submit { token, batch } => match self.admit(&batch) {
                Ok(()) => {
                    self.dedup.expire(now_ms);
                    self.decide(token, batch, HashMap::new(), effects);
                }
                Err(error) => effects.push(IngestEffect::Answer { token, answer: Err(error) }),
            },
            IngestInput::Confirmed { token, position, stored } => {
                self.confirmed(token, position, stored, effects);
            }
            IngestInput::Synced { token, appended } => {
                self.synced(token, &appended, now_ms, effects);
            }
            IngestInput::Refused { token, error } => self.refused(token, &error, effects),
            IngestInput::Close { namespace, cap } => {
                self.closed.insert(namespace, cap);
            }
            IngestInput::Shut(cap) => self.shut = cap,
            IngestInput::Open { namespace } => {
                self.closed.remove(&namespace);
            }
        }
    }

    fn admit(&self, batch: &Batch) -> Result<(), IngestError> {
        batch.check(&self.config)?;
        if let Some(cap) = self.shut {
            return Err(IngestError::Closed { cap, retry_after_ms: RETRY_AFTER_MS });
        }
        if self.closed.is_empty() {
            return Ok(());
        }
        for event in &batch.events {
            if let Some(cap) = self.closed.get(&event.incoming.namespace) {
                return Err(IngestError::Closed { cap: *cap, retry_after_ms: RETRY_AFTER_MS });
            }
        }
        Ok(())
    }

    fn confirmed(
        &mut self,
        token: Token,
        position: Position,
        stored: Option<Arc<StoredEvent>>,
        effects: &mut Vec<IngestEffect>,
    ) {
        let Some(Flight::Confirming { found, open, .. }) = self.flights.get_mut(&token) else {
            return;
        };
        found.insert(position, stored);
        *open -= 1;
        if *open > 0 {
            return;
        }
        if let Some(Flight::Confirming { batch, found, .. }) = self.flights.remove(&token) {
            self.decide(token, batch, found, effects);
        }
    }

    /// Decides what each event of the batch is, as far as the records found allow it.
    fn decide(
        &mut self,
        token: Token,
        batch: Batch,
        found: HashMap<Position, Option<Arc<StoredEvent>>>,
        effects: &mut Vec<IngestEffect>,
    ) {
        let mut slots = Vec::with_capacity(batch.events.len());
        let mut unread: Vec<Position> = Vec::new();
        for event in &batch.events {
            slots.push(match event.hash {
                Some(hash) => self.look_up(event, hash, &found, &mut unread),
                None => Slot::New,
            });
        }
        if !unread.is_empty() {
            unread.sort_unstable();
            unread.dedup();
            let confirm =
                |position: &Position| IngestEffect::Confirm { token, position: *position };
            effects.extend(unread.iter().map(confirm));
            self.flights.insert(token, Flight::Confirming { batch, found, open: unread.len() });
            return;
        }
        self.join_pending(token, &batch, &mut slots);
        self.accept(token, batch, slots, effects);
    }

    fn look_up(
        &self,
        event: &Prepared,
        hash: NonZeroU64,
        found: &HashMap<Position, Option<Arc<StoredEvent>>>,
        unread: &mut Vec<Position>,
    ) -> Slot {
        for position in self.dedup.find(hash) {
            match found.get(&position) {
                None => unread.push(position),
                Some(Some(stored)) if event.is_same_as(stored) => {
                    return Slot::Again(Accepted::again(self.log.at(position), position, stored));
                }
                Some(_) => {}
            }
        }
        Slot::New
    }

    /// Finds events that are on their way to the log already, in this batch or in another, and
    /// registers those that are not.
    fn join_pending(&mut self, token: Token, batch: &Batch, slots: &mut [Slot]) {
        for (index, (event, slot)) in batch.events.iter().zip(slots).enumerate() {
            let (Some(hash), Slot::New) = (event.hash, &slot) else { continue };
            match self.pending.get(&hash).copied() {
                None => {
                    self.pending.insert(hash, (token, index));
                }
                Some((original, place)) => {
                    let events = if original == token {
                        Some(&batch.events)
                    } else {
                        self.flights.get(&original).and_then(Flight::events)
                    };
                    let same = events
                        .and_then(|events| events.get(place))
                        .is_some_and(|other| event.is_same_as_pending(other));
                    if same {
                        *slot = Slot::Same { original, place };
                    }
                }
            }
        }
    }

    fn accept(
        &mut self,
        token: Token,
        batch: Batch,
        slots: Vec<Slot>,
        effects: &mut Vec<IngestEffect>,
    ) {
        match flight::append(&self.index, &self.config, &batch, &slots) {
            Err(error) => {
                self.forget(token, &batch.events);
                effects.push(IngestEffect::Answer { token, answer: Err(error) });
            }
            Ok((append, fired)) => {
                let originals = flight::originals(token, &slots);
                for original in &originals {
                    if let Some(flight) = self.flights.get_mut(original) {
                        flight.add_waiter(token);
                    }
                }
                let syncing = append.is_some();
                let flight = Flight::under_way(batch.events, slots, fired, originals, syncing);
                self.flights.insert(token, flight);
                match append {
                    Some(append) => effects.push(IngestEffect::Append { token, append }),
                    None => self.answer_if_ready(token, effects),
                }
            }
        }
    }

    fn synced(
        &mut self,
        token: Token,
        appended: &Appended,
        now_ms: u64,
        effects: &mut Vec<IngestEffect>,
    ) {
        let Some(flight) = self.flights.get_mut(&token) else { return };
        let remembered = flight.synced(self.log.newest(), appended);
        for (hash, position) in remembered {
            self.dedup.insert(hash, position, now_ms);
            self.unregister(token, hash);
        }
        self.resolve_waiters(token, effects);
        self.answer_if_ready(token, effects);
    }

    /// Gives those that wait for this batch their answers for what it made durable.
    fn resolve_waiters(&mut self, token: Token, effects: &mut Vec<IngestEffect>) {
        let Some(flight) = self.flights.get_mut(&token) else { return };
        let waiters = flight.take_waiters();
        if waiters.is_empty() {
            return;
        }
        let answers = flight.answers();
        for waiter in waiters {
            if let Some(flight) = self.flights.get_mut(&waiter) {
                flight.resolve(token, &answers);
            }
            self.answer_if_ready(waiter, effects);
        }
    }

    fn answer_if_ready(&mut self, token: Token, effects: &mut Vec<IngestEffect>) {
        if !self.flights.get(&token).is_some_and(Flight::is_ready) {
            return;
        }
        if let Some(flight) = self.flights.remove(&token) {
            let answer = flight.into_answer();
            if let Ok(accepted) = &answer {
                let duplicates = accepted.iter().filter(|accepted| accepted.duplicate).count();
                self.duplicates += duplicates as u64;
            }
            effects.push(IngestEffect::Answer { token, answer });
        }
    }

    fn refused(&mut self, token: Token, error: &AppendError, effects: &mut Vec<IngestEffect>) {
        let Some(mut flight) = self.flights.remove(&token) else { return };
        if let Some(events) = flight.events() {
            let hashes: Vec<NonZeroU64> = events.iter().filter_map(|event| event.hash).collect();
            for hash in hashes {
                self.unregister(token, hash);
            }
        }
        for waiter in flight.take_waiters() {
            if let Some(flight) = self.flights.get_mut(&waiter) {
                flight.fail(token, IngestError::of(error));
            }
            self.answer_if_ready(waiter, effects);
        }
        effects.push(IngestEffect::Answer { token, answer: Err(IngestError::of(error)) });
    }

    fn forget(&mut self, token: Token, events: &[Prepared]) {
        for hash in events.iter().filter_map(|event| event.hash) {
            self.unregister(token, hash);
        }
    }

    fn unregister(&mut self, token: Token, hash: NonZeroU64) {
        if self.pending.get(&hash).is_some_and(|(owner, _)| *owner == token) {
            self.pending.remove(&hash);
        }
    }
}
