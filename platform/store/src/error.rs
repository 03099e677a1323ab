//! What can go wrong with a store, by what the caller does about it.

/// A store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else changed the entity, or it exists where it should not: read again and decide.
    #[error("`{0}` was changed by somebody else")]
    Conflict(String),
    /// Part of the hub itself, which nobody can change.
    #[error("`{0}` is part of the hub and cannot be changed")]
    BuiltIn(String),
    /// A record cannot be read. Tell the user; the others are fine.
    #[error("the record of `{name}` cannot be read")]
    Corrupted {
        /// The record.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no room on disk: nothing was changed, and later there may be.
    #[error("the disk is full")]
    Full,
    /// The disk or the database failed: the store takes nothing until it is opened again.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Keeps the cause of a failure of disk or database.
    pub(crate) fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(source.into())
    }

    pub(crate) fn corrupted(
        name: impl std::fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Corrupted { name: name.to_string(), source: source.into() }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        if crate::reserve::is_full(&error) { Self::Full } else { Self::failed(error) }
    }
}

macro_rules! failed_from {
    ($($source:ty),+) => {$(
        impl From<$source> for StoreError {
            fn from(source: $source) -> Self {
                Self::Failed(Box::new(source))
            }
        }
    )+};
}

failed_from!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::SetDurabilityError,
    tokio::task::JoinError
);
