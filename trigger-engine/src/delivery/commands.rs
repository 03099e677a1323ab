//! What people ask of dead letters, and what time does to them.

use super::{
    CommandError, Deliveries, Delivery, DeliveryEffect, State, Ticket,
    settle::{Change, progress},
};
use crate::record::{DeliveryId, Outcome, stream};

impl Deliveries {
    /// Delivers a dead letter again: its attempts go on, its deadline begins anew.
    pub(super) fn revive(
        &mut self,
        id: DeliveryId,
        ticket: Ticket,
        now_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        if let Err(error) = self.is_free_dead_letter(id) {
            effects.push(DeliveryEffect::Answer { ticket, answer: Err(error) });
            return;
        }
        let Some(delivery) = self.table.get(&id) else { return };
        let mut record = self.held_record(id, delivery, delivery.home(), None);
        record.since_ms = now_ms;
        record.at_ms = 0;
        record.attempts.begin_anew();
        let record = progress(stream::PARKED, record.encode());
        self.pipeline.push(record, Change::Revived(id, now_ms, ticket));
        self.tell_home(id);
    }

    /// A dead letter's revival is durable: it waits again.
    pub(super) fn revived(
        &mut self,
        id: DeliveryId,
        since_ms: u64,
        now_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        let revive = |delivery: &mut Delivery| {
            delivery.since_ms = since_ms;
            delivery.due_ms = 0;
            delivery.attempts.begin_anew();
            delivery.state = State::Resting;
        };
        if !self.exchange(id, revive, effects) {
            return;
        }
        self.schedule(id, now_ms);
    }

    /// Lets a dead letter go.
    pub(super) fn discard(
        &mut self,
        id: DeliveryId,
        ticket: Ticket,
        now_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        match self.is_free_dead_letter(id) {
            Ok(()) => self.settle_for(id, Outcome::Discarded, now_ms, Some(ticket)),
            Err(error) => effects.push(DeliveryEffect::Answer { ticket, answer: Err(error) }),
        }
    }

    /// Lets dead letters go that are too old or too many.
    pub(super) fn expire_dead(&mut self, now_ms: u64) {
        let (age_ms, most) = (self.config.dead_letter_ms, self.config.dead_letters_per_namespace);
        let mut expired = Vec::new();
        for key in self.turns.namespaces() {
            let dead = &self.turns.namespace(key).dead;
            let surplus = dead.len().saturating_sub(most);
            let old = |died_ms: u64| died_ms.saturating_add(age_ms) <= now_ms;
            let gone = dead.iter().enumerate();
            let gone = gone.take_while(|(index, (died_ms, _))| *index < surplus || old(*died_ms));
            expired.extend(gone.map(|(_, (_, id))| *id));
        }
        for id in expired {
            if self.pipeline.len() >= self.config.unsettled {
                return;
            }
            if self.is_free_dead_letter(id).is_ok() {
                self.settle(id, Outcome::Expired, now_ms);
            }
        }
    }

    fn is_free_dead_letter(&self, id: DeliveryId) -> Result<(), CommandError> {
        let delivery = self.table.get(&id).ok_or(CommandError::NotFound)?;
        let dead = delivery.state.died_ms().is_some();
        if dead && !self.is_on_its_way(id) { Ok(()) } else { Err(CommandError::Conflict) }
    }

    /// Whether a record about the delivery has not reached the log yet.
    pub(super) fn is_on_its_way(&self, id: DeliveryId) -> bool {
        self.pipeline.any(|change| change.is_about(id))
    }
}
