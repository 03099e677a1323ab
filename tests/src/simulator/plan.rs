//! What a seed asks for: who posts what and when, to which rules, and what goes wrong.

use std::sync::Arc;

use evoke_schemas::{
    DeliveryPolicy, EntityName, EntityUid, FullName, KeyValues, Namespace, Rule, RuleStatus,
    SemVer, Trigger,
};

use super::chance::Chance;
use super::crash::Moment;
use super::env::Failing;
use super::sources::FEEDS;
use super::witness::Token;

/// Events that a world gets, at least.
pub const LEAST_EVENTS: usize = 300;
/// Events beside them that a full hub may refuse for good.
const REFUSED_AT_MOST: usize = 100;
/// Crashes that a world gets, at least.
pub const LEAST_CRASHES: usize = 3;
/// The namespace that posts far more than the others, for a while.
pub const FLOODING: &str = "flood";
/// The namespace that posts little and must not feel the flood.
pub const QUIET: &str = "quiet";

/// The plan of one world.
#[derive(Debug)]
pub struct Plan {
    /// Length of a segment. Unit: bytes.
    pub segment_bytes: usize,
    /// When clients stop posting for the first time. Unit: milliseconds of true time.
    pub load_ms: u64,
    /// The triggers.
    pub triggers: Vec<Trigger>,
    /// The rules, as first put.
    pub rules: Vec<Rule>,
    /// The posts, by time.
    pub posts: Vec<Post>,
    /// What happens besides, by time.
    pub acts: Vec<(u64, Act)>,
    /// Records of each partition of each feed's source.
    pub feed_events: u32,
}

/// One request of a client, repeated until it is acknowledged.
#[derive(Clone, Debug)]
pub struct Post {
    /// When it is first sent. Unit: milliseconds of true time.
    pub at_ms: u64,
    /// Where to.
    pub address: Address,
    /// Its events.
    pub events: Vec<PlannedEvent>,
}

/// Where a post goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A trigger, by its index in the plan.
    Trigger(usize),
    /// An action of the first trigger's namespace, as an accepted invocation.
    Action(Namespace),
}

/// One event of a post.
#[derive(Clone, Copy, Debug)]
pub struct PlannedEvent {
    /// What it carries.
    pub token: Token,
    /// Its `partitionkey`.
    pub key: Option<u8>,
    /// Whether the hub may tell repetitions apart from new events.
    pub dedup: bool,
}

/// Something that happens besides posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The next time the process comes to this moment, it dies.
    Crash(Moment, Death),
    /// The wall clock is set. Unit: milliseconds.
    ClockStep(i64),
    /// A write or sync of the log fails.
    DiskFails(Failing),
    /// The disk has room for nothing more, for a while. Unit: milliseconds.
    DiskFull(u64),
    /// The disk has room again.
    DiskFreed,
    /// A deleted rule is made again under its name.
    MakeRule(usize),
    /// A rule is put again with another policy.
    ChangeRule(usize),
    /// A rule is made inactive, or active again.
    ToggleRule(usize),
    /// A rule is deleted.
    DeleteRule(usize),
    /// The action of a rule is gone for a while. Unit: milliseconds.
    ActionGone(usize, u64),
    /// No sandbox can be had for a while. Unit: milliseconds.
    InvokerDead(u64),
    /// A checkpoint is written.
    Checkpoint,
    /// Retention looks for a segment to drop.
    Retain,
    /// Someone replays or discards dead letters.
    TendDeadLetters,
    /// Someone replays a range of the log to a rule.
    Replay(usize),
    /// Someone cancels a replay.
    CancelReplay,
    /// Something is wanted of a feed.
    Feed(usize, FeedAct),
}

/// What happens to a feed or its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedAct {
    /// It is to rest.
    Pause,
    /// It is to go on.
    Resume,
    /// It is changed.
    Update,
    /// It is changed, and is to rest before that is done.
    UpdateThenPause,
    /// It is to read from the oldest record on.
    ResetToEarliest,
    /// It is to go on at the present end.
    ResetToLatest,
    /// It is deleted, and made again under its name.
    Remake,
    /// Its source cannot be reached for a while. Unit: milliseconds.
    SourceAway(u64),
}

