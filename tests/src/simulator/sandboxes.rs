//! The pool core in a world: sandboxes that start slowly or not at all, die idle or at work, and
//! are never shared.

use std::collections::BTreeMap;

use evoke_invoker::pool::{
    Effect, Fate, Granted, Input, Pool, PoolLimits, Refusal, SandboxId, Shape, Ticket, WarmKey,
};

use super::chance::Chance;
use super::env::{Env, Happening, Inner};
use super::tally::Group;

/// How long a run waits for a sandbox. Unit: milliseconds.
const WAIT_MS: u64 = 60_000;
/// Time between two looks at the pool. Unit: milliseconds.
const TICK_MS: u64 = 1_000;
const MIB: u64 = 1 << 20;

/// The sandboxes of one life.
#[derive(Debug)]
pub struct Sandboxes {
    pool: Pool,
    limits: PoolLimits,
    standing: BTreeMap<SandboxId, Standing>,
    waiting: BTreeMap<Ticket, WarmKey>,
    ticking: bool,
    closing: bool,
}

/// What the world knows of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    up: bool,
    paused: bool,
    dying: bool,
    serves: Option<WarmKey>,
    run: Option<Ticket>,
    /// In which state it was granted last.
    was: Option<Granted>,
}

/// Something that happens to a sandbox.
#[derive(Clone, Copy, Debug)]
pub enum Fact {
    /// It stands.
    Started(SandboxId),
    /// It did not start.
    StartFailed(SandboxId),
    /// It stands still.
    Paused(SandboxId),
    /// Nothing is left of it.
    Removed(SandboxId),
    /// It died while idle.
    Lost(SandboxId),
    /// A run has waited long enough.
    WaitEnds(Ticket),
    /// Time passes.
    Tick,
}

/// What a run is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has a sandbox.
    Granted(Ticket, SandboxId),
    /// It gets none.
    Refused(Ticket),
}

// === impl Sandboxes ===

impl Sandboxes {
    /// An empty pool with bounds drawn by chance, so narrow that they are felt.
    #[must_use]
    pub fn new(chance: &mut Chance) -> Self {
        let sandboxes = chance.within(3, 10) as usize;
        let stems = if chance.percent(50) { vec![(shape(0), 1)] } else { Vec::new() };
        let limits = PoolLimits {
            budget: 64 * MIB * chance.within(3, 9),
            reserve: 32 * MIB,
            expected: 48 * MIB,
            machine_floor: 64 * MIB,
            sandboxes,
            starting: chance.within(1, 3) as usize,
            waiting: chance.within(4, 64) as usize,
            grow_us: 5_000,
            share_us: 20_000,
            crowd: 2,
            patience_ms: 1_000,
            pause_ms: 5_000,
            remove_ms: 60_000,
            stems,
        };
        Self {
            pool: Pool::new(limits.clone()),
            limits,
            standing: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ticking: false,
            closing: false,
        }
    }

    /// A run asks for a sandbox.
    pub fn acquire(&mut self, ticket: Ticket, key: WarmKey, life: u32, env: &mut Env) -> Vec<Told> {
        self.waiting.insert(ticket, key.clone());
        env.soon(WAIT_MS, Happening::Within(life, Inner::Sandbox(Fact::WaitEnds(ticket))));
        if !self.ticking {
            self.ticking = true;
            env.soon(TICK_MS, Happening::Within(life, Inner::Sandbox(Fact::Tick)));
        }
        let shape = shape(usize::from(key.action.0[15].is_multiple_of(3)));
        self.step(Input::Acquire { ticket, key, shape }, life, env)
    }

