//! The clock is set both ways; a namespace has bounds of its own.

use super::*;
use crate::delivery::NamespaceBounds;

const HOURS: i64 = 6 * 3_600_000;

fn stepped(world: &mut World, by_ms: i64) {
    let end = cursor(world.log.len());
    world.now_ms = world.now_ms.saturating_add_signed(by_ms);
    world.tell(DeliveryInput::ClockStepped { by_ms, end });
}

#[test]
fn a_retry_waits_as_long_as_it_would_have_whichever_way_the_clock_is_set() {
    for by_ms in [-HOURS, HOURS] {
        let mut world = World::with_rules([rule(1, |policy| policy.attempts = 2)]);
        world.now_ms = 1_000_000_000_000;
        let id = live(world.accept("k", &[1]), 1);
        world.end(id, failed());
        let wait_ms = world.core.wake_at().unwrap() - world.now_ms;
        stepped(&mut world, by_ms);
        assert_eq!(world.core.wake_at(), Some(world.now_ms + wait_ms));
        world.at_time(world.now_ms + wait_ms - 1);
        assert_eq!(world.starts(id), 1, "not before its time");
        world.at_time(world.now_ms + 1);
        assert_eq!(world.starts(id), 2);
        world.end(id, Verdict::Success);
        world.assert_settled();
    }
}

#[test]
fn a_clock_set_forward_brings_no_deadline_nearer() {
    let mut world = World::with_rules([rule(1, |policy| policy.ordered = true)]);
    world.now_ms = 1_000_000_000_000;
    let running = live(world.accept("k", &[1]), 1);
    let unloaded = world.write(stream::EVENT, event("other", &[1]));
    stepped(&mut world, HOURS);
    world.end(running, evicted());
    world.load();
    let late = live(unloaded, 1);
    world.end(late, evicted());
    assert!(world.held_of(stream::DEAD).is_empty(), "both are tried again");
    world.at_time(world.now_ms + 60_000);
    assert_eq!((world.starts(running), world.starts(late)), (2, 2));
}

#[test]
fn a_start_after_the_clock_was_set_back_waits_no_longer_than_any_wait_is() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    world.now_ms = 1_000_000_000_000;
    let id = live(world.accept("k", &[1]), 1);
    world.end(id, evicted());
    world.now_ms = world.now_ms.saturating_add_signed(-HOURS);
    world.restart(None, &[rule(1, |_| ())]);
    world.at_time(world.now_ms + 300_000);
    assert_eq!(world.starts(id), 2);
}

#[test]
fn a_namespace_with_bounds_of_its_own_is_held_to_them() {
    let bounds = |running, undelivered| DeliveryInput::Bounds {
        namespace: fixture::namespace("guest"),
        bounds: Some(NamespaceBounds { running, undelivered }),
    };
    let mut world = World::with_rules([rule(1, |_| ())]);
    world.tell(bounds(2, 1_000_000));
    let ids: Vec<DeliveryId> = (0..5).map(|_| live(world.accept("k", &[1]), 1)).collect();
    assert_eq!(world.running.len(), 2);
    world.tell(bounds(3, 1_000));
    assert_eq!(world.running.len(), 3, "a wider bound is used at once");
    let closed = |world: &World| {
        let last = world.noted.iter().rev().find_map(|effect| match effect {
            DeliveryEffect::CloseIntake { .. } => Some(true),
            DeliveryEffect::OpenIntake { .. } => Some(false),
            _ => None,
        });
        last.unwrap_or(false)
    };
    assert!(closed(&world), "it owes more than its new bound");
    for id in ids {
        world.end(id, Verdict::Success);
    }
    assert!(!closed(&world));
    world.assert_settled();
}
