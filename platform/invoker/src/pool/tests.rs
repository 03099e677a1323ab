//! The pool by table.

use super::*;

pub(super) const MB: u64 = 1 << 20;
pub(super) const NODE: Shape = Shape { kind: 0, memory_mb: 256, egress: true };

pub(super) fn limits() -> PoolLimits {
    PoolLimits {
        budget: 1000 * MB,
        reserve: 100 * MB,
        expected: 50 * MB,
        machine_floor: 100 * MB,
        sandboxes: 100,
        starting: 4,
        waiting: 10,
        grow_us: 5000,
        crowd: 3,
        share_us: 1000,
        patience_ms: 50,
        pause_ms: 1000,
        remove_ms: 5000,
        stems: Vec::new(),
    }
}

pub(super) fn key(namespace: &str, action: u8) -> WarmKey {
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

#[test]
fn the_machines_own_memory_bounds_admission() {
    let mut table = Table::new(limits());
    table.step(Input::Tick { available: Some(149 * MB) });
    assert_eq!(table.ask(key("a", 1)).1, [], "50 expected and a floor of 100");
    let effects = table.step(Input::Tick { available: Some(150 * MB) });
    assert!(matches!(effects[..], [Effect::Start { .. }]));
}

#[test]
fn one_that_outgrew_the_budget_goes_when_it_is_idle() {
    let mut table = Table::new(limits());
    let sandbox = table.cold(key("a", 1));
    assert_eq!(table.step(Input::Measured { sandbox, bytes: 1001 * MB }), []);
    assert_eq!(table.keep(sandbox, 100), [Effect::Kill { sandbox }]);
}

#[test]
fn one_that_is_just_being_paused_is_waited_for() {
    let mut table = Table::new(limits());
    let sandbox = table.cold(key("a", 1));
    table.keep(sandbox, 100);
    assert_eq!(table.tick(1000), [Effect::Pause { sandbox }]);
    let (ticket, effects) = table.ask(key("a", 1));
    assert!(effects.iter().all(|effect| !matches!(effect, Effect::Grant { .. })));
    let effects = table.step(Input::Paused { sandbox });
    assert_eq!(effects, [Effect::Grant { ticket, sandbox, state: Granted::Paused }]);
}

/// To whom sandboxes go that become ready one after the other.
fn check_turns(asked: &[(&str, u8)], expected: &[u64]) {
    let mut table = Table::new(limits());
    let mut starting = Vec::new();
    for (namespace, action) in asked {
        for effect in table.ask(key(namespace, *action)).1 {
            let Effect::Start { sandbox, .. } = effect else { panic!("{effect:?}") };
            starting.push(sandbox);
        }
    }
    let mut served = Vec::new();
    for sandbox in starting {
        for effect in table.step(Input::Started { sandbox }) {
            if let Effect::Grant { ticket, .. } = effect {
                served.push(ticket.0);
            }
        }
    }
    assert_eq!(served, expected);
}

#[test]
fn namespaces_take_turns_and_within_one_the_older_comes_first() {
    check_turns(&[("a", 1), ("a", 1), ("a", 1), ("b", 1)], &[0, 3, 1, 2]);
    check_turns(&[("a", 2), ("a", 1), ("a", 2), ("a", 1)], &[0, 1, 2, 3]);
}

#[test]
fn a_key_without_any_sandbox_gets_one_however_short_its_runs() {
    let mut table = Table::new(limits());
    let sandbox = table.cold(key("a", 1));
    table.keep(sandbox, 0);
    table.ask(key("a", 1));
    assert_eq!(table.ask(key("a", 1)).1, [], "the other is back in no time");
    let effects = table.step(Input::Released { sandbox, fate: Fate::Destroy, held_us: 0 });
    assert!(matches!(effects[..], [Effect::Kill { .. }, Effect::Start { .. }]), "{effects:?}");
}

#[test]
fn short_runs_share_where_every_processor_is_busy_and_get_an_idle_one_when_they_stall() {
    let mut table = Table::new(limits());
    let key = key("guest", 1);
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push(table.cold(key.clone()));
    }
    for sandbox in &busy {
        table.keep(*sandbox, 100);
    }
    let mut under_way = Vec::new();
    for _ in 0..3 {
        let (_, effects) = table.ask(key.clone());
        let [Effect::Grant { sandbox, state: Granted::Warm, .. }] = effects[..] else {
            panic!("{effects:?}")
        };
        under_way.push(sandbox);
    }
    let (waits, effects) = table.ask(key.clone());
    assert_eq!(effects, [], "the fourth idles, and waiting is quicker than waking it");
    let sandbox = under_way[0];
    assert_eq!(
        table.keep(sandbox, 100),
        [Effect::Grant { ticket: waits, sandbox, state: Granted::Warm }]
    );
    let (stalls, effects) = table.ask(key);
    assert_eq!(effects, []);
    let granted = table.tick(40);
    assert!(
        matches!(granted[..], [Effect::Grant { ticket, state: Granted::Warm, .. }] if ticket == stalls),
        "{granted:?}"
    );
}
