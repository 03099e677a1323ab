//! Events that stand for several records, some of which do harm to the function.

use std::collections::BTreeMap;

use evoke_schemas::{Data, event::BATCH_OF};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::record::{HalfRecords, Reason, StoredEvent};

/// A world whose function fails with every event that holds a record from `poison`.
struct Poisoned {
    world: World,
    poison: BTreeSet<u64>,
    /// The records of each delivery that was begun.
    records: BTreeMap<DeliveryId, Vec<u64>>,
    /// The first record of each success, in the order of the runs.
    order: Vec<u64>,
}

fn rules(ordered: bool) -> [Arc<Rule>; 1] {
    [rule(1, |policy| (policy.ordered, policy.attempts) = (ordered, 1))]
}

const DEADLINE_MS: u64 = 60_000;

/// An ordered rule whose deadline ends what fails.
fn impatient() -> [Arc<Rule>; 1] {
    [rule(1, |policy| {
        (policy.ordered, policy.attempts) = (true, 1_000);
        policy.deadline_ms = Some(DEADLINE_MS);
    })]
}

/// The record of an event that stands for the records of these numbers.
fn batch(numbers: std::ops::Range<u64>) -> Bytes {
    let mut stored = StoredEvent::decode(event("k", &[1])).unwrap();
    stored.origin = Origin::Plain;
    let name = Attribute::Text("messages".to_owned());
    stored.event.extensions.insert(BATCH_OF.to_owned(), name);
    let records: Vec<_> = numbers.map(|number| json!({"offset": number})).collect();
    stored.event.data = Data::Json(json!({"messages": records}).to_string().into());
    stored.encode()
}

fn numbers(event: &StoredEvent) -> Vec<u64> {
    let messages = event.event.arguments()["messages"].take();
    messages.as_array().unwrap().iter().map(|one| one["offset"].as_u64().unwrap()).collect()
}

impl Poisoned {
    fn new(rules: [Arc<Rule>; 1], poison: impl IntoIterator<Item = u64>) -> Self {
        Self {
            world: World::with_rules(rules),
            poison: poison.into_iter().collect(),
            records: BTreeMap::new(),
            order: Vec::new(),
        }
    }

    fn accept(&mut self, numbers: std::ops::Range<u64>) {
        self.world.write(stream::EVENT, batch(numbers));
        self.world.load();
    }

    /// Ends the attempt that began first; `false` where none runs.
    fn end_one(&mut self) -> bool {
        let running = |start: &&Start| self.world.running.contains(&start.id);
        let Some(start) = self.world.started.iter().rev().find(running) else { return false };
        let (id, home) = (start.id, start.home);
        let event = StoredEvent::decode(self.world.event_at(home).unwrap()).unwrap();
        let numbers = numbers(&event);
        let harmful = numbers.iter().any(|number| self.poison.contains(number));
        let former = self.records.insert(id, numbers.clone());
        assert!(former.is_none_or(|former| former == numbers), "an id has always the same records");
        if !harmful {
            self.order.extend(&numbers);
            self.world.end(id, Verdict::Success);
        } else if let Some(halves) = event.halves() {
            self.world.running.remove(&id);
            let halves: Box<HalfRecords> = Box::new(halves);
            self.world.tell(DeliveryInput::BatchFailed { id, reason: "boom".to_owned(), halves });
        } else {
            self.world.end(id, failed());
        }
        true
    }

    /// Every record is in exactly one success or dead letter; those that do harm are dead, alone.
    fn finish(mut self, all: u64) -> Self {
        if self.world.held.is_some() {
            self.world.let_go();
        }
        loop {
            if self.end_one() {
                continue;
            }
            match self.world.core.wake_at() {
                Some(due_ms) => self.world.at_time(due_ms.max(self.world.now_ms)),
                None if *self.world.core.loaded() != cursor(self.world.log.len()) => {
                    self.world.load();
                }
                None => break,
            }
        }
        let mut ends: BTreeMap<u64, (DeliveryId, bool)> = BTreeMap::new();
        let done = self.world.outcomes().into_iter();
        let done = done.filter(|(_, outcome)| *outcome == Outcome::Success);
        let mut ended: Vec<(DeliveryId, bool)> = done.map(|(id, _)| (id, true)).collect();
        for letter in self.world.core.dead_letters(&fixture::namespace("guest")) {
            ended.push((letter.held.id, false));
        }
        for (id, well) in ended {
            for number in &self.records[&id] {
                let former = ends.insert(*number, (id, well));
                assert_eq!(former, None, "record {number} ended twice, again with {id:?}");
                assert_eq!(well, !self.poison.contains(number), "record {number}");
            }
            assert!(well || self.records[&id].len() == 1, "{id:?} is dead with others");
        }
        assert!(ends.keys().copied().eq(0..all), "each record: {:?}", ends.keys());
        self.world.assert_settled();
        self
    }
}

