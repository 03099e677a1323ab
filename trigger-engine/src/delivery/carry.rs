//! What is alive in a segment that is to go moves to the log's end first.

use std::collections::BTreeSet;

use bytes::Bytes;
use evoke_event_log::{Cursor, SegmentId};
use evoke_schemas::Position;

use super::{
    Deliveries, Delivery, DeliveryEffect, State,
    settle::{Change, progress},
};
use crate::record::{DeliveryId, Home, stream};

/// Most events that are read at once.
const AT_ONCE: usize = 64;

/// A segment that is to go.
#[derive(Debug)]
pub(super) struct Carry {
    segment: SegmentId,
    to: Cursor,
    /// Deliveries to look at, by id.
    left: Vec<DeliveryId>,
    /// Those whose event is being read.
    reading: BTreeSet<DeliveryId>,
    /// Whether every delivery has been looked for.
    listed: bool,
    /// Records of progress that must be durable before it is looked again.
    behind: u64,
}

impl Deliveries {
    pub(super) fn begin_carry(&mut self, segment: SegmentId, to: Cursor) {
        if self.carry.is_none() {
            let (left, reading, listed, behind) = (Vec::new(), BTreeSet::new(), false, 0);
            self.carry = Some(Carry { segment, to, left, reading, listed, behind });
        }
    }

    /// Whether a segment is on its way out.
    #[must_use]
    pub fn is_carrying(&self) -> bool {
        self.carry.is_some()
    }

    /// Reads what is to be carried, and drops the segment when nothing is alive in it.
    pub(super) fn carry_on(&mut self, effects: &mut Vec<DeliveryEffect>) {
        let Some(mut carry) = self.carry.take() else { return };
        if !self.water.mark().covers(&carry.to) {
            // It was not to go at all: an open delivery is in it.
            return;
        }
        if !carry.listed {
            carry.left = self.alive_before(&carry.to);
            carry.listed = true;
            self.renew_replays(&carry.to);
            carry.behind = self.pipeline.pushed();
        }
        while carry.reading.len() < AT_ONCE
            && self.pipeline.len() < self.config.unsettled
            && let Some(id) = carry.left.pop()
        {
            let Some(delivery) = self.table.get(&id) else { continue };
            if delivery.is_before(&carry.to) && !self.is_leaving(id, delivery) {
                carry.reading.insert(id);
                effects.push(DeliveryEffect::ReadHome { id, home: delivery.home });
            }
        }
        // Deliveries may never pause, so that what is awaited is named: not "nothing under way".
        let looked = carry.left.is_empty() && carry.reading.is_empty();
        let known = self.applied.covers(&carry.to) && self.pipeline.is_durable(carry.behind);
        if looked && known {
            carry.left = self.alive_before(&carry.to);
            let free = carry.left.is_empty() && !self.replays_before(&carry.to);
            if free && !self.is_reading_replays() && !self.is_replaying_from(&carry.to) {
                self.dropped = Some(carry.to);
                effects.push(DeliveryEffect::DropSegment(carry.segment));
                return;
            }
            if carry.left.is_empty() {
                self.renew_replays(&carry.to);
            }
            carry.behind = self.pipeline.pushed();
        }
        self.carry = Some(carry);
    }

    pub(super) fn carry_read(&mut self, id: DeliveryId, data: Option<Bytes>, _now_ms: u64) {
        if let Some(carry) = &mut self.carry {
            carry.reading.remove(&id);
        }
        let Some(delivery) = self.table.get(&id) else { return };
        if self.is_leaving(id, delivery) {
            return;
        }
        let home = Home::Copy(data.unwrap_or_default());
        let dead = match &delivery.state {
            State::Dead { died_ms, death } => Some((*died_ms, death.clone())),
            State::Dormant
            | State::Chained
            | State::Ready
            | State::Resting
            | State::Running
            | State::Settling => None,
        };
        let of = if dead.is_some() { stream::DEAD } else { stream::PARKED };
        let record = self.held_record(id, delivery, home, dead);
        self.pipeline.push(progress(of, record.encode()), Change::Carried(id));
        if let Some(delivery) = self.table.get_mut(&id) {
            delivery.told = None;
        }
    }

    /// The event stands in the record that carried it.
    pub(super) fn carried(&mut self, id: DeliveryId, position: Position) {
        if let Some(delivery) = self.table.get_mut(&id) {
            delivery.home = position;
            // A record pushed behind the copy still names the old place: then it is carried again.
            delivery.told.get_or_insert(position);
        }
    }

    /// Whether a replay's delivery from before the cursor is on its way.
    fn is_replaying_from(&self, to: &Cursor) -> bool {
        self.pipeline.any(|change| match change {
            Change::Replayed(_, delivery) => to.is_past(delivery.home),
            _ => false,
        })
    }

    fn alive_before(&self, to: &Cursor) -> Vec<DeliveryId> {
        let alive = self.table.iter().filter(|(_, delivery)| delivery.is_before(to));
        let mut ids: Vec<DeliveryId> = alive.map(|(id, _)| *id).collect();
        ids.sort_unstable_by(|one, other| other.cmp(one));
        ids
    }

    /// A record that ends or moves it is on its way: a copy behind that one would undo it.
    fn is_leaving(&self, id: DeliveryId, delivery: &Delivery) -> bool {
        delivery.state == State::Settling || self.is_on_its_way(id)
    }
}

impl Delivery {
    fn is_before(&self, to: &Cursor) -> bool {
        let is_past = |place: Option<Position>| place.is_some_and(|place| to.is_past(place));
        to.is_past(self.home) || is_past(self.record) || is_past(self.told)
    }
}
