//! What clients are told.

use evoke_schemas::EntityUid;
use evoke_trigger_engine::Accepted;

use super::Oracle;
use crate::simulator::disk::Disk;
use crate::simulator::witness::{Token, Witness};

impl Oracle {
    /// An event was matched to these rules and goes to the log.
    pub fn matched(&mut self, token: Token, rules: Vec<EntityUid>) {
        let matches = self.matches.entry(token).or_default();
        if !matches.contains(&rules) {
            matches.push(rules);
        }
    }

    /// A client is told that its event is accepted.
    pub fn told(&mut self, token: Token, accepted: &Accepted, disk: &Disk, witness: &Witness) {
        let position = accepted.position;
        if !witness.is_safe(disk, token) {
            let kind = if accepted.duplicate { "duplicate" } else { "event" };
            self.accuse(format!("{kind} {token:?} is acknowledged and not durable"));
        }
        let event = self.events.entry(token).or_default();
        event.told.get_or_insert(position);
        let same = event.told == Some(position) && event.positions.contains(&position);
        if !same {
            let event = format!("{event:?}");
            self.accuse(format!("{token:?} is acknowledged at {position}, but is {event}"));
        }
        let promised = accepted.triggers.iter().flat_map(|trigger| &trigger.rules);
        let promised = promised.filter_map(|rule| rule.activation_id).chain(accepted.activation_id);
        for id in promised {
            let known = self.ids.get(&id).and_then(|delivery| self.deliveries.get(delivery));
            if known.is_none_or(|known| known.token != token) {
                self.accuse(format!("{token:?} is promised activation {id}, which is not its"));
            }
        }
    }
}
