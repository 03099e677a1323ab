//! One case a test: events in, effects out.

use evoke_event_log::{Item, Unreadable};

use super::*;
use crate::record::{Reason, ReplayRecord, ReplayStatus};

const GUEST: &str = "guest";

fn dead(world: &World) -> Vec<(DeliveryId, Reason)> {
    let letters = world.core.dead_letters(&fixture::namespace(GUEST));
    letters.into_iter().map(|it| (it.held.id, it.held.death.unwrap().reason)).collect()
}

#[test]
fn a_success_is_one_outcome_behind_its_flush() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    world.held = Some(Vec::new());
    let offset = world.accept("k", &[1]);
    world.end(live(offset, 1), Verdict::Success);
    assert_eq!(world.core.low_water(), &cursor(0), "not before its outcome is durable");
    world.let_go();
    assert_eq!(world.outcomes(), [(live(offset, 1), Outcome::Success)]);
    world.load();
    assert_eq!(world.core.low_water(), &cursor(2));
    world.assert_settled();
    assert!(matches!(world.noted.as_slice(), [DeliveryEffect::RecordTriggers { .. }]));
}

#[test]
fn an_event_without_rules_asks_for_nothing() {
    let mut world = World::with_rules([]);
    world.accept("k", &[]);
    assert!(world.started.is_empty() && world.noted.is_empty());
    assert_eq!(world.core.low_water(), &cursor(1));
}

#[test]
fn a_failing_function_is_parked_until_due_and_then_dead() {
    let mut world = World::with_rules([rule(1, |policy| policy.attempts = 2)]);
    let id = live(world.accept("k", &[1]), 1);
    world.end(id, failed());
    assert_eq!(world.held_of(stream::PARKED).len(), 1);
    assert_eq!(world.starts(id), 1, "not before it is due");
    let due_ms = world.core.wake_at().unwrap();
    world.at_time(due_ms - 1);
    assert_eq!(world.starts(id), 1);
    world.at_time(due_ms);
    assert_eq!(world.starts(id), 2);
    world.end(id, failed());
    assert_eq!(dead(&world), [(id, Reason::Exhausted)]);
    assert!(world.outcomes().is_empty());
    world.assert_settled();
}

#[test]
fn failures_of_the_platform_are_retried_until_the_deadline() {
    let mut world = World::with_rules([rule(1, |policy| policy.deadline_ms = Some(60_000))]);
    let id = live(world.accept("k", &[1]), 1);
    let mut waits = Vec::new();
    while world.running.contains(&id) {
        world.end(id, evicted());
        if let Some(due_ms) = world.core.wake_at() {
            waits.push(due_ms - world.now_ms);
            world.at_time(due_ms);
        }
    }
    assert_eq!(dead(&world), [(id, Reason::Deadline)]);
    assert_eq!(world.now_ms, 61_000, "the last attempt is at the deadline");
    assert!(waits.len() > 5 && waits[0] <= 100 && waits[5] > waits[0], "{waits:?}");
    world.assert_settled();
}

#[test]
fn a_missing_action_is_waited_for_and_then_dead() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let id = live(world.accept("k", &[1]), 1);
    while world.running.contains(&id) {
        world.end(id, Verdict::ActionMissing);
        if let Some(due_ms) = world.core.wake_at() {
            world.at_time(due_ms);
        }
    }
    assert_eq!(dead(&world), [(id, Reason::ActionMissing)]);
    assert!(world.now_ms >= 1_000 + evoke_schemas::rule::MISSING_ACTION_MS);
}

