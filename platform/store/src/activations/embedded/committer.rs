//! The one thread that makes staged records durable, as many at a time as wait.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use redb::{Table, WriteTransaction};

use super::{
    Progress, Shared, layout,
    overlay::{Batch, Need, Staged},
};
use crate::{StoreError, disk};

/// How long records wait that nobody waits for, so that one commit takes many.
const LINGER: Duration = Duration::from_millis(25);

/// Least time from the begin of a commit of many records to that of the next one. Part of what a
/// commit costs, the state of the file's allocator, does not depend on how many records it takes.
const SPACING: Duration = Duration::from_millis(5);
/// From so many records on a commit is of many.
const MANY: usize = 16;

/// When the next commit may begin.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    not_before: Option<Instant>,
}

impl Pace {
    /// After a commit of so many records that began then.
    fn after(records: usize, begun: Instant) -> Self {
        Self { not_before: (records >= MANY).then(|| begun + SPACING) }
    }

    /// How much too early it is.
    fn early(self, now: Instant) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

/// Commits until the store is closed and all is durable, or a commit fails.
pub(super) fn run(shared: &Shared) {
    let mut pace = Pace::default();
    while let Some(batch) = next(shared, pace) {
        pace = Pace::after(batch.records.len(), Instant::now());
        match commit(shared, &batch) {
            Ok(()) => {
                shared.overlay().done(&batch);
                shared.progress.send_modify(|progress| progress.durable = batch.last);
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "activation records cannot be made durable");
                shared.progress.send_replace(Progress { failed: true, ..Progress::default() });
                return;
            }
        }
    }
}

/// Waits for what there is to commit; none when the store is closed.
fn next(shared: &Shared, pace: Pace) -> Option<Batch> {
    let mut overlay = shared.overlay();
    let mut lingered = false;
    loop {
        match overlay.need() {
            Need::Stop => return None,
            Need::Now => {
                let early = pace.early(Instant::now());
                if early.is_zero() {
                    return Some(overlay.batch());
                }
                let waited = shared.work.wait_timeout(overlay, early);
                (overlay, _) = waited.unwrap_or_else(PoisonError::into_inner);
            }
            Need::Soon if lingered => return Some(overlay.batch()),
            Need::Soon => {
                let waited = shared.work.wait_timeout(overlay, LINGER);
                let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                overlay = guard;
                lingered = timeout.timed_out();
            }
            Need::Nothing => {
                overlay = shared.work.wait(overlay).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

fn commit(shared: &Shared, batch: &Batch) -> Result<(), StoreError> {
    let transaction = disk::begin_write(&shared.database)?;
    let mut touched: Vec<u64> = Vec::new();
    {
        let mut tables = Tables::new(&transaction, shared)?;
        for record in &batch.records {
            tables.put(record)?;
        }
        touched.extend(tables.buckets.keys());
    }
    transaction.commit()?;
    let taken: usize = batch.records.iter().map(|it| it.value.len() + 2 * it.key.len()).sum();
    let less = |free: u64| Some(free.saturating_sub(taken as u64));
    shared.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok();
    let mut buckets = shared.buckets.write().unwrap_or_else(PoisonError::into_inner);
    buckets.extend(touched);
    Ok(())
}

type Bytes<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// The tables that one transaction writes to.
struct Tables<'t> {
    transaction: &'t WriteTransaction,
    shared: &'t Shared,
    by_id: Bytes<'t>,
    buckets: HashMap<u64, Bytes<'t>>,
}

impl<'t> Tables<'t> {
    fn new(transaction: &'t WriteTransaction, shared: &'t Shared) -> Result<Self, StoreError> {
        let by_id = transaction.open_table(layout::BY_ID)?;
        Ok(Self { transaction, shared, by_id, buckets: HashMap::new() })
    }

    fn bucket(&mut self, bucket: u64) -> Result<&mut Bytes<'t>, StoreError> {
        match self.buckets.entry(bucket) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(place) => {
                let name = layout::bucket_name(bucket);
                Ok(place.insert(self.transaction.open_table(layout::records(&name))?))
            }
        }
    }

    fn put(&mut self, record: &Arc<Staged>) -> Result<(), StoreError> {
        let entry = layout::index_value(record.namespace(), record.start);
        let former = self.by_id.insert(record.id.0.as_slice(), entry.as_slice())?.and_then(|old| {
            let (start, namespace) = layout::read_index(old.value())?;
            Some((layout::bucket_of(start), layout::key(namespace, start, record.id)))
        });
        if let Some((bucket, key)) = former.filter(|(_, key)| *key != record.key) {
            let known = self.shared.buckets.read().unwrap_or_else(PoisonError::into_inner);
            let there = known.contains(&bucket) || self.buckets.contains_key(&bucket);
            drop(known);
            if there {
                self.bucket(bucket)?.remove(key.as_slice())?;
            }
        }
        let bucket = self.bucket(layout::bucket_of(record.start))?;
        bucket.insert(record.key.as_slice(), record.value.as_slice())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_commit_of_many_holds_the_next_one_and_not_for_long() {
        let begun = Instant::now();
        assert_eq!(Pace::default().early(begun), Duration::ZERO);
        assert_eq!(Pace::after(MANY - 1, begun).early(begun), Duration::ZERO);
        let many = Pace::after(MANY, begun);
        assert_eq!(many.early(begun + SPACING / 5), SPACING * 4 / 5);
        assert_eq!(many.early(begun + SPACING), Duration::ZERO);
    }
}
