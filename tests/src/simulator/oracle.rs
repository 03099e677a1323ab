//! The oracle: what clients were told, what is durable, what ran, and what they may expect of it.
//!
//! It knows the promises and the record formats, and none of the cores' state. It learns from
//! three places only: what is durable on the disk, what clients are told, and what functions see.

mod answers;
mod ending;
mod feeds;
mod records;
mod runs;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use evoke_schemas::{ActivationId, EntityName, EntityUid, Namespace, Occasion, Position};
use evoke_trigger_engine::record::{DeliveryId, Outcome, Reason, ReplayRecord, ReplayStatus};

use super::witness::Token;

pub use runs::Start;

/// The oracle of one world.
#[derive(Debug, Default)]
pub struct Oracle {
    violations: Vec<String>,
    events: HashMap<Token, EventKnown>,
    deliveries: BTreeMap<DeliveryId, Known>,
    /// Which delivery an activation id belongs to.
    ids: HashMap<ActivationId, DeliveryId>,
    /// Ids of the activation records that triggers have of their own, with the event.
    trigger_ids: HashMap<ActivationId, Token>,
    /// Number of the oldest record that is kept.
    begin: u64,
    /// Number before which a segment was let go, removed by now or not.
    going: u64,
    /// Number after the newest record seen durable.
    seen: u64,
    /// Deliveries that are open or parked.
    unsettled: usize,
    /// Positions of events with a delivery that is neither done nor held by a durable record.
    open: BTreeMap<u64, u32>,
    /// Turns of unsettled deliveries, by rule, key and occasion: a replay keeps the log's order in
    /// itself, and a dead letter that comes back stands outside of it.
    turns: HashMap<(EntityUid, String, Occasion), BTreeSet<(u64, DeliveryId)>>,
    /// What runs of each key of an ordered rule.
    running_keys: HashMap<(EntityUid, String), DeliveryId>,
    /// Sets of rules that an event was matched to, at each try to accept it.
    matches: HashMap<Token, Vec<Vec<EntityUid>>>,
    /// The event at each position.
    tokens: HashMap<Position, Token>,
    /// Events that the hub made itself, by namespace and id.
    announced: HashSet<(Namespace, String)>,
    deleted_rules: BTreeSet<EntityUid>,
    discarded: BTreeSet<DeliveryId>,
    revived: BTreeSet<DeliveryId>,
    cancelled: BTreeSet<EntityUid>,
    /// Replays that somebody asked for: their first durable record, and their newest.
    replays: BTreeMap<EntityUid, Option<(ReplayRecord, ReplayRecord)>>,
    /// Trigger of each rule.
    triggers: HashMap<EntityUid, EntityName>,
    /// Events that a replay may have to deliver again.
    fired: BTreeMap<u64, Fired>,
    latest_wall_ms: u64,
    /// Attempts started in all.
    starts: u64,
    /// How far the dispatcher has read.
    loaded: u64,
    running: BTreeMap<u64, DeliveryId>,
    running_by_rule: HashMap<EntityUid, usize>,
    running_by_namespace: HashMap<Namespace, usize>,
    policies: HashMap<EntityUid, Policies>,
    feeds: feeds::Feeds,
}

/// What is known of an event.
#[derive(Debug, Default)]
struct EventKnown {
    /// Where it became durable.
    positions: Vec<Position>,
    /// Where clients were told that it is.
    told: Option<Position>,
    key: String,
    dedup: bool,
}

/// What is known of a delivery.
#[derive(Clone, Debug)]
struct Known {
    token: Token,
    namespace: Namespace,
    #[expect(dead_code, reason = "shown in traces")]
    accepted_ms: u64,
    since_ms: u64,
    state: Settled,
    /// Where it stands among those of its rule and key.
    turn: u64,
    /// Failures of the function noted down in a durable record.
    noted_failures: u32,
    /// Failures of the function seen, of which the noted ones are the first.
    failures: u32,
    /// Whether a run ended well.
    succeeded: bool,
    /// Whether a run of the function failed, noted down or not.
    failed: bool,
    /// Whether its action was missing at some attempt.
    missed: bool,
    running: bool,
    starts: u32,
    /// Crashes while it was under way: each may have forgotten one failure.
    crashes: u32,
    /// Starts in the world when it was loaded with nothing of its namespace before it; for fairness.
    alone_since: Option<u64>,
}

