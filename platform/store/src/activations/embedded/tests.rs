//! Tests of the embedded activation store beyond the suite.

use std::sync::Arc;

use super::*;
use crate::activations::conformance::{self, record};

fn store(folder: &Path) -> EmbeddedActivations {
    EmbeddedActivations::open(&folder.join("activations.redb")).unwrap()
}

#[tokio::test]
async fn keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    conformance::activations(&store(folder.path())).await;
}

#[tokio::test]
async fn what_was_staged_is_there_after_a_close() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = store(folder.path());
        store.stage(record("guest", 1, 5, "a")).await.unwrap();
    }
    let guest = Namespace::new("guest").unwrap();
    let again = store(folder.path());
    assert!(again.get(&guest, ActivationId([1; 16])).await.unwrap().is_some());
    let query = ActivationQuery { limit: 9, ..ActivationQuery::default() };
    assert_eq!(again.list(&guest, &query).await.unwrap().len(), 1);
}

#[tokio::test]
async fn staging_waits_for_room_and_the_overlay_stays_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(store(folder.path()));
    let big = "x".repeat(MAX_STAGED_BYTES / 3);
    for id in 0..12 {
        let mut record = record("guest", id, 5, "a");
        record.logs = vec![big.clone()];
        store.stage(record).await.unwrap();
        assert!(store.shared.overlay().bytes() <= 2 * MAX_STAGED_BYTES);
    }
    store.flush().await.unwrap();
    assert_eq!(store.shared.overlay().bytes(), 0);
}

/// Many callers, each waiting for its own record; `--ignored --nocapture` shows the rate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures a rate, for people"]
async fn rate_of_records_with_a_wait_each() {
    const RECORDS: u32 = 60_000;
    const CALLERS: u32 = 256;
    let folder = tempfile::tempdir_in(".").unwrap();
    let store = Arc::new(store(folder.path()));
    let from = std::time::Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..RECORDS / CALLERS {
                let mut record = record("guest", 0, 3_600_000 + u64::from(n), "a");
                record.activation_id = ActivationId::fresh();
                store.stage(record).await.unwrap();
                store.flush().await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let rate = f64::from(RECORDS) / from.elapsed().as_secs_f64();
    assert!(rate > 0.0);
    #[expect(clippy::print_stderr, reason = "asked for by name, for people")]
    {
        eprintln!("{rate:.0} records/s");
    }
}
