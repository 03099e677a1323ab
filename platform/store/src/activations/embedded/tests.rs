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

#[tokio::test]
async fn what_follows_a_commit_of_many_is_committed_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for round in [0, 100] {
        for id in 0..64 {
            store.stage(&record("guest", round + id, 5, "a")).await.unwrap();
        }
        store.flush().await.unwrap();
        store.stage(&record("guest", round + 64, 5, "a")).await.unwrap();
        store.flush().await.unwrap();
        assert_eq!(store.shared.overlay().bytes(), 0);
    }
}

#[tokio::test]
async fn an_erased_record_is_nowhere_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("activations.redb");
    let guest = Namespace::new("guest").unwrap();
    let holds = |text: &str| {
        let file = std::fs::read(&path).unwrap();
        file.windows(text.len()).any(|part| part == text.as_bytes())
    };
    let said = |id: u8, text: &str| {
        let mut record = record("guest", id, 5, "a");
        record.logs = vec![text.to_owned()];
        record
    };
    {
        let store = store(folder.path());
        let long = "correct horse ".repeat(3_000);
        for (id, text) in
            [(1, "first words"), (2, long.as_str()), (3, "of another"), (1, "last words")]
        {
            store.stage(&said(id, text)).await.unwrap();
            store.flush().await.unwrap();
        }
        // Another record that only names the erased one.
        store
            .stage(&said(4, &format!("{{\"activationId\":\"{}\"}}", "01".repeat(16))))
            .await
            .unwrap();
        store.flush().await.unwrap();
        assert!(holds("last words") && holds("correct horse"));
        let ids = [ActivationId([1; 16]), ActivationId([2; 16]), ActivationId([9; 16])];
        let other = Namespace::new("other").unwrap();
        assert_eq!(store.erase(&other, &ids).await.unwrap(), 0, "not the namespace's");
        assert!(store.get(&guest, ids[0]).await.unwrap().is_some());
        assert_eq!(store.erase(&guest, &ids).await.unwrap(), 2);
        for gone in ["first words", "last words", "correct horse"] {
            assert!(!holds(gone), "{gone}");
        }
        assert!(store.get(&guest, ids[0]).await.unwrap().is_none());
        store.stage(&said(5, "written later")).await.unwrap();
    }
    let again = store(folder.path());
    for (id, there) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
        let found = again.get(&guest, ActivationId([id; 16])).await.unwrap();
        assert_eq!(found.is_some(), there, "{id}");
    }
}
