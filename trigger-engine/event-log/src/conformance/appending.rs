//! Appends: order, atomicity, guards, refusals.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::conformance::{EVENTS, Subject, append, fail, read_from, record};
use crate::feeds::FeedRevision;
use crate::record::{Append, AppendError, Class, Guard, Malformed};

pub(super) async fn positions_ascend_and_are_unique(subject: &Subject) {
    let mut last = BTreeMap::new();
    for round in 0..20 {
        let log = if round % 2 == 0 { &subject.log } else { &subject.second };
        let batch = vec![record(round % 3, "a"), record(7, "b"), record(round % 3, "c")];
        let positions = append(log.as_ref(), batch).await;
        assert_eq!(positions.len(), 3);
        for position in positions {
            let before = last.insert(position.partition, position.offset);
            assert!(before.is_none_or(|before| before < position.offset), "ascending");
        }
    }
}

pub(super) async fn a_batch_is_whole_or_absent(subject: &Subject) {
    let guard = Guard { feed: 1, generation: 3, revision: 9 };
    let batch = Append::guarded(vec![record(0, "x"), record(1, "y")], guard, 0, b"s");
    let answer = subject.log.append(batch).await;
    assert!(matches!(answer, Err(AppendError::GuardMismatch { feed: 1, current: None })));
    assert_eq!(read_from(subject.log.as_ref(), subject.log.begin(), 10).await, []);
    let positions = append(subject.log.as_ref(), vec![record(0, "x"), record(1, "y")]).await;
    let read = read_from(subject.log.as_ref(), subject.log.begin(), 10).await;
    assert_eq!(read.iter().map(|record| record.position).collect::<Vec<_>>(), positions);
}

pub(super) async fn guards_let_one_of_two_through(subject: &Subject) {
    let (first, second) = (subject.log.as_ref(), subject.second.as_ref());
    let guard = |generation, revision| Guard { feed: 5, generation, revision };
    let step = |guard: Guard, text: &str| {
        Append::guarded(vec![record(2, text)], guard, 2, text.as_bytes())
    };
    assert!(first.append(step(guard(1, 0), "one")).await.is_ok());
    assert!(second.append(step(guard(1, 1), "two")).await.is_ok());
    let late = first.append(step(guard(1, 1), "late")).await;
    let current = Some(FeedRevision { generation: 1, revision: 2 });
    assert_eq!(late, Err(AppendError::GuardMismatch { feed: 5, current }));
    assert!(second.append(step(guard(2, 0), "taken over")).await.is_ok());
    assert!(first.append(step(guard(1, 2), "fenced")).await.is_err());
    let position = first.feed_position(5).await.unwrap_or_else(|error| fail(&error));
    let position = position.map(|position| (position.at, position.state));
    let expected = (FeedRevision { generation: 2, revision: 1 }, Bytes::from_static(b"taken over"));
    assert_eq!(position, Some(expected));
    let texts = read_from(first, first.begin(), 3).await;
    let events = texts.iter().filter(|record| record.stream == EVENTS);
    assert_eq!(events.count(), 3);
}

pub(super) async fn submissions_keep_their_order(subject: &Subject) {
    let log = subject.log.as_ref();
    let texts: Vec<String> = (0..200).map(|number| format!("number {number}")).collect();
    let pending: Vec<_> =
        texts.iter().map(|text| log.submit(Append::progress(vec![record(4, text)]))).collect();
    for answer in pending {
        assert!(answer.await.is_ok());
    }
    let read = read_from(log, log.begin(), 64).await;
    let read: Vec<_> = read.iter().map(|record| record.data.as_ref()).collect();
    assert_eq!(read, texts.iter().map(String::as_bytes).collect::<Vec<_>>());
}

pub(super) async fn shapes_are_refused(subject: &Subject) {
    let log = subject.log.as_ref();
    let malformed = |answer| match answer {
        Err(AppendError::Malformed(malformed)) => malformed,
        other => fail(&format_args!("expected a malformed batch, got {other:?}")),
    };
    let empty = log.append(Append::intake(Vec::new())).await;
    assert_eq!(malformed(empty), Malformed::Empty);
    let many = vec![record(0, ""); 10_001];
    let many = log.append(Append::intake(many)).await;
    assert!(matches!(malformed(many), Malformed::TooMany { count: 10_001, .. }));
    let guard = Guard { feed: 8, generation: 0, revision: 0 };
    let unguarded = log.append(Append::intake(vec![guard.record(0, b"")])).await;
    assert_eq!(malformed(unguarded), Malformed::FeedPosition { index: 0 });
    let bare = Append { records: vec![record(0, "")], guard: Some(guard), class: Class::Intake };
    assert_eq!(malformed(log.append(bare).await), Malformed::FeedPosition { index: 1 });
    assert_eq!(read_from(log, log.begin(), 10).await, []);
}
