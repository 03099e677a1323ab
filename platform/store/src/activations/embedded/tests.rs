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
        store.stage(&record("guest", 1, 5, "a")).await.unwrap();
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
        store.stage(&record).await.unwrap();
        assert!(store.shared.overlay().bytes() <= 2 * MAX_STAGED_BYTES);
    }
    store.flush().await.unwrap();
    assert_eq!(store.shared.overlay().bytes(), 0);
}
