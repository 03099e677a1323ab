//! A world: runs one seed from its first event until everything is quiet, and judges it.

use std::rc::Rc;

use evoke_feeds::ResetTo;

use super::alarms;
use super::chance::Chance;
use super::clients::Clients;
use super::clock::Clock;
use super::crash::Moment;
use super::disk::Disk;
use super::entities::Entities;
use super::env::{Env, Happening};
use super::functions::Functions;
use super::oracle::Oracle;
use super::plan::{Act, Death, FeedAct, Plan};
use super::process::Process;
use super::queue::Queue;
use super::sources::{FEEDS, Sources};
use super::store::Store;
use super::tally::{Group, Tally};
use super::trace::Trace;
use super::witness::Witness;

/// Steps after which a world is taken to run in circles.
const MOST_STEPS: u64 = 400_000;
/// True time after the load by which everything must have ended. Unit: milliseconds.
const PATIENCE_MS: u64 = 72 * 3_600_000;
/// How long a world is watched after its last power cut. Unit: milliseconds.
const LAST_MS: u64 = 5_000;
/// Room on the disk. Unit: bytes.
const DISK_BYTES: usize = 4 << 20;

/// What became of a seed.
#[derive(Debug)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// Promises that were broken.
    pub violations: Vec<String>,
    /// What was counted.
    pub tally: Tally,
    /// Hash of everything that happened.
    pub hash: u64,
    /// What happened, if it was to be kept.
    pub trace: Vec<String>,
}

/// A world under way.
#[derive(Debug)]
struct World {
    env: Env,
    process: Option<Process>,
    life: u32,
    crashes: u64,
    /// Acts of the plan that are to come.
    acts: usize,
    phase: Phase,
}

/// How far a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Clients post, everything goes wrong.
    Load,
    /// Nothing goes wrong any more; what is under way comes to its end.
    Drain,
    /// All has ended, and power was cut once more: nothing may happen again, until this time.
    Last(u64),
}

/// Runs a seed; `keep` keeps the trace.
#[must_use]
pub fn run(seed: u64, keep: bool) -> Verdict {
    let mut world = World::of(seed, keep);
    world.live();
    let World { mut env, .. } = world;
    env.judge();
    let mut violations = env.oracle.violations().to_vec();
    violations.extend(alarms::live(seed, &mut env.tally));
    Verdict {
        seed,
        violations,
        hash: env.trace.hash(),
        trace: env.trace.text().to_vec(),
        tally: env.tally,
    }
}

// === impl World ===

impl World {
    fn of(seed: u64, keep: bool) -> Self {
        let env = surroundings(seed, keep);
        let acts = env.plan.acts.len();
        Self { env, process: None, life: 0, crashes: 0, acts, phase: Phase::Load }
    }
}

/// What a seed's process is surrounded by.
pub(super) fn surroundings(seed: u64, keep: bool) -> Env {
    let chance = Chance::new(seed);
    let plan = Rc::new(Plan::of(&chance));
    let mut queue = Queue::default();
    queue.at(0, Happening::Start);
    for (number, post) in plan.posts.iter().enumerate() {
        queue.at(post.at_ms, Happening::Post(number));
    }
    for (at_ms, act) in &plan.acts {
        queue.at(*at_ms, Happening::Act(act.clone()));
    }
    let mut oracle = Oracle::default();
    plan.rules.iter().for_each(|rule| oracle.rule_put(rule));
    Env {
        clock: Clock::default(),
        disk: Disk::new(DISK_BYTES),
        witness: Witness::default(),
        store: Store::default(),
        functions: Functions::new(chance.fork("functions")),
        entities: Entities::of(&plan),
        clients: Clients::of(&plan),
        oracle,
        trace: Trace::new(keep),
        tally: Tally::default(),
        queue,
        armed: Vec::new(),
        death: None,
        fails: None,
        sources: Sources::of(&plan),
        healed: false,
        chance: chance.fork("world"),
        plan,
    }
}

