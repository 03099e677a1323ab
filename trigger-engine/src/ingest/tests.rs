//! Ingest step by step: what is appended, what is read again, and who is answered when.

use std::sync::Arc;

use bytes::Bytes;
use evoke_event_log::{Append, AppendError, Appended, Guard};
use evoke_schemas::{LogUid, Position};

use super::{
    Batch, Cap, FeedMark, Ingest, IngestEffect, IngestError, IngestInput, Prepared, Token,
};
use crate::{
    accepted::Accepted,
    config::IngestConfig,
    fixture,
    incoming::{Incoming, Target},
    record::{StoredEvent, stream},
};

const NOW_MS: u64 = 1_000_000;

struct World {
    core: Ingest,
    effects: Vec<IngestEffect>,
    next: u64,
}

impl World {
    fn new(change: impl FnOnce(&mut IngestConfig)) -> Self {
        let mut config = IngestConfig { dedup_entries: 10_000, ..IngestConfig::default() };
        change(&mut config);
        let mut core = Ingest::new(config, LogUid([1; 16]));
        core.index.put_trigger(fixture::trigger(1, "t", None));
        for number in [2, 3] {
            let rule = fixture::rule(number, &format!("r{number}"), (1, "t"));
            core.index.put_rule(Arc::new(rule));
        }
        Self { core, effects: Vec::new(), next: 0 }
    }

    fn tell(&mut self, input: IngestInput) {
        self.core.step(input, NOW_MS, &mut self.effects);
    }

    fn submit(&mut self, token: Token, events: Vec<Incoming>, feed: Option<FeedMark>) {
        let events = events.into_iter().map(Prepared::new).collect();
        self.tell(IngestInput::Submit { token, batch: Batch { events, feed } });
    }

    /// The append of a batch, if it wants one.
    fn take_append(&mut self, token: Token) -> Option<Append> {
        let is = |it: &IngestEffect| matches!(it, IngestEffect::Append { token: of, .. } if *of == token);
        let index = self.effects.iter().position(is)?;
        match self.effects.remove(index) {
            IngestEffect::Append { append, .. } => Some(append),
            _ => None,
        }
    }

    fn take_answer(&mut self, token: Token) -> Option<Result<Vec<Accepted>, IngestError>> {
        let is = |it: &IngestEffect| matches!(it, IngestEffect::Answer { token: of, .. } if *of == token);
        let index = self.effects.iter().position(is)?;
        match self.effects.remove(index) {
            IngestEffect::Answer { answer, .. } => Some(answer),
            _ => None,
        }
    }

    fn take_confirms(&mut self, token: Token) -> Vec<Position> {
        let mut positions = Vec::new();
        self.effects.retain(|effect| match effect {
            IngestEffect::Confirm { token: of, position } if *of == token => {
                positions.push(*position);
                false
            }
            _ => true,
        });
        positions
    }

    /// Makes a batch's append durable; gives where it stands.
    fn sync(&mut self, token: Token, append: &Append) -> Vec<Position> {
        let positions: Vec<Position> = append
            .records
            .iter()
            .map(|record| {
                self.next += 1;
                Position { partition: record.partition, offset: self.next }
            })
            .collect();
        let appended = Appended { positions: positions.clone(), time_ms: NOW_MS };
        self.tell(IngestInput::Synced { token, appended });
        positions
    }
}

fn fired(id: &str) -> Incoming {
    fixture::incoming(Target::Trigger(fixture::name("t")), id)
}

fn offsets(answer: Option<Result<Vec<Accepted>, IngestError>>) -> Vec<(u64, bool)> {
    let accepted = answer.unwrap().unwrap();
    accepted.iter().map(|it| (it.position.offset, it.duplicate)).collect()
}

#[test]
fn a_batch_is_answered_when_it_is_durable() {
    let mut world = World::new(|_| ());
    world.submit(1, vec![fired("a"), fired("b")], None);
    let append = world.take_append(1).unwrap();
    assert_eq!(append.records.len(), 2);
    assert!(world.take_answer(1).is_none(), "not before it is durable");
    world.sync(1, &append);
    let accepted = world.take_answer(1).unwrap().unwrap();
    assert_eq!(accepted[0].event_id, "a");
    let rules: Vec<bool> =
        accepted[1].triggers[0].rules.iter().map(|rule| rule.activation_id.is_some()).collect();
    assert_eq!(rules, [true, true]);
    let stored = StoredEvent::decode(append.records[1].data.clone()).unwrap();
    assert_eq!(stored.active_rules().count(), 2);
}

