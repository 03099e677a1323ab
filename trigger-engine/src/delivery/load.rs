//! Events as they are read from the log become deliveries.

use std::sync::Arc;

use evoke_event_log::{Cursor, Item, Lost, StoredRecord, Stream};
use evoke_schemas::{EntityUid, Event, Namespace, Position, event::PARTITION_KEY};

use super::{Deliveries, Delivery, DeliveryEffect, State, Turn, turns::RuleKey};
use crate::record::{Attempts, DeliveryId, Reason, StoredEvent, deliveries_in, stream};

/// Hash of an event's `partitionkey`; 0 where it has none, which is a key like any other.
#[must_use]
pub fn key_of(event: &Event) -> u64 {
    let Some(key) = event.attribute(PARTITION_KEY) else { return 0 };
    let hash = blake3::hash(key.as_bytes());
    u64::from_le_bytes(hash.as_bytes().first_chunk().copied().unwrap_or_default())
}

impl Deliveries {
    pub(super) fn load(
        &mut self,
        items: Vec<Item>,
        next: Cursor,
        now_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        for item in items {
            match item {
                Item::Record(record) if is_event(record.stream) => {
                    self.load_event(record, now_ms, effects);
                }
                Item::Unreadable(damaged) if is_event(damaged.stream) => {
                    let time_ms = damaged.time_ms;
                    self.wake_dormant(damaged.position.offset..damaged.position.offset + 1, now_ms);
                    self.load_damage(damaged.position, Reason::Unreadable, time_ms, effects);
                }
                Item::Erased(erased) if is_event(erased.stream) => {
                    // What was meant to begin with it ends with its attempt.
                    let offset = erased.position.offset;
                    self.wake_dormant(offset..offset + 1, now_ms);
                }
                Item::Lost(lost) => {
                    self.wake_dormant(lost.from..lost.to, now_ms);
                    self.load_damage(place_of(&lost), Reason::Lost, now_ms, effects);
                }
                // Progress is known here before it is durable, or from recovery.
                Item::Record(_) | Item::Unreadable(_) | Item::Erased(_) => {}
            }
        }
        // A page may hold records whose append has not been answered here yet.
        if next.covers(&self.applied) && !self.pipeline.is_appending() {
            self.applied = next.clone();
        }
        self.water.load(next);
        self.forget_steps();
    }

    fn load_event(&mut self, record: StoredRecord, now_ms: u64, effects: &mut Vec<DeliveryEffect>) {
        if deliveries_in(&record.data) == Ok(0) {
            return;
        }
        let size = u32::try_from(record.data.len()).unwrap_or(u32::MAX);
        let Ok(event) = StoredEvent::decode(record.data) else {
            let (position, time_ms) = (record.position, record.time_ms);
            self.wake_dormant(position.offset..position.offset + 1, now_ms);
            self.load_damage(position, Reason::Unreadable, time_ms, effects);
            return;
        };
        let event = Arc::new(event);
        let direct = record.stream == stream::INVOCATION;
        let rules: Vec<EntityUid> = if direct {
            vec![EntityUid::DIRECT]
        } else {
            event.active_rules().map(|(_, rule)| rule.uid).collect()
        };
        let fresh: Vec<EntityUid> =
            rules.iter().copied().filter(|rule| self.is_fresh(record.position, *rule)).collect();
        let entry = self.water.push(record.position, fresh.clone());
        if !fresh.is_empty() && !direct {
            effects.push(DeliveryEffect::RecordTriggers {
                position: record.position,
                event: Arc::clone(&event),
                accepted_ms: record.time_ms,
            });
        }
        for rule in rules {
            let id = DeliveryId::live(record.position, rule);
            if fresh.contains(&rule) {
                let place = Place { id, accepted_ms: record.time_ms, size, entry };
                self.begin(place, &event, now_ms, effects);
            } else if self.table.get(&id).is_some_and(|it| it.state == State::Dormant) {
                self.schedule(id, now_ms);
            }
        }
    }

