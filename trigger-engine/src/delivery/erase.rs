//! An event is erased: its deliveries end, wherever they stand.

use evoke_schemas::Position;

use super::{Deliveries, State};
use crate::record::{DeliveryId, Outcome};

impl Deliveries {
    /// Ends every delivery of the event that is not running and not ending already.
    pub(super) fn erase(&mut self, position: Position, now_ms: u64) {
        let ids: Vec<DeliveryId> =
            self.table.keys().filter(|id| id.position == position).copied().collect();
        for id in ids {
            if self.is_on_its_way(id) {
                continue;
            }
            let Some(delivery) = self.table.get(&id) else { continue };
            let (rule, key, turn) = delivery.place();
            match delivery.state {
                State::Running | State::Settling => continue,
                State::Chained => {
                    // Not the head: nobody may wake it any more.
                    let next = self.turns.rule(rule).chains.leave(key, turn, id);
                    debug_assert!(next.is_none(), "the head of a key is not behind it");
                }
                State::Resting => {
                    self.due.remove(&(delivery.due_ms, id));
                }
                State::Dormant | State::Ready | State::Dead { .. } => {}
            }
            self.settle(id, Outcome::Erased, now_ms);
        }
    }

    /// An attempt found its event erased.
    pub(super) fn found_erased(&mut self, id: DeliveryId, now_ms: u64) {
        if self.end(id).is_some() {
            self.settle(id, Outcome::Erased, now_ms);
        }
    }

    /// Deliveries of the event that are not done, dead letters included.
    #[must_use]
    pub fn open_at(&self, position: Position) -> usize {
        self.table.keys().filter(|id| id.position == position).count()
    }
}
