//! Erasing a person's event: its deliveries end, then every copy of it goes, for ever.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use evoke_event_log::{Cursor, EraseError, Erasure, Item, ReadError, ReadLimit, StoredRecord};
use evoke_schemas::{ActivationId, EntityUid, Namespace, Position};

use super::{Engine, QuestionError, upkeep};
use crate::{
    accepted::trigger_activation_id,
    activations::ActivationSinkError,
    delivery::{ANNOUNCEMENT_TYPE, DeliveryInput},
    record::{DeliveryId, HeldRecord, OutcomeRecord, StoredEvent, stream},
};

/// Most items and bytes read at once.
const PAGE: ReadLimit = ReadLimit { items: 4_096, bytes: 8 << 20 };
/// Longest wait for deliveries that run just now.
const ENDED_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two looks at them.
const LOOK: Duration = Duration::from_millis(50);
/// Checkpoints that are kept, each of which may hold what a function said of the event.
const CHECKPOINTS: usize = 2;

/// What was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasedEvent {
    /// Records of the log whose data is gone: the event, copies of it, the history of its
    /// deliveries, announcements of its dead letters.
    pub records: usize,
    /// Activation records that are gone.
    pub activations: usize,
    /// When and by whom; what it was before, where it was erased before.
    pub erasure: Erasure,
}

