//! Replays: a range of the log is read again, and for each event of the rule's trigger a delivery
//! is parked in the same frame as how far the range is read.

use std::collections::BTreeSet;

use evoke_event_log::{Cursor, Record};
use evoke_schemas::{EntityName, EntityUid, Occasion, Position};

use super::{
    CommandError, Deliveries, Delivery, DeliveryEffect, RangeRead, State, Ticket, Turn,
    settle::{Change, progress},
    turns::RuleKey,
};
use crate::record::{Attempts, DeliveryId, ReplayRecord, ReplayStatus, StoredEvent, stream};

/// A replay that is remembered.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) record: ReplayRecord,
    /// The replay as its newest durable record says it: all that a checkpoint may know.
    pub(super) kept: ReplayRecord,
    /// Its newest record, once that is durable.
    pub(super) at: Option<Position>,
    /// Whether a stretch is being read.
    reading: bool,
    /// Records of it that are not durable yet.
    settling: usize,
    /// Its deliveries that are neither done nor dead.
    pub(super) outstanding: BTreeSet<DeliveryId>,
}

/// Whether a replay to a rule of this trigger delivers the event. What its feed set aside is sent
/// again by its dead letter alone.
#[must_use]
pub fn qualifies(event: &StoredEvent, replay: &ReplayRecord, trigger: &EntityName) -> bool {
    event.namespace == replay.namespace
        && event.triggers.iter().any(|fired| fired.name == *trigger)
        && event.set_aside().is_none()
}

impl Replay {
    pub(super) fn of(record: ReplayRecord, at: Option<Position>) -> Self {
        let kept = record.clone();
        Self { record, kept, at, reading: false, settling: 0, outstanding: BTreeSet::new() }
    }
}

impl Deliveries {
    pub(super) fn create_replay(&mut self, record: ReplayRecord, ticket: Ticket) {
        let uid = record.uid;
        self.replays.insert(uid, Replay::of(record, None));
        self.keep_replay(uid, Some(ticket));
    }

    pub(super) fn cancel_replay(
        &mut self,
        uid: EntityUid,
        ticket: Ticket,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        let answer = match self.replays.get_mut(&uid) {
            None => Err(CommandError::NotFound),
            Some(replay) if replay.record.status == ReplayStatus::Cancelled => {
                Err(CommandError::Conflict)
            }
            Some(replay) => {
                replay.record.status = ReplayStatus::Cancelled;
                Ok(())
            }
        };
        match answer {
            Ok(()) => self.keep_replay(uid, Some(ticket)),
            refused @ Err(_) => effects.push(DeliveryEffect::Answer { ticket, answer: refused }),
        }
    }

    fn keep_replay(&mut self, uid: EntityUid, ticket: Option<Ticket>) {
        let Some((record, change)) = self.replay_record(uid, ticket) else { return };
        self.pipeline.push(record, change);
    }

    fn replay_record(
        &mut self,
        uid: EntityUid,
        ticket: Option<Ticket>,
    ) -> Option<(Record, Change)> {
        let replay = self.replays.get_mut(&uid)?;
        replay.settling += 1;
        let record = progress(stream::REPLAY, replay.record.encode());
        Some((record, Change::Replay(Box::new(replay.record.clone()), ticket)))
    }

    pub(super) fn replay_recorded(
        &mut self,
        record: ReplayRecord,
        position: Position,
        ticket: Option<Ticket>,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        if let Some(replay) = self.replays.get_mut(&record.uid) {
            replay.kept = record;
            replay.at = Some(position);
            replay.settling = replay.settling.saturating_sub(1);
        }
        if let Some(ticket) = ticket {
            effects.push(DeliveryEffect::Answer { ticket, answer: Ok(()) });
        }
    }

