//! What the engine can say of events and deliveries, and what it can be told to do with them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use evoke_event_log::{Cursor, Item, ReadError, ReadLimit, StoredRecord};
use evoke_schemas::{EntityName, EntityUid, Namespace, Position, Rule};

use super::{Engine, Running};
use crate::{
    delivery::{
        Backlog, CommandError, DeadLetterView, DeliveryInput, DeliveryView, ReplayView, Ticket,
    },
    record::{DeliveryId, Outcome, OutcomeRecord, ReplayRecord, ReplayStatus, StoredEvent, stream},
};

/// Most items and bytes read at once.
const PAGE: ReadLimit = ReadLimit { items: 4_096, bytes: 8 << 20 };
/// First stretch of time that a list of the newest events looks at. Unit: milliseconds.
const FIRST_LOOK_MS: u64 = 60_000;
/// Most events held in memory to find those far enough back; for more the log is read twice.
const MAX_HELD_EVENTS: usize = 1_000;
/// Longest wait for dispatch to have seen what is in the log.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);
/// Pages behind an event that are searched for the outcomes of its deliveries.
const OUTCOME_PAGES: usize = 64;

/// Which events are wanted, newest first.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only those that fired this trigger.
    pub trigger: Option<EntityName>,
    /// Only those accepted from then on, unix milliseconds.
    pub since_ms: u64,
    /// Only those accepted until then, unix milliseconds.
    pub upto_ms: u64,
    /// How many of the newest to leave out.
    pub skip: usize,
    /// How many to give.
    pub limit: usize,
}

