//! The pool by chance: whatever happens, what must hold holds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    slots::State,
    tests::{MB, NODE, key, limits},
    *,
};

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
    /// Sandbox, the key it was granted for, and in which state.
    held: BTreeMap<SandboxId, (WarmKey, Granted)>,
    pausing: BTreeSet<SandboxId>,
    /// Those that stand still.
    still: BTreeSet<SandboxId>,
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
        assert_eq!(self.still.remove(&sandbox), state == Granted::Paused);
        match state {
            Granted::Fresh => assert!(!self.initialised.contains_key(&sandbox)),
            Granted::Warm | Granted::Paused => {
                assert_eq!(self.initialised.get(&sandbox), Some(&key));
            }
        }
        assert_eq!(self.held.insert(sandbox, (key, state)), None, "granted twice");
    }

    /// The input that a chance means here; none where there is nothing it could happen to.
    #[expect(clippy::too_many_lines, reason = "one arm for each chance")]
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
                let (key, state) = self.held.remove(&sandbox)?;
                if *fate == Fate::Keep {
                    self.initialised.insert(sandbox, key);
                } else if *fate == Fate::Untouched && state == Granted::Paused {
                    self.still.insert(sandbox);
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
                if *fails {
                    return Some(Input::Lost { sandbox });
                }
                self.still.insert(sandbox);
                Input::Paused { sandbox }
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