#[test]
fn f9_of_fifty_records_the_one_that_does_harm_ends_alone() {
    let mut poisoned = Poisoned::new(rules(false), [17]);
    poisoned.accept(0..50);
    let poisoned = poisoned.finish(50);
    let letters = poisoned.world.core.dead_letters(&fixture::namespace("guest"));
    let [letter] = letters.as_slice() else { panic!("one dead letter: {letters:?}") };
    let Home::At(home) = letter.held.home else { panic!("a place in the log") };
    let event = StoredEvent::decode(poisoned.world.event_at(home).unwrap()).unwrap();
    assert_eq!(numbers(&event), [17]);
    assert!(event.event.id.starts_with("k/"), "an id of its own: {}", event.event.id);
    assert!(poisoned.records.len() <= 13, "{} deliveries", poisoned.records.len());
    let halved = |(_, outcome): &(DeliveryId, Outcome)| *outcome == Outcome::Halved;
    let whole = poisoned.world.outcomes().into_iter().find(halved).unwrap();
    assert_eq!(whole.0, live(0, 1), "the whole tells what became of it");
}

#[test]
fn f9_halves_of_an_ordered_rule_keep_the_wholes_place() {
    let mut poisoned = Poisoned::new(rules(true), [3, 12]);
    poisoned.accept(0..10);
    poisoned.accept(10..20);
    let poisoned = poisoned.finish(20);
    let wanted: Vec<u64> = (0..20).filter(|number| ![3, 12].contains(number)).collect();
    assert_eq!(poisoned.order, wanted);
}

#[test]
fn f9_a_deadline_ends_with_the_one_record_too_and_holds_its_key_once() {
    let mut poisoned = Poisoned::new(impatient(), [5]);
    poisoned.accept(0..8);
    let accepted_ms = poisoned.world.now_ms;
    poisoned.accept(8..10);
    let poisoned = poisoned.finish(10);
    let wanted: Vec<u64> = (0..10).filter(|number| *number != 5).collect();
    assert_eq!(poisoned.order, wanted);
    let letters = poisoned.world.core.dead_letters(&fixture::namespace("guest"));
    let reasons: Vec<_> = letters.iter().map(|it| it.held.death.clone().unwrap().reason).collect();
    assert_eq!(reasons, [Reason::Deadline]);
    assert_eq!(
        poisoned.world.now_ms,
        accepted_ms + DEADLINE_MS,
        "halves have no time of their own"
    );
}

#[test]
fn halves_of_a_replay_are_cancelled_with_it() {
    let mut world = World::with_rules(rules(false));
    let offset = world.write(stream::EVENT, batch(0..4));
    world.load();
    world.end(live(offset, 1), Verdict::Success);
    world.tell(DeliveryInput::CreateReplay { replay: cases::replay(1), ticket: 1 });
    cases::read_range(&mut world, &[offset]);
    let whole = *world.running.first().unwrap();
    let outstanding =
        |world: &World| world.core.replays(&fixture::namespace("guest"))[0].outstanding;
    world.tell(DeliveryInput::Capacity(0));
    world.running.remove(&whole);
    let halves = Box::new(StoredEvent::decode(batch(0..4)).unwrap().halves().unwrap());
    world.tell(DeliveryInput::BatchFailed { id: whole, reason: "boom".to_owned(), halves });
    assert_eq!(outstanding(&world), 2);
    world.restart(None, &rules(false));
    assert_eq!(outstanding(&world), 2, "also after a restart");
    // What the first half leaves waits for room while the replay is cancelled.
    world.tell(DeliveryInput::Capacity(0));
    let running: Vec<_> = std::mem::take(&mut world.running).into_iter().collect();
    assert_eq!(running.len(), 2, "a restart gives room");
    world.tell(DeliveryInput::CancelReplay { uid: fixture::uid(77), ticket: 2 });
    let [first, second] = running[..] else { panic!("two halves") };
    let halves = Box::new(StoredEvent::decode(batch(0..2)).unwrap().halves().unwrap());
    world.tell(DeliveryInput::BatchFailed { id: first, reason: "boom".to_owned(), halves });
    world.tell(DeliveryInput::AttemptEnded { id: second, verdict: Verdict::Success });
    world.tell(DeliveryInput::Capacity(9));
    let cancelled = world.outcomes().iter().filter(|(_, it)| *it == Outcome::Cancelled).count();
    assert_eq!((cancelled, outstanding(&world)), (2, 0));
    world.assert_settled();
}