    /// A run gives its sandbox back.
    pub fn release(
        &mut self,
        (sandbox, fate, held_ms): (SandboxId, Fate, u64),
        life: u32,
        env: &mut Env,
    ) -> Vec<Told> {
        env.count(
            Group::Pool,
            match fate {
                Fate::Keep => "released: kept",
                Fate::Untouched => "released: untouched",
                Fate::Destroy => "released: destroyed",
            },
        );
        let Some(standing) = self.standing.get_mut(&sandbox) else {
            env.oracle.accuse(format!("{sandbox:?} is released and not there"));
            return Vec::new();
        };
        standing.run = None;
        match standing.was.take() {
            Some(Granted::Fresh) if fate == Fate::Untouched => standing.serves = None,
            Some(Granted::Paused) if fate == Fate::Untouched => standing.paused = true,
            _initialised_or_destroyed => {}
        }
        let mut told =
            self.step(Input::Released { sandbox, fate, held_us: held_ms * 1_000 }, life, env);
        if env.chance.percent(20) {
            let bytes = MIB * env.chance.within(8, 120);
            told.extend(self.step(Input::Measured { sandbox, bytes }, life, env));
        }
        told
    }

    /// An action was changed: sandboxes of other revisions serve nobody any more.
    pub fn retire(&mut self, key: &WarmKey, life: u32, env: &mut Env) -> Vec<Told> {
        let input = Input::Retire { action: key.action, current: Some(key.revision) };
        self.step(input, life, env)
    }

    /// Something happened to a sandbox.
    pub fn happens(&mut self, fact: Fact, life: u32, env: &mut Env) -> Vec<Told> {
        match fact {
            Fact::Started(sandbox) => {
                if let Some(standing) = self.standing.get_mut(&sandbox) {
                    standing.up = true;
                }
                self.step(Input::Started { sandbox }, life, env)
            }
            Fact::StartFailed(sandbox) => {
                self.standing.remove(&sandbox);
                self.step(Input::StartFailed { sandbox }, life, env)
            }
            Fact::Paused(sandbox) => {
                if let Some(standing) = self.standing.get_mut(&sandbox) {
                    standing.paused = true;
                }
                self.step(Input::Paused { sandbox }, life, env)
            }
            Fact::Removed(sandbox) => {
                self.standing.remove(&sandbox);
                self.step(Input::Removed { sandbox }, life, env)
            }
            Fact::Lost(sandbox) => self.lost(sandbox, life, env),
            Fact::WaitEnds(ticket) => self.wait_ends(ticket, life, env),
            Fact::Tick => self.tick(life, env),
        }
    }

    fn lost(&mut self, sandbox: SandboxId, life: u32, env: &mut Env) -> Vec<Told> {
        let idle = self
            .standing
            .get(&sandbox)
            .is_some_and(|standing| standing.up && standing.run.is_none() && !standing.dying);
        if !idle {
            return Vec::new();
        }
        env.count(Group::Fault, "idle sandbox dies");
        self.step(Input::Lost { sandbox }, life, env)
    }

    fn wait_ends(&mut self, ticket: Ticket, life: u32, env: &mut Env) -> Vec<Told> {
        if self.waiting.remove(&ticket).is_none() {
            return Vec::new();
        }
        let usage = self.pool.usage();
        let starting = self.standing.values().any(|standing| !standing.up || standing.dying);
        if usage.busy == 0 && !starting {
            env.oracle.accuse(format!("{ticket:?} waited for nothing: {usage:?}"));
        }
        let mut told = self.step(Input::Cancel { ticket }, life, env);
        told.push(Told::Refused(ticket));
        told
    }

    fn tick(&mut self, life: u32, env: &mut Env) -> Vec<Told> {
        let usage = self.pool.usage();
        let stems: usize = self.limits.stems.iter().map(|(_, count)| count).sum();
        self.ticking = usage.sandboxes > stems || usage.waiting > 0 || usage.busy > 0;
        if self.ticking {
            env.soon(TICK_MS, Happening::Within(life, Inner::Sandbox(Fact::Tick)));
        }
        let available = match env.chance.below(20) {
            0 => Some(MIB * env.chance.below(100)),
            1..=9 => Some(8_192 * MIB),
            _unknown => None,
        };
        self.step(Input::Tick { available }, life, env)
    }

