//! Crashes between any two steps, against what everybody may expect of a delivery.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens next.
#[derive(Clone, Debug)]
enum Act {
    Accept {
        key: u8,
        rules: u8,
    },
    End {
        which: prop::sample::Index,
        how: u8,
    },
    Time(u16),
    Carry(prop::sample::Index),
    Checkpoint,
    HoldAppends,
    MakeAppends,
    /// The append becomes durable, and its answer is lost with the program.
    CrashBehindAppend,
    Crash,
    Revive,
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..3_u8, 1..4_u8).prop_map(|(key, rules)| Act::Accept { key, rules }),
        8 => (index(), 0..6_u8).prop_map(|(which, how)| Act::End { which, how }),
        3 => any::<u16>().prop_map(Act::Time),
        1 => index().prop_map(Act::Carry),
        2 => Just(Act::Checkpoint),
        3 => Just(Act::HoldAppends),
        3 => Just(Act::MakeAppends),
        1 => Just(Act::CrashBehindAppend),
        1 => Just(Act::Crash),
        1 => Just(Act::Revive),
    ]
}

fn rules() -> [Arc<Rule>; 2] {
    [
        rule(1, |policy| policy.attempts = 3),
        rule(2, |policy| (policy.ordered, policy.attempts) = (true, 3)),
    ]
}

/// What must be true of every delivery of an accepted event.
struct Model {
    world: World,
    checkpoint: Option<Bytes>,
    expected: Vec<(DeliveryId, u8)>,
}

impl Model {
    fn new() -> Self {
        let mut world = World::new(|config| {
            config.unparked_per_namespace = 4;
            config.running = 6;
            config.running_per_namespace = 5;
            config.unsettled = 12;
            config.above_mark = 6;
            config.progress_records = 3;
        });
        for rule in rules() {
            world.tell(DeliveryInput::RuleChanged(rule));
        }
        Self { world, checkpoint: None, expected: Vec::new() }
    }

    fn apply(&mut self, act: Act) {
        let world = &mut self.world;
        match act {
            Act::Accept { key, rules } => {
                let matched: Vec<u8> = (1..3).filter(|rule| rules & rule != 0).collect();
                let offset = world.write(stream::EVENT, event(&key.to_string(), &matched));
                self.expected.extend(matched.iter().map(|rule| (live(offset, *rule), key)));
                if world.core.wants_items() {
                    world.load();
                }
            }
            Act::End { which, how } => {
                let running: Vec<DeliveryId> = world.running.iter().copied().collect();
                if !running.is_empty() {
                    let verdict = match how {
                        0 => failed(),
                        1 => evicted(),
                        _ => Verdict::Success,
                    };
                    world.end(*which.get(&running), verdict);
                }
            }
            Act::Time(ms) => world.at_time(world.now_ms + u64::from(ms)),
            Act::Carry(index) => {
                let to = cursor(index.index(world.log.len() + 1));
                world.tell(DeliveryInput::Carry { segment: evoke_event_log::SegmentId(0), to });
            }
            Act::Checkpoint => self.checkpoint = Some(world.core.checkpoint()),
            Act::HoldAppends => {
                world.held.get_or_insert_default();
            }
            Act::MakeAppends => {
                if world.held.is_some() {
                    world.let_go();
                }
            }
            Act::CrashBehindAppend => {
                for append in world.held.take().into_iter().flatten() {
                    world.append(append);
                }
                self.crash();
            }
            Act::Crash => self.crash(),
            Act::Revive => {
                let letters = world.core.dead_letters(&fixture::namespace("guest"));
                if let Some(letter) = letters.first() {
                    world.tell(DeliveryInput::Revive { id: letter.held.id, ticket: 1 });
                }
            }
        }
        self.check();
    }

    fn crash(&mut self) {
        let checkpoint = self.checkpoint.clone();
        self.world.restart(checkpoint.as_ref(), &rules());
    }

    /// Never two outcomes, nothing run after one, no key of an ordered rule out of turn.
    fn check(&self) {
        let mut outcomes = BTreeMap::new();
        for (id, outcome) in self.world.outcomes() {
            let former = outcomes.insert(id, outcome);
            assert_eq!(former, None, "{id:?} has two outcomes");
        }
        for id in &self.world.running {
            assert!(!outcomes.contains_key(id), "{id:?} runs after its outcome");
        }
        let dead: BTreeSet<DeliveryId> = self
            .world
            .core
            .dead_letters(&fixture::namespace("guest"))
            .iter()
            .map(|letter| letter.held.id)
            .collect();
        let buried: BTreeSet<DeliveryId> =
            self.world.held_of(stream::DEAD).iter().map(|held| held.id).collect();
        for (id, key) in &self.expected {
            let runs = self.world.running.contains(id) && id.rule == fixture::uid(2);
            // One that was dead has lost its turn; others go in the log's order.
            if !runs || buried.contains(id) {
                continue;
            }
            for (older, _) in self.expected.iter().filter(|(_, other)| other == key) {
                if older.rule == id.rule && older.position < id.position {
                    let over = outcomes.contains_key(older)
                        || dead.contains(older)
                        || buried.contains(older);
                    assert!(over, "{id:?} runs before {older:?}");
                }
            }
        }
    }

    /// Without further crashes and failures everything ends.
    fn finish(mut self) {
        if self.world.held.is_some() {
            self.world.let_go();
        }
        for _ in 0..100_000 {
            if let Some(id) = self.world.running.first().copied() {
                self.world.end(id, Verdict::Success);
            } else if let Some(due_ms) = self.world.core.wake_at() {
                self.world.at_time(due_ms.max(self.world.now_ms));
            } else if *self.world.core.loaded() != cursor(self.world.log.len()) {
                self.world.load();
            } else {
                break;
            }
        }
        self.check();
        let mut ends: BTreeSet<DeliveryId> =
            self.world.outcomes().into_iter().map(|(id, _)| id).collect();
        for letter in self.world.core.dead_letters(&fixture::namespace("guest")) {
            assert!(ends.insert(letter.held.id), "an outcome and a dead letter");
        }
        let expected: BTreeSet<DeliveryId> = self.expected.iter().map(|(id, _)| *id).collect();
        assert_eq!(ends, expected);
        assert_eq!(self.world.core.low_water(), &cursor(self.world.log.len()));
        self.world.assert_settled();
    }
}

proptest! {
    #[test]
    fn every_delivery_ends_once_whatever_crashes(acts in prop::collection::vec(act(), 1..120)) {
        let mut model = Model::new();
        for act in acts {
            model.apply(act);
        }
        model.finish();
    }
}