impl World {
    fn live(&mut self) {
        let mut steps = 0;
        while let Some((at_ms, what)) = self.env.queue.pop() {
            self.env.clock.advance_to(at_ms);
            let wall_ms = self.env.wall_ms();
            self.env.oracle.sees_clock(wall_ms);
            self.step(what);
            steps += 1;
            if !self.env.oracle.violations().is_empty() || self.is_over(at_ms) {
                break;
            }
            if steps > MOST_STEPS || at_ms > self.env.plan.load_ms + PATIENCE_MS {
                let (posts, left) = (self.env.clients.open(), self.env.oracle.unsettled());
                let state = self.process.as_ref().map(Process::state);
                self.env.oracle.accuse(format!(
                    "no end after {steps} steps, {at_ms} ms: {posts} posts, {left} left; {state:?}"
                ));
                break;
            }
        }
        self.env.tally.add(Group::Check, "steps", steps);
    }

    /// Moves on from phase to phase; whether the last one is over.
    fn is_over(&mut self, now_ms: u64) -> bool {
        let fed = self.env.healed && self.env.oracle.feeds_are_done(&self.env.sources);
        let served = self.env.clients.open() == 0 && fed && self.process.is_some();
        match self.phase {
            Phase::Load if self.acts == 0 && now_ms > self.env.plan.load_ms => {
                self.env.say(format_args!("from now on nothing goes wrong"));
                self.env.heal();
                for slot in 0..FEEDS {
                    self.act_on_feed(slot, FeedAct::Resume);
                }
                self.phase = Phase::Drain;
                false
            }
            Phase::Drain if served && !self.env.armed.is_empty() => {
                // One whose moment never came.
                if self.env.oracle.unsettled() == 0 {
                    let (_, death) = self.env.armed.remove(0);
                    self.env.count(Group::Fault, Moment::Anywhere.name());
                    self.env.death = Some(death);
                    self.die();
                }
                false
            }
            Phase::Drain if served && self.env.oracle.unsettled() == 0 => {
                self.env.say(format_args!("all is quiet: power is cut once more"));
                self.env.death = Some(Death::PowerCut);
                self.die();
                self.phase = Phase::Last(now_ms + LAST_MS);
                false
            }
            // What a power cut left to be told of again comes to its end too.
            Phase::Last(until_ms) => now_ms > until_ms && self.env.oracle.unsettled() == 0,
            Phase::Load | Phase::Drain => false,
        }
    }

    fn step(&mut self, what: Happening) {
        match what {
            Happening::Start => self.start(),
            Happening::Act(act) => self.act(act),
            Happening::Post(post) => match &mut self.process {
                Some(process) => {
                    let lives = process.post(post, &mut self.env);
                    self.check(lives);
                }
                None => {
                    let in_ms = self.env.chance.within(10, 1_000);
                    self.env.soon(in_ms, Happening::Post(post));
                }
            },
            Happening::Within(life, inner) => {
                if life == self.life
                    && let Some(process) = &mut self.process
                {
                    let lives = process.happens(inner, &mut self.env);
                    self.check(lives);
                }
            }
        }
    }

    fn check(&mut self, lives: super::env::Lives) {
        if lives.is_err() {
            self.die();
        }
    }

    fn start(&mut self) {
        self.life += 1;
        self.env.say(format_args!("start of life {}", self.life));
        match Process::start(self.life, &mut self.env) {
            Ok(process) => self.process = Some(process),
            Err(_died) => self.die(),
        }
    }

    fn die(&mut self) {
        self.process = None;
        self.crashes += 1;
        let env = &mut self.env;
        let death = env.death.take().unwrap_or(Death::Killed);
        env.store.crash();
        env.oracle.died();
        if death == Death::PowerCut {
            env.count(Group::Fault, "power cut");
            let Env { disk, chance, tally, .. } = env;
            disk.cut_power(chance, tally);
        } else {
            env.count(Group::Fault, "process killed");
        }
        for post in env.clients.hub_died() {
            let in_ms = env.chance.within(1, 2_000);
            env.soon(in_ms, Happening::Post(post));
        }
        let in_ms = env.chance.weighted(&[(5, 10), (3, 500), (1, 60_000)]);
        env.soon(in_ms, Happening::Start);
    }