#[test]
fn an_id_twice_in_a_batch_is_one_event() {
    let mut world = World::new(|_| ());
    world.submit(1, vec![fired("a"), fired("b"), fired("a")], None);
    let append = world.take_append(1).unwrap();
    assert_eq!(append.records.len(), 2);
    world.sync(1, &append);
    assert_eq!(offsets(world.take_answer(1)), [(1, false), (2, false), (1, true)]);
    assert_eq!(world.core.duplicates(), 1);
}

#[test]
fn a_duplicate_is_answered_only_after_its_original_is_durable() {
    let mut world = World::new(|_| ());
    world.submit(1, vec![fired("a")], None);
    let original = world.take_append(1).unwrap();
    world.submit(2, vec![fired("a")], None);
    world.submit(3, vec![fired("c"), fired("a")], None);
    assert!(world.take_append(2).is_none() && world.take_answer(2).is_none());
    let third = world.take_append(3).unwrap();
    world.sync(3, &third);
    assert!(world.take_answer(3).is_none(), "one of its answers is not durable");
    world.sync(1, &original);
    assert_eq!(offsets(world.take_answer(1)), [(2, false)]);
    assert_eq!(offsets(world.take_answer(2)), [(2, true)]);
    assert_eq!(offsets(world.take_answer(3)), [(1, false), (2, true)]);
}

#[test]
fn a_duplicate_of_a_refused_original_is_refused_and_may_come_again() {
    let mut world = World::new(|_| ());
    world.submit(1, vec![fired("a")], None);
    world.submit(2, vec![fired("a")], None);
    assert!(world.take_append(1).is_some());
    world.tell(IngestInput::Refused { token: 1, error: AppendError::Full });
    for token in [1, 2] {
        let answer = world.take_answer(token).unwrap();
        assert!(matches!(answer, Err(IngestError::Closed { cap: Cap::Disk, .. })), "{answer:?}");
    }
    world.submit(3, vec![fired("a")], None);
    let append = world.take_append(3).unwrap();
    world.sync(3, &append);
    assert_eq!(offsets(world.take_answer(3)), [(1, false)]);
}

#[test]
fn the_record_decides_what_a_known_hash_means() {
    for same in [true, false] {
        let mut world = World::new(|_| ());
        world.submit(1, vec![fired("a")], None);
        let append = world.take_append(1).unwrap();
        let positions = world.sync(1, &append);
        assert_eq!(offsets(world.take_answer(1)), [(1, false)]);
        world.submit(2, vec![fired("a")], None);
        assert_eq!(world.take_confirms(2), positions);
        assert!(world.take_append(2).is_none() && world.take_answer(2).is_none());
        // Either that event, or another one whose hash is the same.
        let stored = if same { append } else { other_append() };
        let stored = StoredEvent::decode(stored.records[0].data.clone()).ok().map(Arc::new);
        world.tell(IngestInput::Confirmed { token: 2, position: positions[0], stored });
        if same {
            assert_eq!(offsets(world.take_answer(2)), [(1, true)]);
        } else {
            let append = world.take_append(2).unwrap();
            world.sync(2, &append);
            assert_eq!(offsets(world.take_answer(2)), [(2, false)]);
        }
    }
}

fn other_append() -> Append {
    let mut world = World::new(|_| ());
    world.submit(1, vec![fired("z")], None);
    world.take_append(1).unwrap()
}

#[test]
fn an_event_that_cannot_be_read_any_more_is_new() {
    let mut world = World::new(|_| ());
    world.submit(1, vec![fired("a")], None);
    let append = world.take_append(1).unwrap();
    let positions = world.sync(1, &append);
    world.submit(2, vec![fired("a")], None);
    assert_eq!(world.take_confirms(2).len(), 1);
    world.tell(IngestInput::Confirmed { token: 2, position: positions[0], stored: None });
    assert!(world.take_append(2).is_some());
}

