//! Expiry: old buckets go whole, then the index entries that pointed into them.

use std::sync::PoisonError;

use super::{BUCKET_MS, Shared, layout};
use crate::{StoreError, disk};

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
        transaction.delete_table(layout::records(&name))?;
        transaction.commit()?;
        shared.buckets.write().unwrap_or_else(PoisonError::into_inner).remove(bucket);
    }
    if let Some(last) = old.last() {
        forget_ids(shared, *last)?;
    }
    Ok(old.len())
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
