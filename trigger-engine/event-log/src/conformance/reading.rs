//! Reads: pages, look-ups, waiting, time, the dedup index.

use evoke_schemas::Position;

use crate::conformance::{Subject, append, fail, read_from, record, with_dedup};
use crate::cursor::Cursor;
use crate::read::Item;

/// Alternates the writers over 60 batches in three partitions.
async fn fill(subject: &Subject) -> Vec<Position> {
    let mut positions = Vec::new();
    for round in 0..60_u16 {
        let log = if round % 3 == 0 { &subject.second } else { &subject.log };
        let batch = vec![record(round % 3, &format!("{round}")), record(9, &format!("{round}'"))];
        positions.extend(append(log.as_ref(), batch).await);
    }
    positions
}

pub(super) async fn pages_give_everything_once_in_one_order(subject: &Subject) {
    let written = fill(subject).await;
    for items in [1, 7, 1_000] {
        let read = read_from(subject.log.as_ref(), subject.log.begin(), items).await;
        let read: Vec<_> = read.iter().map(|record| record.position).collect();
        assert_eq!(read, written, "in pages of {items}");
    }
    let from_end = read_from(subject.second.as_ref(), subject.log.end(), 10).await;
    assert_eq!(from_end, []);
}

pub(super) async fn a_cursor_survives_its_text(subject: &Subject) {
    let written = fill(subject).await;
    let mut cursor = subject.log.begin();
    for position in written.iter().take(31) {
        cursor.advance(*position);
    }
    let cursor: Cursor = cursor.to_string().parse().unwrap_or_else(|error| fail(&error));
    let rest = read_from(subject.log.as_ref(), cursor, 10).await;
    let rest: Vec<_> = rest.iter().map(|record| record.position).collect();
    assert_eq!(rest, written.iter().skip(31).copied().collect::<Vec<_>>());
}

pub(super) async fn get_finds_each_position_and_no_other(subject: &Subject) {
    let log = subject.log.as_ref();
    for position in fill(subject).await {
        let item = log.get(position).await.unwrap_or_else(|error| fail(&error));
        assert_eq!(item.as_ref().and_then(Item::position), Some(position));
        let elsewhere = Position { partition: 500, ..position };
        let item = log.get(elsewhere).await.unwrap_or_else(|error| fail(&error));
        assert_eq!(item, None, "the partition is part of the position");
    }
    let beyond = Position { partition: 0, offset: u64::MAX };
    assert!(matches!(log.get(beyond).await, Ok(None)));
}

pub(super) async fn waiting_ends_with_the_next_append(subject: &Subject) {
    fill(subject).await;
    let end = subject.log.end();
    let mut watch = subject.log.watch();
    let waiter = tokio::spawn(async move { watch.past(&end).await });
    let positions = append(subject.second.as_ref(), vec![record(1, "news")]).await;
    let woken = waiter.await.unwrap_or_else(|error| fail(&error));
    let woken = woken.unwrap_or_else(|error| fail(&error));
    assert!(positions.iter().all(|position| woken.is_past(*position)), "the end passed the news");
}

pub(super) async fn time_never_skips_a_record(subject: &Subject) {
    let log = subject.log.as_ref();
    fill(subject).await;
    let all = read_from(log, log.begin(), 1_000).await;
    for record in all.iter().step_by(11) {
        let cursor = log.seek_time(record.time_ms).await.unwrap_or_else(|error| fail(&error));
        assert!(!cursor.is_past(record.position), "a record of that time lies behind");
    }
    let last = all.iter().map(|record| record.time_ms).max().unwrap_or(0);
    let cursor = log.seek_time(last + 1).await.unwrap_or_else(|error| fail(&error));
    assert!(all.iter().all(|record| cursor.is_past(record.position)), "nothing is that late");
}

pub(super) async fn dedup_entries_name_their_records(subject: &Subject) {
    let log = subject.log.as_ref();
    let mut written = Vec::new();
    for number in 1..40_u64 {
        let batch = vec![record(0, "plain"), with_dedup(1, "marked", number * 31)];
        written.extend(append(log, batch).await.last().map(|position| (number * 31, *position)));
    }
    let mut found = Vec::new();
    let mut from = Some(log.begin());
    while let Some(cursor) = from {
        let chunk = log.dedup_entries(&cursor).await.unwrap_or_else(|error| fail(&error));
        found.extend(chunk.entries.iter().map(|entry| (entry.hash.get(), entry.position)));
        from = chunk.next;
    }
    assert_eq!(found, written);
}