#[test]
fn a_key_of_an_ordered_rule_waits_for_the_record_of_its_head() {
    let mut world =
        World::with_rules([rule(1, |policy| (policy.ordered, policy.attempts) = (true, 2))]);
    let [first, second, other] = ["k", "k", "o"].map(|key| live(world.accept(key, &[1]), 1));
    assert_eq!((world.starts(first), world.starts(second), world.starts(other)), (1, 0, 1));
    world.end(first, failed());
    assert_eq!(world.starts(second), 0, "a retry keeps its place");
    let due_ms = world.core.wake_at().unwrap();
    world.at_time(due_ms);
    world.held = Some(Vec::new());
    world.end(first, Verdict::Success);
    assert_eq!(world.starts(second), 0, "not before the outcome is durable");
    world.let_go();
    assert_eq!(world.starts(second), 1);
    world.end(second, Verdict::Success);
    world.end(other, Verdict::Success);
    world.assert_settled();
}

#[test]
fn what_a_deleted_rule_did_not_begin_ends_with_it() {
    let mut world = World::with_rules([rule(1, |policy| policy.concurrency = 1)]);
    let ids = ["a", "b"].map(|key| live(world.accept(key, &[1]), 1));
    let namespace = fixture::namespace(GUEST);
    world.tell(DeliveryInput::RuleRemoved { namespace, uid: fixture::uid(1) });
    assert_eq!(world.outcomes(), [(ids[1], Outcome::RuleDeleted)]);
    world.end(ids[0], Verdict::Success);
    assert_eq!(world.outcomes().len(), 2);
    world.assert_settled();
}

#[test]
fn a_dead_letter_of_a_deleted_rule_keeps_the_rules_name() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let id = live(world.accept("k", &[1]), 1);
    let namespace = fixture::namespace(GUEST);
    world.tell(DeliveryInput::RuleRemoved { namespace: namespace.clone(), uid: fixture::uid(1) });
    world.end(id, failed());
    let name = |world: &World| world.core.dead_letters(&namespace)[0].held.rule.clone();
    assert_eq!(name(&world), Some(fixture::name("r1")));
    // Carried once more, so that a recovery reads two records about it.
    let to = cursor(world.log.len());
    world.load();
    world.tell(DeliveryInput::Carry { segment: evoke_event_log::SegmentId(0), to });
    assert_eq!(world.held_of(stream::DEAD).len(), 2);
    world.restart(None, &[]);
    assert_eq!(name(&world), Some(fixture::name("r1")));
}

#[test]
fn too_many_that_wait_are_parked_and_all_are_delivered() {
    let mut world = World::new(|config| {
        config.unparked_per_namespace = 2;
        config.running_per_namespace = 1;
    });
    world.tell(DeliveryInput::RuleChanged(rule(1, |_| ())));
    let ids: Vec<DeliveryId> = (0..5).map(|_| live(world.accept("k", &[1]), 1)).collect();
    let parked: Vec<DeliveryId> = world.held_of(stream::PARKED).iter().map(|it| it.id).collect();
    assert_eq!(parked, ids[2..]);
    for id in &ids {
        world.end(*id, Verdict::Success);
    }
    assert_eq!(world.outcomes().len(), 5);
    world.assert_settled();
}

#[test]
fn a_namespace_that_owes_too_much_is_closed_until_it_does_not() {
    let mut world = World::new(|config| {
        config.parked_bytes_per_namespace = 2_000;
        config.running_per_namespace = 1;
    });
    world.tell(DeliveryInput::RuleChanged(rule(1, |_| ())));
    let ids: Vec<DeliveryId> = (0..4).map(|_| live(world.accept("k", &[1]), 1)).collect();
    let closings = |world: &World| {
        let closed = |effect: &DeliveryEffect| match effect {
            DeliveryEffect::CloseIntake { .. } => Some(true),
            DeliveryEffect::OpenIntake { .. } => Some(false),
            _ => None,
        };
        world.noted.iter().filter_map(closed).collect::<Vec<bool>>()
    };
    assert_eq!(closings(&world), [true]);
    for id in ids {
        world.end(id, Verdict::Success);
    }
    assert_eq!(closings(&world), [true, false]);
    world.assert_settled();
}

