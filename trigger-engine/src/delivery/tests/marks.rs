//! The low-water mark: what it covers, and what waits behind it.

use super::*;

#[test]
fn a_checkpoint_covers_no_record_whose_change_is_not_made() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let id = live(world.accept("k", &[1]), 1);
    world.held = Some(Vec::new());
    world.end(id, Verdict::Success);
    let append = world.held.as_mut().unwrap().pop().unwrap();
    // Durable, and read back, before its answer has come.
    for record in append.records {
        world.write(record.stream, record.data);
    }
    world.load();
    let checkpoint = world.core.checkpoint();
    world.restart(Some(&checkpoint), &[rule(1, |_| ())]);
    assert_eq!(world.starts(id), 1, "its outcome is in the log");
}

#[test]
fn progress_that_finds_no_room_comes_again() {
    let mut world = World::new(|config| config.unsettled = 3);
    world.tell(DeliveryInput::RuleChanged(rule(1, |_| ())));
    world.full = true;
    let ids: Vec<DeliveryId> = (0..8).map(|_| live(world.accept("k", &[1]), 1)).collect();
    for id in &ids {
        if world.running.contains(id) {
            world.end(*id, Verdict::Success);
        }
    }
    assert!(world.core.wake_at().is_some() && !world.core.wants_items());
    world.full = false;
    world.at_time(world.now_ms + REFUSED_WAIT_MS);
    while let Some(id) = world.running.first().copied() {
        world.end(id, Verdict::Success);
    }
    assert_eq!(world.outcomes().len(), 8);
    world.assert_settled();
}

#[test]
fn the_oldest_is_parked_where_the_mark_lags() {
    let mut world = World::new(|config| config.above_mark = 3);
    world.tell(DeliveryInput::RuleChanged(rule(1, |_| ())));
    let slow = live(world.accept("k", &[1]), 1);
    for _ in 0..5 {
        let id = live(world.accept("k", &[1]), 1);
        world.end(id, Verdict::Success);
    }
    world.load();
    assert_eq!(world.core.low_water(), &cursor(world.log.len()));
    assert_eq!(world.held_of(stream::PARKED).len(), 1);
    world.restart(None, &[rule(1, |_| ())]);
    assert_eq!(world.starts(slow), 2);
    world.end(slow, Verdict::Success);
    assert_eq!(world.outcomes().len(), 6);
}
