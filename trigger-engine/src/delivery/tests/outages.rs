//! What stands behind an event's delivery is away: nothing is lost, nothing out of turn.

use super::*;
use crate::record::Reason;

const MINUTE: u64 = 60_000;

/// Ends every attempt until there is nothing more to do, by what `verdict` says of the time.
fn run(world: &mut World, verdict: impl Fn(u64) -> Verdict) -> Vec<(u64, DeliveryId)> {
    let mut ended = Vec::new();
    loop {
        if let Some(id) = world.running.first().copied() {
            ended.push((world.now_ms, id));
            let verdict = verdict(world.now_ms);
            world.end(id, verdict);
        } else if let Some(due_ms) = world.core.wake_at() {
            world.at_time(due_ms.max(world.now_ms));
        } else {
            return ended;
        }
    }
}

#[test]
fn f4_ten_minutes_of_outage_lose_nothing_and_keep_the_order_of_a_key() {
    let hour = 60 * MINUTE;
    let mut world = World::with_rules([
        rule(1, |policy| (policy.ordered, policy.deadline_ms) = (true, Some(hour))),
        rule(2, |_| ()),
    ]);
    let events: Vec<u64> =
        (0..30).map(|number| world.accept(["a", "b", "c"][number % 3], &[1, 2])).collect();
    let guest = fixture::namespace("guest");
    assert!(world.core.backlog(&guest).bytes > 0, "what is owed shows");
    let mended = 1_000 + 10 * MINUTE;
    let runs = run(&mut world, |now_ms| if now_ms < mended { evicted() } else { Verdict::Success });
    let done: BTreeSet<DeliveryId> = world
        .outcomes()
        .into_iter()
        .map(|(id, outcome)| {
            assert_eq!(outcome, Outcome::Success, "{id:?}");
            id
        })
        .collect();
    assert_eq!(done.len(), 60, "each once, to each rule");
    let last = |offset: u64| runs.iter().rposition(|(_, id)| *id == live(offset, 1)).unwrap();
    for key in 0..3 {
        let own: Vec<usize> = events.iter().skip(key).step_by(3).map(|it| last(*it)).collect();
        assert!(own.is_sorted(), "key {key} out of order: {own:?}");
    }
    let late = runs.iter().map(|(at_ms, _)| *at_ms).max().unwrap();
    assert!(late < mended + 2 * MINUTE, "it goes on soon after it is mended: {late}");
    world.assert_settled();
}

#[test]
fn f5_a_wait_that_is_asked_for_is_kept() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let id = live(world.accept("k", &[1]), 1);
    let busy = Verdict::PlatformFailed { reason: "busy".to_owned(), retry_after_ms: Some(30_000) };
    world.end(id, busy);
    world.at_time(30_999);
    assert_eq!(world.starts(id), 1, "29.999 s later");
    let due_ms = world.core.wake_at().unwrap();
    assert!((31_000..32_000).contains(&due_ms), "{due_ms}");
    world.at_time(due_ms);
    assert_eq!(world.starts(id), 2);
}

#[test]
fn f6_a_missing_action_is_waited_for_and_delivery_resumes_by_itself() {
    let mut world = World::with_rules([rule(1, |policy| policy.ordered = true)]);
    let ids: Vec<DeliveryId> = (0..3).map(|_| live(world.accept("k", &[1]), 1)).collect();
    let there = 1_000 + evoke_schemas::rule::MISSING_ACTION_MS / 2;
    let runs =
        run(
            &mut world,
            |now_ms| {
                if now_ms < there { Verdict::ActionMissing } else { Verdict::Success }
            },
        );
    let wanted: Vec<_> = ids.iter().map(|id| (*id, Outcome::Success)).collect();
    assert_eq!(world.outcomes(), wanted, "from the same event on, in order");
    assert!(runs.len() > 3, "it was tried meanwhile");
    let letters = world.core.dead_letters(&fixture::namespace("guest"));
    assert!(letters.iter().all(|it| it.held.death.as_ref().unwrap().reason != Reason::Lost));
    assert!(letters.is_empty());
}
