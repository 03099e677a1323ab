//! What becomes durable: the oracle reads the log as an outsider would.

use evoke_event_log::StoredRecord;
use evoke_schemas::{EntityUid, Occasion, Position, event::PARTITION_KEY};
use evoke_trigger_engine::Target;
use evoke_trigger_engine::record::{
    DeliveryId, HeldRecord, Outcome, OutcomeRecord, Reason, ReplayRecord, StoredEvent, stream,
};

use super::{Known, Oracle, Settled};
use crate::simulator::clients;
use crate::simulator::disk::Disk;
use crate::simulator::env::LOG;
use crate::simulator::sources::Read;
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
            stream::REPLAY => self.replay(record),
            _other => {}
        }
    }

    fn event(&mut self, record: &StoredRecord) {
        let position = record.position;
        let stored = match StoredEvent::decode(record.data.clone()) {
            Ok(stored) => stored,
            Err(error) => return self.accuse(format!("event {position} is not one: {error}")),
        };
        if !clients::is_theirs(&stored.event) {
            return self.own_event(record, &stored);
        }
        let Some(token) = Token::find(&record.data) else {
            return self.accuse(format!("the event at {position} has lost its data"));
        };
        if let Some(read) = Read::of(token) {
            self.feed_event(read);
        }
        self.expect_triggers(record, &stored, token);
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
        // An id whose event is gone from the log is forgotten with it.
        let begin = self.begin;
        event.positions.retain(|known| known.offset >= begin);
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

    /// The event that stands at a position.
    #[must_use]
    pub fn token_at(&self, position: Position) -> Option<Token> {
        self.tokens.get(&position).copied()
    }

    fn expect_triggers(&mut self, record: &StoredRecord, stored: &StoredEvent, token: Token) {
        let position = record.position;
        self.tokens.insert(position, token);
        let fired = super::Fired {
            position,
            namespace: stored.namespace.clone(),
            triggers: stored.triggers.iter().map(|trigger| trigger.name.clone()).collect(),
            time_ms: record.time_ms,
        };
        self.fired.insert(position.offset, fired);
        for trigger in &stored.triggers {
            if trigger.rules.iter().any(|rule| rule.active) {
                let id = DeliveryId::live(position, trigger.uid).activation_id(LOG);
                self.trigger_ids.insert(id, token);
            }
        }
    }

    /// An event of the hub itself, which tells of a dead letter.
    fn own_event(&mut self, record: &StoredRecord, stored: &StoredEvent) {
        let identity = (stored.namespace.clone(), stored.event.id.clone());
        if !self.announced.insert(identity) {
            self.accuse(format!("the hub tells twice of {}: {stored:?}", stored.event.id));
        }
        let mut rules: Vec<_> = stored.active_rules().map(|(_, rule)| rule.uid).collect();
        rules.sort_unstable();
        let token = own_token(record.position);
        self.expect_triggers(record, stored, token);
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
                    failed: false,
                    missed: false,
                    running: false,
                    starts: 0,
                    crashes: 0,
                    alone_since: None,
                },
            );
            *self.open.entry(turn).or_default() += 1;
        }
    }

    fn know(&mut self, id: DeliveryId, known: Known) {
        self.ids.insert(id.activation_id(LOG), id);
        if self.ordered(id.rule) {
            let key = (id.rule, self.key_of(known.token), id.occasion);
            self.turns.entry(key).or_default().insert((known.turn, id));
        }
        self.unsettled += 1;
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
            Outcome::Failed => known.failed && kept.is_some_and(|kept| !kept.success),
            Outcome::RuleDeleted => self.deleted_rules.contains(&id.rule),
            Outcome::Discarded => self.discarded.contains(&id),
            Outcome::Expired => matches!(known.state, Settled::Dead(_)),
            Outcome::Cancelled => match id.occasion {
                Occasion::Replay(uid) => self.cancelled.contains(&uid),
                Occasion::Live | Occasion::Part(_) => false,
            },
            // No event of the simulator stands for several records.
            Outcome::Halved | Outcome::Erased => false,
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
            if !self.revived.contains(&id) {
                self.accuse(format!("{id:?} came back from the dead by itself"));
            }
            self.revive(id);
        }
    }

    fn replay(&mut self, record: &StoredRecord) {
        let replay = match ReplayRecord::decode(record.data.clone()) {
            Ok(replay) => replay,
            Err(error) => return self.accuse(format!("no replay: {error}")),
        };
        let Some(known) = self.replays.get_mut(&replay.uid) else {
            return self.accuse(format!("nobody asked for {replay:?}"));
        };
        let first = known.take().map_or_else(|| replay.clone(), |(first, _)| first);
        *known = Some((first, replay));
    }

    fn revive(&mut self, id: DeliveryId) {
        if let Some(known) = self.deliveries.get_mut(&id) {
            known.failures = 0;
            known.noted_failures = 0;
        }
    }

    /// A delivery that a replay of a range made.
    fn know_replayed(&mut self, held: &HeldRecord, turn: u64) -> bool {
        let id = held.id;
        let token = self.tokens.get(&id.position).copied();
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
                failed: false,
                missed: false,
                running: false,
                starts: 0,
                crashes: 0,
                alone_since: None,
            },
        );
        true
    }

    fn judge_death(&mut self, id: DeliveryId, reason: Reason, known: &Known, held: &HeldRecord) {
        let policies = self.policies.get(&id.rule).copied();
        // Nobody asks for more attempts of a rule that is gone.
        let gone = self.deleted_rules.contains(&id.rule);
        let fewest = policies.filter(|_| !gone).map_or(1, |policies| policies.fewest_attempts);
        let deadline = policies.map_or(0, |policies| policies.shortest_deadline_ms);
        let just = match reason {
            Reason::Exhausted => known.failures >= fewest && held.attempts.failures >= fewest,
            Reason::Deadline => self.latest_wall_ms >= known.since_ms + deadline,
            Reason::ActionMissing => known.missed,
            // No feed of the simulator sets events aside.
            Reason::Unreadable | Reason::Lost | Reason::SetAside => false,
        };
        if !just {
            self.accuse(format!("{id:?} is dead by {reason:?} without cause: {known:?}"));
        }
    }

    /// The log durably says so.
    fn settle(&mut self, id: DeliveryId, state: Settled) {
        let Some(known) = self.deliveries.get_mut(&id) else { return };
        let was_open = known.state == Settled::Open && id.occasion == Occasion::Live;
        let before = std::mem::replace(&mut known.state, state).is_under_way();
        self.unsettled = self.unsettled + usize::from(state.is_under_way()) - usize::from(before);
        let (turn, token) = (known.turn, known.token);
        if was_open && let Some(count) = self.open.get_mut(&id.position.offset) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&id.position.offset);
            }
        }
        if matches!(state, Settled::Done(_) | Settled::Dead(_)) && self.ordered(id.rule) {
            let key = (id.rule, self.key_of(token), id.occasion);
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

    /// All before this number is let go: a replay need not deliver it.
    pub fn goes(&mut self, number: u64) {
        self.going = self.going.max(number);
    }

    /// Segments were dropped: whatever is not done must still be safe somewhere.
    pub fn dropped(&mut self, begin: u64, disk: &Disk, witness: &Witness) {
        self.begin = begin;
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

/// A token for an event of the hub itself: counted down from the top, where no client's is.
fn own_token(position: Position) -> Token {
    Token(u32::MAX - position.offset as u32)
}
