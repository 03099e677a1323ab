//! Erased data: gone from the disk, through restarts and crashes, and never unnoticed.

use std::fs;

use evoke_event_log::verify::verify;
use evoke_event_log::{Erasure, EventLog, Item, SegmentLog};
use evoke_schemas::Position;

use super::{EVENTS, fill, find, open, read_all};

#[tokio::test]
async fn erased_data_is_gone_and_everything_else_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 60).await;
    let at = |offset| Position { partition: 3, offset };
    let erasure = Erasure { time_ms: 9, note: "guest".to_owned() };
    let gone = [10_u64, 40];
    let text = |number: u64| format!("{number:0>1000}");
    let holds = |number: u64| {
        let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let bytes = text(number).into_bytes();
        files
            .filter_map(|path| fs::read(path).ok())
            .any(|file| file.windows(bytes.len()).any(|part| part == bytes))
    };
    assert!(gone.iter().all(|number| holds(*number)));
    log.erase(&gone.map(at), &erasure).await.unwrap();
    assert!(gone.iter().all(|number| !holds(*number)), "their bytes are nowhere any more");
    let check = async |log: &SegmentLog| {
        for number in 0..60_u64 {
            let item = log.get(at(number)).await.unwrap();
            match item {
                Some(Item::Erased(erased)) if gone.contains(&number) => {
                    let of = (erased.position, erased.len, erased.stream, &erased.erasure);
                    assert_eq!(of, (at(number), 1_000, EVENTS, &erasure));
                }
                Some(Item::Record(record)) if !gone.contains(&number) => {
                    assert_eq!(record.data, text(number));
                }
                other => panic!("record {number} reads as {other:?}"),
            }
        }
    };
    check(&log).await;
    log.close().await.unwrap();
    drop(log);
    let report = verify(dir.path()).unwrap();
    assert!(report.is_good(), "{report}");
    assert!(report.to_string().contains("erased   2 records"), "{report}");
    let (log, report) = open(dir.path());
    assert_eq!((report.torn, report.damage), (None, Vec::new()));
    check(&log).await;
}

#[tokio::test]
async fn an_erasure_that_a_crash_cut_short_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 20).await;
    log.close().await.unwrap();
    drop(log);
    // As the crash left it: named, the data of the last record half overwritten.
    let named = r#"{"erasure":{"time_ms":9,"note":"guest"},
        "positions":[{"partition":3,"offset":5},{"partition":3,"offset":19}]}"#;
    fs::write(dir.path().join("erasing.json"), named).unwrap();
    let (path, at) = find(dir.path(), 19);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at..at + 500].fill(0);
    fs::write(&path, bytes).unwrap();
    for _ in 0..2 {
        let (log, report) = open(dir.path());
        assert_eq!((report.torn, &report.damage), (None, &Vec::new()));
        let items = read_all(&log).await;
        let erased = items.iter().filter(|item| matches!(item, Item::Erased(_))).count();
        assert_eq!(erased, 2);
        log.close().await.unwrap();
        drop(log);
        assert!(!dir.path().join("erasing.json").exists(), "said and done");
        let report = verify(dir.path()).unwrap();
        assert!(report.is_good(), "{report}");
    }
}

#[tokio::test]
async fn an_erasure_that_failed_half_way_is_completed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 20).await;
    // As the failure left it, while the log is open.
    let places = (0..5).map(|offset| format!(r#"{{"partition":3,"offset":{offset}}}"#));
    let left = format!(
        r#"{{"erasure":{{"time_ms":9,"note":"guest"}},"positions":[{}]}}"#,
        places.collect::<Vec<_>>().join(",")
    );
    fs::write(dir.path().join("erasing.json"), left).unwrap();
    let own = Erasure { time_ms: 10, note: "other".to_owned() };
    log.erase(&[Position { partition: 3, offset: 19 }], &own).await.unwrap();
    assert!(!dir.path().join("erasing.json").exists(), "said and done");
    let items = read_all(&log).await;
    let notes = items.iter().filter_map(|item| match item {
        Item::Erased(erased) => Some((erased.position.offset, erased.erasure.note.as_str())),
        Item::Record(_) | Item::Unreadable(_) | Item::Lost(_) => None,
    });
    let mut expected: Vec<_> = (0..5).map(|offset| (offset, "guest")).collect();
    expected.push((19, "other"));
    assert_eq!(notes.collect::<Vec<_>>(), expected, "each by whom it was");
    log.close().await.unwrap();
    drop(log);
    assert!(verify(dir.path()).unwrap().is_good());
}

#[tokio::test]
async fn who_erases_without_saying_so_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fill(&log, 20).await;
    log.close().await.unwrap();
    drop(log);
    let (path, at) = find(dir.path(), 7);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at..at + 1_000].copy_from_slice(&Erasure::default().stone(1_000));
    fs::write(&path, bytes).unwrap();
    let report = verify(dir.path()).unwrap();
    assert!(!report.is_good());
    assert!(report.to_string().contains("erased, and the log does not say so"), "{report}");
}
