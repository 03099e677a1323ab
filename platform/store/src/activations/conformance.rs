//! What every activation store must do.

#![expect(clippy::cognitive_complexity, reason = "each assertion counts as a branch")]

use evoke_schemas::{
    Activation, ActivationId, ActivationResponse, ActivationStatus, EntityName, KeyValues,
    Namespace, SemVer,
};
use serde_json::{json, value::to_raw_value};

use super::{ActivationQuery, ActivationStore};

const HOUR: u64 = 3_600_000;

pub(crate) fn record(namespace: &str, id: u8, start: u64, path: &str) -> Activation {
    let name = path.rsplit('/').next().unwrap();
    Activation {
        namespace: Namespace::new(namespace).unwrap(),
        name: EntityName::new(name).unwrap(),
        version: SemVer::FIRST,
        subject: namespace.to_owned(),
        activation_id: ActivationId([id; 16]),
        start,
        end: Some(start + 1),
        duration: Some(1),
        cause: None,
        response: ActivationResponse::new(
            ActivationStatus::Success,
            to_raw_value(&json!({"id": id, "start": start})).unwrap(),
            None,
        ),
        logs: vec!["a line".to_owned()],
        annotations: KeyValues::from_iter([("path".to_owned(), json!(format!("x/{path}")))]),
        publish: false,
    }
}

async fn starts(store: &dyn ActivationStore, query: ActivationQuery) -> Vec<u64> {
    let guest = Namespace::new("guest").unwrap();
    let all = ActivationQuery { skip: 0, limit: usize::MAX, ..query.clone() };
    let everything = store.list(&guest, &all).await.unwrap().len();
    assert_eq!(store.count(&guest, &query).await.unwrap(), everything, "{query:?}");
    store.list(&guest, &query).await.unwrap().iter().map(|record| record.start).collect()
}

fn all() -> ActivationQuery {
    ActivationQuery { limit: 100, ..ActivationQuery::default() }
}

/// The suite; the store must be empty.
pub(crate) async fn activations(store: &dyn ActivationStore) {
    readable_at_once_and_only_by_its_owner(store).await;
    lists(store).await;
    an_id_has_one_record(store).await;
    expiry(store).await;
}

async fn readable_at_once_and_only_by_its_owner(store: &dyn ActivationStore) {
    let (guest, other) = (Namespace::new("guest").unwrap(), Namespace::new("gues").unwrap());
    let id = ActivationId([1; 16]);
    store.stage(&record("guest", 1, 10 * HOUR, "a")).await.unwrap();
    for durable in [false, true] {
        if durable {
            store.flush().await.unwrap();
        }
        let found = store.get(&guest, id).await.unwrap().unwrap();
        assert_eq!(found.start, 10 * HOUR);
        assert_eq!(found.logs, ["a line"]);
        assert!(store.get(&other, id).await.unwrap().is_none());
        assert!(store.get(&guest, ActivationId([2; 16])).await.unwrap().is_none());
        assert_eq!(starts(store, all()).await, [10 * HOUR]);
        assert!(store.list(&other, &all()).await.unwrap().is_empty());
    }
}

/// Half of the records are durable and half staged, in several buckets.
async fn lists(store: &dyn ActivationStore) {
    for (id, start, path) in [(2, 12 * HOUR, "a"), (3, 11 * HOUR, "p/a"), (4, 9 * HOUR, "b")] {
        store.stage(&record("guest", id, start, path)).await.unwrap();
    }
    store.flush().await.unwrap();
    for (id, start, path) in [(5, 12 * HOUR + 5, "p/a"), (6, 11 * HOUR + 5, "a"), (7, 5, "a")] {
        store.stage(&record("guest", id, start, path)).await.unwrap();
    }
    store.stage(&record("other", 8, 12 * HOUR, "a")).await.unwrap();
    let newest = [12 * HOUR + 5, 12 * HOUR, 11 * HOUR + 5, 11 * HOUR, 10 * HOUR, 9 * HOUR, 5];
    assert_eq!(starts(store, all()).await, newest);
    assert_eq!(starts(store, ActivationQuery { skip: 1, limit: 2, ..all() }).await, newest[1..3]);
    assert_eq!(starts(store, ActivationQuery { skip: 9, ..all() }).await, [0; 0]);
    assert_eq!(starts(store, ActivationQuery { limit: 0, ..all() }).await, [0; 0]);
    let named = ActivationQuery { path: Some("p/a".to_owned()), ..all() };
    assert_eq!(starts(store, named).await, [12 * HOUR + 5, 11 * HOUR]);
    let (since, upto) = (Some(10 * HOUR), Some(12 * HOUR));
    assert_eq!(starts(store, ActivationQuery { since, upto, ..all() }).await, newest[1..5]);
    let none = ActivationQuery { since: upto, upto: since, ..all() };
    assert_eq!(starts(store, none).await, [0; 0]);
}

async fn an_id_has_one_record(store: &dyn ActivationStore) {
    let guest = Namespace::new("guest").unwrap();
    store.flush().await.unwrap();
    let before = starts(store, all()).await.len();
    for start in [11 * HOUR + 7, 9 * HOUR + 7] {
        store.stage(&record("guest", 3, start, "p/a")).await.unwrap();
        for _ in 0..2 {
            let now = starts(store, all()).await;
            assert_eq!(now.len(), before);
            assert!(now.contains(&start) && !now.contains(&(11 * HOUR)));
            let found = store.get(&guest, ActivationId([3; 16])).await.unwrap().unwrap();
            assert_eq!(found.start, start);
            store.flush().await.unwrap();
        }
    }
}

async fn expiry(store: &dyn ActivationStore) {
    let guest = Namespace::new("guest").unwrap();
    assert!(store.expire(10 * HOUR).await.unwrap() > 0);
    let left = starts(store, all()).await;
    assert_eq!(left, [12 * HOUR + 5, 12 * HOUR, 11 * HOUR + 5, 10 * HOUR]);
    assert!(store.get(&guest, ActivationId([3; 16])).await.unwrap().is_none());
    assert!(store.get(&guest, ActivationId([1; 16])).await.unwrap().is_some());
    store.stage(&record("guest", 3, 12 * HOUR + 9, "a")).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(starts(store, all()).await.len(), left.len() + 1);
    assert_eq!(store.expire(10 * HOUR).await.unwrap(), 0);
}
