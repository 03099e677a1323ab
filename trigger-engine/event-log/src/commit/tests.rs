//! The committer on a disk in memory.

use std::sync::Arc;

use evoke_schemas::Position;

use crate::commit::{Answer, Effect, Input, SPARE_RETRY_MS, admit};
use crate::feeds::{FEED_REMOVED, FeedRevision};
use crate::limits::Limits;
use crate::read::SegmentId;
use crate::record::{Append, AppendError, Appended, Class, Guard};
use crate::testing::{Rig, record};

const SEGMENT: u64 = 2_000;

fn rig() -> Rig {
    Rig::new(Limits::default(), SEGMENT)
}

fn one(text: &str) -> Append {
    Append::intake(vec![record(text)])
}

fn progress(text: &str) -> Append {
    Append::progress(vec![record(text)])
}

fn offsets(answer: &Result<Answer, AppendError>) -> Vec<u64> {
    match answer {
        Ok(Answer::Appended(Appended { positions, .. })) => {
            positions.iter().map(|position| position.offset).collect()
        }
        other => panic!("not appended: {other:?}"),
    }
}

#[test]
fn nothing_is_answered_before_the_sync() {
    let mut rig = rig();
    rig.submit(1, one("first"));
    assert!(matches!(rig.pending[..], [Effect::Write { .. }, Effect::Sync { .. }]));
    assert!(rig.answers.is_empty() && rig.durable.is_empty());
    rig.run();
    assert_eq!(offsets(&rig.answers[&1]), [0]);
    assert_eq!(rig.durable, [1]);
}

#[test]
fn what_waits_during_a_sync_is_written_together() {
    let mut rig = rig();
    rig.submit(1, one("first"));
    for token in 2..6 {
        rig.submit(token, one("later"));
    }
    assert_eq!(rig.pending.len(), 2, "one write, one sync");
    rig.run();
    assert_eq!(rig.durable, [1, 5], "two groups");
    assert_eq!(offsets(&rig.answers[&5]), [4]);
    assert_eq!(rig.texts().len(), 5);
}

#[test]
fn a_group_has_a_bound_and_a_larger_batch_goes_alone() {
    let mut rig = Rig::new(Limits { group_bytes: 300, ..Limits::default() }, 10_000);
    rig.submit(1, one("first"));
    for token in 2..6 {
        rig.submit(token, one(&"x".repeat(20)));
    }
    rig.submit(6, one(&"x".repeat(1_000)));
    rig.run();
    assert_eq!(rig.durable, [1, 3, 5, 6]);
}

#[test]
fn a_failed_sync_refuses_everything_for_good() {
    let mut rig = rig();
    rig.submit(1, one("in flight"));
    rig.submit(2, one("waiting"));
    rig.pending.clear();
    rig.send(Input::Failed(Arc::from("fdatasync: I/O error")));
    rig.submit(3, one("after"));
    let failed = Err(AppendError::Failed { cause: Arc::from("fdatasync: I/O error") });
    for token in 1..=3 {
        assert_eq!(rig.answers[&token], failed);
    }
    assert!(rig.pending.is_empty(), "the disk is not touched again");
    assert!(rig.durable.is_empty());
    rig.send(Input::Synced);
    assert!(rig.durable.is_empty(), "a late answer changes nothing");
}

#[test]
fn segments_follow_each_other_and_the_chain_goes_through() {
    let mut rig = rig();
    for token in 0..40 {
        rig.submit(token, one(&format!("{token:0>100}")));
        rig.run();
    }
    assert!(rig.segments.len() > 3);
    let recovered = rig.recover();
    assert_eq!((recovered.damage, recovered.torn), (vec![], None));
    assert_eq!(recovered.active.summary.end, 40);
    assert_eq!(rig.texts().len(), 40);
}

#[test]
fn without_a_spare_intake_is_refused_and_progress_goes_on_to_the_end() {
    let mut rig = rig();
    rig.spares_left = 0;
    let mut token = 0;
    while rig.segments.len() == 1 {
        token += 1;
        rig.submit(token, one(&"x".repeat(100)));
        rig.run();
    }
    assert!(rig.core.is_full());
    rig.submit(1_000, one("new work"));
    assert_eq!(rig.answers[&1_000], Err(AppendError::Full));
    let mut taken = 0;
    loop {
        rig.submit(2_000 + taken, progress(&"x".repeat(100)));
        rig.run();
        if rig.answers[&(2_000 + taken)].is_err() {
            break;
        }
        taken += 1;
    }
    assert_eq!(rig.answers[&(2_000 + taken)], Err(AppendError::Full));
    assert!(taken >= 6, "the reserve took {taken} batches of progress");
    rig.spares_left = 10;
    rig.submit(3_000, one("too soon"));
    assert_eq!(rig.answers[&3_000], Err(AppendError::Full));
    assert_eq!(rig.core.wake_ms(), Some(rig.now_ms + SPARE_RETRY_MS));
    rig.now_ms += SPARE_RETRY_MS;
    rig.send(Input::Tick);
    rig.run();
    rig.submit(3_001, one("room again"));
    rig.run();
    assert!(rig.answers[&3_001].is_ok() && !rig.core.is_full());
    let recovered = rig.recover();
    assert_eq!(recovered.damage, []);
}

#[test]
fn a_clock_set_back_does_not_put_the_next_try_off() {
    let mut rig = rig();
    rig.spares_left = 0;
    for token in 0..20 {
        rig.submit(token, one(&"x".repeat(100)));
        rig.run();
    }
    rig.spares_left = 1;
    rig.now_ms = 1;
    rig.send(Input::Tick);
    rig.run();
    assert!(!rig.core.is_full());
}