#[test]
fn a_dead_letter_is_revived_with_new_attempts_and_deadline() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let id = live(world.accept("k", &[1]), 1);
    world.end(id, failed());
    world.now_ms = 90 * 3_600_000;
    world.tell(DeliveryInput::Revive { id, ticket: 1 });
    assert_eq!(world.answers(), [Ok(())]);
    assert_eq!(world.starts(id), 2);
    assert_eq!(world.started[1].attempt, 2, "the count goes on");
    world.tell(DeliveryInput::Revive { id, ticket: 2 });
    world.end(id, evicted());
    assert!(dead(&world).is_empty(), "its deadline is counted from the revival");
    let due_ms = world.core.wake_at().unwrap();
    world.at_time(due_ms);
    world.end(id, Verdict::Success);
    world.tell(DeliveryInput::Revive { id, ticket: 3 });
    let answers = [Ok(()), Err(CommandError::Conflict), Err(CommandError::NotFound)];
    assert_eq!(world.answers(), answers);
    assert_eq!(world.outcomes(), [(id, Outcome::Success)]);
    world.assert_settled();
}

#[test]
fn a_dead_letter_is_discarded_once() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let id = live(world.accept("k", &[1]), 1);
    world.end(id, failed());
    world.held = Some(Vec::new());
    world.tell(DeliveryInput::Discard { id, ticket: 1 });
    world.tell(DeliveryInput::Discard { id, ticket: 2 });
    world.tell(DeliveryInput::Revive { id, ticket: 3 });
    let conflict = Err(CommandError::Conflict);
    assert_eq!(world.answers(), [conflict, conflict], "one is on its way");
    world.let_go();
    assert_eq!(world.answers(), [conflict, conflict, Ok(())]);
    assert_eq!(world.outcomes(), [(id, Outcome::Discarded)]);
    world.assert_settled();
}

#[test]
fn dead_letters_go_when_too_old_or_too_many() {
    let mut world = World::new(|config| {
        config.dead_letter_ms = 10_000;
        config.dead_letters_per_namespace = 2;
    });
    world.tell(DeliveryInput::RuleChanged(rule(1, |_| ())));
    let ids = ["a", "b", "c"].map(|key| {
        let id = live(world.accept(key, &[1]), 1);
        world.end(id, failed());
        world.now_ms += 1;
        id
    });
    world.at_time(2_000);
    assert_eq!(world.outcomes(), [(ids[0], Outcome::Expired)]);
    world.at_time(11_001);
    assert_eq!(world.outcomes()[1..], [(ids[1], Outcome::Expired)]);
    world.at_time(20_000);
    assert_eq!(world.outcomes().len(), 3);
    world.assert_settled();
}

#[test]
fn dead_letters_expire_no_faster_than_the_disk_takes_it() {
    let mut world = World::new(|config| (config.dead_letter_ms, config.unsettled) = (10, 4));
    world.tell(DeliveryInput::RuleChanged(rule(1, |_| ())));
    for _ in 0..20 {
        let id = live(world.accept("k", &[1]), 1);
        world.end(id, failed());
    }
    world.held = Some(Vec::new());
    world.at_time(100_000);
    assert_eq!(world.core.unsettled(), 4);
    world.let_go();
    for second in 0..10 {
        world.at_time(200_000 + second);
    }
    assert_eq!(world.outcomes().len(), 20);
}

#[test]
fn a_dead_letters_trigger_is_fired_until_that_is_recorded() {
    let policy = |policy: &mut evoke_schemas::DeliveryPolicy| {
        policy.dead_letter_trigger = Some(fixture::name("buried"));
    };
    let mut world = World::with_rules([rule(1, policy)]);
    let id = live(world.accept("k", &[1]), 1);
    world.end(id, failed());
    let announced = |world: &World| {
        let is = |effect: &&DeliveryEffect| matches!(effect, DeliveryEffect::Announce { .. });
        world.noted.iter().filter(is).count()
    };
    assert_eq!(announced(&world), 1);
    world.restart(None, &[rule(1, policy)]);
    assert_eq!(announced(&world), 2, "nobody knows whether it was fired");
    world.tell(DeliveryInput::Announced { id });
    let checkpoint = world.core.checkpoint();
    world.restart(None, &[rule(1, policy)]);
    world.restart(Some(&checkpoint), &[rule(1, policy)]);
    assert_eq!(announced(&world), 2);
}

