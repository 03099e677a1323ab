//! What becomes durable: the oracle reads the log as an outsider would.

use evoke_event_log::StoredRecord;
use evoke_schemas::{EntityUid, Occasion, event::PARTITION_KEY};
use evoke_trigger_engine::Target;
use evoke_trigger_engine::record::{
    DeliveryId, HeldRecord, Outcome, OutcomeRecord, Reason, StoredEvent, stream,
};

use super::{Known, Oracle, Settled};
use crate::simulator::disk::Disk;
use crate::simulator::env::LOG;
use crate::simulator::store::Store;
use crate::simulator::witness::{Token, Witness};

impl Oracle {
    /// A record is durable; what was seen before is skipped.
    pub fn durable(&mut self, record: &StoredRecord, store: &Store) {
        if record.position.offset < self.seen {
            return;
        }
        self.seen = record.position.offset + 1;
        match record.stream {
            stream::EVENT | stream::INVOCATION => self.event(record),
            stream::OUTCOME => self.outcome(record, store),
            stream::PARKED | stream::DEAD => self.held(record),
            _other => {}
        }
    }

    fn event(&mut self, record: &StoredRecord) {
        let position = record.position;
        let stored = match StoredEvent::decode(record.data.clone()) {
            Ok(stored) => stored,
            Err(error) => return self.accuse(format!("event {position} is not one: {error}")),
        };
        let Some(token) = Token::find(&record.data) else {
            // The hub's own events, such as those that tell of dead letters.
            return self.own_event(record, &stored);
        };
        let mut rules: Vec<_> = stored.active_rules().map(|(_, rule)| rule.uid).collect();
        rules.sort_unstable();
        if let Some(matches) = self.matches.get(&token)
            && !matches.contains(&rules)
        {
            self.accuse(format!("{token:?} at {position} got rules {rules:?}, not {matches:?}"));
        }
        let key = stored.event.attribute(PARTITION_KEY).unwrap_or_default().into_owned();
        let event = self.events.entry(token).or_default();
        event.key = key;
        event.positions.push(position);
        event.dedup = record.dedup.is_some();
        if event.positions.len() > 1 {
            let positions = event.positions.clone();
            self.accuse(format!("{token:?} was accepted more than once: {positions:?}"));
        }
        if matches!(stored.target, Target::Action(_)) {
            rules.push(EntityUid::DIRECT);
        }
        self.ask(record, &stored, token, rules);
    }

    fn own_event(&mut self, record: &StoredRecord, stored: &StoredEvent) {
        let mut rules: Vec<_> = stored.active_rules().map(|(_, rule)| rule.uid).collect();
        rules.sort_unstable();
        // Counted down from the top: no client has such a token.
        let token = Token(u32::MAX - record.position.offset as u32);
        self.ask(record, stored, token, rules);
    }

    fn ask(
        &mut self,
        record: &StoredRecord,
        stored: &StoredEvent,
        token: Token,
        rules: Vec<EntityUid>,
    ) {
        for rule in rules {
            let id = DeliveryId::live(record.position, rule);
            let turn = record.position.offset;
            self.know(
                id,
                Known {
                    token,
                    namespace: stored.namespace.clone(),
                    accepted_ms: record.time_ms,
                    since_ms: record.time_ms,
                    state: Settled::Open,
                    turn,
                    noted_failures: 0,
                    failures: 0,
                    succeeded: false,
                    missed: false,
                    running: false,
                    starts: 0,
                    waits_since: 0,
                },
            );
            *self.open.entry(turn).or_default() += 1;
        }
    }

    fn know(&mut self, id: DeliveryId, known: Known) {
        self.ids.insert(id.activation_id(LOG), id);
        if self.ordered(id.rule) {
            let key = (id.rule, self.key_of(known.token));
            self.turns.entry(key).or_default().insert((known.turn, id));
        }
        self.deliveries.insert(id, known);
    }

    fn outcome(&mut self, record: &StoredRecord, store: &Store) {
        let outcome = match OutcomeRecord::decode(record.data.clone()) {
            Ok(outcome) => outcome,
            Err(error) => return self.accuse(format!("no outcome: {error}")),
        };
        let id = outcome.id;
        let Some(known) = self.deliveries.get(&id).cloned() else {
            return self.accuse(format!("an outcome of {id:?}, which nobody asked for"));
        };
        if let Settled::Done(before) = known.state {
            self.accuse(format!("{id:?} is done twice: {before:?}, then {:?}", outcome.outcome));
        }
        let kept = store.get(&id.activation_id(LOG));
        let allowed = match outcome.outcome {
            Outcome::Success => known.succeeded && kept.is_some_and(|kept| kept.success),
            Outcome::Failed => known.failures > 0 && kept.is_some_and(|kept| !kept.success),
            Outcome::RuleDeleted => self.deleted_rules.contains(&id.rule),
            Outcome::Discarded => self.discarded.contains(&id),
            Outcome::Expired => matches!(known.state, Settled::Dead(_)),
            Outcome::Cancelled => match id.occasion {
                Occasion::Replay(uid) => self.cancelled.contains(&uid),
                Occasion::Live => false,
            },
        };
        if !allowed {
            self.accuse(format!(
                "{id:?} has outcome {:?} without cause: {known:?}, record {kept:?}",
                outcome.outcome
            ));
        }
        self.settle(id, Settled::Done(outcome.outcome));
    }

