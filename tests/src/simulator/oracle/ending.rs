//! What must be so once everything is quiet.

use std::collections::HashMap;

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
}
