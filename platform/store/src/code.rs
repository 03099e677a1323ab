//! Code of actions, kept by its hash; the table of what keeps it.

#[cfg(test)]
mod conformance;
mod files;

use std::{collections::HashSet, path::Path, sync::Arc};

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

/// Opens a code store in a folder of its own, which need not be there yet.
pub type OpenCode = fn(&Path) -> Result<Arc<dyn CodeStore>, StoreError>;

/// The code stores there are, by the name that `evoke up --code-store` takes.
pub const CODE_STORES: &[(&str, OpenCode)] = &[
    // The first is used where none is named.
    ("files", files::open),
];

/// The code store of that name, opened; none where there is no such.
///
/// # Errors
/// What the store says.
pub fn open_code_store(
    name: &str,
    folder: &Path,
) -> Option<Result<Arc<dyn CodeStore>, StoreError>> {
    let (_, open) = CODE_STORES.iter().find(|(known, _)| *known == name)?;
    Some(open(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_code_store_keeps_the_contract() {
        for (name, open) in CODE_STORES {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().join(name);
            conformance::code(&*open(&folder).unwrap()).await;
            let again = open(&folder).unwrap();
            conformance::code_stays(&*again, || open(&folder).unwrap()).await;
        }
    }

    #[test]
    fn an_unknown_code_store_is_none() {
        assert!(open_code_store("none", Path::new("/nowhere")).is_none());
    }
}
