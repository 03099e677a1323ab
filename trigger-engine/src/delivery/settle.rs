//! Records about deliveries: pushed here, in force when they are durable.

use evoke_event_log::Record;
use evoke_schemas::Position;

use super::{Deliveries, Delivery, DeliveryEffect, State, Ticket, Turn};
use crate::record::{
    Death, DeliveryId, HeldRecord, Home, Outcome, OutcomeRecord, Reason, ReplayRecord, Writer,
    stream,
};

/// What a record changes once it is durable.
#[derive(Debug)]
pub(super) enum Change {
    /// The delivery is done.
    Done(DeliveryId, Option<Ticket>),
    /// The delivery no longer holds the mark.
    Parked(DeliveryId),
    /// The delivery is dead.
    Dead(DeliveryId, u64, Death),
    /// A dead letter waits again.
    Revived(DeliveryId, u64, Ticket),
    /// The event stands in this very record now.
    Carried(DeliveryId),
    /// A replay parked this delivery.
    Replayed(DeliveryId, Box<Delivery>),
    /// Part of a batch waits in this very record.
    Part(DeliveryId, Box<Delivery>),
    /// How far a replay is.
    Replay(Box<ReplayRecord>, Option<Ticket>),
    /// Nothing more: the record is for recovery.
    Nothing,
}

impl Change {
    /// Whether the record is about this delivery.
    pub(super) fn is_about(&self, delivery: DeliveryId) -> bool {
        match self {
            Self::Done(id, _)
            | Self::Parked(id)
            | Self::Dead(id, ..)
            | Self::Revived(id, ..)
            | Self::Carried(id)
            | Self::Replayed(id, _)
            | Self::Part(id, _) => *id == delivery,
            Self::Replay(..) | Self::Nothing => false,
        }
    }
}

impl Deliveries {
    /// The delivery ends with this outcome once its record is durable.
    pub(super) fn settle(&mut self, id: DeliveryId, outcome: Outcome, now_ms: u64) {
        self.settle_for(id, outcome, now_ms, None);
    }

    pub(super) fn settle_for(
        &mut self,
        id: DeliveryId,
        outcome: Outcome,
        now_ms: u64,
        ticket: Option<Ticket>,
    ) {
        let Some(delivery) = self.table.get_mut(&id) else { return };
        if delivery.state.died_ms().is_none() {
            delivery.state = State::Settling;
        }
        let attempts = delivery.attempts.made;
        *self.turns.tally(delivery.rule).ended.entry(outcome).or_default() += 1;
        let record = OutcomeRecord { id, outcome, attempts, at_ms: now_ms };
        self.pipeline.push(progress(stream::OUTCOME, record.encode()), Change::Done(id, ticket));
    }

    /// The delivery waits; from when this is durable it no longer holds the mark.
    pub(super) fn park(&mut self, id: DeliveryId, _now_ms: u64) {
        let Some(delivery) = self.table.get(&id) else { return };
        let record = self.held_record(id, delivery, delivery.home(), None);
        self.pipeline.push(progress(stream::PARKED, record.encode()), Change::Parked(id));
        self.tell_home(id);
        self.no_longer_unparked(id);
    }

    /// The delivery is a dead letter once its record is durable.
    pub(super) fn bury(&mut self, id: DeliveryId, reason: Reason, now_ms: u64) {
        let Some(delivery) = self.table.get(&id) else { return };
        let announced = self.dead_letter_trigger(delivery.rule).is_none();
        let death = Death { reason, announced };
        let dead = Some((now_ms, death.clone()));
        let record = self.held_record(id, delivery, delivery.home(), dead);
        *self.turns.tally(delivery.rule).dead.entry(reason).or_default() += 1;
        let change = Change::Dead(id, now_ms, death);
        self.pipeline.push(progress(stream::DEAD, record.encode()), change);
        if let Some(delivery) = self.table.get_mut(&id) {
            delivery.state = State::Settling;
        }
        self.tell_home(id);
    }

    /// The delivery's newest record names the place where its event is now; while the event is
    /// being carried that is the old one.
    pub(super) fn tell_home(&mut self, id: DeliveryId) {
        if let Some(delivery) = self.table.get_mut(&id) {
            delivery.told = Some(delivery.home);
        }
    }

