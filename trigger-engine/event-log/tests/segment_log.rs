//! The embedded log: conformance, restarts, damage, a full disk, retention.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "segment_log/erasing.rs"]
mod erasing;

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use evoke_event_log::verify::{SidecarState, verify};
use evoke_event_log::{
    Append, AppendError, Config, Cursor, Damage, EventLog, Guard, Health, Item, Limits, OpenError,
    OpenReport, ReadLimit, Record, Retention, Seams, SegmentLog, Stream, conformance,
};
use evoke_schemas::Position;

const EVENTS: Stream = Stream(20);

fn small() -> Config {
    let limits = Limits { group_bytes: 8 << 10, ..Limits::default() };
    Config { limits, segment_bytes: 32 << 10, tail_bytes: 8 << 10, zero_fill: true }
}

fn record(text: &str) -> Record {
    let data = Bytes::copy_from_slice(text.as_bytes());
    Record { stream: EVENTS, partition: 3, dedup: NonZeroU64::new(9), data }
}

fn open(dir: &Path) -> (SegmentLog, OpenReport) {
    SegmentLog::open(dir, small()).unwrap()
}

/// Appends `count` records of about 1 KiB, one by one.
async fn fill(log: &SegmentLog, count: usize) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in 0..count {
        let text = format!("{number:0>1000}");
        positions.extend(log.append(Append::intake(vec![record(&text)])).await.unwrap().positions);
    }
    positions
}

async fn read_all(log: &dyn EventLog) -> Vec<Item> {
    let (mut cursor, mut items) = (log.begin(), Vec::new());
    loop {
        let page = log.read(&cursor, ReadLimit { items: 7, bytes: 1 << 20 }).await.unwrap();
        if page.items.is_empty() {
            return items;
        }
        items.extend(page.items);
        cursor = page.next;
    }
}

/// Runs the suite; the directories stay until all logs in them are dropped.
async fn conforms(config: Config) {
    let dirs = std::sync::Mutex::new(Vec::new());
    let build = async || {
        let dir = tempfile::tempdir().unwrap();
        let (log, report) = SegmentLog::open(dir.path(), config.clone()).unwrap();
        assert!(report.created);
        dirs.lock().unwrap().push(dir);
        let log: Arc<dyn EventLog> = Arc::new(log);
        conformance::Subject { second: Arc::clone(&log), log, seals_after: 40_000 }
    };
    conformance::all(build).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_from_memory() {
    conforms(Config { tail_bytes: 1 << 20, ..small() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_from_disk() {
    conforms(Config { tail_bytes: 0, ..small() }).await;
}

#[tokio::test]
async fn a_restart_finds_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let guard = Guard { feed: 4, generation: 2, revision: 0 };
    log.append(Append::guarded(vec![], guard, 1, b"far")).await.unwrap();
    fill(&log, 100).await;
    let (before, uid, end) = (read_all(&log).await, log.uid(), log.end());
    let sizes = log.sizes();
    assert!(sizes.segments > 3, "{sizes:?}");
    log.close().await.unwrap();
    drop(log);
    let (log, report) = open(dir.path());
    assert_eq!((report.created, report.next, report.torn), (false, 101, None));
    assert_eq!((report.damage, report.rebuilt), (vec![], vec![]));
    assert_eq!((log.uid(), log.end(), read_all(&log).await), (uid, end, before));
    assert_eq!(log.feed_position(4).await.unwrap().unwrap().at, guard.next());
    let next = fill(&log, 1).await;
    assert_eq!(next, [Position { partition: 3, offset: 101 }]);
}

#[tokio::test]
async fn only_one_process_has_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let second = SegmentLog::open(dir.path(), small());
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    drop(log);
    assert!(SegmentLog::open(dir.path(), small()).is_ok());
}

#[tokio::test]
async fn another_format_or_a_missing_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let identity = dir.path().join("log.json");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("\"format\": 1", "\"format\": 7")).unwrap();
    let refused = SegmentLog::open(dir.path(), small());
    assert!(matches!(refused, Err(OpenError::Format { found: 7, known: 1 })));
    fs::remove_file(&identity).unwrap();
    assert!(matches!(SegmentLog::open(dir.path(), small()), Err(OpenError::NoIdentity)));
    fs::write(&identity, text).unwrap();
    assert!(SegmentLog::open(dir.path(), small()).is_ok());
}

/// The segment files, oldest first.
fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension() == Some("seg".as_ref())).collect();
    paths.sort();
    paths
}

fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// Byte at which the data of record `number` of [`fill`] begins, and the file it is in.
fn find(dir: &Path, number: usize) -> (std::path::PathBuf, usize) {
    let text = format!("{number:0>1000}");
    for path in segments(dir) {
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
        if let Some(at) = found {
            return (path, at);
        }
    }
    panic!("record {number} is in no segment");
}

