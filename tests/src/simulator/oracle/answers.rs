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

    /// A client is told that all it sent is accepted, this event too.
    pub fn acknowledged(&mut self, token: Token, disk: &Disk, witness: &Witness) {
        // What retention let go was durable, and settled: its repetition is told as the first was.
        let begin = self.begin;
        let event = self.events.get(&token);
        let is_gone = event.is_some_and(|it| it.positions.iter().any(|at| at.offset < begin));
        if !is_gone && !witness.is_safe(disk, token) {
            self.accuse(format!("{token:?} is acknowledged and not durable"));
        }
    }

    /// A client is told where its event is.
    pub fn told(&mut self, token: Token, accepted: &Accepted) {
        let position = accepted.position;
        let event = self.events.entry(token).or_default();
        event.told = Some(position);
        if !event.positions.contains(&position) {
            let event = format!("{event:?}");
            self.accuse(format!("{token:?} is acknowledged at {position}, but is {event}"));
        }
        for id in accepted.triggers.iter().filter_map(|trigger| trigger.activation_id) {
            if self.trigger_ids.get(&id) != Some(&token) {
                self.accuse(format!("{token:?} is promised trigger activation {id}, not its"));
            }
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
