//! What must be so once everything is quiet.

use std::collections::HashMap;

use evoke_schemas::Occasion;
use evoke_trigger_engine::record::{DeliveryId, ReplayStatus};

use super::{Oracle, Settled};
use crate::simulator::env::LOG;
use crate::simulator::store::Store;

/// Broken promises that are told one by one.
const SHOWN: usize = 4;

impl Oracle {
    /// Judges the end: every delivery is settled, every record is one that was asked for.
    pub fn judge_end(&mut self, store: &Store, tally: &mut HashMap<&'static str, u64>) {
        let mut found = Vec::new();
        for (id, known) in &self.deliveries {
            let kept = store.get(&id.activation_id(LOG));
            let name = match known.state {
                Settled::Open => "left open",
                Settled::Parked => "left parked",
                Settled::Dead(_) => "ended dead",
                Settled::Done(_) => "ended done",
            };
            *tally.entry(name).or_default() += 1;
            if known.state.is_under_way() {
                found.push(format!("{id:?} never ended: {known:?}, record {kept:?}"));
            }
            if kept.is_some_and(|kept| kept.token != known.token || kept.rule != id.rule) {
                found.push(format!("{id:?} has the record of another: {kept:?}"));
            }
        }
        self.judge_replays(&mut found);
        let unrecorded = self.trigger_ids.iter().filter(|(id, _)| store.get(id).is_none());
        found.extend(unrecorded.map(|(id, token)| format!("no record {id} of {token:?}'s firing")));
        let strangers = store
            .iter()
            .filter(|(id, _)| !self.ids.contains_key(*id) && !self.trigger_ids.contains_key(*id));
        found.extend(strangers.map(|(id, kept)| format!("activation {id} is nobody's: {kept:?}")));
        let more = found.len().saturating_sub(SHOWN);
        found.truncate(SHOWN);
        if more > 0 {
            found.push(format!("and {more} more"));
        }
        self.violations.extend(found);
    }

    /// A replay that was read to its end delivered every event of its range that is still there.
    fn judge_replays(&self, found: &mut Vec<String>) {
        for (uid, records) in &self.replays {
            let Some((first, newest)) = records else { continue };
            let Some(trigger) = self.triggers.get(&first.rule_uid) else { continue };
            if newest.status != ReplayStatus::Read || self.deleted_rules.contains(&first.rule_uid) {
                continue;
            }
            let range = self.going.max(first.next.next_in(0))..first.to.next_in(0);
            if range.is_empty() {
                continue;
            }
            for (_, fired) in self.fired.range(range) {
                let meant = fired.namespace == first.namespace
                    && fired.triggers.contains(trigger)
                    && (first.from_ms..first.to_ms).contains(&fired.time_ms);
                let (position, rule) = (fired.position, first.rule_uid);
                let id = DeliveryId { position, rule, occasion: Occasion::Replay(*uid) };
                if meant && !self.deliveries.contains_key(&id) {
                    found.push(format!("replay {uid} left out {position}"));
                }
            }
        }
    }
}
