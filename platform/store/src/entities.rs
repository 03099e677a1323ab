//! Entities and feeds: the traits, and what they speak of.

#[cfg(test)]
pub(crate) mod conformance;
mod embedded;

use async_trait::async_trait;
use evoke_schemas::{
    Action, EntityName, EntityUid, Feed, FullName, Namespace, Package, Rule, Trigger,
};
use serde::{Deserialize, Serialize};

pub use embedded::EmbeddedEntities;

use crate::StoreError;

/// One entity. All four share one key space per namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "collection", rename_all = "lowercase")]
pub enum Entity {
    /// An action.
    Action(Action),
    /// A package.
    Package(Package),
    /// A trigger.
    Trigger(Trigger),
    /// A rule.
    Rule(Rule),
}

/// A kind of entity, as the REST paths name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collection {
    /// `actions`
    Actions,
    /// `packages`
    Packages,
    /// `triggers`
    Triggers,
    /// `rules`
    Rules,
}

/// State of an entity that a later change may name. Never used twice, also not after delete and
/// create.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// A value with the revision it was read at.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// Its revision.
    pub revision: Revision,
}

/// What must be true of the stored state for a change to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing of that name is there.
    New,
    /// It is there at this revision.
    At(Revision),
}

/// One change; several are made together or not at all.
#[derive(Clone, Debug)]
pub enum Change {
    /// Creates or replaces.
    Put {
        /// What to keep.
        entity: Box<Entity>,
        /// What must be there.
        expect: Expect,
    },
    /// Takes away.
    Delete {
        /// Which.
        name: FullName,
        /// At which revision.
        revision: Revision,
    },
}

/// Which entities to list.
#[derive(Clone, Debug)]
pub struct EntityQuery {
    /// Of this namespace.
    pub namespace: Namespace,
    /// Of this kind.
    pub collection: Collection,
    /// Only actions of this package.
    pub package: Option<EntityName>,
    /// How many of the newest to leave out.
    pub skip: usize,
    /// How many to give.
    pub limit: usize,
}

/// Keeps entities.
#[async_trait]
pub trait EntityStore: Send + Sync {
    /// The entity of that name, of whatever kind.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] and [`StoreError::Failed`].
    async fn get(&self, name: &FullName) -> Result<Option<Stored<Entity>>, StoreError>;

    /// Makes all changes, durably, or none; gives the revision of each put in order.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] names the first entity that was not as expected.
    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Revision>, StoreError>;

    /// Entities by time of change, newest first; of the same time by revision.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] and [`StoreError::Failed`].
    async fn list(&self, query: &EntityQuery) -> Result<Vec<Entity>, StoreError>;

    /// How many a query without skip and limit would list.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn count(&self, query: &EntityQuery) -> Result<usize, StoreError>;

    /// How many entities of all kinds a namespace has.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn count_all(&self, namespace: &Namespace) -> Result<usize, StoreError>;

    /// Every entity of one kind, of all namespaces, in no particular order.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] and [`StoreError::Failed`].
    async fn all(&self, collection: Collection) -> Result<Vec<Entity>, StoreError>;

    /// Rules that are linked to this life of a trigger, by name.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] and [`StoreError::Failed`].
    async fn rules_of(&self, trigger: EntityUid) -> Result<Vec<Rule>, StoreError>;
}

/// Keeps what is wanted of feeds; their parameters are sealed at rest.
#[async_trait]
pub trait FeedStore: Send + Sync {
    /// The feed of that name.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] and [`StoreError::Failed`].
    async fn feed(
        &self,
        namespace: &Namespace,
        name: &EntityName,
    ) -> Result<Option<Stored<Feed>>, StoreError>;

    /// Creates or replaces, durably.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is not as expected.
    async fn put_feed(&self, feed: Feed, expect: Expect) -> Result<Revision, StoreError>;

    /// Takes the feed away, durably.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is not at that revision.
    async fn delete_feed(
        &self,
        namespace: &Namespace,
        name: &EntityName,
        revision: Revision,
    ) -> Result<(), StoreError>;

    /// How many feeds a namespace has.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn count_feeds(&self, namespace: &Namespace) -> Result<usize, StoreError>;

    /// Every feed of one namespace by name, or of all.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] and [`StoreError::Failed`].
    async fn feeds(&self, namespace: Option<&Namespace>) -> Result<Vec<Feed>, StoreError>;
}

// === impl Entity ===

impl Entity {
    /// Where it is.
    #[must_use]
    pub fn full_name(&self) -> FullName {
        let of = |namespace: &Namespace, name: &EntityName| {
            FullName::new(namespace.clone(), name.clone())
        };
        match self {
            Self::Action(action) => action.name.clone(),
            Self::Package(package) => of(&package.namespace, &package.name),
            Self::Trigger(trigger) => of(&trigger.namespace, &trigger.name),
            Self::Rule(rule) => of(&rule.namespace, &rule.name),
        }
    }

    /// Its kind.
    #[must_use]
    pub fn collection(&self) -> Collection {
        match self {
            Self::Action(_) => Collection::Actions,
            Self::Package(_) => Collection::Packages,
            Self::Trigger(_) => Collection::Triggers,
            Self::Rule(_) => Collection::Rules,
        }
    }

    /// Time of the last change. Unit: epoch milliseconds.
    #[must_use]
    pub fn updated(&self) -> u64 {
        match self {
            Self::Action(action) => action.updated,
            Self::Package(package) => package.updated,
            Self::Trigger(trigger) => trigger.updated,
            Self::Rule(rule) => rule.updated,
        }
    }
}

// === impl Collection ===

impl Collection {
    /// The word of the REST path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Packages => "packages",
            Self::Triggers => "triggers",
            Self::Rules => "rules",
        }
    }
}