    fn held(&mut self, record: &StoredRecord) {
        let held = match HeldRecord::decode(record.data.clone()) {
            Ok(held) => held,
            Err(error) => return self.accuse(format!("nothing held: {error}")),
        };
        let id = held.id;
        let turn = held.turn.map_or(record.position.offset, |turn| turn.offset);
        if !self.deliveries.contains_key(&id) && !self.know_replayed(&held, turn) {
            return;
        }
        let Some(known) = self.deliveries.get_mut(&id) else { return };
        known.noted_failures = held.attempts.failures;
        known.failures = known.failures.max(held.attempts.failures);
        known.since_ms = held.since_ms;
        let (before, known) = (known.state, known.clone());
        if let Settled::Done(outcome) = before {
            self.accuse(format!("{id:?} is held again after its outcome {outcome:?}"));
        }
        let revived = matches!(before, Settled::Dead(_)) && held.death.is_none();
        match &held.death {
            None => self.settle(id, Settled::Parked),
            Some(death) => {
                if !matches!(before, Settled::Dead(_)) {
                    self.judge_death(id, death.reason, &known, &held);
                }
                self.settle(id, Settled::Dead(death.reason));
            }
        }
        if revived {
            self.revive(id, turn);
        }
    }

    fn revive(&mut self, id: DeliveryId, turn: u64) {
        let ordered = self.ordered(id.rule);
        let Some(known) = self.deliveries.get_mut(&id) else { return };
        known.turn = turn;
        known.failures = 0;
        known.noted_failures = 0;
        let token = known.token;
        if ordered {
            let key = (id.rule, self.key_of(token));
            self.turns.entry(key).or_default().insert((turn, id));
        }
    }

    /// A delivery that a replay of a range made.
    fn know_replayed(&mut self, held: &HeldRecord, turn: u64) -> bool {
        let id = held.id;
        let original = self.deliveries.iter().find(|(other, _)| other.position == id.position);
        let token = match original {
            Some((_, known)) => Some(known.token),
            None => self.token_at(id.position.offset),
        };
        let (Some(token), Occasion::Replay(_)) = (token, id.occasion) else {
            self.accuse(format!("{id:?} is held and nobody asked for it"));
            return false;
        };
        self.know(
            id,
            Known {
                token,
                namespace: held.namespace.clone(),
                accepted_ms: held.accepted_ms,
                since_ms: held.since_ms,
                state: Settled::Parked,
                turn,
                noted_failures: 0,
                failures: 0,
                succeeded: false,
                missed: false,
                running: false,
                starts: 0,
                waits_since: 0,
            },
        );
        true
    }

    fn token_at(&self, offset: u64) -> Option<Token> {
        let stands = |event: &super::EventKnown| {
            event.positions.iter().any(|position| position.offset == offset)
        };
        self.events.iter().find(|(_, event)| stands(event)).map(|(token, _)| *token)
    }

    fn judge_death(&mut self, id: DeliveryId, reason: Reason, known: &Known, held: &HeldRecord) {
        let policies = self.policies.get(&id.rule).copied();
        let fewest = policies.map_or(1, |policies| policies.fewest_attempts);
        let deadline = policies.map_or(0, |policies| policies.shortest_deadline_ms);
        let just = match reason {
            Reason::Exhausted => known.failures >= fewest && held.attempts.failures >= fewest,
            Reason::Deadline => self.latest_wall_ms >= known.since_ms + deadline,
            Reason::ActionMissing => known.missed,
            Reason::Unreadable | Reason::Lost => false,
        };
        if !just {
            self.accuse(format!("{id:?} is dead by {reason:?} without cause: {known:?}"));
        }
    }

    /// The log durably says so.
    fn settle(&mut self, id: DeliveryId, state: Settled) {
        let Some(known) = self.deliveries.get_mut(&id) else { return };
        let was_open = known.state == Settled::Open && id.occasion == Occasion::Live;
        known.state = state;
        let (turn, token) = (known.turn, known.token);
        if was_open && let Some(count) = self.open.get_mut(&id.position.offset) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&id.position.offset);
            }
        }
        if matches!(state, Settled::Done(_) | Settled::Dead(_)) && self.ordered(id.rule) {
            let key = (id.rule, self.key_of(token));
            if let Some(turns) = self.turns.get_mut(&key) {
                turns.remove(&(turn, id));
            }
        }
    }

    /// The low-water mark is at `number`: all before it must be done, or held by a later record.
    pub fn low_water(&mut self, number: u64) {
        if let Some((open, _)) = self.open.first_key_value()
            && *open < number
        {
            self.accuse(format!("the low-water mark {number} is past the open delivery {open}"));
        }
    }

    /// Segments were dropped: whatever is not done must still be safe somewhere.
    pub fn dropped(&mut self, disk: &Disk, witness: &Witness) {
        let lost = self.deliveries.iter().find(|(_, known)| {
            let needed = !matches!(known.state, Settled::Done(_));
            needed && known.token.0 < u32::MAX / 2 && !witness.is_safe(disk, known.token)
        });
        if let Some((id, known)) = lost {
            let what = format!("a segment was dropped under {id:?}: {known:?}");
            self.accuse(what);
        }
    }
}
