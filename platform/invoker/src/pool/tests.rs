//! The pool by table and by chance.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{slots::State, *};

const MB: u64 = 1 << 20;
const NODE: Shape = Shape { kind: 0, memory_mb: 256, egress: true };

fn limits() -> PoolLimits {
    PoolLimits {
        budget: 1000 * MB,
        reserve: 100 * MB,
        expected: 50 * MB,
        machine_floor: 100 * MB,
        sandboxes: 100,
        starting: 4,
        waiting: 10,
        grow_us: 5000,
        patience_ms: 50,
        pause_ms: 1000,
        remove_ms: 5000,
        stems: Vec::new(),
    }
}

fn key(namespace: &str, action: u8) -> WarmKey {
    WarmKey {
        namespace: Namespace::new(namespace).unwrap(),
        action: EntityUid([action; 16]),
        revision: 1,
    }
}

/// A pool and the time.
struct Table {
    pool: Pool,
    now_ms: u64,
    next: u64,
}

impl Table {
    fn new(limits: PoolLimits) -> Self {
        Self { pool: Pool::new(limits), now_ms: 0, next: 0 }
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.pool.step(input, self.now_ms, &mut effects);
        effects
    }

    fn ask(&mut self, key: WarmKey) -> (Ticket, Vec<Effect>) {
        let ticket = Ticket(self.next);
        self.next += 1;
        (ticket, self.step(Input::Acquire { ticket, key, shape: NODE }))
    }

    /// Asks for a sandbox that must be started, and starts it.
    fn cold(&mut self, key: WarmKey) -> SandboxId {
        let (ticket, effects) = self.ask(key);
        let [Effect::Start { sandbox, .. }] = effects[..] else { panic!("{effects:?}") };
        let granted = self.step(Input::Started { sandbox });
        assert_eq!(granted, [Effect::Grant { ticket, sandbox, state: Granted::Fresh }]);
        sandbox
    }

    fn keep(&mut self, sandbox: SandboxId, held_us: u64) -> Vec<Effect> {
        self.step(Input::Released { sandbox, fate: Fate::Keep, held_us })
    }

    fn tick(&mut self, now_ms: u64) -> Vec<Effect> {
        self.now_ms = now_ms;
        self.step(Input::Tick { available: None })
    }
}

#[test]
fn a_sandbox_is_reused_by_its_key_and_by_no_other() {
    let mut table = Table::new(limits());
    let sandbox = table.cold(key("a", 1));
    assert_eq!(table.keep(sandbox, 100), []);
    let (ticket, effects) = table.ask(key("a", 1));
    assert_eq!(effects, [Effect::Grant { ticket, sandbox, state: Granted::Warm }]);
    table.keep(sandbox, 100);
    let others = [key("b", 1), key("a", 2), WarmKey { revision: 2, ..key("a", 1) }];
    for other in others {
        let (_, effects) = table.ask(other);
        assert!(matches!(effects[..], [Effect::Start { .. }]), "{effects:?}");
    }
}

#[test]
fn the_last_used_is_taken_first_and_a_running_one_before_a_paused_one() {
    let mut table = Table::new(limits());
    let (first, second) = (table.cold(key("a", 1)), table.cold(key("a", 1)));
    table.keep(second, 100);
    table.now_ms = 1;
    table.keep(first, 100);
    assert_eq!(table.tick(1000), [Effect::Pause { sandbox: second }]);
    table.step(Input::Paused { sandbox: second });
    let (ticket, effects) = table.ask(key("a", 1));
    assert_eq!(effects, [Effect::Grant { ticket, sandbox: first, state: Granted::Warm }]);
    let (ticket, effects) = table.ask(key("a", 1));
    assert_eq!(effects, [Effect::Grant { ticket, sandbox: second, state: Granted::Paused }]);
}

