//! The core of delivery: what runs now, what waits, what is done, and how far the log is.
//!
//! One delivery is (event, rule, occasion). Its states:
//!
//! ```text
//!   event loaded ──► Chained ──── the key's turn ────┐      recovered, its event
//!        │  (ordered rule, key busy)                 │      not loaded yet
//!        │                                           ▼           │
//!        ├───────────────────────────────────────► Ready ◄───────┤ Dormant
//!        │                              due ▲        │           │
//!   replay, revived ──► Resting ────────────┘        │ turn, room
//!                          ▲                         ▼
//!                          └──── retry ────────── Running
//!                          (a PARKED record)         │ attempt ended, its activation staged
//!                                                    ▼
//!                                                Settling ── flush, then OUTCOME or DEAD record
//!                                                    │
//!                                        durable ┌───┴────┐
//!                                                ▼        ▼
//!                                              (gone)    Dead ──► revived, discarded, expired
//! ```
//!
//! A delivery holds the low-water mark from the moment its event is loaded until one record about
//! it is durable: OUTCOME, DEAD or PARKED. Being parked is no state of its own: a delivery that
//! waits longer than its namespace's share allows gets a PARKED record and goes on waiting.
//! A key of an ordered rule is released when the outcome of its head is durable, so that a crash
//! never runs an older event after a newer one.

mod announce;
mod attempts;
mod carry;
mod chain;
mod clock;
mod commands;
mod effect;
mod erase;
mod intake;
mod load;
mod low_water;
mod parts;
mod pipeline;
mod recovery;
mod replays;
mod retry;
mod settle;
mod tally;
#[cfg(test)]
mod tests;
mod turns;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use evoke_event_log::Cursor;
use evoke_schemas::{ActivationId, EntityUid, LogUids, Position};
use hashbrown::HashMap;

use crate::{
    config::DeliveryConfig,
    invoker::Verdict,
    record::{Attempts, Death, DeliveryId, Home, StoredEvent},
};
use carry::Carry;
use chain::Turn;
use low_water::LowWater;
use pipeline::{Move, Pipeline};
use replays::Replay;
use settle::Change;
use turns::{RuleKey, Turns};

pub use announce::{ANNOUNCEMENT_TYPE, MAX_DEPTH, announcement};
pub use effect::{
    CommandError, DeliveryEffect, DeliveryInput, NamespaceBounds, RangeMatch, RangeRead, Start,
    Ticket,
};
pub use load::key_of;
pub use replays::qualifies;
pub use tally::{COUNTED_RULES, Counted, DeliveryCounts, NamespaceCounts, RuleCounts, Tally};
pub use view::{Backlog, DeadLetterView, DeliveryState, DeliveryView, ReplayView};

/// How long a refused append of progress waits for room. Unit: milliseconds.
const REFUSED_WAIT_MS: u64 = 100;

/// All deliveries that are not done.
#[derive(Debug)]
pub struct Deliveries {
    config: DeliveryConfig,
    log: LogUids,
    table: HashMap<DeliveryId, Delivery>,
    turns: Turns,
    /// Those that rest, by when they are due.
    due: BTreeSet<(u64, DeliveryId)>,
    water: LowWater,
    /// Deliveries done whose event the low-water mark has not passed.
    settled: HashMap<Position, Vec<EntityUid>>,
    /// Everything of progress before this is known here: where a recovery reads on.
    applied: Cursor,
    pipeline: Pipeline<Change>,
    refused_until_ms: u64,
    /// The log's end when the machine's clock was set, and by how much.
    steps: Vec<(Cursor, i64)>,
    replays: BTreeMap<EntityUid, Replay>,
    carry: Option<Carry>,
    /// Where the log begins once the segment that went last is gone.
    dropped: Option<Cursor>,
    running: usize,
    running_bytes: usize,
    waiting_bytes: usize,
    unparked: usize,
    capacity: usize,
}

