//! Identities in the entities' file, keys sealed; all of them in memory, so that a request costs
//! one look-up.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use async_trait::async_trait;
use chacha20poly1305::aead::{OsRng, rand_core::RngCore as _};
use evoke_schemas::{Namespace, NamespaceOverrides, Secret};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{Identities, Identity, KEY_LENGTH};
use crate::{EmbeddedEntities, Seal, StoreError, disk};

/// uuid → sealed [`Kept`].
pub(crate) const IDENTITIES: disk::Bytes = TableDefinition::new("identities");
/// namespace → JSON of [`NamespaceOverrides`].
const OVERRIDES: disk::Bytes = TableDefinition::new("namespace_limits");
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// OpenWhisk's well-known credentials: namespace, uuid, key. Source: spec 1.2.
const DEVELOPMENT: [(&str, &str, &str); 2] = [
    (
        "guest",
        "23bc46b1-71f6-4ed5-8c54-816aa4f8c502",
        "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP",
    ),
    (
        "whisk.system",
        "789c46b1-71f6-4ed5-8c54-816aa4f8c502",
        "abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP",
    ),
];

/// Identities in the entities' file.
#[derive(Debug)]
pub struct EmbeddedIdentities {
    database: Arc<Database>,
    seal: Seal,
    known: RwLock<Known>,
    /// Held while a key is changed: the file's last one is the one that is known.
    turn: Semaphore,
}

#[derive(Debug, Default)]
struct Known {
    by_uuid: HashMap<String, Arc<Identity>>,
    owners: HashMap<Namespace, Arc<Identity>>,
    overrides: HashMap<Namespace, NamespaceOverrides>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    subject: String,
    namespace: Namespace,
    key: Secret,
}

impl EmbeddedIdentities {
    /// Reads the identities of the file.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] where one cannot be read, [`StoreError::Failed`].
    pub fn open(entities: &EmbeddedEntities) -> Result<Self, StoreError> {
        let (database, seal) = (Arc::clone(entities.database()), entities.seal().clone());
        let mut known = Known::default();
        let transaction = database.begin_read()?;
        if let Some(table) = disk::table(&transaction, IDENTITIES)? {
            for item in table.iter()? {
                let (uuid, sealed) = item?;
                known.add(read(uuid.value(), sealed.value(), &seal)?);
            }
        }
        if let Some(table) = disk::table(&transaction, OVERRIDES)? {
            for item in table.iter()? {
                let (name, own) = item?;
                let (namespace, own) = read_overrides(name.value(), own.value())?;
                known.overrides.insert(namespace, own);
            }
        }
        drop(transaction);
        Ok(Self { database, seal, known: RwLock::new(known), turn: Semaphore::new(1) })
    }

    /// Takes OpenWhisk's well-known credentials too, in memory only.
    #[must_use]
    pub fn with_development_keys(self) -> Self {
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for (namespace, uuid, key) in DEVELOPMENT {
                if let Ok(namespace_name) = Namespace::new(namespace) {
                    known.add(Identity {
                        subject: namespace.to_owned(),
                        namespace: namespace_name,
                        uuid: uuid.to_owned(),
                        key: Secret::new(key),
                    });
                }
            }
        }
        self
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(database: &Database, seal: &Seal, identity: &Identity) -> Result<(), StoreError> {
        let kept = Kept {
            subject: identity.subject.clone(),
            namespace: identity.namespace.clone(),
            key: identity.key.clone(),
        };
        let place = identity.uuid.as_bytes();
        let plain = serde_json::to_vec(&kept).map_err(StoreError::failed)?;
        let sealed = seal.seal(place, &plain).map_err(StoreError::failed)?;
        let transaction = disk::begin_write(database)?;
        transaction.open_table(IDENTITIES)?.insert(place, sealed.as_slice())?;
        transaction.commit()?;
        Ok(())
    }
}

