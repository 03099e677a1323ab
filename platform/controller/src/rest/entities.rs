//! What the four collections of entities share: listing, finding, keeping.

use std::time::Duration;

use axum::response::Response;
use evoke_schemas::{
    Action, EntityName, EntityUid, FullName, KeyValues, Namespace, Package, Rule, SemVer, Trigger,
    limits::MAX_PARAMETER_BYTES,
};
use evoke_store::{Change, Collection, Entity, EntityQuery, Expect, Revision, StoreError, Stored};
use serde_json::{Map, Value, json};

use super::{answer, at::At, error::ApiError, query::Page};
use crate::hub::Hub;

/// When to come again where a namespace has all the entities that it may have: somebody has to
/// delete some first.
const ENTITIES_AGAIN: Duration = Duration::from_secs(60);

/// One of the four kinds of entities.
pub(crate) trait Kind: Sized + Send {
    const COLLECTION: Collection;

    /// The entity, if it is of this kind.
    fn of(entity: Entity) -> Option<Self>;

    /// The entity as the store keeps it.
    fn into_entity(self) -> Entity;

    /// The item that lists show.
    fn summary(&self) -> Value;
}

/// Members that every kind has, as a body gives them; absent ones stay as they are.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) parameters: Option<KeyValues>,
    pub(super) annotations: Option<KeyValues>,
    pub(super) version: Option<SemVer>,
    pub(super) publish: Option<bool>,
}

/// Lists, or counts, the namespace's entities of one kind.
pub(super) async fn list<K: Kind>(
    at: &At,
    package: Option<EntityName>,
) -> Result<Response, ApiError> {
    let Page { skip, limit, count } = at.query.page(K::COLLECTION.as_str())?;
    let query = EntityQuery {
        namespace: at.names.namespace.clone(),
        collection: K::COLLECTION,
        package,
        skip,
        limit,
    };
    if count {
        let all = at.hub.parts.entities.count(&query).await?;
        return Ok(answer::json(&json!({ K::COLLECTION.as_str(): all.saturating_sub(skip) })));
    }
    let listed = at.hub.parts.entities.list(&query).await?;
    let shown: Vec<Value> = listed.into_iter().filter_map(K::of).map(|one| one.summary()).collect();
    Ok(answer::json(&shown))
}

/// The entity of that name, which must be of this kind.
pub(crate) async fn find<K: Kind>(
    hub: &Hub,
    name: &FullName,
) -> Result<Option<Stored<K>>, ApiError> {
    match hub.parts.entities.get(name).await? {
        None => Ok(None),
        Some(Stored { value, revision }) => match K::of(value) {
            Some(value) => Ok(Some(Stored { value, revision })),
            None => Err(ApiError::OtherCollection),
        },
    }
}

/// The entity of that name and kind, which must be there.
pub(super) async fn existing<K: Kind>(hub: &Hub, name: &FullName) -> Result<Stored<K>, ApiError> {
    find(hub, name).await?.ok_or(ApiError::Missing)
}

/// What a PUT replaces; an error where something is there that may not be overwritten.
pub(super) async fn replaced<K: Kind>(
    hub: &Hub,
    name: &FullName,
    overwrite: bool,
) -> Result<Option<Stored<K>>, ApiError> {
    match find(hub, name).await? {
        Some(_) if !overwrite => Err(ApiError::Exists),
        found => Ok(found),
    }
}

/// The change that keeps an entity in the place of what was read.
pub(super) fn keep<K: Kind>(entity: K, before: Option<Revision>) -> Change {
    let expect = before.map_or(Expect::New, Expect::At);
    Change::Put { entity: Box::new(entity.into_entity()), expect }
}

/// Makes changes; what somebody else changed meanwhile is a conflict.
pub(crate) async fn apply(hub: &Hub, changes: Vec<Change>) -> Result<Vec<Revision>, ApiError> {
    if changes.iter().any(|change| matches!(change, Change::Put { .. })) {
        hub.check_open()?;
    }
    let is_new = |change: &&Change| matches!(change, Change::Put { expect: Expect::New, .. });
    let mut new = changes.iter().filter(is_new).peekable();
    if let Some(Change::Put { entity, .. }) = new.peek().copied() {
        check_room(hub, &entity.full_name().namespace, new.count()).await?;
    }
    Ok(hub.parts.entities.apply(changes).await?)
}