/// One delivery.
#[derive(Debug)]
struct Delivery {
    rule: RuleKey,
    accepted_ms: u64,
    since_ms: u64,
    attempts: Attempts,
    /// Hash of the event's `partitionkey`.
    key: u64,
    turn: Turn,
    size: u32,
    /// Where its event is.
    home: Position,
    /// Its newest record of the parked or dead stream.
    record: Option<Position>,
    /// Where its newest record on its way says that the event is; `None`: in that very record.
    told: Option<Position>,
    /// While it holds the low-water mark: its event's entry there.
    entry: Option<u64>,
    /// Whether it counts as waiting unparked.
    unparked: bool,
    /// The event, as long as there is room for it.
    body: Option<Arc<StoredEvent>>,
    /// Not before this time.
    due_ms: u64,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Its event is above the low-water mark and will be loaded.
    Dormant,
    /// Behind the head of its key.
    Chained,
    /// In its rule's queue.
    Ready,
    /// Not due yet.
    Resting,
    /// An attempt is under way.
    Running,
    /// Its last record is on its way.
    Settling,
    /// A dead letter.
    Dead { died_ms: u64, death: Death },
}

impl Deliveries {
    /// One step. Effects are to be carried out in order.
    pub fn step(&mut self, input: DeliveryInput, now_ms: u64, effects: &mut Vec<DeliveryEffect>) {
        match input {
            DeliveryInput::Loaded { items, next } => self.load(items, next, now_ms, effects),
            DeliveryInput::AttemptEnded { id, verdict } => {
                self.attempt_ended(id, &verdict, None, now_ms);
            }
            DeliveryInput::BatchFailed { id, reason, halves } => {
                let verdict = Verdict::FunctionFailed { reason };
                self.attempt_ended(id, &verdict, Some(&halves), now_ms);
            }
            DeliveryInput::Unreadable { id, home } => self.unreadable(id, home, now_ms),
            DeliveryInput::Erased { id } => self.found_erased(id, now_ms),
            DeliveryInput::Erase { position, ticket } => {
                self.erase(position, now_ms);
                effects.push(DeliveryEffect::Answer { ticket, answer: Ok(()) });
            }
            DeliveryInput::Flushed => self.pipeline.flushed(),
            DeliveryInput::Durable { positions } => self.durable(&positions, now_ms, effects),
            DeliveryInput::AppendRefused => {
                self.pipeline.refuse();
                self.refused_until_ms = now_ms.saturating_add(REFUSED_WAIT_MS);
            }
            DeliveryInput::RuleChanged(rule) => self.rule_changed(rule, now_ms),
            DeliveryInput::RuleRemoved { namespace, uid } => self.rule_removed(&namespace, uid),
            DeliveryInput::Capacity(capacity) => self.capacity = capacity.min(self.config.running),
            DeliveryInput::Bounds { namespace, bounds } => {
                self.set_bounds(&namespace, bounds, effects);
            }
            DeliveryInput::Tick => self.tick(now_ms, effects),
            DeliveryInput::ClockStepped { by_ms, end } => self.clock_stepped(by_ms, end),
            DeliveryInput::Revive { id, ticket } => self.revive(id, ticket, now_ms, effects),
            DeliveryInput::Discard { id, ticket } => self.discard(id, ticket, now_ms, effects),
            DeliveryInput::Announced { id } => self.announced(id),
            DeliveryInput::CreateReplay { replay, ticket } => self.create_replay(*replay, ticket),
            DeliveryInput::CancelReplay { uid, ticket } => self.cancel_replay(uid, ticket, effects),
            DeliveryInput::RangeRead(range) => self.range_read(range, now_ms),
            DeliveryInput::Carry { segment, to } => self.begin_carry(segment, to),
            DeliveryInput::CarryRead { id, data } => self.carry_read(id, data, now_ms),
        }
        self.go_on(now_ms, effects);
    }

    /// Whether more of the log may be loaded.
    #[must_use]
    pub fn wants_items(&self) -> bool {
        self.pipeline.len() < self.config.unsettled
    }