#[tokio::test]
async fn damaged_data_is_one_unreadable_record_and_damaged_heads_are_lost_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 60).await;
    log.close().await.unwrap();
    drop(log);
    let (path, at) = find(dir.path(), 10);
    flip(&path, at + 500);
    let (path, at) = find(dir.path(), 40);
    flip(&path, at - 60);
    let (log, report) = open(dir.path());
    assert_eq!(report.torn, None);
    let items = read_all(&log).await;
    assert_eq!(items.len(), 60);
    for (number, item) in items.iter().enumerate() {
        match (number, item) {
            (10, Item::Unreadable(record)) => {
                assert_eq!(
                    (record.position.offset, record.len, record.stream),
                    (10, 1_000, EVENTS)
                );
            }
            (40, Item::Lost(lost)) => assert_eq!((lost.from, lost.to), (40, 41)),
            (_, Item::Record(record)) => {
                assert_eq!(record.position.offset, number as u64);
                assert_eq!(record.data, format!("{number:0>1000}"));
            }
            (_, other) => panic!("record {number} reads as {other:?}"),
        }
    }
    let got = log.get(Position { partition: 3, offset: 10 }).await.unwrap();
    assert!(matches!(got, Some(Item::Unreadable(_))));
    let report = verify(dir.path()).unwrap();
    assert!(!report.is_good());
    let damage: Vec<_> = report.segments.iter().flat_map(|segment| &segment.damage).collect();
    assert!(matches!(damage[..], [Damage::Unreadable(_), Damage::Lost(_)]), "{damage:?}");
    assert!(report.to_string().contains("records 40 to 40: lost"), "{report}");
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 5).await;
    drop(log);
    let (path, at) = find(dir.path(), 4);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at + 200..].fill(0);
    fs::write(&path, bytes).unwrap();
    let (log, report) = open(dir.path());
    assert_eq!((report.next, report.damage), (4, vec![]));
    assert!(report.torn.is_some());
    assert_eq!(read_all(&log).await.len(), 4);
    assert_eq!(fill(&log, 2).await.last().unwrap().offset, 5);
    drop(log);
    let report = verify(dir.path()).unwrap();
    assert!(report.is_good() && report.torn.is_none(), "{report}");
}

#[tokio::test]
async fn a_missing_or_damaged_sidecar_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 100).await;
    let before = read_all(&log).await;
    drop(log);
    let sidecars: Vec<_> =
        segments(dir.path()).iter().map(|path| path.with_extension("idx")).collect();
    let good = verify(dir.path()).unwrap();
    let state = |state| good.segments.iter().filter(|segment| segment.sidecar == state).count();
    assert_eq!((state(SidecarState::Good), state(SidecarState::Absent)), (sidecars.len() - 1, 1));
    fs::remove_file(&sidecars[0]).unwrap();
    flip(&sidecars[1], 30);
    assert!(!verify(dir.path()).unwrap().is_good());
    let (log, report) = open(dir.path());
    assert_eq!(report.rebuilt.len(), 2);
    assert_eq!(read_all(&log).await, before);
    drop(log);
    assert_eq!(verify(dir.path()).unwrap(), good);
}

#[tokio::test]
async fn a_start_sweeps_what_a_crash_left_half_made() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 40).await;
    drop(log);
    let names = || {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let before = names();
    assert!(before.iter().any(|name| name.to_string_lossy().ends_with(".idx")));
    for name in ["spare.tmp", "log.json.tmp", "00000000000000000007.idx"] {
        fs::write(dir.path().join(name), b"half made").unwrap();
    }
    drop(open(dir.path()));
    assert_eq!(names(), before);
}

#[tokio::test]
async fn only_the_unsealed_segment_is_read_at_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 100).await;
    drop(log);
    // What no one reads cannot be seen to be damaged.
    flip(&segments(dir.path())[0], 2_000);
    let (_log, report) = open(dir.path());
    assert_eq!((report.damage, report.next), (vec![], 100));
}

/// A log whose disk can be full, and whose clock is the test's.
fn with_seams(dir: &Path) -> (SegmentLog, Arc<AtomicBool>, Arc<AtomicU64>) {
    let (full, now) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1_000)));
    let (disk, time) = (Arc::clone(&full), Arc::clone(&now));
    let seams = Seams {
        clock: Arc::new(move || time.load(Ordering::SeqCst)),
        allocate: Arc::new(move |file, bytes| match disk.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => file.set_len(bytes),
        }),
    };
    let (log, _) = SegmentLog::open_with(dir, small(), seams).unwrap();
    (log, full, now)
}

