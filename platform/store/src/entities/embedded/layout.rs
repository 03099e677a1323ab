//! Tables, keys and record heads of the entities' file.

use evoke_schemas::EntityUid;
use redb::{ReadableTable as _, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;

use super::super::{Collection, Entity, Revision};
use crate::{StoreError, disk::Bytes};

/// `ns/[pkg/]name` → head and JSON.
pub(super) const DOCUMENTS: Bytes = TableDefinition::new("entities");
/// uid → sealed credential.
pub(super) const SECRETS: Bytes = TableDefinition::new("secrets");
/// `ns/[pkg/]name` → sealed values of the parameters that are secret.
pub(super) const PARAMETERS: Bytes = TableDefinition::new("secret-parameters");
/// Something known, sealed: whether the key is the right one.
pub(super) const CHECK: Bytes = TableDefinition::new("seal-check");
/// Namespace, kind, inverted time, inverted revision, name → nothing.
pub(super) const BY_TIME: Bytes = TableDefinition::new("entities-by-time");
/// Trigger's uid, rule's name → nothing.
pub(super) const BY_TRIGGER: Bytes = TableDefinition::new("rules-by-trigger");
/// `ns/name` → revision and sealed JSON.
pub(super) const FEEDS: Bytes = TableDefinition::new("feeds");
const REVISION: TableDefinition<'static, &'static str, u64> = TableDefinition::new("revision");
const LAST: &str = "last";

/// What the indexes need of a document, before its JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) revision: Revision,
    pub(super) collection: Collection,
    pub(super) updated: u64,
    /// A trigger's own uid, of a rule its trigger's.
    pub(super) link: EntityUid,
}

const HEAD: usize = 8 + 1 + 8 + 16;

#[derive(Debug, thiserror::Error)]
#[error("the record's head is cut or of an unknown kind")]
struct NoHead;

impl Head {
    pub(super) fn of(entity: &Entity, revision: Revision) -> Self {
        let link = match entity {
            Entity::Trigger(trigger) => trigger.uid,
            Entity::Rule(rule) => rule.trigger_uid,
            Entity::Action(_) | Entity::Package(_) => EntityUid([0; 16]),
        };
        Self { revision, collection: entity.collection(), updated: entity.updated(), link }
    }

    pub(super) fn before(&self, json: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEAD + json.len());
        value.extend(self.revision.0.to_le_bytes());
        value.push(tag(self.collection));
        value.extend(self.updated.to_le_bytes());
        value.extend(self.link.0);
        value.extend(json);
        value
    }

    pub(super) fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let head = || {
            let (revision, rest) = value.split_first_chunk::<8>()?;
            let (kind, rest) = rest.split_first()?;
            let (updated, rest) = rest.split_first_chunk::<8>()?;
            let (link, _) = rest.split_first_chunk::<16>()?;
            Some(Self {
                revision: Revision(u64::from_le_bytes(*revision)),
                collection: ALL.iter().copied().find(|c| tag(*c) == *kind)?,
                updated: u64::from_le_bytes(*updated),
                link: EntityUid(*link),
            })
        };
        head().ok_or_else(|| StoreError::corrupted(String::from_utf8_lossy(key), NoHead))
    }

    /// The JSON after the head.
    pub(super) fn rest(value: &[u8]) -> &[u8] {
        value.get(HEAD..).unwrap_or_default()
    }
}

const ALL: [Collection; 4] =
    [Collection::Actions, Collection::Packages, Collection::Triggers, Collection::Rules];

fn tag(collection: Collection) -> u8 {
    match collection {
        Collection::Actions => b'a',
        Collection::Packages => b'p',
        Collection::Triggers => b't',
        Collection::Rules => b'r',
    }
}

/// Where the listing of one kind of one namespace begins.
pub(super) fn prefix(namespace: &str, collection: Collection) -> Vec<u8> {
    [namespace.as_bytes(), &[0, tag(collection)]].concat()
}

pub(super) fn list_key(name: &str, head: &Head) -> Vec<u8> {
    let namespace = name.split('/').next().unwrap_or_default();
    let mut key = prefix(namespace, head.collection);
    key.extend((!head.updated).to_be_bytes());
    key.extend((!head.revision.0).to_be_bytes());
    key.extend(name.as_bytes());
    key
}

/// The document's key in a listing key whose prefix has `skip` bytes.
pub(super) fn name_of_list_key(key: &[u8], skip: usize) -> &[u8] {
    key.get(skip + 16..).unwrap_or_default()
}

pub(super) fn decode<T: DeserializeOwned>(key: &[u8], json: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(json)
        .map_err(|error| StoreError::corrupted(String::from_utf8_lossy(key), error))
}

/// The last revision given; the next is one more.
pub(super) fn next_revision(transaction: &WriteTransaction) -> Result<u64, StoreError> {
    let table = transaction.open_table(REVISION)?;
    let last = table.get(LAST)?;
    Ok(last.map_or(0, |value| value.value()))
}

pub(super) fn keep_revision(transaction: &WriteTransaction, last: u64) -> Result<(), StoreError> {
    transaction.open_table(REVISION)?.insert(LAST, last)?;
    Ok(())
}