#[async_trait]
impl Identities for EmbeddedIdentities {
    async fn authenticate(
        &self,
        uuid: &str,
        key: &str,
    ) -> Result<Option<Arc<Identity>>, StoreError> {
        let found = self.known().by_uuid.get(uuid).cloned();
        // Hashes compare in constant time, whatever the lengths.
        Ok(found.filter(|identity| {
            blake3::hash(identity.key.reveal().as_bytes()) == blake3::hash(key.as_bytes())
        }))
    }

    async fn owner(&self, namespace: &Namespace) -> Result<Option<Arc<Identity>>, StoreError> {
        Ok(self.known().owners.get(namespace).cloned())
    }

    async fn create(&self, namespace: &Namespace) -> Result<Arc<Identity>, StoreError> {
        let identity = Identity {
            subject: namespace.to_string(),
            namespace: namespace.clone(),
            uuid: uuid::Uuid::new_v4().to_string(),
            key: random_key(),
        };
        if !self.known.write().unwrap_or_else(PoisonError::into_inner).claim(&identity) {
            return Err(StoreError::Conflict(namespace.to_string()));
        }
        let (database, seal, kept) =
            (Arc::clone(&self.database), self.seal.clone(), identity.clone());
        let done = disk::blocking(move || Self::keep(&database, &seal, &kept)).await;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match done {
            Ok(()) => Ok(known.add(identity)),
            Err(error) => {
                known.owners.remove(namespace);
                Err(error)
            }
        }
    }

    async fn rotate(&self, namespace: &Namespace) -> Result<Option<Arc<Identity>>, StoreError> {
        let _turn = self.turn.acquire().await.map_err(StoreError::failed)?;
        let Some(former) = self.owner(namespace).await? else { return Ok(None) };
        let identity = Identity { key: random_key(), ..former.as_ref().clone() };
        let (database, seal, kept) =
            (Arc::clone(&self.database), self.seal.clone(), identity.clone());
        disk::blocking(move || Self::keep(&database, &seal, &kept)).await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.owners.remove(namespace);
        Ok(Some(known.add(identity)))
    }

    async fn all(&self) -> Result<Vec<Arc<Identity>>, StoreError> {
        let mut all: Vec<_> = self.known().by_uuid.values().cloned().collect();
        all.sort_by(|a, b| (&a.namespace, &a.uuid).cmp(&(&b.namespace, &b.uuid)));
        Ok(all)
    }

    fn overrides(&self, namespace: &Namespace) -> NamespaceOverrides {
        self.known().overrides.get(namespace).cloned().unwrap_or_default()
    }

    fn all_overrides(&self) -> Vec<(Namespace, NamespaceOverrides)> {
        self.known().overrides.iter().map(|(name, own)| (name.clone(), own.clone())).collect()
    }

