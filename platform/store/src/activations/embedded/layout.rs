//! Tables, keys and values of the activations' file.

use std::collections::BTreeSet;

use evoke_schemas::{Activation, ActivationId};
use redb::{Database, TableDefinition, TableHandle as _};

use super::BUCKET_MS;
use crate::{StoreError, activations::path_of, disk::Bytes};

/// Id → start and namespace: from these follow bucket and key.
pub(super) const BY_ID: Bytes = TableDefinition::new("by-id");
const BUCKET: &str = "bucket-";

pub(super) fn bucket_of(start: u64) -> u64 {
    start / BUCKET_MS
}

/// Name of a bucket's table; the table is namespace, inverted start, id → path and JSON.
pub(super) fn bucket_name(bucket: u64) -> String {
    format!("{BUCKET}{bucket:012}")
}

/// A table by its name.
pub(super) fn records(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

pub(super) fn buckets(database: &Database) -> Result<BTreeSet<u64>, StoreError> {
    use redb::ReadableDatabase as _;
    let transaction = database.begin_read()?;
    let tables = transaction.list_tables()?;
    Ok(tables.filter_map(|table| table.name().strip_prefix(BUCKET)?.parse().ok()).collect())
}

/// Key of a record: of one namespace the newest first.
pub(super) fn key(namespace: &str, start: u64, id: ActivationId) -> Vec<u8> {
    let mut key = floor(namespace, start);
    key.extend(id.0);
    key
}

/// The least key of records of that start.
pub(super) fn floor(namespace: &str, start: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(namespace.len() + 25);
    key.extend(namespace.as_bytes());
    key.push(0);
    key.extend((!start).to_be_bytes());
    key
}

/// The id at the end of a key.
pub(super) fn id_of(key: &[u8]) -> Option<ActivationId> {
    key.last_chunk::<16>().map(|id| ActivationId(*id))
}

/// What an id's index entry says: start and namespace.
pub(super) fn index_value(namespace: &str, start: u64) -> Vec<u8> {
    [start.to_be_bytes().as_slice(), namespace.as_bytes()].concat()
}

pub(super) fn read_index(value: &[u8]) -> Option<(u64, &str)> {
    let (start, namespace) = value.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*start), std::str::from_utf8(namespace).ok()?))
}

/// Value of a record: its path, so that filters need not look into the JSON, then the JSON.
pub(super) fn value(activation: &Activation) -> Result<Vec<u8>, StoreError> {
    let path = path_of(activation);
    let length = u16::try_from(path.len()).unwrap_or(u16::MAX);
    let mut value = Vec::with_capacity(512 + activation.response.result.get().len());
    value.extend(length.to_le_bytes());
    value.extend(path.as_bytes().iter().take(usize::from(length)));
    serde_json::to_writer(&mut value, activation).map_err(StoreError::failed)?;
    Ok(value)
}

/// Path and JSON of a value.
pub(super) fn split(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

#[derive(Debug, thiserror::Error)]
#[error("the record is cut")]
struct Cut;

pub(super) fn decode(id: ActivationId, value: &[u8]) -> Result<Activation, StoreError> {
    let (_, json) = split(value).ok_or_else(|| StoreError::corrupted(id, Cut))?;
    serde_json::from_slice(json).map_err(|error| StoreError::corrupted(id, error))
}
