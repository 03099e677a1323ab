//! Retention: the low-water mark pins, and feeds keep their positions.

use crate::conformance::{Subject, append, fail, read_from, record};
use crate::event_log::EventLog;
use crate::read::{DropError, Retention, SegmentId, SegmentInfo};
use crate::record::{Append, Guard};

/// A policy that lets everything go.
fn nothing_kept() -> Retention {
    Retention { max_age_ms: None, max_bytes: Some(0) }
}

async fn seal(subject: &Subject) {
    let kib = "x".repeat(1_000);
    for _ in 0..subject.seals_after.div_ceil(1_000) {
        append(subject.log.as_ref(), vec![record(3, &kib)]).await;
    }
}

pub(super) async fn only_the_oldest_below_the_low_water_mark_goes(subject: &Subject) {
    let log = subject.log.as_ref();
    assert_eq!(log.droppable(&nothing_kept(), &log.begin(), u64::MAX), None);
    seal(subject).await;
    assert_eq!(log.droppable(&nothing_kept(), &log.begin(), u64::MAX), None, "pinned");
    assert_eq!(log.droppable(&Retention::default(), &log.end(), u64::MAX), None, "no bound");
    let Some(segment) = log.droppable(&nothing_kept(), &log.end(), u64::MAX) else {
        return fail(&"a sealed segment below the low-water mark may go");
    };
    assert_eq!(log.droppable(&nothing_kept(), &segment.to, u64::MAX), Some(segment.clone()));
    the_oldest_goes_alone(log, segment).await;
}

async fn the_oldest_goes_alone(log: &dyn EventLog, segment: SegmentInfo) {
    let before = read_from(log, log.begin(), 100).await;
    let other = SegmentId(segment.id.0 + 1);
    assert!(matches!(log.drop_segment(other).await, Err(DropError::NotOldest(id)) if id == other));
    let bytes = log.sizes().bytes;
    log.drop_segment(segment.id).await.unwrap_or_else(|error| fail(&error));
    assert!(log.sizes().bytes < bytes, "the log became smaller");
    let after = read_from(log, log.begin(), 100).await;
    let kept: Vec<_> =
        before.iter().filter(|record| !segment.to.is_past(record.position)).cloned().collect();
    assert!(kept.len() < before.len() && after == kept, "the segment went, and nothing else");
    assert!(log.begin().covers(&segment.to));
}

pub(super) async fn feed_positions_outlive_their_segment(subject: &Subject) {
    let log = subject.log.as_ref();
    let guard = Guard { feed: 77, generation: 1, revision: 0 };
    let first = log.append(Append::guarded(Vec::new(), guard, 6, b"far")).await;
    let first = first.unwrap_or_else(|error| fail(&error)).positions;
    seal(subject).await;
    let Some(segment) = log.droppable(&nothing_kept(), &log.end(), u64::MAX) else {
        return fail(&"a sealed segment may go");
    };
    assert!(first.iter().all(|position| segment.to.is_past(*position)));
    log.drop_segment(segment.id).await.unwrap_or_else(|error| fail(&error));
    let carried = log.feed_position(77).await.unwrap_or_else(|error| fail(&error));
    let carried = carried.unwrap_or_else(|| fail(&"the position was carried"));
    assert_eq!((carried.at, &carried.state[..]), (guard.next(), &b"far"[..]));
    assert!(!segment.to.is_past(carried.position));
    let item = log.get(carried.position).await.unwrap_or_else(|error| fail(&error));
    assert!(item.is_some(), "its record is there");
    let next = Guard { revision: 1, ..guard };
    assert!(log.append(Append::guarded(Vec::new(), next, 6, b"further")).await.is_ok());
}