/// A question cannot be answered, or a command not carried out.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// The log cannot be read.
    #[error("the event log cannot be read")]
    Read(#[from] ReadError),
    /// Deliveries have not begun, or have ended.
    #[error("deliveries are not running")]
    NotRunning,
    /// There is no such thing, or it is in no state to do this.
    #[error(transparent)]
    Refused(#[from] CommandError),
}

/// An accepted event, where and when.
pub type PlacedEvent = (Position, u64, Arc<StoredEvent>);

impl Engine {
    fn running(&self) -> Result<&Running, QuestionError> {
        self.running.get().ok_or(QuestionError::NotRunning)
    }

    /// Identity of the log at `position`, part of every activation id.
    #[must_use]
    pub fn log_uid(&self, position: Position) -> evoke_schemas::LogUid {
        self.parts.log.uids().at(position)
    }

    /// Accepted events of a namespace, newest first.
    ///
    /// # Errors
    /// [`QuestionError::Read`].
    pub async fn events(
        &self,
        namespace: &Namespace,
        filter: &EventFilter,
    ) -> Result<Vec<PlacedEvent>, QuestionError> {
        let wanted = filter.skip.saturating_add(filter.limit);
        if wanted > MAX_HELD_EVENTS {
            return self.far_back(namespace, filter).await;
        }
        let mut look_ms = FIRST_LOOK_MS;
        loop {
            let newest = self.parts.clock.now_ms().min(filter.upto_ms);
            let from_ms = newest.saturating_sub(look_ms).max(filter.since_ms);
            let found = self.newest(namespace, filter, from_ms, wanted).await?;
            if found.len() >= wanted || from_ms <= filter.since_ms || from_ms == 0 {
                return Ok(found.into_iter().rev().skip(filter.skip).take(filter.limit).collect());
            }
            look_ms = look_ms.saturating_mul(8);
        }
    }

    /// How many events match, whatever is to be left out of them and given.
    ///
    /// # Errors
    /// [`QuestionError::Read`].
    pub async fn count_events(
        &self,
        namespace: &Namespace,
        filter: &EventFilter,
    ) -> Result<usize, QuestionError> {
        let mut count = 0;
        self.walk(namespace, filter, filter.since_ms, |_event| count += 1).await?;
        Ok(count)
    }

    /// The newest of those accepted from a time on, oldest first.
    async fn newest(
        &self,
        namespace: &Namespace,
        filter: &EventFilter,
        from_ms: u64,
        wanted: usize,
    ) -> Result<VecDeque<PlacedEvent>, QuestionError> {
        let mut found = VecDeque::new();
        self.walk(namespace, filter, from_ms, |event| {
            found.push_back(event);
            if found.len() > wanted {
                found.pop_front();
            }
        })
        .await?;
        Ok(found)
    }

    /// Events so far back that those left out are counted instead of held.
    async fn far_back(
        &self,
        namespace: &Namespace,
        filter: &EventFilter,
    ) -> Result<Vec<PlacedEvent>, QuestionError> {
        let all = self.count_events(namespace, filter).await?;
        let end = all.saturating_sub(filter.skip);
        let wanted = end.saturating_sub(filter.limit)..end;
        let (mut found, mut index) = (Vec::new(), 0);
        if wanted.is_empty() {
            return Ok(found);
        }
        self.walk(namespace, filter, filter.since_ms, |event| {
            if wanted.contains(&index) {
                found.push(event);
            }
            index += 1;
        })
        .await?;
        found.reverse();
        Ok(found)
    }

    /// Visits the events that match, accepted from a time on, the oldest first.
    async fn walk(
        &self,
        namespace: &Namespace,
        filter: &EventFilter,
        from_ms: u64,
        mut visit: impl FnMut(PlacedEvent) + Send,
    ) -> Result<(), QuestionError> {
        let log = &self.parts.log;
        let mut cursor = log.seek_time(from_ms).await?;
        let end = log.end();
        while !cursor.covers(&end) {
            let page = log.read(&cursor, PAGE).await?;
            if page.next == cursor {
                break;
            }
            cursor = page.next;
            let records = page.items.iter().filter_map(Item::record);
            for record in records.filter(|record| is_event(record)) {
                let within = (from_ms..=filter.upto_ms).contains(&record.time_ms);
                if !within {
                    continue;
                }
                let Ok(event) = StoredEvent::decode(record.data.clone()) else { continue };
                let fired = filter.trigger.as_ref().is_none_or(|wanted| {
                    event.triggers.iter().any(|trigger| trigger.name == *wanted)
                });
                if event.namespace == *namespace && fired {
                    visit((record.position, record.time_ms, Arc::new(event)));
                }
            }
        }
        Ok(())
    }

    /// The event at a position.
    ///
    /// # Errors
    /// [`QuestionError::Read`].
    pub async fn event(&self, position: Position) -> Result<Option<PlacedEvent>, QuestionError> {
        let item = self.parts.log.get(position).await?;
        let record = item.as_ref().and_then(Item::record).filter(|record| is_event(record));
        Ok(record.and_then(|record| {
            let event = StoredEvent::decode(record.data.clone()).ok()?;
            Some((record.position, record.time_ms, Arc::new(event)))
        }))
    }

    /// The event of a dead letter, wherever it stands now.
    pub async fn event_of(&self, letter: &DeadLetterView) -> Option<Arc<StoredEvent>> {
        let crate::record::Home::At(position) = letter.held.home else { return None };
        super::intake::read_event(Arc::clone(&self.parts.log), position).await
    }

    /// How deliveries of one event ended, as far as the log behind it says so within reach.
    ///
    /// # Errors
    /// [`QuestionError::Read`].
    pub async fn outcomes(
        &self,
        position: Position,
        accepted_ms: u64,
        mut open: Vec<DeliveryId>,
    ) -> Result<Vec<(DeliveryId, Outcome)>, QuestionError> {
        let log = &self.parts.log;
        let mut cursor: Cursor = log.seek_time(accepted_ms.saturating_sub(1)).await?;
        let (mut found, end) = (Vec::new(), log.end());
        let mut pages = 0;
        while !open.is_empty() && !cursor.covers(&end) && pages < OUTCOME_PAGES {
            let page = log.read(&cursor, PAGE).await?;
            if page.next == cursor {
                break;
            }
            cursor = page.next;
            pages += usize::from(cursor.is_past(position));
            for record in page.items.iter().filter_map(Item::record) {
                if record.stream != stream::OUTCOME {
                    continue;
                }
                let Ok(outcome) = OutcomeRecord::decode(record.data.clone()) else { continue };
                if let Some(place) = open.iter().position(|id| *id == outcome.id) {
                    open.swap_remove(place);
                    found.push((outcome.id, outcome.outcome));
                }
            }
        }
        Ok(found)
    }

    /// What a trigger's rules have still to do of all that is in the log by now: deliveries that
    /// are neither done nor dead, and dead letters. Where that is not known within a second, as a
    /// hub that is behind with its dispatch does not know it, one more counts as open.
    ///
    /// # Errors
    /// [`QuestionError::NotRunning`].
    pub async fn owed(
        &self,
        namespace: &Namespace,
        trigger: &EntityName,
    ) -> Result<(usize, usize), QuestionError> {
        let shared = &self.running()?.shared;
        let end = self.parts.log.end();
        let known = tokio::time::timeout(KNOWN_WITHIN, shared.has_loaded(&end)).await;
        let rules: Vec<EntityUid> = self.intake.with(|ingest| {
            let trigger = ingest.index.trigger(namespace, trigger);
            let rules = trigger.into_iter().flat_map(|trigger| &trigger.stored().rules);
            rules.map(|rule| rule.uid).collect()
        });
        let core = shared.core();
        let each = rules.into_iter().map(|rule| core.owed_to(namespace, rule));
        let (open, dead) = each.fold((0, 0), |all, rule| (all.0 + rule.0, all.1 + rule.1));
        Ok((open + usize::from(known.is_err()), dead))
    }

    /// A delivery that is not done.
    #[must_use]
    pub fn delivery(&self, id: DeliveryId) -> Option<DeliveryView> {
        self.running.get().and_then(|running| running.shared.core().delivery(id))
    }

    /// Dead letters of a namespace, newest first.
    ///
    /// # Errors
    /// [`QuestionError::NotRunning`].
    pub fn dead_letters(
        &self,
        namespace: &Namespace,
    ) -> Result<Vec<DeadLetterView>, QuestionError> {
        Ok(self.running()?.shared.core().dead_letters(namespace))
    }

    /// Delivers a dead letter again; returns when that is durable.
    ///
    /// # Errors
    /// [`QuestionError::Refused`] where it is none any more.
    pub async fn revive(&self, id: DeliveryId) -> Result<(), QuestionError> {
        self.command(|ticket| DeliveryInput::Revive { id, ticket }).await
    }

    /// Lets a dead letter go; returns when that is durable.
    ///
    /// # Errors
    /// [`QuestionError::Refused`] where it is none any more.
    pub async fn discard(&self, id: DeliveryId) -> Result<(), QuestionError> {
        self.command(|ticket| DeliveryInput::Discard { id, ticket }).await
    }

    /// Replays of a namespace, newest first.
    ///
    /// # Errors
    /// [`QuestionError::NotRunning`].
    pub fn replays(&self, namespace: &Namespace) -> Result<Vec<ReplayView>, QuestionError> {
        Ok(self.running()?.shared.core().replays(namespace))
    }

    /// A rule as the index has it.
    #[must_use]
    pub fn rule(&self, namespace: &Namespace, name: &EntityName) -> Option<Arc<Rule>> {
        self.intake.with(|ingest| ingest.index.rule(namespace, name).cloned())
    }

    /// Delivers what was accepted in `[from_ms, to_ms)` again to one rule, up to what is in the
    /// log now; returns when that is durable.
    ///
    /// # Errors
    /// [`QuestionError::Read`], [`QuestionError::NotRunning`].
    pub async fn replay(
        &self,
        rule: &Rule,
        from_ms: u64,
        to_ms: u64,
    ) -> Result<ReplayRecord, QuestionError> {
        let replay = ReplayRecord {
            uid: EntityUid::fresh(),
            namespace: rule.namespace.clone(),
            rule: rule.name.clone(),
            rule_uid: rule.uid,
            next: self.parts.log.seek_time(from_ms).await?,
            to: self.parts.log.end(),
            from_ms,
            to_ms,
            parked: 0,
            created_ms: self.parts.clock.now_ms(),
            status: ReplayStatus::Reading,
        };
        let boxed = Box::new(replay.clone());
        self.command(|ticket| DeliveryInput::CreateReplay { replay: boxed, ticket }).await?;
        Ok(replay)
    }

    /// Stops a replay; returns when that is durable.
    ///
    /// # Errors
    /// [`QuestionError::Refused`] where there is none, or it was stopped before.
    pub async fn cancel_replay(&self, uid: EntityUid) -> Result<(), QuestionError> {
        self.command(|ticket| DeliveryInput::CancelReplay { uid, ticket }).await
    }

    /// What a namespace owes.
    #[must_use]
    pub fn backlog(&self, namespace: &Namespace) -> Backlog {
        let running = self.running.get();
        running.map(|running| running.shared.core().backlog(namespace)).unwrap_or_default()
    }

    pub(super) async fn command(
        &self,
        input: impl FnOnce(Ticket) -> DeliveryInput,
    ) -> Result<(), QuestionError> {
        let running = self.running()?;
        let (ticket, answer) = running.tickets.take();
        let sent = running.commands.send(input(ticket)).await;
        sent.map_err(|_closed| QuestionError::NotRunning)?;
        Ok(answer.await.map_err(|_closed| QuestionError::NotRunning)??)
    }
}

fn is_event(record: &StoredRecord) -> bool {
    record.stream == stream::EVENT || record.stream == stream::INVOCATION
}
