//! Reading: the overlay first, then the buckets, newest first.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
};

use evoke_schemas::{Activation, ActivationId, Namespace};
use redb::{ReadTransaction, ReadableDatabase as _};

use super::{Shared, layout, overlay::Staged};
use crate::{ActivationQuery, StoreError, disk};

pub(super) fn get(
    shared: &Shared,
    namespace: &Namespace,
    id: ActivationId,
) -> Result<Option<Activation>, StoreError> {
    let transaction = shared.database.begin_read()?;
    let Some(by_id) = disk::table(&transaction, layout::BY_ID)? else { return Ok(None) };
    let Some(entry) = by_id.get(id.0.as_slice())? else { return Ok(None) };
    let (start, owner) = layout::read_index(entry.value()).unwrap_or_default();
    if owner != namespace.as_str() {
        return Ok(None);
    }
    let name = layout::bucket_name(layout::bucket_of(start));
    let Some(bucket) = disk::table(&transaction, layout::records(&name))? else { return Ok(None) };
    let found = bucket.get(layout::key(owner, start, id).as_slice())?;
    found.map(|value| layout::decode(id, value.value())).transpose()
}

pub(super) fn list(
    shared: &Shared,
    namespace: &Namespace,
    query: &ActivationQuery,
) -> Result<Vec<Activation>, StoreError> {
    let mut listed = Vec::new();
    walk(shared, namespace, query, |place, id, value| {
        if place < query.skip {
            return true;
        }
        if listed.len() < query.limit {
            match layout::decode(id, value) {
                Ok(activation) => listed.push(activation),
                Err(error) => tracing::error!(%error, "an activation is left out of a list"),
            }
        }
        listed.len() < query.limit
    })?;
    Ok(listed)
}

pub(super) fn count(
    shared: &Shared,
    namespace: &Namespace,
    query: &ActivationQuery,
) -> Result<usize, StoreError> {
    let mut count = 0;
    walk(shared, namespace, query, |_place, _id, _value| {
        count += 1;
        true
    })?;
    Ok(count)
}

/// Shows each record that the query asks for, newest first, until `visit` has seen enough.
fn walk(
    shared: &Shared,
    namespace: &Namespace,
    query: &ActivationQuery,
    mut visit: impl FnMut(usize, ActivationId, &[u8]) -> bool,
) -> Result<(), StoreError> {
    // The overlay before the transaction: what is committed in between is in both, not in none.
    let staged = shared.overlay().of(namespace.as_str());
    let hidden: HashSet<ActivationId> = staged.iter().map(|record| record.id).collect();
    let mut staged = staged.iter().filter(|record| wanted(query, record)).peekable();
    let transaction = shared.database.begin_read()?;
    let mut place = 0;
    let mut show = |id, value: &[u8]| {
        place += 1;
        visit(place - 1, id, value)
    };
    let mut more = true;
    for bucket in buckets(shared, query) {
        each(&transaction, bucket, namespace, query, |id, key, value| {
            if hidden.contains(&id) {
                return true;
            }
            while let Some(record) = staged.next_if(|record| record.key.as_slice() < key) {
                if !show(record.id, &record.value) {
                    more = false;
                    return false;
                }
            }
            more = show(id, value);
            more
        })?;
        if !more {
            return Ok(());
        }
    }
    for record in staged {
        if !show(record.id, &record.value) {
            break;
        }
    }
    Ok(())
}

fn wanted(query: &ActivationQuery, record: &Arc<Staged>) -> bool {
    query.since.is_none_or(|since| record.start >= since)
        && query.upto.is_none_or(|upto| record.start <= upto)
        && of_path(query, &record.value)
}

fn of_path(query: &ActivationQuery, value: &[u8]) -> bool {
    query
        .path
        .as_ref()
        .is_none_or(|path| layout::split(value).is_some_and(|(there, _)| there == path.as_bytes()))
}

/// Buckets that the query reaches, newest first.
fn buckets(shared: &Shared, query: &ActivationQuery) -> Vec<u64> {
    let from = layout::bucket_of(query.since.unwrap_or(0));
    let to = layout::bucket_of(query.upto.unwrap_or(u64::MAX));
    if from > to {
        return Vec::new();
    }
    let buckets = shared.buckets.read().unwrap_or_else(PoisonError::into_inner);
    buckets.range(from..=to).rev().copied().collect()
}

/// Shows the records of one bucket that the query asks for, newest first.
fn each(
    transaction: &ReadTransaction,
    bucket: u64,
    namespace: &Namespace,
    query: &ActivationQuery,
    mut visit: impl FnMut(ActivationId, &[u8], &[u8]) -> bool,
) -> Result<(), StoreError> {
    let name = layout::bucket_name(bucket);
    let Some(records) = disk::table(transaction, layout::records(&name))? else { return Ok(()) };
    let from = layout::floor(namespace.as_str(), query.upto.unwrap_or(u64::MAX));
    let mut to = layout::floor(namespace.as_str(), query.since.unwrap_or(0));
    to.extend([u8::MAX; 17]);
    for item in records.range(from.as_slice()..=to.as_slice())? {
        let (key, value) = item?;
        let Some(id) = layout::id_of(key.value()) else { continue };
        if of_path(query, value.value()) && !visit(id, key.value(), value.value()) {
            break;
        }
    }
    Ok(())
}