    /// When a [`DeliveryInput::Tick`] is due, unix milliseconds.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        let due = self.due.first().map(|(due_ms, _)| *due_ms);
        let again = self.pipeline.is_refused().then_some(self.refused_until_ms);
        due.into_iter().chain(again).min()
    }

    /// Everything below is done, dead or parked.
    #[must_use]
    pub fn low_water(&self) -> &Cursor {
        self.water.mark()
    }

    /// How far the log has been loaded.
    #[must_use]
    pub fn loaded(&self) -> &Cursor {
        self.water.loaded()
    }

    /// Attempts under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether progress waits for room in the log.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.pipeline.is_refused()
    }

    /// Records of progress that are not durable yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.pipeline.len()
    }

    /// The id of a delivery's activation.
    #[must_use]
    pub fn activation_id(&self, id: DeliveryId) -> ActivationId {
        id.activation_id(self.log.at(id.position))
    }

    /// What follows from any step: the mark moves, attempts begin, records go their way.
    fn go_on(&mut self, now_ms: u64, effects: &mut Vec<DeliveryEffect>) {
        let mut passed = Vec::new();
        self.water.advance(&mut passed);
        for position in passed {
            self.settled.remove(&position);
        }
        while self.water.len() > self.config.above_mark && self.park_oldest(now_ms) {}
        self.read_ranges(effects);
        self.dispatch(now_ms, effects);
        self.carry_on(effects);
        while let Some(next) = self.pipeline.next() {
            effects.push(match next {
                Move::Flush => DeliveryEffect::Flush,
                Move::Append(append) => DeliveryEffect::Append(append),
            });
        }
    }

    fn tick(&mut self, now_ms: u64, effects: &mut Vec<DeliveryEffect>) {
        while let Some((due_ms, id)) = self.due.first().copied()
            && due_ms <= now_ms
        {
            self.due.remove(&(due_ms, id));
            self.make_ready(id);
        }
        if now_ms >= self.refused_until_ms
            && let Some(append) = self.pipeline.again()
        {
            effects.push(DeliveryEffect::Append(append));
        }
        self.expire_dead(now_ms);
    }

    /// Parks what holds the mark at the oldest event; `false` where it is on its way already.
    fn park_oldest(&mut self, now_ms: u64) -> bool {
        let Some((position, open)) = self.water.oldest() else { return false };
        let ids: Vec<DeliveryId> =
            open.iter().map(|rule| DeliveryId::live(position, *rule)).collect();
        let mut parked = false;
        for id in ids {
            // A record that ends it must stay its last.
            let waits = |it: &Delivery| it.unparked && it.state != State::Settling;
            if self.table.get(&id).is_some_and(waits) {
                self.park(id, now_ms);
                parked = true;
            }
        }
        parked
    }

    /// Takes a delivery into the table.
    fn insert(&mut self, id: DeliveryId, delivery: Delivery, effects: &mut Vec<DeliveryEffect>) {
        let weight = delivery.weight();
        let key = delivery.rule;
        let dead = delivery.state.died_ms();
        let unparked = delivery.unparked;
        // First: what is known of a deleted rule lasts as long as a delivery of it.
        self.turns.rule(key).deliveries += 1;
        if let Some(former) = self.table.insert(id, delivery) {
            self.forget(id, &former, effects);
        }
        match dead {
            Some(died_ms) => {
                self.turns.rule(key).dead += 1;
                self.turns.namespace(key.namespace).dead.insert((died_ms, id));
            }
            None => {
                let owed = &mut self.turns.namespace(key.namespace).owed_bytes;
                *owed = owed.saturating_add(weight);
            }
        }
        let namespace = self.turns.namespace(key.namespace);
        if unparked {
            namespace.unparked += 1;
            self.unparked += 1;
        }
        self.count_for_replay(id, true);
        self.check_intake(key, effects);
    }

    /// Changes a delivery with everything that is counted of it; `false` where there is none.
    fn exchange(
        &mut self,
        id: DeliveryId,
        change: impl FnOnce(&mut Delivery),
        effects: &mut Vec<DeliveryEffect>,
    ) -> bool {
        let Some(key) = self.table.get(&id).map(|delivery| delivery.rule) else { return false };
        self.turns.rule(key).deliveries += 1;
        if let Some(mut delivery) = self.remove(id, effects) {
            change(&mut delivery);
            self.insert(id, delivery, effects);
        }
        self.turns.rule(key).deliveries -= 1;
        true
    }

    /// Takes a delivery out of the table, and out of everything that names it.
    fn remove(&mut self, id: DeliveryId, effects: &mut Vec<DeliveryEffect>) -> Option<Delivery> {
        let delivery = self.table.remove(&id)?;
        self.forget(id, &delivery, effects);
        Some(delivery)
    }

    fn forget(&mut self, id: DeliveryId, former: &Delivery, effects: &mut Vec<DeliveryEffect>) {
        let key = former.rule;
        let rule = self.turns.rule(key);
        rule.deliveries = rule.deliveries.saturating_sub(1);
        if former.state.died_ms().is_some() {
            rule.dead = rule.dead.saturating_sub(1);
        }
        let namespace = self.turns.namespace(key.namespace);
        match former.state.died_ms() {
            Some(died_ms) => {
                namespace.dead.remove(&(died_ms, id));
            }
            None => namespace.owed_bytes = namespace.owed_bytes.saturating_sub(former.weight()),
        }
        if former.unparked {
            namespace.unparked = namespace.unparked.saturating_sub(1);
            self.unparked = self.unparked.saturating_sub(1);
        }
        if former.body.is_some() {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(former.bytes());
        }
        self.due.remove(&(former.due_ms, id));
        self.count_for_replay(id, false);
        self.turns.prune(key);
        self.check_intake(key, effects);
    }

    /// Puts a delivery into its key's chain, or where its time puts it.
    fn schedule(&mut self, id: DeliveryId, now_ms: u64) {
        let Some(delivery) = self.table.get_mut(&id) else { return };
        let (rule, key, turn) = (delivery.rule, delivery.key, delivery.turn);
        let turns = self.turns.rule(rule);
        if turns.policy().ordered && !turns.chains.enter(key, turn, id) {
            delivery.state = State::Chained;
            return;
        }
        self.rouse(id, now_ms);
    }

    /// Nothing is before it in its key: it is ready, or rests until it is due.
    fn rouse(&mut self, id: DeliveryId, now_ms: u64) {
        let Some(delivery) = self.table.get_mut(&id) else { return };
        if delivery.due_ms > now_ms {
            delivery.state = State::Resting;
            self.due.insert((delivery.due_ms, id));
        } else {
            self.make_ready(id);
        }
    }

    fn make_ready(&mut self, id: DeliveryId) {
        let Some(delivery) = self.table.get_mut(&id) else { return };
        delivery.state = State::Ready;
        self.turns.ready(delivery.rule, id);
    }

    /// The head of its key is over: the next one may go.
    fn release(&mut self, id: DeliveryId, delivery: &(RuleKey, u64, Turn), now_ms: u64) {
        let (rule, key, turn) = *delivery;
        if let Some(next) = self.turns.rule(rule).chains.leave(key, turn, id) {
            self.rouse(next, now_ms);
        }
    }
}

// === impl Delivery ===

impl Delivery {
    fn bytes(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    fn weight(&self) -> u64 {
        u64::from(self.size) + crate::config::PARKED_OVERHEAD
    }

    fn place(&self) -> (RuleKey, u64, Turn) {
        (self.rule, self.key, self.turn)
    }

    fn home(&self) -> Home {
        Home::At(self.home)
    }
}

// === impl State ===

impl State {
    fn died_ms(&self) -> Option<u64> {
        match self {
            Self::Dead { died_ms, .. } => Some(*died_ms),
            Self::Dormant
            | Self::Chained
            | Self::Ready
            | Self::Resting
            | Self::Running
            | Self::Settling => None,
        }
    }
}