    fn act(&mut self, act: Act) {
        if self.process.is_none() {
            let in_ms = self.env.chance.within(1, 500);
            return self.env.soon(in_ms, Happening::Act(act));
        }
        self.acts = self.acts.saturating_sub(1);
        match act {
            Act::ClockStep(by_ms) => {
                self.env.suffers(&act);
                if let Some(process) = &mut self.process {
                    let lives = process.clock_stepped(by_ms, &mut self.env);
                    self.check(lives);
                }
            }
            Act::Crash(..)
            | Act::DiskFails(_)
            | Act::DiskFull(_)
            | Act::DiskFreed
            | Act::ActionGone(..)
            | Act::InvokerDead(_) => self.env.suffers(&act),
            Act::ChangeRule(_) | Act::ToggleRule(_) | Act::DeleteRule(_) | Act::MakeRule(_) => {
                let change = self.env.changes(&act);
                if let (Some(change), Some(process)) = (change, &mut self.process) {
                    let lives = process.changed(&change, &mut self.env);
                    self.check(lives);
                }
            }
            Act::Feed(slot, act) => self.act_on_feed(slot, act),
            Act::Checkpoint
            | Act::Retain
            | Act::TendDeadLetters
            | Act::Replay(_)
            | Act::CancelReplay => {
                if let Some(process) = &mut self.process {
                    let lives = process.operate(&act, &mut self.env);
                    self.check(lives);
                }
            }
        }
    }
}

impl World {
    /// Something is wanted of a feed, and its process hears of it if there is one.
    fn act_on_feed(&mut self, slot: usize, act: FeedAct) {
        let env = &mut self.env;
        // One that had to wait for the process may come late.
        if env.healed && act != FeedAct::Resume {
            return;
        }
        let life = env.sources.of_slot(slot);
        let paused = env.sources.life(life).feed.paused;
        env.say(format_args!("feed {life}: {act:?}"));
        match act {
            FeedAct::Pause => env.sources.want(life, true),
            FeedAct::Resume => {
                env.sources.want(life, false);
                env.oracle.feed_rests(life, false);
            }
            FeedAct::Update => env.sources.want(life, paused),
            FeedAct::UpdateThenPause => {
                env.sources.want(life, paused);
                if let Some(process) = &mut self.process {
                    process.feed_wanted(life, env);
                }
                env.sources.want(life, true);
            }
            FeedAct::ResetToEarliest => env.sources.reset(life, ResetTo::Earliest),
            FeedAct::ResetToLatest => env.sources.reset(life, ResetTo::Latest),
            FeedAct::Remake => env.sources.remake(slot),
            FeedAct::SourceAway(while_ms) => {
                let until_ms = env.clock.true_ms() + while_ms;
                return env.sources.away(life, until_ms);
            }
        }
        env.count(Group::Load, name_of(act));
        let Some(process) = &mut self.process else { return };
        process.feed_wanted(life, env);
        let now = env.sources.of_slot(slot);
        if now != life {
            process.feed_wanted(now, env);
        }
        let lives = process.pump(env);
        self.check(lives);
    }
}

fn name_of(act: FeedAct) -> &'static str {
    match act {
        FeedAct::Pause => "feed paused",
        FeedAct::Resume => "feed resumed",
        FeedAct::Update | FeedAct::UpdateThenPause => "feed updated",
        FeedAct::ResetToEarliest | FeedAct::ResetToLatest => "feed reset",
        FeedAct::Remake => "feed remade",
        FeedAct::SourceAway(_) => "source away",
    }
}

// === impl Env ===

impl Env {
    /// Nothing goes wrong any more, except crashes that were planned and have not happened.
    fn heal(&mut self) {
        self.healed = true;
        self.sources.heal();
        self.functions.heal();
        self.fails = None;
        self.disk.set_capacity(usize::MAX);
        for (moment, _) in &mut self.armed {
            *moment = Moment::Anywhere;
        }
    }

    fn judge(&mut self) {
        if !self.oracle.violations().is_empty() {
            return;
        }
        let mut tally = std::collections::HashMap::new();
        self.oracle.judge_end(&self.store, &mut tally);
        for (name, times) in tally {
            self.tally.add(Group::Check, name, times);
        }
    }
}
