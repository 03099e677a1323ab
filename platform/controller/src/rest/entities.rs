//! What the four collections of entities share: listing, finding, keeping.

use std::{collections::BTreeMap, time::Duration};

use axum::response::Response;
use evoke_schemas::{
    Action, EntityName, EntityUid, FullName, KeyValues, Namespace, Package, Rule, SemVer, Trigger,
    limits::MAX_PARAMETER_BYTES,
};
use evoke_store::{Change, Collection, Entity, EntityQuery, Expect, Revision, StoreError, Stored};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::{
    actions::ActionSummary, answer, at::At, error::ApiError, packages::PackageSummary, query::Page,
    rules::RuleSummary, triggers::TriggerSummary,
};
use crate::hub::Hub;

/// When to come again where a namespace has all the entities that it may have: somebody has to
/// delete some first.
const ENTITIES_AGAIN: Duration = Duration::from_secs(60);

/// One of the four kinds of entities.
pub(crate) trait Kind: Sized + Send {
    const COLLECTION: Collection;

    /// What lists show of one.
    type Summary<'a>: Serialize + JsonSchema
    where
        Self: 'a;

    /// The entity, if it is of this kind.
    fn of(entity: Entity) -> Option<Self>;

    /// The entity as the store keeps it.
    fn into_entity(self) -> Entity;

    /// The item that lists show.
    fn summary(&self) -> Self::Summary<'_>;
}

/// Members that every kind has, as a body gives them; absent ones and nulls stay as they are.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Common {
    #[serde(deserialize_with = "key_values")]
    #[schemars(with = "Option<KeyValues>")]
    pub(super) parameters: Option<KeyValues>,
    #[serde(deserialize_with = "annotations")]
    #[schemars(with = "Option<KeyValues>")]
    pub(super) annotations: Option<KeyValues>,
    /// Absent: the last part of the present one goes up.
    #[serde(deserialize_with = "version")]
    #[schemars(with = "Option<SemVer>")]
    pub(super) version: Option<SemVer>,
    #[serde(deserialize_with = "publish")]
    #[schemars(with = "Option<bool>")]
    pub(super) publish: Option<bool>,
}

/// What a list answers: its items, or with `count` only their number.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "{T}List")]
pub(super) enum Listed<T> {
    /// The newest first.
    Items(Vec<T>),
    /// The collection, and how many there are after those skipped.
    Count(BTreeMap<&'static str, usize>),
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
        return Ok(answer::json(&counted(K::COLLECTION.as_str(), all, skip)));
    }
    let listed: Vec<K> =
        at.hub.parts.entities.list(&query).await?.into_iter().filter_map(K::of).collect();
    Ok(answer::json(&Listed::Items(listed.iter().map(K::summary).collect())))
}

/// The answer to `count`: how many of `all` there are after those skipped.
pub(super) fn counted(collection: &'static str, all: usize, skip: usize) -> Listed<()> {
    Listed::Count(BTreeMap::from([(collection, all.saturating_sub(skip))]))
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

    /// Gives secrets that are sent back as they were shown their values of before.
    pub(super) fn keep_secrets(&mut self, before: Option<&KeyValues>) -> Result<(), ApiError> {
        let parameters = self.parameters.as_mut();
        let kept = parameters.map_or(Ok(()), |parameters| parameters.keep_masked(before));
        kept.map_err(|unknown| ApiError::Bad(unknown.to_string()))
    }

    /// The version after this change of what had `before`.
    pub(super) fn next_version(&self, before: Option<SemVer>) -> SemVer {
        self.version.unwrap_or_else(|| before.map_or(SemVer::FIRST, SemVer::bumped))
    }
}

// Null is as absent; the sentences are OpenWhisk's.

fn key_values<'de, D: Deserializer<'de>>(member: D) -> Result<Option<KeyValues>, D::Error> {
    let Some(value) = Option::<Value>::deserialize(member)? else { return Ok(None) };
    let malformed = || de::Error::custom("parameters malformed!");
    let secret = |item: &Value| item.get("secret") == Some(&Value::Bool(true));
    let whole =
        |item: &Value| item.get("key").is_some() && (item.get("value").is_some() || secret(item));
    if !value.as_array().is_some_and(|items| items.iter().all(whole)) {
        return Err(malformed());
    }
    serde_json::from_value(value).map(Some).map_err(|_detail| malformed())
}

/// Annotations are for everybody to see.
fn annotations<'de, D: Deserializer<'de>>(member: D) -> Result<Option<KeyValues>, D::Error> {
    let annotations = key_values(member)?;
    if annotations.as_ref().is_some_and(KeyValues::has_secrets) {
        return Err(de::Error::custom("only parameters can be secret, not annotations"));
    }
    Ok(annotations)
}

fn version<'de, D: Deserializer<'de>>(member: D) -> Result<Option<SemVer>, D::Error> {
    let Some(value) = Option::<Value>::deserialize(member)? else { return Ok(None) };
    let read = serde_json::from_value(value);
    read.map(Some).map_err(|_detail| de::Error::custom("semantic version malformed"))
}

fn publish<'de, D: Deserializer<'de>>(member: D) -> Result<Option<bool>, D::Error> {
    match Option::<Value>::deserialize(member)? {
        None => Ok(None),
        Some(Value::Bool(publish)) => Ok(Some(publish)),
        Some(_) => Err(de::Error::custom("Expected Boolean for `publish`")),
    }
}

/// The uid of an entity that is kept: that of its life so far, or a fresh one.
pub(super) fn uid(before: Option<EntityUid>) -> EntityUid {
    before.unwrap_or_else(EntityUid::fresh)
}

macro_rules! kinds {
    ($($kind:ident $collection:ident $summary:ident;)+) => {$(
        impl Kind for $kind {
            const COLLECTION: Collection = Collection::$collection;
            type Summary<'a> = $summary<'a>;

            fn of(entity: Entity) -> Option<Self> {
                if let Entity::$kind(it) = entity { Some(it) } else { None }
            }

            fn into_entity(self) -> Entity {
                Entity::$kind(self)
            }

            fn summary(&self) -> $summary<'_> {
                $summary::of(self)
            }
        }
    )+};
}

kinds! {
    Action Actions ActionSummary;
    Package Packages PackageSummary;
    Trigger Triggers TriggerSummary;
    Rule Rules RuleSummary;
}