#[test]
fn freed_room_is_looked_for_at_once() {
    let mut rig = rig();
    rig.spares_left = 0;
    for token in 0..20 {
        rig.submit(token, one(&"x".repeat(100)));
        rig.run();
    }
    assert!(rig.core.is_full());
    rig.spares_left = 1;
    rig.send(Input::Freed);
    rig.run();
    assert!(!rig.core.is_full());
}

#[test]
fn guards_see_what_is_before_them_in_the_same_group() {
    let mut rig = rig();
    let guard = |revision| Guard { feed: 9, generation: 1, revision };
    let step = |revision| Append::guarded(vec![record("event")], guard(revision), 0, b"state");
    rig.submit(0, one("holds the disk"));
    rig.submit(1, step(0));
    rig.submit(2, step(1));
    rig.submit(3, step(1));
    rig.submit(4, step(2));
    rig.run();
    let current = Some(FeedRevision { generation: 1, revision: 2 });
    assert_eq!(rig.answers[&3], Err(AppendError::GuardMismatch { feed: 9, current }));
    for token in [1, 2, 4] {
        assert!(rig.answers[&token].is_ok());
    }
    let feeds = rig.recover().feeds;
    assert_eq!(feeds.get(9).map(|feed| feed.at.revision), Some(3), "rebuilt from the log");
    let mut rig = rig.reopen(Limits::default());
    rig.submit(5, step(2));
    rig.submit(6, step(3));
    rig.run();
    assert!(rig.answers[&5].is_err() && rig.answers[&6].is_ok());
}

#[test]
fn carrying_says_feed_positions_again_except_of_removed_feeds() {
    let mut rig = Rig::new(Limits::default(), 4_000);
    for feed in 0..4 {
        let guard = Guard { feed, generation: 1, revision: 0 };
        rig.submit(u32::try_from(feed).unwrap(), Append::guarded(vec![], guard, 7, b"far"));
    }
    let removal = Guard { feed: 3, generation: FEED_REMOVED, revision: 0 };
    rig.submit(10, Append::guarded(vec![], removal, 7, b""));
    rig.run();
    let stays = Guard { feed: 2, generation: 1, revision: 1 };
    rig.submit(11, one("between"));
    rig.submit(12, Append::guarded(vec![], stays, 7, b"further"));
    rig.run();
    rig.send(Input::Carry { token: 20, until: 5 });
    assert!(!rig.answers.contains_key(&20), "not before it is durable");
    rig.run();
    assert_eq!(rig.answers[&20], Ok(Answer::Done));
    let feeds = rig.recover().feeds;
    let at = |feed| feeds.get(feed).map(|feed| feed.position.offset);
    assert_eq!([at(0), at(1), at(2)], [Some(7), Some(8), Some(6)]);
    let position = feeds.get(0).map(|feed| (feed.position, &feed.state[..]));
    assert_eq!(position, Some((Position { partition: 7, offset: 7 }, &b"far"[..])));
    let durable = rig.durable.len();
    rig.send(Input::Carry { token: 21, until: 5 });
    assert_eq!(rig.answers[&21], Ok(Answer::Done), "nothing is left to carry");
    assert_eq!(rig.durable.len(), durable);
}

#[test]
fn closing_writes_what_waits_and_one_mark() {
    let mut rig = rig();
    rig.submit(1, one("first"));
    rig.submit(2, one("second"));
    rig.send(Input::Close { token: 3 });
    rig.submit(4, one("too late"));
    assert_eq!(rig.answers[&4], Err(AppendError::Closed));
    rig.run();
    assert!(rig.closed && rig.answers[&2].is_ok() && rig.answers[&3].is_ok());
    let first = rig.recover().active.summary;
    assert!(first.marked);
    let mut rig = rig.reopen(Limits::default());
    rig.send(Input::Close { token: 1 });
    rig.run();
    assert!(rig.closed);
    assert_eq!(rig.recover().active.summary, first, "a second mark would say nothing new");
}

#[test]
fn a_failure_while_closing_still_closes() {
    let mut rig = rig();
    rig.submit(1, one("first"));
    rig.send(Input::Close { token: 2 });
    rig.send(Input::Failed(Arc::from("gone")));
    assert!(rig.closed && rig.answers[&2].is_err());
}

#[test]
fn a_batch_that_can_never_fit_is_refused() {
    let mut rig = rig();
    rig.submit(1, one(&"x".repeat(1_000)));
    assert!(matches!(rig.answers[&1], Err(AppendError::Malformed(_))));
    rig.submit(2, one(&"x".repeat(800)));
    rig.run();
    assert!(rig.answers[&2].is_ok());
    assert!(rig.segments.contains_key(&SegmentId(0)));
}

#[test]
fn the_queue_is_bounded_and_progress_has_the_wider_bound() {
    let limits = Limits { queue_bytes: 100, ..Limits::default() };
    let busy = |queued, len, class| admit(queued, len, class, &limits).is_err();
    assert!(!busy(0, 5_000, Class::Intake), "a single batch always finds a place");
    assert!(!busy(60, 40, Class::Intake) && busy(60, 41, Class::Intake));
    assert!(!busy(160, 40, Class::Progress) && busy(160, 41, Class::Progress));
    let mut rig = Rig::new(Limits { queue_bytes: 1_000, ..Limits::default() }, SEGMENT);
    for token in 0..20 {
        rig.submit(token, one(&"x".repeat(100)));
    }
    let refused = rig.answers.values().filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 20 - 1 - 4, "one in flight, four of 228 bytes in the queue");
    rig.run();
    assert_eq!(rig.core.waiting_bytes(), 0);
    assert_eq!(rig.durable.last(), Some(&5));
}
