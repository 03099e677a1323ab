//! Expiry: old buckets go whole, then the index entries that pointed into them.

use std::sync::{PoisonError, atomic::Ordering};

use redb::ReadableTableMetadata as _;

use super::{BUCKET_MS, Shared, layout};
use crate::{StoreError, disk};

/// Bytes of a page of the database.
const PAGE_BYTES: u64 = 4_096;

/// Drops every bucket that ended before; returns how many.
pub(super) fn expire(shared: &Shared, before_ms: u64) -> Result<usize, StoreError> {
    let old: Vec<u64> = {
        let buckets = shared.buckets.read().unwrap_or_else(PoisonError::into_inner);
        let ended = |bucket: &u64| bucket.saturating_add(1).saturating_mul(BUCKET_MS) <= before_ms;
        buckets.iter().copied().filter(ended).collect()
    };
    for bucket in &old {
        let transaction = disk::begin_write(&shared.database)?;
        let name = layout::bucket_name(*bucket);
        let bytes = pages_of(&transaction, &name)? * PAGE_BYTES;
        transaction.delete_table(layout::records(&name))?;
        transaction.commit()?;
        shared.free.fetch_add(bytes, Ordering::AcqRel);
        shared.buckets.write().unwrap_or_else(PoisonError::into_inner).remove(bucket);
    }
    if let Some(last) = old.last() {
        forget_ids(shared, *last)?;
    }
    Ok(old.len())
}

/// Pages that a bucket takes.
fn pages_of(transaction: &redb::WriteTransaction, name: &str) -> Result<u64, StoreError> {
    let stats = transaction.open_table(layout::records(name))?.stats()?;
    Ok(stats.leaf_pages() + stats.branch_pages())
}

/// Takes the entries of dropped buckets out of the index, a part of it at a time so that commits
/// get in between.
fn forget_ids(shared: &Shared, last_dropped: u64) -> Result<(), StoreError> {
    for first in 0..=u8::MAX {
        let transaction = disk::begin_write(&shared.database)?;
        {
            let mut by_id = transaction.open_table(layout::BY_ID)?;
            let (from, to) = ([first], disk::after_prefix(&[first]));
            let keep = |_id: &[u8], entry: &[u8]| {
                let start = layout::read_index(entry).map_or(0, |(start, _)| start);
                layout::bucket_of(start) > last_dropped
            };
            if to.is_empty() {
                by_id.retain_in(from.as_slice().., keep)?;
            } else {
                by_id.retain_in(from.as_slice()..to.as_slice(), keep)?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}
