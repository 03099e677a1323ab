//! Events that a feed set aside, and what a rule has to do.

use super::*;
use crate::record::Reason;

const GUEST: &str = "guest";

fn dead(world: &World) -> Vec<(DeliveryId, Reason)> {
    let letters = world.core.dead_letters(&fixture::namespace(GUEST));
    letters.into_iter().map(|it| (it.held.id, it.held.death.unwrap().reason)).collect()
}

#[test]
fn f7_what_its_feed_set_aside_is_a_dead_letter_that_never_ran() {
    let mut world = World::with_rules([rule(1, |_| ()), rule(2, |policy| policy.ordered = true)]);
    let mut stored = crate::record::StoredEvent::decode(event("k", &[1, 2])).unwrap();
    stored.origin = Origin::Feed;
    let why = Attribute::Text("the record is too large".to_owned());
    stored.event.extensions.insert("setaside".to_owned(), why);
    let trigger = fixture::name("t");
    assert!(!qualifies(&stored, &cases::replay(1), &trigger), "a replay of its range passes it by");
    let offset = world.write(stream::EVENT, stored.encode());
    let next = world.write(stream::EVENT, event("k", &[1, 2]));
    world.load();
    let [one, two] = [1, 2].map(|rule| live(offset, rule));
    assert_eq!((world.starts(one), world.starts(two)), (0, 0));
    assert_eq!(dead(&world), [(two, Reason::SetAside), (one, Reason::SetAside)]);
    let letter = world.core.dead_letter(one).unwrap();
    assert_eq!(letter.held.attempts.notes[0].why, "the record is too large");
    for rule in [1, 2] {
        world.end(live(next, rule), Verdict::Success);
    }
    world.restart(None, &[rule(1, |_| ()), rule(2, |_| ())]);
    assert_eq!(dead(&world).len(), 2, "once for ever");
    world.assert_settled();
}

#[test]
fn an_attribute_that_others_send_sets_nothing_aside() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let mut stored = crate::record::StoredEvent::decode(event("k", &[1])).unwrap();
    let why = Attribute::Text("because".to_owned());
    stored.event.extensions.insert("setaside".to_owned(), why);
    assert!(qualifies(&stored, &cases::replay(1), &fixture::name("t")));
    let offset = world.write(stream::EVENT, stored.encode());
    world.load();
    assert_eq!(world.starts(live(offset, 1)), 1);
}

#[test]
fn what_a_rule_has_to_do_is_counted_by_open_and_dead() {
    let mut world = World::with_rules([rule(1, |policy| policy.attempts = 2)]);
    let owed = |world: &World| world.core.owed_to(&fixture::namespace(GUEST), fixture::uid(1));
    assert_eq!(owed(&world), (0, 0));
    let first = live(world.accept("k", &[1]), 1);
    let second = live(world.accept("k", &[1]), 1);
    assert_eq!(owed(&world), (2, 0));
    world.end(first, failed());
    assert_eq!(owed(&world), (2, 0), "one of them is tried again");
    world.end(second, Verdict::Success);
    let due_ms = world.core.wake_at().unwrap();
    world.at_time(due_ms);
    world.end(first, failed());
    assert_eq!(owed(&world), (0, 1));
    world.restart(None, &[rule(1, |policy| policy.attempts = 2)]);
    assert_eq!(owed(&world), (0, 1), "also after a restart");
    world.tell(DeliveryInput::Discard { id: first, ticket: 1 });
    assert_eq!(owed(&world), (0, 0));
}
