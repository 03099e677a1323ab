//! Entities and feeds in one embedded database, secrets sealed in a table of their own.

mod feeds;
mod layout;
mod parameters;
mod reseal;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use evoke_schemas::{EntityUid, FullName, Namespace, Rule};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, Table, WriteTransaction};

use self::layout::{
    BY_TIME, BY_TRIGGER, DOCUMENTS, Head, PARAMETERS, SECRETS, decode, list_key, name_of_list_key,
    prefix,
};
use super::{Change, Collection, Entity, EntityQuery, EntityStore, Expect, Revision, Stored};
use crate::{Reserve, Seal, StoreError, disk};

/// Pages kept in memory. Small: the controller has its own cache of what is hot.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Entities and feeds in one file.
#[derive(Clone, Debug)]
pub struct EmbeddedEntities {
    database: Arc<Database>,
    seal: Seal,
}

impl EmbeddedEntities {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Failed`], also where another process has it open, or with
    /// [`crate::SealError::OtherKey`].
    pub fn open(path: &Path, seal: Seal) -> Result<Self, StoreError> {
        Self::over(disk::open(path, CACHE_BYTES, None)?, seal)
    }

    /// As [`Self::open`]; what finds no room on disk gets it from the reserve.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, seal: Seal, reserve: &Arc<Reserve>) -> Result<Self, StoreError> {
        Self::over(disk::open(path, CACHE_BYTES, Some(reserve))?, seal)
    }

    fn over(database: Arc<Database>, seal: Seal) -> Result<Self, StoreError> {
        reseal::check(&database, &seal)?;
        Ok(Self { database, seal })
    }

    /// Everything in the file as it is now: entities, feeds, identities, with what is sealed as it is.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn snapshot(&self) -> Result<crate::Snapshot, StoreError> {
        crate::Snapshot::of(&self.database)
    }

    /// The database, for what else lives in the file.
    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The seal, for what else lives in the file.
    pub(crate) fn seal(&self) -> &Seal {
        &self.seal
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        disk::blocking(move || {
            let transaction = this.database.begin_read()?;
            work(&Reader {
                documents: disk::table(&transaction, DOCUMENTS)?,
                secrets: disk::table(&transaction, SECRETS)?,
                parameters: disk::table(&transaction, PARAMETERS)?,
                by_time: disk::table(&transaction, BY_TIME)?,
                by_trigger: disk::table(&transaction, BY_TRIGGER)?,
                seal: &this.seal,
            })
        })
        .await
    }
}

#[async_trait]
impl EntityStore for EmbeddedEntities {
    async fn get(&self, name: &FullName) -> Result<Option<Stored<Entity>>, StoreError> {
        let key = name.to_string();
        self.read(move |reader| reader.document(key.as_bytes())).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Revision>, StoreError> {
        let this = self.clone();
        disk::blocking(move || {
            let transaction = disk::begin_write(&this.database)?;
            let revisions = Writer::open(&transaction, &this.seal)?.apply(changes)?;
            transaction.commit()?;
            Ok(revisions)
        })
        .await
    }

    async fn list(&self, query: &EntityQuery) -> Result<Vec<Entity>, StoreError> {
        let query = query.clone();
        self.read(move |reader| {
            let keys = reader.listed(&query)?.skip(query.skip).take(query.limit);
            keys.map(|key| reader.entity(&key?)).filter_map(Result::transpose).collect()
        })
        .await
    }

    async fn count(&self, query: &EntityQuery) -> Result<usize, StoreError> {
        let query = query.clone();
        self.read(move |reader| {
            reader.listed(&query)?.try_fold(0, |count, key| key.map(|_key| count + 1))
        })
        .await
    }

    async fn count_all(&self, namespace: &Namespace) -> Result<usize, StoreError> {
        let start = format!("{namespace}/").into_bytes();
        self.read(move |reader| {
            let Some(documents) = &reader.documents else { return Ok(0) };
            let end = disk::after_prefix(&start);
            let mut range = documents.range(start.as_slice()..end.as_slice())?;
            range.try_fold(0, |count, item| item.map(|_item| count + 1).map_err(StoreError::from))
        })
        .await
    }

    async fn all(&self, collection: Collection) -> Result<Vec<Entity>, StoreError> {
        self.read(move |reader| {
            let Some(documents) = &reader.documents else { return Ok(Vec::new()) };
            let mut all = Vec::new();
            for item in documents.iter()? {
                let (key, value) = item?;
                if Head::read(key.value(), value.value())?.collection == collection {
                    all.extend(reader.entity(key.value())?);
                }
            }
            Ok(all)
        })
        .await
    }

    async fn rules_of(&self, trigger: EntityUid) -> Result<Vec<Rule>, StoreError> {
        self.read(move |reader| {
            let Some(by_trigger) = &reader.by_trigger else { return Ok(Vec::new()) };
            let end = disk::after_prefix(&trigger.0);
            let mut rules = Vec::new();
            for item in by_trigger.range(trigger.0.as_slice()..end.as_slice())? {
                let (key, _) = item?;
                let name = key.value().get(trigger.0.len()..).unwrap_or_default();
                if let Some(Entity::Rule(rule)) = reader.entity(name)? {
                    rules.push(rule);
                }
            }
            Ok(rules)
        })
        .await
    }
}

/// Keys of documents, as they are read.
type Keys<'a> = Box<dyn Iterator<Item = Result<Vec<u8>, StoreError>> + 'a>;

/// The tables as one moment has them.
struct Reader<'a> {
    documents: Option<disk::Read>,
    secrets: Option<disk::Read>,
    parameters: Option<disk::Read>,
    by_time: Option<disk::Read>,
    by_trigger: Option<disk::Read>,
    seal: &'a Seal,
}

impl Reader<'_> {
    fn document(&self, key: &[u8]) -> Result<Option<Stored<Entity>>, StoreError> {
        let Some(documents) = &self.documents else { return Ok(None) };
        let Some(value) = documents.get(key)? else { return Ok(None) };
        let head = Head::read(key, value.value())?;
        let mut entity: Entity = decode(key, Head::rest(value.value()))?;
        if let (Entity::Trigger(trigger), Some(secrets)) = (&mut entity, &self.secrets)
            && let Some(sealed) = secrets.get(trigger.uid.0.as_slice())?
        {
            let open = self
                .seal
                .open(&trigger.uid.0, sealed.value())
                .map_err(|error| StoreError::corrupted(String::from_utf8_lossy(key), error))?;
            trigger.webhook = Some(decode(key, &open)?);
        }
        if let Some(sealed) = self.parameters.as_ref().map(|table| table.get(key)).transpose()? {
            parameters::restore(key, &mut entity, sealed.as_ref().map(|it| it.value()), self.seal)?;
        }
        Ok(Some(Stored { value: entity, revision: head.revision }))
    }

    fn entity(&self, key: &[u8]) -> Result<Option<Entity>, StoreError> {
        Ok(self.document(key)?.map(|stored| stored.value))
    }

    /// Keys of the documents that the query asks for, newest first.
    fn listed(&self, query: &EntityQuery) -> Result<Keys<'_>, StoreError> {
        let Some(by_time) = &self.by_time else { return Ok(Box::new(std::iter::empty())) };
        let start = prefix(query.namespace.as_str(), query.collection);
        let end = disk::after_prefix(&start);
        let skip = start.len();
        let inside =
            query.package.as_ref().map(|package| format!("{}/{package}/", query.namespace));
        let keys = by_time.range(start.as_slice()..end.as_slice())?;
        Ok(Box::new(keys.filter_map(move |item| match item {
            Err(error) => Some(Err(error.into())),
            Ok((key, _)) => {
                let name = name_of_list_key(key.value(), skip);
                let wanted =
                    inside.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_bytes()));
                wanted.then(|| Ok(name.to_vec()))
            }
        })))
    }
}

type Bytes<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// The tables as one transaction changes them.
struct Writer<'t> {
    documents: Bytes<'t>,
    secrets: Bytes<'t>,
    parameters: Bytes<'t>,
    by_time: Bytes<'t>,
    by_trigger: Bytes<'t>,
    next: u64,
    transaction: &'t WriteTransaction,
    seal: &'t Seal,
}

impl<'t> Writer<'t> {
    fn open(transaction: &'t WriteTransaction, seal: &'t Seal) -> Result<Self, StoreError> {
        Ok(Self {
            documents: transaction.open_table(DOCUMENTS)?,
            secrets: transaction.open_table(SECRETS)?,
            parameters: transaction.open_table(PARAMETERS)?,
            by_time: transaction.open_table(BY_TIME)?,
            by_trigger: transaction.open_table(BY_TRIGGER)?,
            next: layout::next_revision(transaction)?,
            transaction,
            seal,
        })
    }

    fn apply(mut self, changes: Vec<Change>) -> Result<Vec<Revision>, StoreError> {
        let mut revisions = Vec::new();
        for change in changes {
            match change {
                Change::Put { entity, expect } => revisions.push(self.put(*entity, expect)?),
                Change::Delete { name, revision } => {
                    let key = name.to_string();
                    let head = self.expect(&key, Expect::At(revision))?;
                    self.forget(&key, head)?;
                    self.documents.remove(key.as_bytes())?;
                }
            }
        }
        layout::keep_revision(self.transaction, self.next)?;
        Ok(revisions)
    }

    fn put(&mut self, mut entity: Entity, expect: Expect) -> Result<Revision, StoreError> {
        let key = entity.full_name().to_string();
        let before = self.expect(&key, expect)?;
        self.forget(&key, before)?;
        self.next += 1;
        let head = Head::of(&entity, Revision(self.next));
        if let Entity::Trigger(trigger) = &mut entity
            && let Some(webhook) = trigger.webhook.take()
        {
            let plain = serde_json::to_vec(&webhook).map_err(StoreError::failed)?;
            let sealed = self.seal.seal(&trigger.uid.0, &plain).map_err(StoreError::failed)?;
            self.secrets.insert(trigger.uid.0.as_slice(), sealed.as_slice())?;
        }
        if let Some(sealed) = parameters::sealed(key.as_bytes(), &entity, self.seal)? {
            self.parameters.insert(key.as_bytes(), sealed.as_slice())?;
        }
        let value = head.before(&serde_json::to_vec(&entity).map_err(StoreError::failed)?);
        self.documents.insert(key.as_bytes(), value.as_slice())?;
        let listed = list_key(&key, &head);
        self.by_time.insert(listed.as_slice(), [].as_slice())?;
        if head.collection == Collection::Rules {
            let linked = [&head.link.0, key.as_bytes()].concat();
            self.by_trigger.insert(linked.as_slice(), [].as_slice())?;
        }
        Ok(head.revision)
    }

    /// What is there, if it is as expected.
    fn expect(&self, key: &str, expect: Expect) -> Result<Option<Head>, StoreError> {
        let found = self.documents.get(key.as_bytes())?;
        let head = found.map(|value| Head::read(key.as_bytes(), value.value())).transpose()?;
        match (expect, head) {
            (Expect::New, None) => Ok(None),
            (Expect::At(revision), Some(head)) if head.revision == revision => Ok(Some(head)),
            (Expect::New | Expect::At(_), _) => Err(StoreError::Conflict(key.to_owned())),
        }
    }

    /// Takes what points to the former document, and its secret.
    fn forget(&mut self, key: &str, head: Option<Head>) -> Result<(), StoreError> {
        let Some(head) = head else { return Ok(()) };
        self.by_time.remove(list_key(key, &head).as_slice())?;
        self.parameters.remove(key.as_bytes())?;
        match head.collection {
            Collection::Rules => {
                self.by_trigger.remove([&head.link.0, key.as_bytes()].concat().as_slice())?;
            }
            Collection::Triggers => {
                self.secrets.remove(head.link.0.as_slice())?;
            }
            Collection::Actions | Collection::Packages => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::entities::conformance;

    fn store(folder: &Path) -> EmbeddedEntities {
        EmbeddedEntities::open(&folder.join("entities.redb"), Seal::new(&[1; 32])).unwrap()
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(store(folder.path()));
        conformance::entities(store.as_ref()).await;
        conformance::feeds(store.as_ref()).await;
    }

    #[tokio::test]
    async fn a_secret_is_not_in_the_file_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let trigger = conformance::trigger("hook", 1);
        let name = Entity::Trigger(trigger.clone()).full_name();
        {
            let store = store(folder.path());
            let entity = Box::new(Entity::Trigger(trigger.clone()));
            store.apply(vec![Change::Put { entity, expect: Expect::New }]).await.unwrap();
        }
        let file = std::fs::read(folder.path().join("entities.redb")).unwrap();
        assert!(!file.windows(7).any(|part| part == b"hunter2"), "the secret lies open");
        assert!(file.windows(4).any(|part| part == b"hook"));
        let stored = store(folder.path()).get(&name).await.unwrap().unwrap();
        assert_eq!(stored.value, Entity::Trigger(trigger));
    }

    #[tokio::test]
    async fn a_secret_parameter_comes_back_and_another_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entities.redb");
        let mut trigger = conformance::trigger("t", 1);
        trigger.parameters = serde_json::from_value(serde_json::json!([
            {"key": "token", "value": "correct horse", "secret": true}, {"key": "a", "value": "open"},
        ]))
        .unwrap();
        let name = Entity::Trigger(trigger.clone()).full_name();
        let entity = Box::new(Entity::Trigger(trigger.clone()));
        let put = Change::Put { entity, expect: Expect::New };
        store(folder.path()).apply(vec![put]).await.unwrap();
        let holds = |bytes: &[u8]| {
            let file = std::fs::read(&path).unwrap();
            file.windows(bytes.len()).any(|part| part == bytes)
        };
        assert!(!holds(b"correct horse") && holds(b"open"));
        let stored = store(folder.path()).get(&name).await.unwrap().unwrap();
        assert_eq!(stored.value, Entity::Trigger(trigger.clone()));

        let other = EmbeddedEntities::open(&path, Seal::new(&[2; 32])).unwrap_err();
        let cause = std::error::Error::source(&other).unwrap().to_string();
        assert!(cause.contains("sealed with another key"), "{cause}");
        let (old, new) = (Seal::new(&[1; 32]), Seal::new(&[2; 32]));
        EmbeddedEntities::reseal(&path, &old, &new).unwrap();
        assert!(EmbeddedEntities::reseal(&path, &old, &new).is_err(), "it is sealed anew");
        let resealed = EmbeddedEntities::open(&path, new).unwrap();
        let stored = resealed.get(&name).await.unwrap().unwrap();
        assert_eq!(stored.value, Entity::Trigger(trigger));
        let gone = Change::Delete { name: name.clone(), revision: stored.revision };
        resealed.apply(vec![gone]).await.unwrap();
        let fresh = conformance::trigger("t", 2);
        let entity = Box::new(Entity::Trigger(fresh.clone()));
        resealed.apply(vec![Change::Put { entity, expect: Expect::New }]).await.unwrap();
        let stored = resealed.get(&name).await.unwrap().unwrap();
        assert_eq!(stored.value, Entity::Trigger(fresh), "a new life has no former secret");
    }
}
