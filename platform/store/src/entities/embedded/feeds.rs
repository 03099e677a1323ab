//! Feeds in the entities' file: each record sealed whole, its parameters hold credentials.

use async_trait::async_trait;
use evoke_schemas::{EntityName, Feed, Namespace};
use redb::{ReadableDatabase as _, ReadableTable as _};

use super::{
    EmbeddedEntities,
    layout::{self, FEEDS, decode},
};
use crate::{Expect, FeedStore, Revision, Seal, StoreError, Stored, disk};

fn key(namespace: &Namespace, name: &EntityName) -> String {
    format!("{namespace}/{name}")
}

fn read(key: &[u8], value: &[u8], seal: &Seal) -> Result<Stored<Feed>, StoreError> {
    let (revision, sealed) = value.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let plain = seal
        .open(key, sealed)
        .map_err(|error| StoreError::corrupted(String::from_utf8_lossy(key), error))?;
    let revision = Revision(u64::from_le_bytes(*revision));
    Ok(Stored { value: decode(key, &plain)?, revision })
}

fn expected(key: &str, expect: Expect, found: Option<Revision>) -> Result<(), StoreError> {
    let same = match expect {
        Expect::New => found.is_none(),
        Expect::At(revision) => found == Some(revision),
    };
    if same { Ok(()) } else { Err(StoreError::Conflict(key.to_owned())) }
}

#[async_trait]
impl FeedStore for EmbeddedEntities {
    async fn feed(
        &self,
        namespace: &Namespace,
        name: &EntityName,
    ) -> Result<Option<Stored<Feed>>, StoreError> {
        let (this, key) = (self.clone(), key(namespace, name));
        disk::blocking(move || {
            let transaction = this.database.begin_read()?;
            let Some(feeds) = disk::table(&transaction, FEEDS)? else { return Ok(None) };
            let found = feeds.get(key.as_bytes())?;
            found.map(|value| read(key.as_bytes(), value.value(), &this.seal)).transpose()
        })
        .await
    }

    async fn put_feed(&self, feed: Feed, expect: Expect) -> Result<Revision, StoreError> {
        let this = self.clone();
        disk::blocking(move || {
            let key = key(&feed.namespace, &feed.name);
            let plain = serde_json::to_vec(&feed).map_err(StoreError::failed)?;
            let sealed = this.seal.seal(key.as_bytes(), &plain).map_err(StoreError::failed)?;
            let transaction = disk::begin_write(&this.database)?;
            let next = layout::next_revision(&transaction)? + 1;
            {
                let mut feeds = transaction.open_table(FEEDS)?;
                let found = revision_of(&feeds, &key)?;
                expected(&key, expect, found)?;
                let value = [next.to_le_bytes().as_slice(), &sealed].concat();
                feeds.insert(key.as_bytes(), value.as_slice())?;
            }
            layout::keep_revision(&transaction, next)?;
            transaction.commit()?;
            Ok(Revision(next))
        })
        .await
    }

    async fn delete_feed(
        &self,
        namespace: &Namespace,
        name: &EntityName,
        revision: Revision,
    ) -> Result<(), StoreError> {
        let (this, key) = (self.clone(), key(namespace, name));
        disk::blocking(move || {
            let transaction = disk::begin_write(&this.database)?;
            {
                let mut feeds = transaction.open_table(FEEDS)?;
                let found = revision_of(&feeds, &key)?;
                expected(&key, Expect::At(revision), found)?;
                feeds.remove(key.as_bytes())?;
            }
            transaction.commit()?;
            Ok(())
        })
        .await
    }

    async fn count_feeds(&self, namespace: &Namespace) -> Result<usize, StoreError> {
        let (this, start) = (self.clone(), format!("{namespace}/").into_bytes());
        disk::blocking(move || {
            let transaction = this.database.begin_read()?;
            let Some(feeds) = disk::table(&transaction, FEEDS)? else { return Ok(0) };
            let end = disk::after_prefix(&start);
            let mut range = feeds.range(start.as_slice()..end.as_slice())?;
            range.try_fold(0, |count, item| item.map(|_item| count + 1).map_err(StoreError::from))
        })
        .await
    }

    async fn feeds(&self, namespace: Option<&Namespace>) -> Result<Vec<Feed>, StoreError> {
        let prefix = namespace.map(|namespace| format!("{namespace}/"));
        let this = self.clone();
        disk::blocking(move || {
            let transaction = this.database.begin_read()?;
            let Some(feeds) = disk::table(&transaction, FEEDS)? else { return Ok(Vec::new()) };
            let mut all = Vec::new();
            for item in feeds.iter()? {
                let (key, value) = item?;
                if prefix.as_ref().is_none_or(|prefix| key.value().starts_with(prefix.as_bytes())) {
                    all.push(read(key.value(), value.value(), &this.seal)?.value);
                }
            }
            Ok(all)
        })
        .await
    }
}

fn revision_of(
    feeds: &redb::Table<'_, &'static [u8], &'static [u8]>,
    key: &str,
) -> Result<Option<Revision>, StoreError> {
    let found = feeds.get(key.as_bytes())?;
    Ok(found
        .and_then(|value| value.value().first_chunk().map(|r| Revision(u64::from_le_bytes(*r)))))
}
