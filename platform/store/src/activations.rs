//! Activation records: the trait, and what it speaks of.

#[cfg(test)]
mod conformance;
mod embedded;

use async_trait::async_trait;
use evoke_schemas::{Activation, ActivationId, Namespace};

pub use embedded::{BUCKET_MS, EmbeddedActivations, MAX_STAGED_BYTES};

use crate::StoreError;

/// Which records to list, newest first by `start`.
#[derive(Clone, Debug, Default)]
pub struct ActivationQuery {
    /// Only of this action or trigger, as [`path_of`] names it.
    pub path: Option<String>,
    /// Only with `start` at or after. Unit: epoch milliseconds.
    pub since: Option<u64>,
    /// Only with `start` at or before. Unit: epoch milliseconds.
    pub upto: Option<u64>,
    /// How many of the newest to leave out.
    pub skip: usize,
    /// How many to give.
    pub limit: usize,
}

/// Keeps activation records. A record with the id of one that is there takes its place, whatever
/// its `start`.
#[async_trait]
pub trait ActivationStore: Send + Sync {
    /// Takes a record: readable when this returns, durable when a later [`Self::flush`] returns,
    /// or soon without one. Waits while too much is staged.
    ///
    /// # Errors
    /// [`StoreError::Failed`] and [`StoreError::Closed`]: the record was not taken.
    async fn stage(&self, activation: &Activation) -> Result<(), StoreError>;

    /// Returns when every record staged before is durable. Many callers share one commit.
    ///
    /// # Errors
    /// [`StoreError::Failed`]: they may be lost.
    async fn flush(&self) -> Result<(), StoreError>;

    /// The record with that id, if it belongs to the namespace.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] and [`StoreError::Failed`].
    async fn get(
        &self,
        namespace: &Namespace,
        id: ActivationId,
    ) -> Result<Option<Activation>, StoreError>;

    /// Records of the namespace, newest first.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn list(
        &self,
        namespace: &Namespace,
        query: &ActivationQuery,
    ) -> Result<Vec<Activation>, StoreError>;

    /// How many the query would list without skip and limit.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn count(
        &self,
        namespace: &Namespace,
        query: &ActivationQuery,
    ) -> Result<usize, StoreError>;

    /// Takes records of the namespace away, durably, with every trace of them in the file; none of
    /// them may be staged meanwhile. Gives how many there were.
    ///
    /// # Errors
    /// [`StoreError::Failed`]: to be done again.
    async fn erase(&self, namespace: &Namespace, ids: &[ActivationId])
    -> Result<usize, StoreError>;

    /// Drops records that started before that time, as far as whole buckets go; returns how many
    /// buckets went.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn expire(&self, before_ms: u64) -> Result<usize, StoreError>;
}

/// What a list's `name` filter compares: `pkg/name` or `name` of what ran.
///
/// Of actions it is the annotation `path` without the namespace, of triggers the name.
#[must_use]
pub fn path_of(activation: &Activation) -> String {
    let path = activation.annotations.get("path").and_then(serde_json::Value::as_str);
    path.and_then(|path| path.split_once('/'))
        .map_or_else(|| activation.name.to_string(), |(_, path)| path.to_owned())
}