#[test]
fn one_that_waits_gets_whatever_comes_first() {
    let mut table = Table::new(limits());
    let sandbox = table.cold(key("a", 1));
    let (ticket, effects) = table.ask(key("a", 1));
    let [Effect::Start { sandbox: started, .. }] = effects[..] else { panic!("{effects:?}") };
    let effects = table.keep(sandbox, 100);
    assert_eq!(effects, [Effect::Grant { ticket, sandbox, state: Granted::Warm }]);
    assert_eq!(table.step(Input::Started { sandbox: started }), [], "it stays as a stem cell");
    let (ticket, effects) = table.ask(key("b", 7));
    assert_eq!(effects, [Effect::Grant { ticket, sandbox: started, state: Granted::Fresh }]);
}

/// Sandboxes started for `waiting` runs that wait while one of `held_us` is under way.
fn check_growth(held_us: u64, waiting: usize, expected: usize) {
    let mut table = Table::new(PoolLimits { starting: 100, waiting: 100, ..limits() });
    let sandbox = table.cold(key("a", 1));
    table.keep(sandbox, held_us);
    table.ask(key("a", 1));
    let started: usize = (0..waiting).map(|_| table.ask(key("a", 1)).1.len()).sum();
    assert_eq!(started, expected, "{held_us} µs, {waiting} waiting");
}

#[test]
fn short_runs_share_sandboxes_and_long_ones_get_one_each() {
    check_growth(100, 31, 0);
    check_growth(1000, 31, 6);
    check_growth(100_000, 10, 10);
}

#[test]
fn a_run_that_hangs_is_noticed() {
    let mut table = Table::new(limits());
    let sandbox = table.cold(key("a", 1));
    table.keep(sandbox, 100);
    table.ask(key("a", 1));
    assert_eq!(table.ask(key("a", 1)).1, [], "the run is expected back in a moment");
    assert!(matches!(table.tick(30)[..], [Effect::Start { .. }]));
}

#[test]
fn no_more_start_at_once_than_may() {
    let mut table = Table::new(limits());
    let started: usize = (0..10).map(|_| table.ask(key("a", 1)).1.len()).sum();
    assert_eq!(started, 4);
    let (ticket, effects) = table.ask(key("a", 1));
    assert_eq!(effects, [Effect::Refuse { ticket, why: Refusal::QueueFull }]);
}

#[test]
fn the_longest_idle_makes_room_and_what_is_dirty_goes_at_once() {
    let mut table = Table::new(PoolLimits { sandboxes: 2, ..limits() });
    let (old, new) = (table.cold(key("a", 1)), table.cold(key("a", 2)));
    table.now_ms = 1;
    table.keep(old, 100);
    table.now_ms = 2;
    table.keep(new, 100);
    let (ticket, effects) = table.ask(key("b", 3));
    assert_eq!(effects, [Effect::Kill { sandbox: old }]);
    let effects = table.step(Input::Removed { sandbox: old });
    let [Effect::Start { sandbox, .. }] = effects[..] else { panic!("{effects:?}") };
    let effects = table.step(Input::Started { sandbox });
    assert_eq!(effects, [Effect::Grant { ticket, sandbox, state: Granted::Fresh }]);
    let effects = table.step(Input::Released { sandbox, fate: Fate::Destroy, held_us: 0 });
    assert_eq!(effects, [Effect::Kill { sandbox }]);
}

#[test]
fn admission_is_by_measured_use_and_keeps_the_reserve() {
    let mut table = Table::new(PoolLimits { budget: 300 * MB, ..limits() });
    let first = table.cold(key("a", 1));
    table.step(Input::Measured { sandbox: first, bytes: 151 * MB });
    let (_, effects) = table.ask(key("a", 2));
    assert_eq!(effects, [], "151 + 50 expected + 100 reserve do not fit into 300");
    table.step(Input::Measured { sandbox: first, bytes: 40 * MB });
    assert!(matches!(table.tick(1)[..], [Effect::Start { .. }]));
}

#[test]
fn idle_sandboxes_go_when_others_outgrow_the_budget_or_the_machine_runs_short() {
    let mut table = Table::new(limits());
    let (idle, busy) = (table.cold(key("a", 1)), table.cold(key("a", 2)));
    table.keep(idle, 100);
    let effects = table.step(Input::Measured { sandbox: busy, bytes: 960 * MB });
    assert_eq!(effects, [Effect::Kill { sandbox: idle }]);

    let mut table = Table::new(limits());
    let idle = table.cold(key("a", 1));
    table.keep(idle, 100);
    let effects = table.step(Input::Tick { available: Some(90 * MB) });
    assert_eq!(effects, [Effect::Kill { sandbox: idle }]);
}