/// How the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Killed: what was written stays in the page cache.
    Killed,
    /// The power fails: what was not synced may be gone.
    PowerCut,
}

// === impl Plan ===

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(chance: &Chance) -> Self {
        let mut draw = chance.fork("plan");
        let load_ms = draw.weighted(&[(3, 20_000), (3, 120_000), (2, 900_000), (1, 4_000_000)]);
        let (triggers, rules) = entities(&mut draw);
        let posts = posts(&mut draw, &triggers, load_ms);
        let acts = acts(&mut draw, rules.len(), load_ms);
        let segment_bytes = draw.weighted(&[(3, 96 << 10), (2, 128 << 10), (1, 192 << 10)]);
        let feed_events = draw.within(6, 16) as u32;
        Self { segment_bytes, load_ms, triggers, rules, posts, acts, feed_events }
    }
}

fn entities(draw: &mut Chance) -> (Vec<Trigger>, Vec<Rule>) {
    let (mut triggers, mut rules) = (Vec::new(), Vec::new());
    for space in ["guest", FLOODING, QUIET] {
        let namespace = namespace(space);
        for _ in 0..draw.within(1, 2) {
            let number = triggers.len();
            let trigger = Trigger {
                namespace: namespace.clone(),
                name: name(&format!("t{number}")),
                uid: uid(0x70, number),
                parameters: KeyValues::default(),
                annotations: KeyValues::default(),
                subscription: None,
                webhook: None,
                version: SemVer::FIRST,
                publish: false,
                updated: 0,
                had_rules: false,
            };
            for _ in 0..draw.within(1, 2) {
                rules.push(rule(draw, rules.len(), &trigger, number));
            }
            triggers.push(trigger);
        }
    }
    (triggers, rules)
}

fn rule(draw: &mut Chance, number: usize, trigger: &Trigger, trigger_number: usize) -> Rule {
    let namespace = trigger.namespace.clone();
    let mut delivery = policy(draw);
    if draw.percent(30) {
        // Every namespace has a trigger of the lowest number among its own to be told at.
        delivery.dead_letter_trigger = Some(name(&format!("t{trigger_number}")));
    }
    Rule {
        name: name(&format!("r{number}")),
        uid: uid(0x10, number),
        trigger: FullName::new(namespace.clone(), trigger.name.clone()),
        trigger_uid: trigger.uid,
        action: FullName::new(namespace.clone(), name(&format!("a{number}"))),
        namespace,
        status: if draw.percent(92) { RuleStatus::Active } else { RuleStatus::Inactive },
        delivery,
        annotations: KeyValues::default(),
        version: SemVer::FIRST,
        publish: false,
        updated: 0,
    }
}

/// Some policy within the bounds.
pub fn policy(draw: &mut Chance) -> DeliveryPolicy {
    let backoff_ms = draw.weighted(&[(2, 10), (3, 1_000), (1, 30_000)]);
    DeliveryPolicy {
        attempts: draw.weighted(&[(3, 1), (3, 3), (1, 10)]),
        backoff_ms,
        max_backoff_ms: backoff_ms * draw.within(1, 20),
        deadline_ms: draw.weighted(&[
            (5, None),
            (2, Some(60_000)),
            (1, Some(3_000)),
            (1, Some(3_600_000)),
        ]),
        concurrency: draw.weighted(&[(1, 1), (2, 3), (3, 64)]) as u32,
        ordered: draw.percent(45),
        dead_letter_trigger: None,
    }
}