pub(super) fn replay(to: usize) -> Box<ReplayRecord> {
    Box::new(ReplayRecord {
        uid: fixture::uid(77),
        namespace: fixture::namespace(GUEST),
        rule: fixture::name("r1"),
        rule_uid: fixture::uid(1),
        next: cursor(0),
        to: cursor(to),
        from_ms: 0,
        to_ms: u64::MAX,
        parked: 0,
        created_ms: 5,
        status: ReplayStatus::Reading,
    })
}

/// Answers the newest wish to read a range with these events, to the end of the range.
pub(super) fn read_range(world: &mut World, offsets: &[u64]) {
    let found =
        |offset: &u64| RangeMatch { position: at(*offset), accepted_ms: 1, size: 10, key: 0 };
    let matches = offsets.iter().map(found).collect();
    let next = cursor(world.log.len());
    let range = RangeRead { replay: fixture::uid(77), matches, next, ended: true };
    world.tell(DeliveryInput::RangeRead(range));
}

#[test]
fn a_replay_delivers_its_range_once_more() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let offset = world.accept("k", &[1]);
    world.end(live(offset, 1), Verdict::Success);
    world.tell(DeliveryInput::CreateReplay { replay: replay(1), ticket: 4 });
    assert_eq!(world.answers(), [Ok(())]);
    let reads = |effect: &&DeliveryEffect| matches!(effect, DeliveryEffect::ReadRange { .. });
    assert_eq!(world.noted.iter().filter(reads).count(), 1);
    read_range(&mut world, &[offset]);
    let occasion = evoke_schemas::Occasion::Replay(fixture::uid(77));
    let id = DeliveryId { position: at(offset), rule: fixture::uid(1), occasion };
    assert_eq!(world.starts(id), 1);
    let view = &world.core.replays(&fixture::namespace(GUEST))[0];
    assert_eq!((view.outstanding, view.record.parked), (1, 1));
    world.restart(None, &[rule(1, |_| ())]);
    assert_eq!(world.starts(id), 2, "it was parked, so it is not forgotten");
    world.end(id, Verdict::Success);
    let view = &world.core.replays(&fixture::namespace(GUEST))[0];
    assert_eq!((view.outstanding, view.record.status), (0, ReplayStatus::Read));
    world.assert_settled();
}

#[test]
fn a_cancelled_replay_ends_what_it_has_not_begun() {
    let mut world = World::with_rules([rule(1, |policy| policy.concurrency = 1)]);
    let offsets = [(); 3].map(|()| {
        let offset = world.accept("k", &[1]);
        world.end(live(offset, 1), Verdict::Success);
        offset
    });
    world.tell(DeliveryInput::CreateReplay { replay: replay(9), ticket: 4 });
    read_range(&mut world, &offsets);
    let running = *world.running.first().unwrap();
    world.tell(DeliveryInput::CancelReplay { uid: fixture::uid(77), ticket: 5 });
    world.tell(DeliveryInput::CancelReplay { uid: fixture::uid(77), ticket: 6 });
    world.tell(DeliveryInput::CancelReplay { uid: fixture::uid(78), ticket: 7 });
    world.end(running, Verdict::Success);
    let cancelled = world.outcomes().iter().filter(|(_, it)| *it == Outcome::Cancelled).count();
    assert_eq!(cancelled, 2);
    assert!(world.answers().contains(&Err(CommandError::Conflict)));
    assert!(world.answers().contains(&Err(CommandError::NotFound)));
    world.assert_settled();
}

