//! Code as files named by their hash, in a folder for each first two digits.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use evoke_schemas::action::CodeRef;

use super::CodeStore;
use crate::{StoreError, disk};

/// Code in files below one folder.
#[derive(Clone, Debug)]
pub struct FileCode {
    folder: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("the code is not what its hash says")]
struct Damaged;

/// For the table of code stores.
pub(super) fn open(folder: &Path) -> Result<Arc<dyn CodeStore>, StoreError> {
    Ok(Arc::new(FileCode::open(folder)?))
}

impl FileCode {
    /// Uses the folder, which is made where it is not there.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder)?;
        disk::sync_folder_of(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, hash: &str) -> PathBuf {
        self.folder.join(hash.get(..2).unwrap_or_default()).join(hash)
    }
}

#[async_trait]
impl CodeStore for FileCode {
    async fn put(&self, code: Bytes) -> Result<CodeRef, StoreError> {
        let this = self.clone();
        disk::blocking(move || {
            let hash = blake3::hash(&code).to_hex().to_string();
            let path = this.path(&hash);
            if fs::metadata(&path).is_ok_and(|there| there.len() == code.len() as u64) {
                return Ok(CodeRef { hash, bytes: code.len() as u64 });
            }
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
                disk::sync_folder_of(folder)?;
            }
            disk::write_whole(&path, &code)?;
            Ok(CodeRef { hash, bytes: code.len() as u64 })
        })
        .await
    }

    async fn get(&self, code: &CodeRef) -> Result<Bytes, StoreError> {
        let (path, code) = (self.path(&code.hash), code.clone());
        disk::blocking(move || {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(StoreError::corrupted(&code.hash, error));
                }
                Err(error) => return Err(error.into()),
            };
            if blake3::hash(&bytes).to_hex().as_str() != code.hash {
                return Err(StoreError::corrupted(&code.hash, Damaged));
            }
            Ok(Bytes::from(bytes))
        })
        .await
    }

    async fn sweep(&self, keep: HashSet<String>) -> Result<usize, StoreError> {
        let this = self.clone();
        disk::blocking(move || {
            let mut dropped = 0;
            for folder in fs::read_dir(&this.folder)? {
                for file in fs::read_dir(folder?.path())? {
                    let file = file?;
                    let kept = file.file_name().to_str().is_some_and(|name| keep.contains(name));
                    if !kept {
                        fs::remove_file(file.path())?;
                        dropped += 1;
                    }
                }
            }
            Ok(dropped)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn damage_and_drafts_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileCode::open(folder.path()).unwrap();
        let code = store.put(Bytes::from_static(b"good")).await.unwrap();
        fs::write(store.path(&code.hash), b"evil").unwrap();
        assert!(matches!(store.get(&code).await, Err(StoreError::Corrupted { .. })));
        fs::write(store.path(&code.hash).with_extension("x.draft"), b"half").unwrap();
        assert_eq!(store.sweep(HashSet::from([code.hash])).await.unwrap(), 1);
    }
}
