//! What every code store must do.

#![expect(clippy::cognitive_complexity, reason = "each assertion counts as a branch")]

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;

use super::CodeStore;
use crate::StoreError;

/// The suite; the store must be empty.
pub(crate) async fn code(store: &dyn CodeStore) {
    let (one, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"other"));
    let first = store.put(one.clone()).await.unwrap();
    assert_eq!(first, store.put(one.clone()).await.unwrap());
    assert_eq!(first.bytes, 3);
    let second = store.put(other.clone()).await.unwrap();
    assert_ne!(first.hash, second.hash);
    assert_eq!(store.get(&first).await.unwrap(), one);
    assert_eq!(store.sweep(HashSet::from([second.hash.clone()])).await.unwrap(), 1);
    assert!(matches!(store.get(&first).await, Err(StoreError::Corrupted { .. })));
    assert_eq!(store.get(&second).await.unwrap(), other);
}

/// What was put is there when the store is opened again.
pub(crate) async fn code_stays(store: &dyn CodeStore, again: impl Fn() -> Arc<dyn CodeStore>) {
    let kept = Bytes::from_static(b"kept");
    let code = store.put(kept.clone()).await.unwrap();
    assert_eq!(again().get(&code).await.unwrap(), kept);
}