    fn is_fresh(&self, position: Position, rule: EntityUid) -> bool {
        let settled = self.settled.get(&position).is_some_and(|rules| rules.contains(&rule));
        !settled && !self.table.contains_key(&DeliveryId::live(position, rule))
    }

    fn begin(
        &mut self,
        place: Place,
        event: &Arc<StoredEvent>,
        now_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        let Place { id, accepted_ms, size, entry } = place;
        let namespace = self.turns.key(&event.namespace);
        let bytes = usize::try_from(size).unwrap_or(usize::MAX);
        let room = self.waiting_bytes.saturating_add(bytes) <= self.config.in_flight_bytes;
        if room {
            self.waiting_bytes += bytes;
        }
        let share = self.turns.namespace(namespace).unparked < self.config.unparked_per_namespace
            && self.unparked < self.config.unparked;
        let rule = RuleKey { namespace, uid: id.rule };
        if let Some((_, stored)) = event.active_rules().find(|(_, rule)| rule.uid == id.rule) {
            self.turns.rule(rule).name.get_or_insert_with(|| stored.name.clone());
        }
        let delivery = Delivery {
            rule,
            accepted_ms,
            since_ms: self.accepted_by_this_clock(id.position, accepted_ms),
            attempts: Attempts::default(),
            key: key_of(&event.event),
            turn: Turn::from(id.position),
            size,
            home: id.position,
            record: None,
            told: None,
            entry: Some(entry),
            unparked: true,
            body: room.then(|| Arc::clone(event)),
            due_ms: 0,
            state: State::Ready,
        };
        self.insert(id, delivery, effects);
        if let Some(why) = event.set_aside() {
            if let Some(delivery) = self.table.get_mut(&id) {
                delivery.attempts.note(now_ms, &why);
            }
            self.bury(id, Reason::SetAside, now_ms);
            return;
        }
        if !share {
            self.park(id, now_ms);
        }
        self.schedule(id, now_ms);
    }

    /// Deliveries that were to begin with events that cannot be read begin all the same: their
    /// event may be elsewhere, and where it is not, they end as dead letters.
    fn wake_dormant(&mut self, offsets: std::ops::Range<u64>, now_ms: u64) {
        let dormant = self.table.iter().filter(|(id, delivery)| {
            delivery.state == State::Dormant && offsets.contains(&id.position.offset)
        });
        let mut ids: Vec<(Turn, DeliveryId)> =
            dormant.map(|(id, delivery)| (delivery.turn, *id)).collect();
        ids.sort_unstable();
        for (_, id) in ids {
            self.schedule(id, now_ms);
        }
    }

    /// What cannot be read any more becomes a dead letter of the namespace that stands for none.
    pub(super) fn load_damage(
        &mut self,
        position: Position,
        reason: Reason,
        time_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        let id = DeliveryId::live(position, EntityUid::TRIGGER);
        let Ok(nobody) = Namespace::new(Namespace::CALLER) else { return };
        if !self.is_fresh(position, EntityUid::TRIGGER) {
            return;
        }
        let entry = self.water.push(position, vec![EntityUid::TRIGGER]);
        let delivery = Delivery {
            rule: RuleKey { namespace: self.turns.key(&nobody), uid: EntityUid::TRIGGER },
            accepted_ms: time_ms,
            since_ms: time_ms,
            attempts: Attempts::default(),
            key: 0,
            turn: Turn::from(position),
            size: 0,
            home: position,
            record: None,
            told: None,
            entry: Some(entry),
            unparked: true,
            body: None,
            due_ms: 0,
            state: State::Settling,
        };
        self.insert(id, delivery, effects);
        self.bury(id, reason, time_ms);
    }
}

struct Place {
    id: DeliveryId,
    accepted_ms: u64,
    size: u32,
    entry: u64,
}

fn is_event(stream: Stream) -> bool {
    stream == stream::EVENT || stream == stream::INVOCATION
}

fn place_of(lost: &Lost) -> Position {
    Position { partition: 0, offset: lost.from }
}