#[test]
fn time_pauses_then_removes() {
    let mut table = Table::new(limits());
    let sandbox = table.cold(key("a", 1));
    table.keep(sandbox, 100);
    assert_eq!(table.tick(999), []);
    assert_eq!(table.tick(1000), [Effect::Pause { sandbox }]);
    assert_eq!(table.step(Input::Paused { sandbox }), []);
    assert_eq!(table.tick(4999), []);
    assert_eq!(table.tick(5000), [Effect::Kill { sandbox }]);
    table.step(Input::Removed { sandbox });
    assert_eq!(table.pool.usage(), Usage::default());
}

#[test]
fn an_old_revision_goes_when_it_is_idle() {
    let mut table = Table::new(limits());
    let (idle, busy) = (table.cold(key("a", 1)), table.cold(key("a", 1)));
    table.keep(idle, 100);
    let retire = |current| Input::Retire { action: EntityUid([1; 16]), current };
    assert_eq!(table.step(retire(Some(1))), []);
    assert_eq!(table.step(retire(Some(2))), [Effect::Kill { sandbox: idle }]);
    assert_eq!(table.keep(busy, 100), [Effect::Kill { sandbox: busy }]);
}

#[test]
fn stem_cells_are_kept_and_replaced_when_nobody_waits() {
    let mut table = Table::new(PoolLimits { stems: vec![(NODE, 2)], ..limits() });
    let effects = table.tick(0);
    let [Effect::Start { sandbox: one, .. }, Effect::Start { sandbox: two, .. }] = effects[..]
    else {
        panic!("{effects:?}")
    };
    table.step(Input::Started { sandbox: one });
    table.step(Input::Started { sandbox: two });
    let (ticket, effects) = table.ask(key("a", 1));
    assert_eq!(effects, [Effect::Grant { ticket, sandbox: one, state: Granted::Fresh }]);
    assert!(matches!(table.tick(1)[..], [Effect::Start { .. }]));
    assert_eq!(table.tick(100_000), [], "stem cells do not age");
    table.step(Input::Lost { sandbox: two });
    assert!(matches!(table.tick(100_001)[..], [Effect::Start { .. }]), "a dead one is replaced");
}

#[test]
fn a_failed_start_is_told_to_one_and_stem_cells_wait_a_while() {
    let mut table = Table::new(PoolLimits { stems: vec![(NODE, 1)], ..limits() });
    let (ticket, effects) = table.ask(key("a", 1));
    let [Effect::Start { sandbox, .. }] = effects[..] else { panic!("{effects:?}") };
    let effects = table.step(Input::StartFailed { sandbox });
    assert_eq!(effects, [Effect::Refuse { ticket, why: Refusal::StartFailed }]);
    assert_eq!(table.tick(4999), []);
    assert!(matches!(table.tick(5000)[..], [Effect::Start { .. }]));
}

#[test]
fn what_was_not_touched_is_as_before() {
    let mut table = Table::new(limits());
    let sandbox = table.cold(key("a", 1));
    table.step(Input::Released { sandbox, fate: Fate::Untouched, held_us: 0 });
    let (ticket, effects) = table.ask(key("b", 2));
    assert_eq!(effects, [Effect::Grant { ticket, sandbox, state: Granted::Fresh }]);
}

