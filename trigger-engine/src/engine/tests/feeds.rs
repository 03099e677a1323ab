//! The engine as feeds see it.

use std::collections::BTreeMap;

use evoke_feeds::{EventSink as _, FeedBatch, FeedKey, SinkError, StoredPosition, Undelivered};
use evoke_schemas::{EntityUid, Event, FeedPayload};

use super::*;

const FEED: EntityUid = EntityUid([5; 16]);

/// A batch of events with these ids to a trigger.
fn batch(trigger: &str, revision: u64, ids: &[&str]) -> FeedBatch {
    FeedBatch {
        feed: FeedKey { uid: FEED, generation: 1 },
        revision,
        namespace: fixture::namespace("guest"),
        trigger: fixture::name(trigger),
        payload: FeedPayload::CloudEvent,
        events: ids.iter().map(|id| Event::new(*id, "/feed", "t.a")).collect(),
        set_aside: BTreeMap::new(),
        position: format!("after {}", ids.last().unwrap_or(&"nothing")).into(),
    }
}

fn stood(revision: u64, position: &'static str) -> Option<StoredPosition> {
    Some(StoredPosition { generation: 1, revision, position: position.into() })
}

async fn undelivered(engine: &Engine, trigger: &str) -> Undelivered {
    engine.undelivered(&fixture::namespace("guest"), &fixture::name(trigger)).await.unwrap()
}

#[tokio::test]
async fn c15_without_an_active_rule_an_event_counts_as_delivered() {
    let bench = Bench::new(64);
    let engine = bench.engine(|_| ()).await;
    engine.put_trigger(fixture::trigger(3, "nobody", None));
    let ack = engine.append(&batch("nobody", 0, &["a", "b"])).await.unwrap();
    assert_eq!(engine.position(FEED).await.unwrap(), stood(ack.revision, "after b"));
    assert_eq!(undelivered(&engine, "nobody").await, Undelivered::default());
    let filter = EventFilter { upto_ms: u64::MAX, limit: 10, ..EventFilter::default() };
    let events = engine.events(&fixture::namespace("guest"), &filter).await.unwrap();
    assert_eq!(events.len(), 2, "and is in the log all the same");
    engine.shutdown().await;
}

#[tokio::test]
async fn a_batch_with_a_position_that_is_not_the_next_is_refused_whole() {
    let bench = Bench::new(64);
    let engine = bench.engine(|_| ()).await;
    let ack = engine.append(&batch("t", 0, &["a"])).await.unwrap();
    let late = engine.append(&batch("t", 0, &["a"])).await;
    assert_eq!(late, Err(SinkError::Superseded));
    let missing = engine.append(&batch("none", ack.revision, &["b"])).await;
    assert_eq!(missing, Err(SinkError::NoTrigger(fixture::name("none"))));
    assert_eq!(engine.position(FEED).await.unwrap(), stood(ack.revision, "after a"));
    engine.shutdown().await;
}

#[tokio::test]
async fn f7_an_event_set_aside_is_a_dead_letter_and_its_neighbours_are_delivered() {
    let mut bench = Bench::new(64);
    let engine = bench.engine(|_| ()).await;
    let mut three = batch("t", 0, &["a", "large", "c"]);
    three.set_aside.insert(1, "2000000 bytes".to_owned());
    // Records of a source may be CloudEvents of anybody's: their marks say nothing.
    let mark = evoke_schemas::event::Attribute::Text("me too".to_owned());
    three.events[2].extensions.insert("setaside".to_owned(), mark);
    engine.append(&three).await.unwrap();
    for id in ["a", "c"] {
        assert_eq!(bench.begun.recv().await.unwrap().event.event.id, id);
    }
    assert_eq!(bench.outcomes(2).await.len(), 2);
    while undelivered(&engine, "t").await != (Undelivered { open: 0, dead: 1 }) {
        tokio::task::yield_now().await;
    }
    let letters = engine.dead_letters(&fixture::namespace("guest")).unwrap();
    let event = engine.event_of(&letters[0]).await.unwrap();
    assert_eq!(event.event.id, "large");
    assert_eq!(letters[0].held.attempts.notes[0].why, "2000000 bytes");
    engine.discard(letters[0].held.id).await.unwrap();
    assert_eq!(undelivered(&engine, "t").await, Undelivered::default());
    engine.shutdown().await;
}

#[tokio::test]
async fn what_was_appended_counts_as_open_until_it_is_done() {
    let mut bench = Bench::new(0);
    let engine = bench.engine(|_| ()).await;
    engine.append(&batch("t", 0, &["a", "b"])).await.unwrap();
    assert_eq!(undelivered(&engine, "t").await, Undelivered { open: 2, dead: 0 });
    bench.begun.recv().await.unwrap();
    bench.invoker.room.add_permits(2);
    bench.outcomes(2).await;
    while undelivered(&engine, "t").await != Undelivered::default() {
        tokio::task::yield_now().await;
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn f7_a_refusal_names_the_event_whose_fault_it_is() {
    let bench = Bench::new(64);
    let engine = bench.engine(|_| ()).await;
    let bounds = EngineConfig::default().ingest;
    let (one, all) = (bounds.event_bytes, bounds.batch_bytes);
    let sized = |sizes: &[usize]| {
        let mut sized = batch("t", 0, &vec!["a"; sizes.len()]);
        for (event, bytes) in sized.events.iter_mut().zip(sizes) {
            event.data = evoke_schemas::Data::Text("x".repeat(*bytes));
        }
        sized
    };
    let refused = engine.append(&sized(&[1, 2 * one, 2])).await;
    let Err(SinkError::Refused { reason, event: Some(1) }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains(&format!("at most {one} are allowed")), "{reason}");
    let refused = engine.append(&sized(&vec![one; all / one + 2])).await;
    assert!(matches!(refused, Err(SinkError::Refused { event: None, .. })), "{refused:?}");
    assert_eq!(engine.position(FEED).await, Ok(None), "nothing is kept");
    engine.append(&sized(&[1, 2])).await.unwrap();
    engine.shutdown().await;
}