/// An event was not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseEventError {
    /// There is no event of this namespace at that position.
    #[error("there is no such event")]
    NotFound,
    /// A delivery of it still runs, or the hub is behind with its dispatch: try again.
    #[error("a delivery of the event has not ended yet: try again when it has")]
    Busy,
    /// The log cannot be read.
    #[error("the event log cannot be read")]
    Read(#[from] ReadError),
    /// Deliveries are not running.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// Activation records may still be there; the event is.
    #[error(transparent)]
    Activations(#[from] ActivationSinkError),
    /// The log did not take its data back.
    #[error(transparent)]
    Log(#[from] EraseError),
}

/// Everything that there is of an event.
#[derive(Debug, Default)]
struct Copies {
    positions: BTreeSet<Position>,
    activations: BTreeSet<ActivationId>,
    /// Events that hold it, to be erased likewise.
    announcements: Vec<Position>,
}

impl Engine {
    /// Erases an event with everything that was made of it; returns when that is durable. What
    /// functions have sent elsewhere is out of reach.
    ///
    /// # Errors
    /// [`EraseEventError`]; nothing is half erased, and what was begun is completed at the next
    /// start.
    pub async fn erase(
        &self,
        namespace: &Namespace,
        position: Position,
        by: &str,
    ) -> Result<ErasedEvent, EraseEventError> {
        let (this, namespace, by) = (self.clone(), namespace.clone(), by.to_owned());
        // Whoever asked may go away: what is begun goes on.
        let erased = tokio::spawn(async move { this.erase_all(&namespace, position, &by).await });
        erased.await.unwrap_or(Err(EraseEventError::Busy))
    }

    /// When and by whom the event at that position was erased, if it was and is this namespace's.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn erasure(
        &self,
        namespace: &Namespace,
        position: Position,
    ) -> Result<Option<Erasure>, ReadError> {
        let Some(Item::Erased(erased)) = self.parts.log.get(position).await? else {
            return Ok(None);
        };
        let is_event = matches!(erased.stream, stream::EVENT | stream::INVOCATION);
        let mine = erased.erasure.note.split_once(' ');
        let mine = mine.filter(|(owner, _)| is_event && *owner == namespace.as_str());
        Ok(mine.map(|(_, by)| Erasure { time_ms: erased.erasure.time_ms, note: by.to_owned() }))
    }

    async fn erase_all(
        &self,
        namespace: &Namespace,
        position: Position,
        by: &str,
    ) -> Result<ErasedEvent, EraseEventError> {
        if let Some(erasure) = self.erasure(namespace, position).await? {
            return Ok(ErasedEvent { erasure, ..ErasedEvent::default() });
        }
        let mut left = VecDeque::from([position]);
        let mut all = Copies::default();
        while let Some(position) = left.pop_front() {
            let Some((_, accepted_ms, event)) =
                self.event(position).await?.filter(|(_, _, event)| event.namespace == *namespace)
            else {
                if all.positions.is_empty() {
                    return Err(EraseEventError::NotFound);
                }
                continue;
            };
            self.end_deliveries(position).await?;
            let copies = self.copies(position, accepted_ms, &event).await?;
            left.extend(copies.announcements.iter().filter(|at| !all.positions.contains(at)));
            all.positions.extend(copies.positions);
            all.activations.extend(copies.activations);
        }
        let (ids, positions): (Vec<_>, Vec<_>) =
            (all.activations.into_iter().collect(), all.positions.into_iter().collect());
        // First the records, which can only be found by the event.
        let activations = self.parts.activations.erase(namespace, &ids).await?;
        let time_ms = self.parts.clock.now_ms();
        let erasure = Erasure { time_ms, note: format!("{namespace} {by}") };
        self.parts.log.erase(&positions, &erasure).await?;
        if let Some(running) = self.running.get() {
            for _ in 0..CHECKPOINTS {
                upkeep::save(&running.shared).await;
            }
        }
        let erasure = Erasure { time_ms, note: by.to_owned() };
        Ok(ErasedEvent { records: positions.len(), activations, erasure })
    }

    /// Returns once nothing of the event is to be delivered any more.
    async fn end_deliveries(&self, position: Position) -> Result<(), EraseEventError> {
        let running = self.running.get().ok_or(QuestionError::NotRunning)?;
        let ended = async {
            running.shared.has_loaded(&self.parts.log.end()).await;
            loop {
                self.command(|ticket| DeliveryInput::Erase { position, ticket }).await?;
                if running.shared.core().open_at(position) == 0 {
                    return Ok::<(), EraseEventError>(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let ended = tokio::time::timeout(ENDED_WITHIN, ended).await;
        ended.unwrap_or(Err(EraseEventError::Busy))
    }

    /// Looks through the log, from the event on, for everything that holds something of it.
    async fn copies(
        &self,
        position: Position,
        accepted_ms: u64,
        event: &StoredEvent,
    ) -> Result<Copies, EraseEventError> {
        let log = self.parts.log.uids().at(position);
        let mut copies = Copies::default();
        copies.positions.insert(position);
        let fired = event.triggers.iter().map(|it| trigger_activation_id(log, position, it.uid));
        copies.activations.extend(fired);
        let rules = event.triggers.iter().flat_map(|trigger| &trigger.rules).map(|rule| rule.uid);
        for rule in rules.chain([EntityUid::DIRECT]) {
            copies.activations.insert(DeliveryId::live(position, rule).activation_id(log));
        }
        // Copies may have been carried before the event's own place, as far as time tells it.
        let mut cursor: Cursor = self.parts.log.seek_time(accepted_ms.saturating_sub(1)).await?;
        let mut announced: BTreeMap<ActivationId, Vec<Position>> = BTreeMap::new();
        let end = self.parts.log.end();
        while !cursor.covers(&end) {
            let page = self.parts.log.read(&cursor, PAGE).await?;
            if page.next == cursor {
                break;
            }
            cursor = page.next;
            for record in page.items.iter().filter_map(Item::record) {
                look_at(record, (position, event), &mut copies, log);
                note_announcement(record, event, &mut announced);
            }
        }
        let about = announced.into_iter().filter(|(id, _)| copies.activations.contains(id));
        copies.announcements = about.flat_map(|(_, positions)| positions).collect();
        Ok(copies)
    }
}

/// Takes note of a record that is about a delivery of the event.
fn look_at(
    record: &StoredRecord,
    (position, _): (Position, &StoredEvent),
    copies: &mut Copies,
    log: evoke_schemas::LogUid,
) {
    let id = match record.stream {
        stream::PARKED | stream::DEAD => {
            let held = HeldRecord::decode(record.data.clone()).ok();
            let id = held.map(|held| held.id).filter(|id| id.position == position);
            // What its function said of it stands there too.
            copies.positions.extend(id.map(|_| record.position));
            id
        }
        stream::OUTCOME => {
            let outcome = OutcomeRecord::decode(record.data.clone()).ok();
            outcome.map(|outcome| outcome.id).filter(|id| id.position == position)
        }
        _ => None,
    };
    copies.activations.extend(id.map(|id| id.activation_id(log)));
}

/// Takes note of an event that announces a dead letter of the namespace: it holds the event.
fn note_announcement(
    record: &StoredRecord,
    event: &StoredEvent,
    announced: &mut BTreeMap<ActivationId, Vec<Position>>,
) {
    if record.stream != stream::EVENT {
        return;
    }
    let Ok(stored) = StoredEvent::decode(record.data.clone()) else { return };
    if stored.namespace != event.namespace || stored.event.r#type != ANNOUNCEMENT_TYPE {
        return;
    }
    if let Some(id) = stored.event.subject.as_ref().and_then(|id| id.parse().ok()) {
        announced.entry(id).or_default().push(record.position);
    }
}