#[test]
fn a_namespace_above_its_share_gives_way_to_one_below() {
    let mut table = Table::new(PoolLimits { sandboxes: 4, ..limits() });
    let held: Vec<_> = (0..4).map(|_| table.cold(key("a", 1))).collect();
    let (mine, _) = table.ask(key("a", 1));
    let (theirs, effects) = table.ask(key("b", 2));
    assert_eq!(effects, []);
    let effects = table.keep(held[0], 100_000);
    assert!(matches!(effects[..], [Effect::Grant { .. }]), "not before its patience is over");
    table.now_ms = 60;
    table.ask(key("a", 1));
    let effects = table.keep(held[1], 100_000);
    assert_eq!(effects, [Effect::Kill { sandbox: held[1] }]);
    let effects = table.step(Input::Removed { sandbox: held[1] });
    let [Effect::Start { sandbox, .. }] = effects[..] else { panic!("{effects:?}") };
    let effects = table.step(Input::Started { sandbox });
    let granted = effects.iter().any(|effect| {
        matches!(effect, Effect::Grant { ticket, .. } if *ticket == theirs || *ticket == mine)
    });
    assert!(granted, "{effects:?}");
}

#[test]
fn a_closed_pool_refuses_and_empties() {
    let mut table = Table::new(limits());
    let (idle, busy) = (table.cold(key("a", 1)), table.cold(key("a", 2)));
    table.keep(idle, 100);
    let (waits, _) = table.ask(key("a", 3));
    let effects = table.step(Input::Close);
    assert_eq!(
        effects,
        [Effect::Refuse { ticket: waits, why: Refusal::Closed }, Effect::Kill { sandbox: idle }]
    );
    let (ticket, effects) = table.ask(key("a", 1));
    assert_eq!(effects, [Effect::Refuse { ticket, why: Refusal::Closed }]);
    assert_eq!(table.keep(busy, 100), [Effect::Kill { sandbox: busy }]);
}

// === by chance ===

/// One thing that may happen; indices are taken modulo what there is.
#[derive(Clone, Debug)]
enum Chance {
    Ask { namespace: u8, action: u8, shape: usize },
    Cancel(usize),
    Start { which: usize, fails: bool },
    Release { which: usize, fate: Fate, held_us: u64 },
    Lose(usize),
    Pause { which: usize, fails: bool },
    Remove(usize),
    Measure { which: usize, mb: u64 },
    Retire { action: u8, current: Option<u64> },
    Tick { after_ms: u64, available_mb: Option<u64> },
    Foreign(u64),
}

fn chance() -> impl Strategy<Value = Chance> {
    let fate = prop_oneof![
        6 => Just(Fate::Keep), 1 => Just(Fate::Destroy), 1 => Just(Fate::Untouched)
    ];
    let index = || any::<usize>();
    prop_oneof![
        10 => (0..3_u8, 0..4_u8, 0..2_usize)
            .prop_map(|(namespace, action, shape)| Chance::Ask { namespace, action, shape }),
        1 => index().prop_map(Chance::Cancel),
        8 => (index(), prop::bool::weighted(0.1))
            .prop_map(|(which, fails)| Chance::Start { which, fails }),
        10 => (index(), fate, 0..50_000_u64)
            .prop_map(|(which, fate, held_us)| Chance::Release { which, fate, held_us }),
        1 => index().prop_map(Chance::Lose),
        4 => (index(), prop::bool::weighted(0.1))
            .prop_map(|(which, fails)| Chance::Pause { which, fails }),
        8 => index().prop_map(Chance::Remove),
        3 => (index(), 10..200_u64).prop_map(|(which, mb)| Chance::Measure { which, mb }),
        1 => (0..4_u8, prop::option::of(1..3_u64))
            .prop_map(|(action, current)| Chance::Retire { action, current }),
        4 => (0..2000_u64, prop::option::weighted(0.2, 0..400_u64))
            .prop_map(|(after_ms, available_mb)| Chance::Tick { after_ms, available_mb }),
        1 => (0..50_u64).prop_map(Chance::Foreign),
    ]
}

/// The world outside of the pool: what it was told to do and has not yet answered.
#[derive(Default)]
struct World {
    starting: BTreeSet<SandboxId>,
    /// Sandbox, and the key it was granted for.
    held: BTreeMap<SandboxId, WarmKey>,
    pausing: BTreeSet<SandboxId>,
    killing: BTreeSet<SandboxId>,
    alive: BTreeSet<SandboxId>,
    asked: BTreeMap<Ticket, (WarmKey, Shape)>,
    /// For whom each sandbox was initialised.
    initialised: BTreeMap<SandboxId, WarmKey>,
    shapes: BTreeMap<SandboxId, Shape>,
}

