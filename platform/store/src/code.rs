//! Code of actions, kept by its hash.

#[cfg(test)]
mod conformance;
mod files;

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use evoke_schemas::action::CodeRef;

pub use files::FileCode;

use crate::StoreError;

/// Keeps code by its hash. The same code is kept once, whoever puts it.
#[async_trait]
pub trait CodeStore: Send + Sync {
    /// Keeps code, durably; gives its address.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn put(&self, code: Bytes) -> Result<CodeRef, StoreError>;

    /// The code of that address, checked against its hash.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] where it is gone or damaged.
    async fn get(&self, code: &CodeRef) -> Result<Bytes, StoreError>;

    /// Drops all code whose hash is not in `keep`; returns how many. To be called when nobody
    /// puts: code is put before the action that names it.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn sweep(&self, keep: HashSet<String>) -> Result<usize, StoreError>;
}