    /// The record that says all of a delivery.
    pub(super) fn held_record(
        &self,
        id: DeliveryId,
        delivery: &Delivery,
        home: Home,
        dead: Option<(u64, Death)>,
    ) -> HeldRecord {
        let (at_ms, death) = match dead {
            Some((died_ms, death)) => (died_ms, Some(death)),
            None => (delivery.due_ms, None),
        };
        HeldRecord {
            id,
            namespace: self.turns.name(delivery.rule.namespace).clone(),
            rule: self.turns.find_rule(delivery.rule).and_then(|rule| rule.name.clone()),
            accepted_ms: delivery.accepted_ms,
            since_ms: delivery.since_ms,
            attempts: delivery.attempts.clone(),
            key: delivery.key,
            turn: Some(delivery.turn.position()),
            size: delivery.size,
            home,
            at_ms,
            death,
        }
    }

    fn no_longer_unparked(&mut self, id: DeliveryId) {
        let Some(delivery) = self.table.get_mut(&id) else { return };
        if std::mem::take(&mut delivery.unparked) {
            let key = delivery.rule.namespace;
            let namespace = self.turns.namespace(key);
            namespace.unparked = namespace.unparked.saturating_sub(1);
            self.unparked = self.unparked.saturating_sub(1);
        }
    }

    /// An append is durable: its records are in force, one by one.
    pub(super) fn durable(
        &mut self,
        positions: &[Position],
        now_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        for position in positions {
            self.applied.advance(*position);
        }
        for (change, position) in self.pipeline.durable(positions) {
            match change {
                Change::Done(id, ticket) => self.done(id, ticket, now_ms, effects),
                Change::Parked(id) => self.recorded(id, position),
                Change::Dead(id, died_ms, death) => {
                    self.recorded(id, position);
                    self.died(id, (died_ms, death), now_ms, effects);
                }
                Change::Revived(id, since_ms, ticket) => {
                    self.recorded(id, position);
                    effects.push(DeliveryEffect::Answer { ticket, answer: Ok(()) });
                    self.revived(id, since_ms, now_ms, effects);
                }
                Change::Carried(id) => {
                    self.recorded(id, position);
                    self.carried(id, position);
                }
                Change::Replayed(id, mut delivery) => {
                    delivery.record = Some(position);
                    delivery.turn = Turn::from(position);
                    self.insert(id, *delivery, effects);
                    self.schedule(id, now_ms);
                }
                Change::Part(id, mut delivery) => {
                    delivery.record = Some(position);
                    delivery.home = position;
                    delivery.told = Some(position);
                    self.insert(id, *delivery, effects);
                    self.schedule(id, now_ms);
                }
                Change::Replay(record, ticket) => {
                    self.replay_recorded(*record, position, ticket, effects);
                }
                Change::Nothing => {}
            }
        }
        // What was loaded meanwhile held records of this append.
        if self.water.loaded().covers(&self.applied) {
            self.applied = self.water.loaded().clone();
        }
    }

    /// A record about the delivery is durable: it holds the mark no longer.
    fn recorded(&mut self, id: DeliveryId, position: Position) {
        let Some(delivery) = self.table.get_mut(&id) else { return };
        delivery.record = Some(position);
        if let Some(entry) = delivery.entry.take() {
            self.water.close(entry, id.rule);
        }
        self.no_longer_unparked(id);
    }

    fn done(
        &mut self,
        id: DeliveryId,
        ticket: Option<Ticket>,
        now_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        if let Some(ticket) = ticket {
            effects.push(DeliveryEffect::Answer { ticket, answer: Ok(()) });
        }
        let Some(delivery) = self.remove(id, effects) else { return };
        if id.occasion == evoke_schemas::Occasion::Live && !self.water.mark().is_past(id.position) {
            self.settled.entry(id.position).or_default().push(id.rule);
        }
        if let Some(entry) = delivery.entry {
            self.water.close(entry, id.rule);
        }
        self.release(id, &delivery.place(), now_ms);
    }

    fn died(
        &mut self,
        id: DeliveryId,
        (died_ms, death): (u64, Death),
        now_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        let Some(place) = self.table.get(&id).map(Delivery::place) else { return };
        let bury = |delivery: &mut Delivery| {
            delivery.body = None;
            delivery.state = State::Dead { died_ms, death };
        };
        self.exchange(id, bury, effects);
        self.announce(id, effects);
        self.release(id, &place, now_ms);
    }

    pub(super) fn announced(&mut self, id: DeliveryId) {
        let Some(delivery) = self.table.get_mut(&id) else { return };
        if let State::Dead { death, .. } = &mut delivery.state
            && !std::mem::replace(&mut death.announced, true)
        {
            let mut writer = Writer::default();
            id.write(&mut writer);
            self.pipeline.push(progress(stream::ANNOUNCED, writer.finish()), Change::Nothing);
        }
    }
}

/// A record of progress.
pub(super) fn progress(stream: evoke_event_log::Stream, data: bytes::Bytes) -> Record {
    Record { stream, partition: stream::PROGRESS_PARTITION, dedup: None, data }
}