impl World {
    fn note(&mut self, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::Grant { ticket, sandbox, state } => self.note_grant(ticket, sandbox, state),
                Effect::Refuse { ticket, .. } => {
                    self.asked.remove(&ticket).expect("asked, and answered once");
                }
                Effect::Start { sandbox, shape } => {
                    assert!(self.starting.insert(sandbox));
                    assert_eq!(self.shapes.insert(sandbox, shape), None, "ids are not reused");
                }
                Effect::Pause { sandbox } => {
                    assert!(self.alive.contains(&sandbox) && !self.held.contains_key(&sandbox));
                    assert!(self.pausing.insert(sandbox));
                }
                Effect::Kill { sandbox } => {
                    assert!(!self.held.contains_key(&sandbox), "killed under its run");
                    assert!(self.alive.remove(&sandbox), "killed twice, or never alive");
                    self.pausing.remove(&sandbox);
                    self.killing.insert(sandbox);
                }
            }
        }
    }

    fn note_grant(&mut self, ticket: Ticket, sandbox: SandboxId, state: Granted) {
        let (key, shape) = self.asked.remove(&ticket).expect("asked, and answered once");
        assert_eq!(self.shapes[&sandbox], shape);
        assert!(self.alive.contains(&sandbox), "granted while it does not live");
        assert!(!self.killing.contains(&sandbox), "granted while it is killed");
        assert!(!self.pausing.contains(&sandbox), "granted while it is paused");
        match state {
            Granted::Fresh => assert!(!self.initialised.contains_key(&sandbox)),
            Granted::Warm | Granted::Paused => {
                assert_eq!(self.initialised.get(&sandbox), Some(&key));
            }
        }
        assert_eq!(self.held.insert(sandbox, key), None, "granted twice");
    }

    /// The input that a chance means here; none where there is nothing it could happen to.
    fn input(&mut self, chance: &Chance, next: &mut u64) -> Option<Input> {
        Some(match chance {
            Chance::Ask { namespace, action, shape } => {
                let ticket = Ticket(*next);
                *next += 1;
                let key = key(["a", "b", "c"][usize::from(*namespace)], *action);
                let shape = [NODE, Shape { kind: 1, memory_mb: 128, egress: false }][*shape];
                // One action has one shape.
                let shape = if action % 2 == 0 { NODE } else { shape };
                let key = WarmKey { revision: shape.memory_mb, ..key };
                self.asked.insert(ticket, (key.clone(), shape));
                Input::Acquire { ticket, key, shape }
            }
            Chance::Cancel(which) => {
                let ticket = *pick(self.asked.keys(), *which)?;
                self.asked.remove(&ticket);
                Input::Cancel { ticket }
            }
            Chance::Start { which, fails } => {
                let sandbox = *pick(self.starting.iter(), *which)?;
                self.starting.remove(&sandbox);
                if *fails {
                    Input::StartFailed { sandbox }
                } else {
                    self.alive.insert(sandbox);
                    Input::Started { sandbox }
                }
            }
            Chance::Release { which, fate, held_us } => {
                let sandbox = *pick(self.held.keys(), *which)?;
                let key = self.held.remove(&sandbox)?;
                if *fate == Fate::Keep {
                    self.initialised.insert(sandbox, key);
                }
                Input::Released { sandbox, fate: *fate, held_us: *held_us }
            }
            Chance::Lose(which) => {
                let idle = self.alive.iter().filter(|id| !self.held.contains_key(id));
                Input::Lost { sandbox: *pick(idle, *which)? }
            }
            Chance::Pause { which, fails } => {
                let sandbox = *pick(self.pausing.iter(), *which)?;
                self.pausing.remove(&sandbox);
                if *fails { Input::Lost { sandbox } } else { Input::Paused { sandbox } }
            }
            Chance::Remove(which) => {
                let sandbox = *pick(self.killing.iter(), *which)?;
                self.killing.remove(&sandbox);
                Input::Removed { sandbox }
            }
            Chance::Measure { which, mb } => {
                Input::Measured { sandbox: *pick(self.alive.iter(), *which)?, bytes: mb * MB }
            }
            Chance::Retire { action, current } => {
                Input::Retire { action: EntityUid([*action; 16]), current: *current }
            }
            Chance::Tick { available_mb, .. } => {
                Input::Tick { available: available_mb.map(|mb| mb * MB) }
            }
            Chance::Foreign(id) => Input::Removed { sandbox: SandboxId(1000 + id) },
        })
    }
}

