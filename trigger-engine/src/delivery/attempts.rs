//! Attempts begin in turn and end; what follows is decided once, here.

use std::sync::Arc;

use evoke_schemas::{EntityUid, Namespace, Position, Rule};

use super::{
    Deliveries, DeliveryEffect, Start, State,
    retry::{self, Case, Next},
    turns::RuleKey,
};
use crate::{
    invoker::Verdict,
    record::{DeliveryId, HalfRecords, Outcome, Reason},
};

impl Deliveries {
    /// Begins attempts as long as there is room for them.
    pub(super) fn dispatch(&mut self, now_ms: u64, effects: &mut Vec<DeliveryEffect>) {
        while self.running < self.capacity
            && self.running_bytes < self.config.in_flight_bytes
            && self.pipeline.len() < self.config.unsettled
        {
            let next = self.turns.next(self.config.running_per_namespace);
            let Some((key, id)) = next else { return };
            if self.table.get(&id).is_none_or(|delivery| delivery.state != State::Ready) {
                self.turns.enter(key);
                continue;
            }
            if let Some(outcome) = self.why_not(key, id) {
                self.settle(id, outcome, now_ms);
                self.turns.enter(key);
                continue;
            }
            self.start(key, id, effects);
        }
    }

    /// The outcome of a delivery that is not to be dispatched.
    fn why_not(&self, key: RuleKey, id: DeliveryId) -> Option<Outcome> {
        if self.is_cancelled(id) {
            return Some(Outcome::Cancelled);
        }
        let deleted = self.turns.find_rule(key).is_none_or(|rule| rule.rule.is_none());
        (deleted && key.uid != EntityUid::DIRECT).then_some(Outcome::RuleDeleted)
    }

    fn start(&mut self, key: RuleKey, id: DeliveryId, effects: &mut Vec<DeliveryEffect>) {
        let rule = self.turns.rule(key).rule.clone();
        let Some(delivery) = self.table.get_mut(&id) else { return };
        delivery.state = State::Running;
        delivery.attempts.made = delivery.attempts.made.saturating_add(1);
        let body = delivery.body.take();
        if body.is_some() {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(delivery.bytes());
        }
        self.running += 1;
        self.running_bytes += delivery.bytes();
        self.turns.tally(key).attempts += 1;
        effects.push(DeliveryEffect::Start(Box::new(Start {
            id,
            activation_id: id.activation_id(self.log.at(id.position)),
            rule,
            body,
            home: delivery.home,
            attempt: delivery.attempts.made,
            accepted_ms: delivery.accepted_ms,
        })));
        self.turns.begin(key);
    }

    /// Takes an attempt's end; `None` where none was under way.
    pub(super) fn end(&mut self, id: DeliveryId) -> Option<RuleKey> {
        let delivery = self.table.get_mut(&id).filter(|it| it.state == State::Running)?;
        let (key, bytes) = (delivery.rule, delivery.bytes());
        delivery.state = State::Settling;
        self.running = self.running.saturating_sub(1);
        self.running_bytes = self.running_bytes.saturating_sub(bytes);
        self.turns.end(key);
        Some(key)
    }

    pub(super) fn attempt_ended(
        &mut self,
        id: DeliveryId,
        verdict: &Verdict,
        halves: Option<&HalfRecords>,
        now_ms: u64,
    ) {
        let Some(key) = self.end(id) else { return };
        let Some(delivery) = self.table.get_mut(&id) else { return };
        let case = Case {
            rule: id.rule,
            policy: self.turns.rule(key).policy(),
            since_ms: delivery.since_ms,
            activation_id: id.activation_id(self.log.at(id.position)),
            now_ms,
        };
        match retry::decide(case, &mut delivery.attempts, verdict) {
            Next::Done(outcome) => self.settle(id, outcome, now_ms),
            Next::Dead(Reason::Exhausted | Reason::Deadline) if halves.is_some() => {
                self.halve(id, halves, now_ms);
            }
            Next::Dead(reason) => self.bury(id, reason, now_ms),
            Next::Retry { due_ms } => {
                delivery.due_ms = due_ms;
                self.turns.tally(key).retries += 1;
                self.park(id, now_ms);
                self.rouse(id, now_ms);
            }
        }
    }

    /// The event of an attempt is not at `home`: nothing can be delivered, unless it was carried
    /// elsewhere while it was read.
    pub(super) fn unreadable(&mut self, id: DeliveryId, home: Position, now_ms: u64) {
        if self.end(id).is_none() {
            return;
        }
        let Some(delivery) = self.table.get_mut(&id) else { return };
        if delivery.home != home {
            delivery.attempts.made = delivery.attempts.made.saturating_sub(1);
            self.make_ready(id);
            return;
        }
        delivery.attempts.note(now_ms, "the event's record could not be read");
        self.bury(id, Reason::Unreadable, now_ms);
    }

    pub(super) fn rule_changed(&mut self, rule: Arc<Rule>, now_ms: u64) {
        let key = RuleKey { namespace: self.turns.key(&rule.namespace), uid: rule.uid };
        let turns = self.turns.rule(key);
        turns.name = Some(rule.name.clone());
        let freed = if rule.delivery.ordered { Vec::new() } else { turns.chains.dissolve() };
        turns.rule = Some(rule);
        self.turns.enter(key);
        for id in freed {
            self.rouse(id, now_ms);
        }
    }

    pub(super) fn rule_removed(&mut self, namespace: &Namespace, uid: EntityUid) {
        let key = RuleKey { namespace: self.turns.key(namespace), uid };
        self.turns.rule(key).rule = None;
        self.turns.enter(key);
        self.turns.prune(key);
    }
}