fn posts(draw: &mut Chance, triggers: &[Trigger], load_ms: u64) -> Vec<Post> {
    let (mut posts, mut next) = (Vec::new(), 0);
    let flood_at = draw.below(load_ms);
    let least = LEAST_EVENTS + REFUSED_AT_MOST + draw.index(40);
    while next < least as u32 {
        let index = draw.index(triggers.len());
        let space = triggers[index].namespace.as_str();
        if space == QUIET && draw.percent(60) {
            continue;
        }
        let at_ms = match space {
            FLOODING => flood_at + draw.below(300),
            _ => draw.below(load_ms),
        };
        let address = match draw.percent(8) {
            true => Address::Action(triggers[index].namespace.clone()),
            false => Address::Trigger(index),
        };
        let count = if draw.percent(60) { 1 } else { draw.within(2, 12) };
        let dedup = draw.percent(70);
        let events: Vec<_> = (0..count)
            .map(|_| {
                next += 1;
                let key = draw.percent(80).then(|| draw.below(4) as u8);
                PlannedEvent { token: Token(next), key, dedup }
            })
            .collect();
        let post = Post { at_ms, address, events };
        if dedup && draw.percent(25) {
            let soon = draw.weighted(&[(2, 0), (2, 3), (1, 500), (1, 20_000)]);
            posts.push(Post { at_ms: at_ms + soon, ..post.clone() });
        }
        posts.push(post);
    }
    posts.sort_by_key(|post| post.at_ms);
    posts
}

fn acts(draw: &mut Chance, rules: usize, load_ms: u64) -> Vec<(u64, Act)> {
    let mut acts = Vec::new();
    for _ in 0..draw.within(LEAST_CRASHES as u64, 6) {
        let moment = Moment::ALL[draw.index(Moment::ALL.len())];
        let death = if draw.percent(65) { Death::PowerCut } else { Death::Killed };
        acts.push((draw.below(load_ms), Act::Crash(moment, death)));
    }
    for _ in 0..draw.within(8, 20) {
        let rule = draw.index(rules);
        let while_ms = draw.weighted(&[(2, 2_000), (2, 60_000), (1, 1_000_000)]);
        let hours = draw.within(0, 10) as i64 - 5;
        let act = match draw.below(26) {
            0 => Act::ClockStep(hours * 3_600_000 + draw.below(5_000) as i64),
            1 => Act::DiskFails(draw.weighted(&[(1, Failing::Write), (2, Failing::Sync)])),
            2 => Act::DiskFull(while_ms.min(60_000)),
            3 | 4 => Act::ChangeRule(rule),
            5 | 6 => Act::ToggleRule(rule),
            7 => Act::DeleteRule(rule),
            8 | 9 => Act::ActionGone(rule, while_ms),
            10 => Act::InvokerDead(while_ms),
            11..=15 => Act::Checkpoint,
            16..=20 => Act::Retain,
            21 | 22 => Act::TendDeadLetters,
            23 | 24 => Act::Replay(rule),
            _ => Act::CancelReplay,
        };
        acts.push((draw.below(load_ms + load_ms / 4), act));
    }
    for _ in 0..draw.within(4, 12) {
        let while_ms = draw.weighted(&[(3, 500), (2, 20_000), (1, 300_000)]);
        let act = draw.weighted(&[
            (3, FeedAct::Pause),
            (3, FeedAct::Resume),
            (2, FeedAct::Update),
            (2, FeedAct::UpdateThenPause),
            (2, FeedAct::ResetToEarliest),
            (1, FeedAct::ResetToLatest),
            (2, FeedAct::Remake),
            (2, FeedAct::SourceAway(while_ms)),
        ]);
        acts.push((draw.below(load_ms), Act::Feed(draw.index(FEEDS), act)));
    }
    acts.sort_by_key(|(at_ms, _)| *at_ms);
    acts
}

/// The uid of the entity of that kind and number.
#[must_use]
pub fn uid(kind: u8, number: usize) -> EntityUid {
    let mut bytes = [kind; 16];
    bytes[8..].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    EntityUid(bytes)
}

/// A namespace of the plan.
#[must_use]
pub fn namespace(text: &str) -> Namespace {
    Namespace::new(text).unwrap_or_else(|_| unreachable!("the plan's names are good"))
}

/// An entity's name of the plan.
#[must_use]
pub fn name(text: &str) -> EntityName {
    EntityName::new(text).unwrap_or_else(|_| unreachable!("the plan's names are good"))
}

/// A rule as something shared.
#[must_use]
pub fn shared(rule: &Rule) -> Arc<Rule> {
    Arc::new(rule.clone())
}