fn pick<'a, T: 'a>(mut all: impl Iterator<Item = &'a T> + Clone, which: usize) -> Option<&'a T> {
    let count = all.clone().count();
    all.nth(which.checked_rem(count)?)
}

fn check(pool: &Pool, world: &World) {
    let slots = || pool.slots.values();
    assert_eq!(pool.charge, slots().map(|slot| slot.charge).sum::<u64>(), "the sum is kept");
    assert!(pool.slots.len() <= pool.limits.sandboxes, "too many sandboxes");
    let warming = slots().filter(|slot| slot.state == State::Warming).count();
    assert!(warming <= pool.limits.starting && warming == world.starting.len());
    let removing = slots().filter(|slot| slot.state == State::Removing);
    let going: u64 = removing.map(|slot| slot.charge).sum();
    assert!(
        pool.charge - going <= pool.limits.budget || pool.longest_idle().is_none(),
        "above the budget with idle sandboxes left"
    );
    assert_eq!(pool.usage().busy, world.held.len());
    assert_eq!(pool.queue.len(), world.asked.len(), "a ticket is lost or answered twice");
    for (key, known) in &pool.keys {
        let away = slots().filter(|slot| {
            slot.state.key() == Some(key)
                && matches!(slot.state, State::Busy { .. } | State::Pausing { .. })
        });
        assert_eq!(known.away, away.count(), "{key:?}");
        let idle = known.ready.iter().chain(&known.paused);
        assert!(idle.clone().all(|id| pool.slots[id].state.is_idle()));
        assert!(
            pool.queue.waiting(key) == 0 || idle.count() == 0,
            "one waits while a sandbox of its key is idle"
        );
    }
}

/// Lets everything under way come to its end, so that only a lost ticket could still wait.
fn settle(pool: &mut Pool, world: &mut World, mut now_ms: u64) {
    let mut next = u64::MAX;
    for _ in 0..2000 {
        if world.asked.is_empty() {
            return;
        }
        for chance in [
            Chance::Start { which: 0, fails: false },
            Chance::Release { which: 0, fate: Fate::Keep, held_us: 1000 },
            Chance::Pause { which: 0, fails: false },
            Chance::Remove(0),
            Chance::Tick { after_ms: 100, available_mb: None },
        ] {
            now_ms += 20;
            if let Some(input) = world.input(&chance, &mut next) {
                let mut effects = Vec::new();
                pool.step(input, now_ms, &mut effects);
                world.note(&effects);
            }
        }
    }
    panic!("{} tickets wait for ever: {pool:#?}", world.asked.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_run_is_lost_and_no_sandbox_used_twice(
        chances in prop::collection::vec(chance(), 1..300),
        sandboxes in 1..6_usize,
        stems in 0..2_usize,
    ) {
        let limits = PoolLimits {
            budget: 500 * MB, sandboxes, starting: 2, stems: vec![(NODE, stems)], ..limits()
        };
        let mut pool = Pool::new(limits);
        let (mut world, mut now_ms, mut next) = (World::default(), 0, 0);
        for chance in &chances {
            if let Chance::Tick { after_ms, .. } = chance {
                now_ms += after_ms;
            }
            if let Some(input) = world.input(chance, &mut next) {
                let mut effects = Vec::new();
                pool.step(input, now_ms, &mut effects);
                world.note(&effects);
                check(&pool, &world);
            }
        }
        settle(&mut pool, &mut world, now_ms);
    }
}
