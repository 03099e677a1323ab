//! A function fails with an event that stands for several records of its source: they are
//! delivered in two halves, and so on, until the one that does harm is alone.
//!
//! The halves are parked, each with its copy of the event, in one append with the outcome of the
//! whole: a crash leaves either the one or the other. They take the whole's place in its key, and
//! keep its deadline: behind it each has one attempt, so that no key is held up by the sum of them.

use super::{
    Deliveries, Delivery, State,
    settle::{Change, progress},
};
use crate::record::{Attempts, DeliveryId, HalfRecords, Home, Outcome, stream};

impl Deliveries {
    pub(super) fn halve(&mut self, id: DeliveryId, halves: Option<&HalfRecords>, now_ms: u64) {
        let Some(halves) = halves else { return };
        let (first, second) = id.occasion.halves(halves.middle, halves.count);
        for (occasion, copy) in [(first, &halves.first), (second, &halves.second)] {
            let Some(whole) = self.table.get(&id) else { return };
            let part = DeliveryId { occasion, ..id };
            let delivery = Delivery {
                rule: whole.rule,
                accepted_ms: whole.accepted_ms,
                since_ms: whole.since_ms,
                attempts: Attempts::default(),
                key: whole.key,
                turn: whole.turn,
                size: u32::try_from(copy.len()).unwrap_or(u32::MAX),
                home: whole.home,
                record: None,
                told: None,
                entry: None,
                unparked: false,
                body: None,
                due_ms: 0,
                state: State::Resting,
            };
            let held = self.held_record(part, &delivery, Home::Copy(copy.clone()), None);
            let record = progress(stream::PARKED, held.encode());
            self.pipeline.push_joined(record, Change::Part(part, Box::new(delivery)));
        }
        self.settle(id, Outcome::Halved, now_ms);
    }
}