/// Asks until `wanted` comes; each question gives the log's threads a turn.
async fn until(mut wanted: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !wanted().await {
        assert!(std::time::Instant::now() < deadline, "what was waited for did not come");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_intake_keeps_progress_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let (log, full, now) = with_seams(dir.path());
    fill(&log, 1).await;
    until(async || dir.path().join("spare").exists()).await;
    full.store(true, Ordering::SeqCst);
    let text = "x".repeat(1_000);
    let intake = || log.append(Append::intake(vec![record(&text)]));
    until(async || intake().await == Err(AppendError::Full)).await;
    assert_eq!(log.health(), Health::Full);
    let progress = log.append(Append::progress(vec![record("outcome")])).await;
    assert!(progress.is_ok(), "the reserve takes outcomes");
    let segment = log.droppable(
        &Retention { max_age_ms: None, max_bytes: Some(0) },
        &log.end(),
        now.load(Ordering::SeqCst),
    );
    full.store(false, Ordering::SeqCst);
    log.drop_segment(segment.unwrap().id).await.unwrap();
    until(async || intake().await.is_ok()).await;
    full.store(true, Ordering::SeqCst);
    until(async || intake().await == Err(AppendError::Full)).await;
    full.store(false, Ordering::SeqCst);
    until(async || {
        now.fetch_add(100, Ordering::SeqCst);
        intake().await.is_ok()
    })
    .await;
    assert_eq!(log.health(), Health::Good);
    drop(log);
    let report = verify(dir.path()).unwrap();
    assert!(report.is_good(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_is_never_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, ..) = with_seams(dir.path());
    let written = fill(&log, 3).await;
    until(async || dir.path().join("spare").exists()).await;
    // The next segment cannot be begun: the spare is not there.
    fs::remove_file(dir.path().join("spare")).unwrap();
    let text = "x".repeat(1_000);
    let mut failure = None;
    for _ in 0..60 {
        if let Err(error) = log.append(Append::intake(vec![record(&text)])).await {
            failure = Some(error);
            break;
        }
    }
    let Some(AppendError::Failed { cause }) = failure else { panic!("{failure:?}") };
    assert!(cause.contains("beginning a segment"), "{cause}");
    assert_eq!(log.failed().await, cause);
    assert_eq!(log.health(), Health::Failed(Arc::clone(&cause)));
    let after = log.append(Append::progress(vec![record("outcome")])).await;
    assert_eq!(after, Err(AppendError::Failed { cause }));
    assert!(read_all(&log).await.len() > written.len(), "what was durable is still read");
}

#[tokio::test]
async fn time_and_dedup_reach_into_sealed_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _, now) = with_seams(dir.path());
    for round in 0..5 {
        now.store(10_000 * (round + 1), Ordering::SeqCst);
        fill(&log, 40).await;
    }
    assert!(log.sizes().segments > 4);
    let cursor = log.seek_time(30_000).await.unwrap();
    let number: u64 = cursor.to_string().parse().unwrap();
    assert!(number <= 80 && number > 80 - 70, "close before record 80: {number}");
    let (mut from, mut found) = (Some(cursor), 0);
    while let Some(cursor) = from {
        let page = log.dedup_entries(&cursor).await.unwrap();
        found += page.entries.iter().filter(|entry| entry.time_ms >= 30_000).count();
        from = page.next;
    }
    assert_eq!(found, 120);
    let policy = Retention { max_age_ms: Some(15_000), max_bytes: None };
    let mut dropped = 0;
    while let Some(segment) = log.droppable(&policy, &log.end(), 50_000) {
        log.drop_segment(segment.id).await.unwrap();
        dropped += 1;
    }
    assert!(dropped >= 2);
    let Some(Item::Record(oldest)) = read_all(&log).await.into_iter().next() else { panic!() };
    assert!(oldest.time_ms >= 20_000, "old enough ones went: {}", oldest.time_ms);
    assert_eq!(log.sizes().oldest_ms, Some(oldest.time_ms));
}

#[tokio::test]
async fn a_waiting_append_is_answered_when_the_log_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let pending: Vec<_> =
        (0..50).map(|_| log.submit(Append::intake(vec![record("in time")]))).collect();
    drop(log);
    for answer in pending {
        assert!(answer.await.is_ok());
    }
    let (log, report) = open(dir.path());
    assert_eq!(report.next, 50);
    log.close().await.unwrap();
    let late = log.append(Append::intake(vec![record("late")])).await;
    assert_eq!(late, Err(AppendError::Closed));
    let cursor: Cursor = log.begin();
    assert_eq!(log.read(&cursor, ReadLimit::default()).await.unwrap().items.len(), 50);
}