    /// Nothing more is run: everything goes.
    pub fn close(&mut self, life: u32, env: &mut Env) -> Vec<Told> {
        self.closing = true;
        self.step(Input::Close, life, env)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.standing.is_empty() && self.pool.usage().sandboxes == 0
    }

    fn step(&mut self, input: Input, life: u32, env: &mut Env) -> Vec<Told> {
        env.count(Group::Pool, input_name(&input));
        let (mut effects, mut told) = (Vec::new(), Vec::new());
        self.pool.step(input, env.clock.true_ms(), &mut effects);
        for effect in effects {
            env.count(Group::Pool, effect_name(&effect));
            self.carry_out(effect, life, env, &mut told);
        }
        told
    }

    fn carry_out(&mut self, effect: Effect, life: u32, env: &mut Env, told: &mut Vec<Told>) {
        let within = |fact| Happening::Within(life, Inner::Sandbox(fact));
        match effect {
            Effect::Grant { ticket, sandbox, state } => {
                self.grant(ticket, sandbox, state, env);
                told.push(Told::Granted(ticket, sandbox));
            }
            Effect::Refuse { ticket, why } => {
                if self.waiting.remove(&ticket).is_none() {
                    env.oracle.accuse(format!("{ticket:?} is refused ({why:?}), not waiting"));
                }
                told.push(Told::Refused(ticket));
            }
            Effect::Start { sandbox, .. } => {
                self.started(sandbox, env);
                let fact = match env.chance.percent(5) {
                    true => Fact::StartFailed(sandbox),
                    false => Fact::Started(sandbox),
                };
                let in_ms = env.chance.within(1, 40);
                env.soon(in_ms, within(fact));
                if env.chance.percent(4) {
                    let in_ms = env.chance.within(1, 30_000);
                    env.soon(in_ms, within(Fact::Lost(sandbox)));
                }
            }
            Effect::Pause { sandbox } => env.soon(1, within(Fact::Paused(sandbox))),
            Effect::Kill { sandbox } => {
                let busy = self.standing.get_mut(&sandbox).is_some_and(|standing| {
                    standing.dying = true;
                    standing.run.is_some()
                });
                if busy {
                    env.oracle.accuse(format!("{sandbox:?} is killed at work"));
                }
                let in_ms = env.chance.within(1, 30);
                env.soon(in_ms, within(Fact::Removed(sandbox)));
            }
        }
    }

    fn started(&mut self, sandbox: SandboxId, env: &mut Env) {
        let standing =
            Standing { up: false, paused: false, dying: false, serves: None, run: None, was: None };
        if self.standing.insert(sandbox, standing).is_some() {
            env.oracle.accuse(format!("{sandbox:?} is started twice"));
        }
        let starting = self.standing.values().filter(|standing| !standing.up).count();
        let usage = self.pool.usage();
        let within = self.standing.len() <= self.limits.sandboxes
            && starting <= self.limits.starting
            && usage.charge + self.limits.reserve <= self.limits.budget;
        if !within {
            env.oracle.accuse(format!("{sandbox:?} breaks the pool's bounds: {usage:?}"));
        }
    }

    fn grant(&mut self, ticket: Ticket, sandbox: SandboxId, state: Granted, env: &mut Env) {
        let key = self.waiting.remove(&ticket);
        let standing = self.standing.get_mut(&sandbox);
        let (Some(key), Some(standing)) = (key, standing) else {
            return env.oracle.accuse(format!("{sandbox:?} is granted to {ticket:?} from nowhere"));
        };
        let fits = match state {
            Granted::Fresh => standing.serves.is_none() && !standing.paused,
            Granted::Warm => standing.serves.as_ref() == Some(&key) && !standing.paused,
            Granted::Paused => standing.serves.as_ref() == Some(&key) && standing.paused,
        };
        if !fits || !standing.up || standing.dying || standing.run.is_some() {
            let what = format!("{sandbox:?} is granted {state:?} to {ticket:?}: {standing:?}");
            return env.oracle.accuse(what);
        }
        standing.run = Some(ticket);
        standing.was = Some(state);
        standing.paused = false;
        standing.serves = Some(key);
    }
}