    async fn set_overrides(
        &self,
        namespace: &Namespace,
        own: NamespaceOverrides,
    ) -> Result<(), StoreError> {
        let (database, name) = (Arc::clone(&self.database), namespace.clone());
        let text = serde_json::to_vec(&own).map_err(StoreError::failed)?;
        let is_none = own == NamespaceOverrides::default();
        disk::blocking(move || {
            let transaction = disk::begin_write(&database)?;
            {
                let mut table = transaction.open_table(OVERRIDES)?;
                if is_none {
                    table.remove(name.as_str().as_bytes())?;
                } else {
                    table.insert(name.as_str().as_bytes(), text.as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        })
        .await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.overrides.insert(namespace.clone(), own);
        Ok(())
    }
}

impl Known {
    /// Takes the namespace, so that two at once cannot make it.
    fn claim(&mut self, identity: &Identity) -> bool {
        if self.owners.contains_key(&identity.namespace) {
            return false;
        }
        self.owners.insert(identity.namespace.clone(), Arc::new(identity.clone()));
        true
    }

    fn add(&mut self, identity: Identity) -> Arc<Identity> {
        let identity = Arc::new(identity);
        self.by_uuid.insert(identity.uuid.clone(), Arc::clone(&identity));
        let owner = self.owners.entry(identity.namespace.clone());
        Arc::clone(owner.or_insert(identity))
    }
}

fn read(uuid: &[u8], sealed: &[u8], seal: &Seal) -> Result<Identity, StoreError> {
    let name = || String::from_utf8_lossy(uuid).into_owned();
    let plain = seal.open(uuid, sealed).map_err(|error| StoreError::corrupted(name(), error))?;
    let kept: Kept =
        serde_json::from_slice(&plain).map_err(|error| StoreError::corrupted(name(), error))?;
    Ok(Identity { subject: kept.subject, namespace: kept.namespace, uuid: name(), key: kept.key })
}

fn read_overrides(name: &[u8], own: &[u8]) -> Result<(Namespace, NamespaceOverrides), StoreError> {
    let text = String::from_utf8_lossy(name).into_owned();
    let wrong = |error: serde_json::Error| StoreError::corrupted(&text, error);
    let own = serde_json::from_slice(own).map_err(wrong)?;
    let namespace = Namespace::new(&text).map_err(|error| StoreError::corrupted(&text, error))?;
    Ok((namespace, own))
}

fn random_key() -> Secret {
    let mut key = String::with_capacity(KEY_LENGTH);
    while key.len() < KEY_LENGTH {
        let mut bytes = [0; KEY_LENGTH];
        OsRng.fill_bytes(&mut bytes);
        // Of 256 values the last 8 are left out, or the first letters would come more often.
        let letters = bytes.iter().filter(|byte| **byte < 248);
        let letters = letters.filter_map(|byte| LETTERS.get(usize::from(byte % 62)));
        key.extend(letters.map(|letter| char::from(*letter)).take(KEY_LENGTH - key.len()));
    }
    Secret::new(key)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::identities::conformance;

    fn entities(folder: &Path) -> EmbeddedEntities {
        EmbeddedEntities::open(&folder.join("entities.redb"), Seal::new(&[1; 32])).unwrap()
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedIdentities::open(&entities(folder.path())).unwrap();
        conformance::identities(&store).await;
    }

    #[tokio::test]
    async fn keys_are_sealed_and_survive_but_development_keys_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let guest = Namespace::new("guest").unwrap();
        let made = {
            let store =
                EmbeddedIdentities::open(&entities(folder.path())).unwrap().with_development_keys();
            let (_, uuid, key) = DEVELOPMENT[0];
            assert!(store.authenticate(uuid, key).await.unwrap().is_some());
            store.create(&Namespace::new("mine").unwrap()).await.unwrap()
        };
        let file = std::fs::read(folder.path().join("entities.redb")).unwrap();
        let key = made.key.reveal().as_bytes();
        assert!(!file.windows(key.len()).any(|part| part == key), "the key lies open");
        let again = EmbeddedIdentities::open(&entities(folder.path())).unwrap();
        assert_eq!(again.all().await.unwrap(), [Arc::clone(&made)]);
        let rotated = again.rotate(&made.namespace).await.unwrap();
        drop(again);
        let again = EmbeddedIdentities::open(&entities(folder.path())).unwrap();
        assert_eq!(again.all().await.unwrap(), Vec::from_iter(rotated));
        assert!(again.owner(&guest).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn caps_of_a_namespace_survive_until_they_are_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let mine = Namespace::new("mine").unwrap();
        let own = NamespaceOverrides { entities: Some(3), ..NamespaceOverrides::default() };
        let open = || EmbeddedIdentities::open(&entities(folder.path())).unwrap();
        open().set_overrides(&mine, own.clone()).await.unwrap();
        let again = open();
        assert_eq!(
            (again.overrides(&mine), again.all_overrides()),
            (own.clone(), vec![(mine.clone(), own)])
        );
        again.set_overrides(&mine, NamespaceOverrides::default()).await.unwrap();
        drop(again);
        assert_eq!(open().all_overrides(), []);
    }
}
