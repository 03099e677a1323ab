//! Erased events: their deliveries end wherever they stand, and others go on.

use evoke_event_log::{Erased, Erasure, Item};

use super::*;

fn erase(world: &mut World, offset: u64) {
    world.tell(DeliveryInput::Erase { position: at(offset), ticket: 1 });
}

fn erased(world: &World) -> Vec<DeliveryId> {
    let all = world.outcomes().into_iter();
    all.filter(|(_, outcome)| *outcome == Outcome::Erased).map(|(id, _)| id).collect()
}

#[test]
fn what_waits_in_any_way_ends_and_its_key_goes_on() {
    let ordered = rule(1, |policy| policy.ordered = true);
    let mut world = World::with_rules([ordered, rule(2, |policy| policy.attempts = 9)]);
    let first = world.accept("k", &[1]);
    let behind = world.accept("k", &[1]);
    let last = world.accept("k", &[1]);
    erase(&mut world, behind);
    assert_eq!(erased(&world), [live(behind, 1)], "one that waits behind another of its key");
    world.end(live(first, 1), Verdict::Success);
    assert_eq!(world.running, BTreeSet::from([live(last, 1)]), "its place is passed by");
    world.end(live(last, 1), Verdict::Success);

    let rests = world.accept("x", &[2]);
    world.end(live(rests, 2), failed());
    let due_ms = world.core.wake_at().unwrap();
    erase(&mut world, rests);
    world.at_time(due_ms);
    assert_eq!((world.starts(live(rests, 2)), world.core.open_at(at(rests))), (1, 0));
    world.assert_settled();

    world.tell(DeliveryInput::Capacity(0));
    let ready = world.accept("y", &[2]);
    erase(&mut world, ready);
    world.tell(DeliveryInput::Capacity(usize::MAX));
    assert_eq!(world.starts(live(ready, 2)), 0);
    assert_eq!(erased(&world), [live(behind, 1), live(rests, 2), live(ready, 2)]);
    assert!(world.answers().iter().all(Result::is_ok));
    world.assert_settled();
}

#[test]
fn a_dead_letter_goes_and_what_runs_is_waited_for() {
    let mut world = World::with_rules([rule(1, |policy| policy.attempts = 2), rule(2, |_| ())]);
    let offset = world.accept("k", &[1, 2]);
    let (one, two) = (live(offset, 1), live(offset, 2));
    world.end(two, failed());
    erase(&mut world, offset);
    assert_eq!((erased(&world), world.core.open_at(at(offset))), (vec![two], 1));
    world.end(one, failed());
    erase(&mut world, offset);
    assert_eq!((erased(&world), world.core.open_at(at(offset))), (vec![two, one], 0));
    world.restart(None, &[rule(1, |_| ()), rule(2, |_| ())]);
    assert_eq!(world.core.open_at(at(offset)), 0, "for ever");
    world.assert_settled();
}

#[test]
fn an_attempt_that_finds_its_event_erased_ends() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let offset = world.accept("k", &[1]);
    let id = live(offset, 1);
    assert!(world.running.remove(&id));
    world.tell(DeliveryInput::Erased { id });
    assert_eq!(erased(&world), [id]);
    world.assert_settled();
}

#[test]
fn an_erased_event_asks_for_nothing_when_it_is_loaded() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let gone = Erased {
        position: at(0),
        stream: stream::EVENT,
        time_ms: 5,
        len: 100,
        erasure: Erasure::default(),
    };
    world.tell(DeliveryInput::Loaded { items: vec![Item::Erased(gone)], next: cursor(1) });
    assert!(world.started.is_empty() && world.noted.is_empty());
    assert_eq!(world.core.low_water(), &cursor(1));
}