fn shape(kind: usize) -> Shape {
    Shape { kind, memory_mb: 128, egress: false }
}

fn input_name(input: &Input) -> &'static str {
    match input {
        Input::Acquire { .. } => "acquire",
        Input::Cancel { .. } => "cancel",
        Input::Started { .. } => "started",
        Input::StartFailed { .. } => "start failed",
        Input::Released { .. } => "released",
        Input::Lost { .. } => "lost",
        Input::Paused { .. } => "paused",
        Input::Removed { .. } => "removed",
        Input::Measured { .. } => "measured",
        Input::Retire { .. } => "retire",
        Input::Tick { .. } => "tick",
        Input::Close => "close",
    }
}

fn effect_name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Grant { state: Granted::Fresh, .. } => "grant fresh",
        Effect::Grant { state: Granted::Warm, .. } => "grant warm",
        Effect::Grant { state: Granted::Paused, .. } => "grant paused",
        Effect::Refuse { why: Refusal::QueueFull, .. } => "refuse: queue full",
        Effect::Refuse { why: Refusal::TooLarge, .. } => "refuse: too large",
        Effect::Refuse { why: Refusal::StartFailed, .. } => "refuse: start failed",
        Effect::Refuse { why: Refusal::Closed, .. } => "refuse: closed",
        Effect::Start { .. } => "start",
        Effect::Pause { .. } => "pause",
        Effect::Kill { .. } => "kill",
    }
}

#[cfg(test)]
mod tests {
    use evoke_schemas::EntityUid;

    use super::*;
    use crate::simulator::plan::namespace;
    use crate::simulator::world::surroundings;

    /// Runs of a few actions on one pool until all are served and nothing is left of it.
    fn serve(seed: u64) -> Env {
        let mut env = surroundings(seed, false);
        while env.queue.pop().is_some() {}
        let mut chance = Chance::new(seed);
        let mut pool = Sandboxes::new(&mut chance);
        let (mut held, mut told, mut next) = (Vec::new(), Vec::new(), 0);
        let (mut asked, mut answered) = (0, 0);
        for step in 0..4_000 {
            if step < 2_000 && chance.percent(30) {
                next += 1;
                asked += 1;
                let key = WarmKey {
                    namespace: namespace(["a", "b"][chance.index(2)]),
                    action: EntityUid([chance.below(5) as u8; 16]),
                    revision: chance.below(2),
                };
                told.extend(pool.acquire(Ticket(next), key, 1, &mut env));
            }
            if chance.percent(30) && !held.is_empty() {
                let sandbox = held.swap_remove(chance.index(held.len()));
                let fate =
                    chance.weighted(&[(8, Fate::Keep), (1, Fate::Untouched), (1, Fate::Destroy)]);
                let held_ms = chance.within(1, 500);
                told.extend(pool.release((sandbox, fate, held_ms), 1, &mut env));
            }
            if chance.percent(50)
                && let Some((at_ms, Happening::Within(_, Inner::Sandbox(fact)))) = env.queue.pop()
            {
                env.clock.advance_to(at_ms);
                told.extend(pool.happens(fact, 1, &mut env));
            }
            for told in told.drain(..) {
                answered += 1;
                if let Told::Granted(_, sandbox) = told {
                    held.push(sandbox);
                }
            }
        }
        assert_eq!((asked, held.len()), (answered, 0), "seed {seed}: all are served");
        pool.close(1, &mut env);
        while let Some((at_ms, what)) = env.queue.pop() {
            env.clock.advance_to(at_ms);
            if let Happening::Within(_, Inner::Sandbox(fact)) = what {
                pool.happens(fact, 1, &mut env);
            }
        }
        assert!(pool.is_gone(), "seed {seed}: something is left");
        env
    }

    #[test]
    fn the_pool_alone_keeps_its_promises() {
        for seed in 0..300 {
            let env = serve(seed);
            assert_eq!(env.oracle.violations(), [""; 0], "seed {seed}");
        }
    }
}