    /// Reads on where a replay's deliveries leave room.
    pub(super) fn read_ranges(&mut self, effects: &mut Vec<DeliveryEffect>) {
        if self.capacity == 0 {
            return;
        }
        let most = self.config.replay_outstanding;
        for replay in self.replays.values_mut() {
            let room = most.saturating_sub(replay.outstanding.len());
            let free = replay.record.status == ReplayStatus::Reading
                && !replay.reading
                && replay.settling == 0;
            if free && room > 0 {
                replay.reading = true;
                let record = Box::new(replay.record.clone());
                effects.push(DeliveryEffect::ReadRange { replay: record, limit: room });
            }
        }
    }

    pub(super) fn range_read(&mut self, range: RangeRead, now_ms: u64) {
        let Some(replay) = self.replays.get_mut(&range.replay) else { return };
        replay.reading = false;
        if replay.record.status != ReplayStatus::Reading {
            return;
        }
        replay.record.next = range.next;
        replay.record.parked += range.matches.len() as u64;
        if range.ended {
            replay.record.status = ReplayStatus::Read;
        }
        let (namespace, uid) = (replay.record.namespace.clone(), replay.record.rule_uid);
        let rule = RuleKey { namespace: self.turns.key(&namespace), uid };
        let dropped = self.dropped.clone();
        let is_gone = |place| dropped.as_ref().is_some_and(|dropped| dropped.is_past(place));
        for found in range.matches.into_iter().filter(|found| !is_gone(found.position)) {
            let occasion = Occasion::Replay(range.replay);
            let id = DeliveryId { position: found.position, rule: uid, occasion };
            let delivery = Delivery {
                rule,
                accepted_ms: found.accepted_ms,
                since_ms: now_ms,
                attempts: Attempts::default(),
                key: found.key,
                turn: Turn::from(found.position),
                size: found.size,
                home: found.position,
                record: None,
                told: Some(found.position),
                entry: None,
                unparked: false,
                body: None,
                due_ms: 0,
                state: State::Resting,
            };
            let mut held = self.held_record(id, &delivery, delivery.home(), None);
            held.turn = None;
            let record = progress(stream::PARKED, held.encode());
            self.pipeline.push_joined(record, Change::Replayed(id, Box::new(delivery)));
        }
        self.keep_replay(range.replay, None);
    }

    pub(super) fn count_for_replay(&mut self, id: DeliveryId, enters: bool) {
        let dead = self.table.get(&id).is_some_and(|delivery| delivery.state.died_ms().is_some());
        let Some(uid) = self.replay_of(id) else { return };
        let Some(replay) = self.replays.get_mut(&uid) else { return };
        if enters && !dead {
            replay.outstanding.insert(id);
        } else {
            replay.outstanding.remove(&id);
        }
    }

    pub(super) fn is_cancelled(&self, id: DeliveryId) -> bool {
        let replay = self.replay_of(id).and_then(|uid| self.replays.get(&uid));
        replay.is_some_and(|replay| replay.record.status == ReplayStatus::Cancelled)
    }

    /// The replay that the delivery, or the whole that it is part of, is by.
    fn replay_of(&self, id: DeliveryId) -> Option<EntityUid> {
        match id.occasion {
            Occasion::Live => None,
            Occasion::Replay(uid) => Some(uid),
            Occasion::Part(part) if part.is_live() => None,
            Occasion::Part(_) => self.replays.keys().copied().find(|uid| id.occasion.is_by(*uid)),
        }
    }

    /// Whether a stretch of the log is being read for a replay.
    pub(super) fn is_reading_replays(&self) -> bool {
        self.replays.values().any(|replay| replay.reading)
    }

    /// Whether a replay's newest record is before the cursor, or not known to be behind it.
    pub(super) fn replays_before(&self, to: &Cursor) -> bool {
        self.replays.values().any(|replay| replay.at.is_some_and(|at| to.is_past(at)))
    }

    /// Writes the records of replays again that are before the cursor.
    pub(super) fn renew_replays(&mut self, to: &Cursor) {
        let old =
            |replay: &&Replay| replay.settling == 0 && replay.at.is_some_and(|at| to.is_past(at));
        let uids: Vec<_> = self.replays.values().filter(old).map(|it| it.record.uid).collect();
        for uid in uids {
            self.keep_replay(uid, None);
        }
    }
}