/// Whether a namespace may have so many entities more; the caller has the turn.
///
/// # Errors
/// [`ApiError::TooMany`].
pub(crate) async fn check_room(
    hub: &Hub,
    namespace: &Namespace,
    more: usize,
) -> Result<(), ApiError> {
    let allowed = hub.limits(namespace).entities;
    let feeds = hub.parts.feeds.count_feeds(namespace).await?;
    let there = hub.parts.entities.count_all(namespace).await?.saturating_add(feeds);
    let count = there.saturating_add(more) as u64;
    if count <= allowed {
        return Ok(());
    }
    Err(ApiError::TooMany {
        cap: "entities",
        reason: format!("Too many entities in the namespace (count: {count}, allowed: {allowed})."),
        retry_after: ENTITIES_AGAIN,
    })
}

/// Takes the turn for a change of entities: held, changes of store and index are in one order.
pub(crate) async fn turn(hub: &Hub) -> Result<tokio::sync::SemaphorePermit<'_>, ApiError> {
    hub.turn.acquire().await.map_err(|_closed| ApiError::from(StoreError::Closed))
}

// === impl Common ===

impl Common {
    /// Takes the members out of a body.
    pub(super) fn take(body: &mut Map<String, Value>) -> Result<Self, ApiError> {
        Ok(Self {
            parameters: key_values(body.remove("parameters"))?,
            annotations: key_values(body.remove("annotations"))?,
            version: version(body.remove("version"))?,
            publish: publish(body.remove("publish"))?,
        })
    }

    /// Whether what it gives is small enough.
    pub(super) fn check_sizes(&self) -> Result<(), ApiError> {
        for (field, values) in
            [("parameters", &self.parameters), ("annotations", &self.annotations)]
        {
            let bytes = values.as_ref().map_or(0, KeyValues::size);
            if bytes > MAX_PARAMETER_BYTES {
                return Err(ApiError::FieldTooLarge { field, bytes, most: MAX_PARAMETER_BYTES });
            }
        }
        Ok(())
    }

    /// The version after this change of what had `before`.
    pub(super) fn next_version(&self, before: Option<SemVer>) -> SemVer {
        self.version.unwrap_or_else(|| before.map_or(SemVer::FIRST, SemVer::bumped))
    }
}

fn key_values(value: Option<Value>) -> Result<Option<KeyValues>, ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let malformed = || ApiError::Malformed("parameters malformed!".to_owned());
    let whole = |item: &Value| item.get("key").is_some() && item.get("value").is_some();
    if !value.as_array().is_some_and(|items| items.iter().all(whole)) {
        return Err(malformed());
    }
    serde_json::from_value(value).map(Some).map_err(|_detail| malformed())
}

fn version(value: Option<Value>) -> Result<Option<SemVer>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value)
            .map(Some)
            .map_err(|_detail| ApiError::Malformed("semantic version malformed".to_owned())),
    }
}

fn publish(value: Option<Value>) -> Result<Option<bool>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(publish)) => Ok(Some(publish)),
        Some(_) => Err(ApiError::Malformed("Expected Boolean for `publish`".to_owned())),
    }
}

/// The uid of an entity that is kept: that of its life so far, or a fresh one.
pub(super) fn uid(before: Option<EntityUid>) -> EntityUid {
    before.unwrap_or_else(EntityUid::fresh)
}

macro_rules! kinds {
    ($($kind:ident $collection:ident $summary:path;)+) => {$(
        impl Kind for $kind {
            const COLLECTION: Collection = Collection::$collection;

            fn of(entity: Entity) -> Option<Self> {
                if let Entity::$kind(it) = entity { Some(it) } else { None }
            }

            fn into_entity(self) -> Entity {
                Entity::$kind(self)
            }

            fn summary(&self) -> Value {
                $summary(self)
            }
        }
    )+};
}

kinds! {
    Action Actions super::actions::summary;
    Package Packages super::packages::summary;
    Trigger Triggers super::triggers::summary;
    Rule Rules super::rules::summary;
}