fn drops(world: &World) -> usize {
    let is = |effect: &&DeliveryEffect| matches!(effect, DeliveryEffect::DropSegment(_));
    world.noted.iter().filter(is).count()
}

/// A rule whose deliveries fail until they are told otherwise.
fn patient() -> Arc<Rule> {
    rule(1, |policy| policy.attempts = 1_000)
}

#[test]
fn what_waits_is_carried_before_its_segment_goes() {
    let mut world = World::with_rules([patient()]);
    let id = live(world.accept("k", &[1]), 1);
    world.end(id, failed());
    world.load();
    let to = cursor(world.log.len());
    world.tell(DeliveryInput::Carry { segment: evoke_event_log::SegmentId(0), to });
    assert_eq!(drops(&world), 1);
    let home = world.held_of(stream::PARKED).pop().unwrap().home;
    assert_eq!(home, Home::Copy(event("k", &[1])));
    let checkpoint = world.core.checkpoint();
    world.restart(Some(&checkpoint), &[patient()]);
    world.at_time(1 << 40);
    assert_eq!(world.started.last().unwrap().home, at(2), "read where it was carried");
}

#[test]
fn an_open_delivery_keeps_its_segment() {
    let mut world = World::with_rules([patient()]);
    let id = live(world.accept("k", &[1]), 1);
    let to = cursor(1);
    world.tell(DeliveryInput::Carry { segment: evoke_event_log::SegmentId(0), to });
    assert!(drops(&world) == 0 && !world.core.is_carrying());
    world.end(id, Verdict::Success);
    assert_eq!(drops(&world), 0);
}

#[test]
fn a_segment_goes_although_deliveries_never_pause() {
    let mut world = World::with_rules([rule(1, |_| ())]);
    let first = live(world.accept("k", &[1]), 1);
    world.end(first, Verdict::Success);
    world.load();
    let to = cursor(1);
    let mut running = live(world.accept("k", &[1]), 1);
    world.held = Some(Vec::new());
    world.end(running, Verdict::Success);
    world.tell(DeliveryInput::Carry { segment: evoke_event_log::SegmentId(0), to });
    for _ in 0..5 {
        // The next one ends before the record of this one is durable.
        running = live(world.accept("k", &[1]), 1);
        world.end(running, Verdict::Success);
        let appends = world.held.replace(Vec::new()).unwrap();
        for append in appends {
            world.append(append);
        }
        world.pump();
        assert!(world.core.unsettled() > 0);
    }
    assert_eq!(drops(&world), 1);
}

#[test]
fn a_parked_delivery_whose_event_is_damaged_ends_as_a_dead_letter() {
    let mut world = World::with_rules([patient()]);
    let blocked = live(world.accept("o", &[1]), 1);
    let id = live(world.accept("k", &[1]), 1);
    world.end(id, failed());
    let mut effects = Vec::new();
    let log: Vec<StoredRecord> = world.log.clone();
    let mut core = Deliveries::new(world.config.clone(), LOG, cursor(0));
    let items = log.iter().cloned().map(Item::Record).collect();
    core.recover(items, cursor(log.len()), &mut effects);
    core.resume([patient()], world.now_ms, &mut effects);
    world.core = core;
    world.running.clear();
    world.started.clear();
    world.tell(DeliveryInput::Capacity(usize::MAX));
    let damaged = Item::Unreadable(Unreadable {
        position: id.position,
        stream: stream::EVENT,
        time_ms: 1,
        dedup: None,
        len: 10,
    });
    let items = vec![Item::Record(log[0].clone()), damaged];
    world.tell(DeliveryInput::Loaded { items, next: cursor(log.len()) });
    assert!(world.running.contains(&blocked));
    world.at_time(1 << 40);
    assert_eq!(world.starts(id), 1, "it is tried, so that it can end");
    world.running.remove(&id);
    world.tell(DeliveryInput::Unreadable { id, home: id.position });
    assert!(dead(&world).contains(&(id, Reason::Unreadable)));
}