#[test]
fn without_dedup_an_id_comes_as_often_as_it_comes() {
    let mut world = World::new(|_| ());
    let plain = || Incoming { dedup: false, ..fired("a") };
    world.submit(1, vec![plain(), plain()], None);
    let append = world.take_append(1).unwrap();
    assert_eq!(append.records.len(), 2);
    assert!(append.records.iter().all(|record| record.dedup.is_none()));
}

#[test]
fn nothing_of_a_batch_is_kept_where_one_event_is_refused() {
    /// A change of the bounds, a batch, and whether the refusal is the right one.
    type Case = (fn(&mut IngestConfig), Vec<Incoming>, fn(&IngestError) -> bool);
    let missing = || fixture::incoming(Target::Trigger(fixture::name("none")), "m");
    let cases: [Case; 4] = [
        (
            |config| config.rules_per_event = 1,
            vec![fired("a")],
            |error| matches!(error, IngestError::TooManyRules { count: 2, limit: 1 }),
        ),
        (
            |config| config.batch_events = 1,
            vec![fired("a"), fired("b")],
            |error| matches!(error, IngestError::TooManyEvents { count: 2, limit: 1 }),
        ),
        (
            |_| (),
            vec![fired("a"), missing()],
            |error| matches!(error, IngestError::TriggerMissing(_)),
        ),
        (
            |_| (),
            vec![fired("a"), large()],
            |error| matches!(error, IngestError::EventTooLarge { index: 1, .. }),
        ),
    ];
    for (change, events, expected) in cases {
        let mut world = World::new(change);
        world.submit(1, events, None);
        let error = world.take_answer(1).unwrap().unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(world.effects.is_empty(), "{:?}", world.effects);
        // Its ids are not taken for known.
        assert!(world.core.pending.is_empty() && world.core.flights.is_empty());
    }
}

fn large() -> Incoming {
    let mut event = fired("large");
    event.event.data = evoke_schemas::Data::Binary(Bytes::from(vec![0; 2 << 20]));
    event
}

#[test]
fn a_closed_namespace_takes_nothing_until_it_is_opened() {
    let mut world = World::new(|_| ());
    let namespace = fixture::namespace("guest");
    let cap = Cap::UndeliveredBytes;
    world.tell(IngestInput::Close { namespace: namespace.clone(), cap });
    world.submit(1, vec![fired("a")], None);
    let answer = world.take_answer(1).unwrap();
    assert!(matches!(answer, Err(IngestError::Closed { cap: Cap::UndeliveredBytes, .. })));
    world.tell(IngestInput::Open { namespace });
    world.submit(2, vec![fired("a")], None);
    assert!(world.take_append(2).is_some());
}

#[test]
fn a_feeds_position_goes_with_its_events_or_not_at_all() {
    let mut world = World::new(|_| ());
    let guard = Guard { feed: 7, generation: 1, revision: 0 };
    let mark = || Some(FeedMark { guard, state: Bytes::from_static(b"p1") });
    world.submit(1, vec![fired("a")], mark());
    let append = world.take_append(1).unwrap();
    assert_eq!((append.records.len(), append.guard), (2, Some(guard)));
    assert!(append.records[0].stream == stream::EVENT);
    world.sync(1, &append);
    assert_eq!(offsets(world.take_answer(1)), [(1, false)]);
    // Positions move without events too, and stay behind nothing.
    world.submit(2, vec![], mark());
    let append = world.take_append(2).unwrap();
    assert_eq!(append.records.len(), 1);
    let error = AppendError::GuardMismatch { feed: 7, current: None };
    world.tell(IngestInput::Refused { token: 2, error });
    assert!(matches!(world.take_answer(2), Some(Err(IngestError::Superseded { .. }))));
}

#[test]
fn an_invocation_has_its_activation_and_no_trigger() {
    let mut world = World::new(|_| ());
    let action = fixture::rule(1, "r", (1, "t")).action;
    world.submit(1, vec![fixture::incoming(Target::Action(action), "a")], None);
    let append = world.take_append(1).unwrap();
    assert_eq!(append.records[0].stream, stream::INVOCATION);
    world.sync(1, &append);
    let accepted = world.take_answer(1).unwrap().unwrap();
    assert!(accepted[0].activation_id.is_some() && accepted[0].triggers.is_empty());
}
