//! Records that wait for their commit, readable meanwhile.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use evoke_schemas::{Activation, ActivationId};

use super::{MAX_STAGED_BYTES, layout};
use crate::StoreError;

/// One record that waits.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) id: ActivationId,
    pub(super) start: u64,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    namespace: String,
}

/// What waits, by id and in the order of lists.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    by_id: HashMap<ActivationId, (u64, Arc<Staged>)>,
    by_key: BTreeMap<Vec<u8>, Arc<Staged>>,
    bytes: usize,
    /// Number of the record staged last.
    last: u64,
    /// Somebody waits for all up to this number.
    wanted: u64,
    /// All up to this number is durable.
    durable: u64,
    closed: bool,
}

/// What one commit takes.
#[derive(Debug)]
pub(super) struct Batch {
    /// In the order of lists.
    pub(super) records: Vec<Arc<Staged>>,
    /// Number of the newest.
    pub(super) last: u64,
}

/// What the committer shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing is staged.
    Nothing,
    /// Records wait, but nobody for them.
    Soon,
    /// Somebody waits, or there is no room.
    Now,
    /// Nothing is staged and nothing will be.
    Stop,
}

impl Staged {
    pub(super) fn new(activation: &Activation) -> Result<Arc<Self>, StoreError> {
        let namespace = activation.namespace.to_string();
        Ok(Arc::new(Self {
            id: activation.activation_id,
            start: activation.start,
            key: layout::key(&namespace, activation.start, activation.activation_id),
            value: layout::value(activation)?,
            namespace,
        }))
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn activation(&self) -> Result<Activation, StoreError> {
        layout::decode(self.id, &self.value)
    }

    fn size(&self) -> usize {
        self.value.len() + 2 * self.key.len()
    }
}

impl Overlay {
    pub(super) fn has_room(&self) -> bool {
        self.bytes < MAX_STAGED_BYTES
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Takes a record in place of one of the same id; tells whether the committer must be woken.
    pub(super) fn put(&mut self, record: Arc<Staged>) -> bool {
        let before = self.need();
        self.last += 1;
        self.bytes += record.size();
        self.by_key.insert(record.key.clone(), Arc::clone(&record));
        if let Some((_, former)) = self.by_id.insert(record.id, (self.last, Arc::clone(&record))) {
            self.bytes -= former.size();
            if former.key != record.key {
                self.by_key.remove(&former.key);
            }
        }
        before != self.need()
    }

    /// Marks all that is staged as waited for; returns the number of the newest.
    pub(super) fn want_all(&mut self) -> u64 {
        self.wanted = self.last;
        self.last
    }

    pub(super) fn need(&self) -> Need {
        if self.by_id.is_empty() {
            return if self.closed { Need::Stop } else { Need::Nothing };
        }
        if self.wanted > self.durable || self.closed || !self.has_room() {
            Need::Now
        } else {
            Need::Soon
        }
    }

    /// All that waits. It stays readable until [`Self::done`].
    pub(super) fn batch(&self) -> Batch {
        Batch { records: self.by_key.values().cloned().collect(), last: self.last }
    }

    /// Lets go what the commit made durable, but for what was replaced since.
    pub(super) fn done(&mut self, batch: &Batch) {
        self.durable = batch.last;
        for record in &batch.records {
            let same = self.by_id.get(&record.id).is_some_and(|(_, now)| Arc::ptr_eq(now, record));
            if same {
                self.by_id.remove(&record.id);
                self.by_key.remove(&record.key);
                self.bytes -= record.size();
            }
        }
    }

    pub(super) fn get(&self, id: ActivationId) -> Option<Arc<Staged>> {
        self.by_id.get(&id).map(|(_, record)| Arc::clone(record))
    }

    /// Records of a namespace, newest first.
    pub(super) fn of(&self, namespace: &str) -> Vec<Arc<Staged>> {
        let (from, to) = (layout::floor(namespace, u64::MAX), layout::floor(namespace, 0));
        let end = [to.as_slice(), &[u8::MAX; 17]].concat();
        self.by_key.range(from..=end).map(|(_, record)| Arc::clone(record)).collect()
    }
}