/// What a replay looks at in an event.
#[derive(Clone, Debug)]
struct Fired {
    position: Position,
    namespace: Namespace,
    triggers: Vec<EntityName>,
    time_ms: u64,
}

/// What the log durably says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Open,
    Parked,
    Dead(Reason),
    Done(Outcome),
}

/// The loosest of all policies that a rule ever had.
#[derive(Clone, Copy, Debug)]
struct Policies {
    most_attempts: u32,
    fewest_attempts: u32,
    most_concurrency: u32,
    shortest_deadline_ms: u64,
    ordered: bool,
}

// === impl Settled ===

impl Settled {
    /// Whether the delivery has not come to its end.
    fn is_under_way(self) -> bool {
        matches!(self, Self::Open | Self::Parked)
    }
}

// === impl Oracle ===

impl Oracle {
    /// The broken promises found.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Notes a broken promise.
    pub fn accuse(&mut self, what: String) {
        self.violations.push(what);
    }

    /// The wall clock shows this.
    pub fn sees_clock(&mut self, wall_ms: u64) {
        self.latest_wall_ms = self.latest_wall_ms.max(wall_ms);
    }

    /// A rule was put.
    pub fn rule_put(&mut self, rule: &evoke_schemas::Rule) {
        self.triggers.insert(rule.uid, rule.trigger.name.clone());
        let policy = &rule.delivery;
        let known = self.policies.entry(rule.uid).or_insert(Policies {
            most_attempts: policy.attempts,
            fewest_attempts: policy.attempts,
            most_concurrency: policy.concurrency,
            shortest_deadline_ms: policy.deadline_ms(),
            ordered: policy.ordered,
        });
        known.most_attempts = known.most_attempts.max(policy.attempts);
        known.fewest_attempts = known.fewest_attempts.min(policy.attempts);
        known.most_concurrency = known.most_concurrency.max(policy.concurrency);
        known.shortest_deadline_ms = known.shortest_deadline_ms.min(policy.deadline_ms());
    }

    /// A rule was deleted.
    pub fn rule_deleted(&mut self, uid: EntityUid) {
        self.deleted_rules.insert(uid);
    }

    /// Somebody replays a dead letter.
    pub fn revived(&mut self, id: DeliveryId) {
        self.revived.insert(id);
    }

    /// Somebody asks for a replay of a range.
    pub fn replayed(&mut self, replay: EntityUid) {
        self.replays.insert(replay, None);
    }

    /// Replays that are under way.
    pub fn replays(&self) -> impl Iterator<Item = EntityUid> {
        let newest = |(uid, records): (&EntityUid, &Option<(_, ReplayRecord)>)| {
            let newest = records.as_ref().map(|(_, newest)| newest.status);
            (newest == Some(ReplayStatus::Reading)).then_some(*uid)
        };
        self.replays.iter().filter_map(newest)
    }

    /// Somebody discards a dead letter.
    pub fn discarded(&mut self, id: DeliveryId) {
        self.discarded.insert(id);
    }

    /// Somebody cancelled a replay.
    pub fn cancelled(&mut self, replay: EntityUid) {
        self.cancelled.insert(replay);
    }

    /// Number after the newest record known to be durable.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Deliveries that are not settled, and replays that go on.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled + self.replays().count()
    }

    /// The event that a delivery is of.
    #[must_use]
    pub fn token_of(&self, id: &DeliveryId) -> Option<Token> {
        self.deliveries.get(id).map(|known| known.token)
    }

    /// The delivery that an activation id belongs to.
    #[must_use]
    pub fn delivery_of(&self, id: &ActivationId) -> Option<DeliveryId> {
        self.ids.get(id).copied()
    }

    /// The dead letters there are.
    pub fn dead_letters(&self) -> impl Iterator<Item = &DeliveryId> {
        let dead = |(_, known): &(&DeliveryId, &Known)| matches!(known.state, Settled::Dead(_));
        self.deliveries.iter().filter(dead).map(|(id, _)| id)
    }

    fn ordered(&self, rule: EntityUid) -> bool {
        self.policies.get(&rule).is_some_and(|policies| policies.ordered)
    }

    fn key_of(&self, token: Token) -> String {
        self.events.get(&token).map(|event| event.key.clone()).unwrap_or_default()
    }
}
