//! Activation records in one embedded database, a table for each time bucket, so that expiry drops
//! tables whole.
//!
//! What is staged lies in an overlay that readers look into first; one thread commits it, many
//! records at a time. An index tells the bucket of an id, so that a record replaces its former
//! self in whatever bucket that is.

mod committer;
mod erasing;
mod expiry;
mod layout;
mod overlay;
mod reader;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use async_trait::async_trait;
use evoke_schemas::{Activation, ActivationId, Namespace};
use redb::Database;
use tokio::sync::watch;

use self::overlay::{Overlay, Staged};
use super::{ActivationQuery, ActivationStore};
use crate::{Reserve, StoreError, disk};

/// Length of a time bucket. Unit: milliseconds.
pub const BUCKET_MS: u64 = 3_600_000;
/// Most bytes that wait for their commit; then [`ActivationStore::stage`] waits.
pub const MAX_STAGED_BYTES: usize = 32 * 1024 * 1024;
/// Pages kept in memory.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Activation records in one file.
#[derive(Debug)]
pub struct EmbeddedActivations {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
}

/// What callers, readers and the committer have in common.
#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    /// Its file.
    path: PathBuf,
    overlay: Mutex<Overlay>,
    /// Wakes the committer.
    work: Condvar,
    /// Buckets that have a table.
    buckets: RwLock<BTreeSet<u64>>,
    /// Bytes that dropped buckets have left in the file.
    free: AtomicU64,
    progress: watch::Sender<Progress>,
}

/// How far the committer came.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Every record up to this number is durable.
    durable: u64,
    /// A commit failed: nothing more will become durable.
    failed: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("an earlier commit of activation records failed")]
struct CommitFailed;

impl EmbeddedActivations {
    /// Opens the file, or makes it, and starts the committer.
    ///
    /// # Errors
    /// [`StoreError::Failed`], also where another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::over(path, disk::open(path, CACHE_BYTES, None)?)
    }

    /// As [`Self::open`]; what finds no room on disk gets it from the reserve.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, reserve: &Arc<Reserve>) -> Result<Self, StoreError> {
        Self::over(path, disk::open(path, CACHE_BYTES, Some(reserve))?)
    }

    /// Drops the oldest bucket, unless it is the only one; whether one went.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub async fn drop_oldest(&self) -> Result<bool, StoreError> {
        let oldest = {
            let buckets = self.shared.buckets.read().unwrap_or_else(PoisonError::into_inner);
            if buckets.len() > 1 { buckets.first().copied() } else { None }
        };
        let Some(oldest) = oldest else { return Ok(false) };
        Ok(self.expire(oldest.saturating_add(1).saturating_mul(BUCKET_MS)).await? > 0)
    }

    /// Bytes inside the file that what was dropped has left, and nothing has taken since.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.shared.free.load(Ordering::Acquire)
    }

    fn over(path: &Path, database: Arc<Database>) -> Result<Self, StoreError> {
        let buckets = layout::buckets(&database)?;
        let shared = Arc::new(Shared {
            database,
            path: path.to_owned(),
            overlay: Mutex::default(),
            work: Condvar::new(),
            buckets: RwLock::new(buckets),
            free: AtomicU64::new(0),
            progress: watch::Sender::new(Progress::default()),
        });
        let theirs = Arc::clone(&shared);
        let committer = std::thread::Builder::new()
            .name("activations".to_owned())
            .spawn(move || committer::run(&theirs))?;
        Ok(Self { shared, committer: Some(committer) })
    }
}

impl EmbeddedActivations {
    /// Every record that is durable now.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn snapshot(&self) -> Result<crate::Snapshot, StoreError> {
        crate::Snapshot::of(&self.shared.database)
    }
}

impl Drop for EmbeddedActivations {
    /// Commits what is staged.
    fn drop(&mut self) {
        self.shared.overlay().close();
        self.shared.work.notify_one();
        if let Some(committer) = self.committer.take()
            && committer.join().is_err()
        {
            tracing::error!("the committer of activation records panicked");
        }
    }
}

#[async_trait]
impl ActivationStore for EmbeddedActivations {
    async fn stage(&self, activation: &Activation) -> Result<(), StoreError> {
        let record = Staged::new(activation)?;
        let mut progress = self.shared.progress.subscribe();
        loop {
            progress.mark_unchanged();
            if progress.borrow().failed {
                return Err(StoreError::failed(CommitFailed));
            }
            let wake = {
                let mut overlay = self.shared.overlay();
                if overlay.is_closed() {
                    return Err(StoreError::Closed);
                }
                overlay.has_room().then(|| overlay.put(Arc::clone(&record)))
            };
            match wake {
                Some(true) => {
                    self.shared.work.notify_one();
                    return Ok(());
                }
                Some(false) => return Ok(()),
                None => changed(&mut progress).await?,
            }
        }
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let mut progress = self.shared.progress.subscribe();
        let last = self.shared.overlay().want_all();
        if progress.borrow().durable < last {
            self.shared.work.notify_one();
        }
        loop {
            let now = *progress.borrow_and_update();
            if now.durable >= last {
                return Ok(());
            }
            if now.failed {
                return Err(StoreError::failed(CommitFailed));
            }
            changed(&mut progress).await?;
        }
    }

    async fn get(
        &self,
        namespace: &Namespace,
        id: ActivationId,
    ) -> Result<Option<Activation>, StoreError> {
        let staged = self.shared.overlay().get(id);
        if let Some(record) = staged {
            return if record.namespace() == namespace.as_str() {
                record.activation().map(Some)
            } else {
                Ok(None)
            };
        }
        let (shared, namespace) = (Arc::clone(&self.shared), namespace.clone());
        disk::blocking(move || reader::get(&shared, &namespace, id)).await
    }

    async fn list(
        &self,
        namespace: &Namespace,
        query: &ActivationQuery,
    ) -> Result<Vec<Activation>, StoreError> {
        let (shared, namespace, query) =
            (Arc::clone(&self.shared), namespace.clone(), query.clone());
        disk::blocking(move || reader::list(&shared, &namespace, &query)).await
    }

    async fn count(
        &self,
        namespace: &Namespace,
        query: &ActivationQuery,
    ) -> Result<usize, StoreError> {
        let (shared, namespace, query) =
            (Arc::clone(&self.shared), namespace.clone(), query.clone());
        disk::blocking(move || reader::count(&shared, &namespace, &query)).await
    }

    async fn erase(
        &self,
        namespace: &Namespace,
        ids: &[ActivationId],
    ) -> Result<usize, StoreError> {
        // What is staged would be written after it was erased.
        self.flush().await?;
        let (shared, namespace, ids) = (Arc::clone(&self.shared), namespace.clone(), ids.to_vec());
        disk::blocking(move || erasing::erase(&shared, &namespace, &ids)).await
    }

    async fn expire(&self, before_ms: u64) -> Result<usize, StoreError> {
        let shared = Arc::clone(&self.shared);
        disk::blocking(move || expiry::expire(&shared, before_ms)).await
    }
}

async fn changed(progress: &mut watch::Receiver<Progress>) -> Result<(), StoreError> {
    progress.changed().await.map_err(|_closed| StoreError::Closed)
}

impl Shared {
    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
