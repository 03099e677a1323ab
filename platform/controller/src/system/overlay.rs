//! The store of entities with the hub's own packages over it, which nobody can change.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_schemas::{EntityUid, FullName, Namespace, Rule};
use evoke_store::{
    Change, Collection, Entity, EntityQuery, EntityStore, Revision, StoreError, Stored,
};

use super::{System, catalog::package_of};

/// Revision of what never changes.
const BUILT_IN: Revision = Revision(0);

#[derive(Debug)]
pub(super) struct Overlay<S: ?Sized> {
    system: Arc<System>,
    store: Arc<S>,
}

impl<S: ?Sized> Overlay<S> {
    pub(super) fn new(system: Arc<System>, store: Arc<S>) -> Self {
        Self { system, store }
    }

    fn own(&self, query: &EntityQuery) -> impl Iterator<Item = &Entity> {
        let is_asked = move |(name, entity): &(&FullName, &Entity)| {
            name.namespace == query.namespace
                && entity.collection() == query.collection
                && (query.package.is_none() || name.package == query.package)
        };
        self.system.entities.iter().filter(is_asked).map(|(_, entity)| entity)
    }
}

#[async_trait]
impl EntityStore for Overlay<dyn EntityStore> {
    async fn get(&self, name: &FullName) -> Result<Option<Stored<Entity>>, StoreError> {
        match self.system.entities.get(name) {
            Some(entity) => Ok(Some(Stored { value: entity.clone(), revision: BUILT_IN })),
            None => self.store.get(name).await,
        }
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Revision>, StoreError> {
        for change in &changes {
            let name = match change {
                Change::Put { entity, .. } => entity.full_name(),
                Change::Delete { name, .. } => name.clone(),
            };
            if self.system.entities.contains_key(&package_of(&name)) {
                return Err(StoreError::BuiltIn(name.to_string()));
            }
        }
        self.store.apply(changes).await
    }

    async fn list(&self, query: &EntityQuery) -> Result<Vec<Entity>, StoreError> {
        let own: Vec<_> = self.own(query).skip(query.skip).take(query.limit).cloned().collect();
        let rest = EntityQuery {
            skip: query.skip.saturating_sub(self.own(query).count()),
            limit: query.limit.saturating_sub(own.len()),
            ..query.clone()
        };
        let others = self.store.list(&rest).await?;
        Ok(own.into_iter().chain(others).collect())
    }

    async fn count(&self, query: &EntityQuery) -> Result<usize, StoreError> {
        Ok(self.own(query).count() + self.store.count(query).await?)
    }

    /// Those of the store: the hub's own are nobody's to count.
    async fn count_all(&self, namespace: &Namespace) -> Result<usize, StoreError> {
        self.store.count_all(namespace).await
    }

    /// Those of the store: the hub's own have no part in what is loaded at start.
    async fn all(&self, collection: Collection) -> Result<Vec<Entity>, StoreError> {
        self.store.all(collection).await
    }

    async fn rules_of(&self, trigger: EntityUid) -> Result<Vec<Rule>, StoreError> {
        self.store.rules_of(trigger).await
    }
}