#[test]
fn f9_the_function_has_all_its_attempts_before_and_after_the_cut() {
    let mut world = World::with_rules([rule(1, |policy| policy.attempts = 2)]);
    world.write(stream::EVENT, batch(0..2));
    world.load();
    let whole = live(0, 1);
    let halves = || Box::new(StoredEvent::decode(batch(0..2)).unwrap().halves().unwrap());
    let fail = |world: &mut World| {
        world.running.remove(&whole);
        let reason = "boom".to_owned();
        world.tell(DeliveryInput::BatchFailed { id: whole, reason, halves: halves() });
    };
    fail(&mut world);
    assert_eq!(world.outcomes(), [], "it has one more attempt");
    let due_ms = world.core.wake_at().unwrap();
    world.at_time(due_ms);
    fail(&mut world);
    assert_eq!(world.outcomes(), [(whole, Outcome::Halved)]);
    let part = *world.running.first().unwrap();
    world.end(part, failed());
    let due_ms = world.core.wake_at().unwrap();
    world.at_time(due_ms);
    assert_eq!(world.starts(part), 2, "attempts begin anew");
}

#[derive(Clone, Debug)]
enum Act {
    Accept(u8),
    End,
    Time(u16),
    Carry(prop::sample::Index),
    Checkpoint,
    HoldAppends,
    MakeAppends,
    CrashBehindAppend,
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..9_u8).prop_map(Act::Accept),
        12 => Just(Act::End),
        1 => any::<u16>().prop_map(Act::Time),
        1 => any::<prop::sample::Index>().prop_map(Act::Carry),
        1 => Just(Act::Checkpoint),
        3 => Just(Act::HoldAppends),
        3 => Just(Act::MakeAppends),
        1 => Just(Act::CrashBehindAppend),
        1 => Just(Act::Crash),
    ]
}

proptest! {
    #[test]
    fn f9_every_record_ends_once_whatever_crashes(
        ordered in any::<bool>(),
        poison in prop::collection::btree_set(0..60_u64, 0..6),
        acts in prop::collection::vec(act(), 1..100),
    ) {
        let mut poisoned = Poisoned::new(rules(ordered), poison);
        let (mut checkpoint, mut next) = (None, 0);
        for act in acts {
            let world = &mut poisoned.world;
            match act {
                Act::Accept(count) => {
                    poisoned.accept(next..next + u64::from(count));
                    next += u64::from(count);
                }
                Act::End => { poisoned.end_one(); }
                Act::Time(ms) => world.at_time(world.now_ms + u64::from(ms)),
                Act::Carry(index) => {
                    let to = cursor(index.index(world.log.len() + 1));
                    world.tell(DeliveryInput::Carry { segment: evoke_event_log::SegmentId(0), to });
                }
                Act::Checkpoint => checkpoint = Some(world.core.checkpoint()),
                Act::HoldAppends => { world.held.get_or_insert_default(); }
                Act::MakeAppends => if world.held.is_some() { world.let_go(); },
                Act::CrashBehindAppend => {
                    for append in world.held.take().into_iter().flatten() {
                        world.append(append);
                    }
                    world.restart(checkpoint.as_ref(), &rules(ordered));
                }
                Act::Crash => world.restart(checkpoint.as_ref(), &rules(ordered)),
            }
        }
        poisoned.finish(next);
    }
}
