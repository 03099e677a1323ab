//! What every store of identities must do.

#![expect(clippy::cognitive_complexity, reason = "each assertion counts as a branch")]

use std::sync::Arc;

use evoke_schemas::Namespace;

use super::{Identities, KEY_LENGTH};
use crate::StoreError;

/// The suite; the store must be empty.
pub(crate) async fn identities(store: &dyn Identities) {
    let (mine, yours) = (Namespace::new("mine").unwrap(), Namespace::new("yours").unwrap());
    let identity = store.create(&mine).await.unwrap();
    let other = store.create(&yours).await.unwrap();
    assert_eq!(identity.key.reveal().len(), KEY_LENGTH);
    assert_ne!(identity.key, other.key);
    assert!(matches!(store.create(&mine).await, Err(StoreError::Conflict(_))));
    let who = store.authenticate(&identity.uuid, identity.key.reveal()).await.unwrap();
    assert_eq!(who.as_deref(), Some(&*identity));
    for (uuid, key) in [
        (identity.uuid.as_str(), other.key.reveal()),
        (identity.uuid.as_str(), ""),
        ("nobody", identity.key.reveal()),
    ] {
        assert!(store.authenticate(uuid, key).await.unwrap().is_none());
    }
    assert_eq!(store.owner(&mine).await.unwrap().as_deref(), Some(&*identity));
    assert!(store.owner(&Namespace::new("nobody").unwrap()).await.unwrap().is_none());
    assert_eq!(store.all().await.unwrap(), [Arc::clone(&identity), Arc::clone(&other)]);

    let rotated = store.rotate(&mine).await.unwrap().unwrap();
    assert_eq!((&rotated.uuid, &rotated.subject), (&identity.uuid, &identity.subject));
    assert_ne!(rotated.key, identity.key);
    let former = store.authenticate(&identity.uuid, identity.key.reveal()).await.unwrap();
    assert!(former.is_none(), "the former key opens nothing");
    let now = store.authenticate(&rotated.uuid, rotated.key.reveal()).await.unwrap();
    assert_eq!(now.as_deref(), Some(&*rotated));
    assert_eq!(store.owner(&mine).await.unwrap().as_deref(), Some(&*rotated));
    assert!(store.rotate(&Namespace::new("nobody").unwrap()).await.unwrap().is_none());
    assert_eq!(store.all().await.unwrap(), [rotated, other]);
}
