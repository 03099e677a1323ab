//! Whether the key is the right one, and how all that is sealed gets another.

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, WriteTransaction};

use super::{
    CACHE_BYTES, EmbeddedEntities,
    layout::{CHECK, FEEDS, PARAMETERS, SECRETS},
    parameters,
};
use crate::{Seal, SealError, StoreError, disk, identities};

const NAME: &[u8] = b"key";
const KNOWN: &[u8] = b"evoke";
/// Bytes of a feed's record before what is sealed.
const FEED_HEAD: usize = 8;

/// What a value is sealed for, by its key.
type Place = fn(&[u8]) -> Vec<u8>;

fn own(key: &[u8]) -> Vec<u8> {
    key.to_vec()
}

/// Tells a wrong key at once, before anything is read with it or written.
pub(super) fn check(database: &Database, seal: &Seal) -> Result<(), StoreError> {
    let kept = match disk::table(&database.begin_read()?, CHECK)? {
        Some(table) => table.get(NAME)?.map(|sealed| sealed.value().to_vec()),
        None => None,
    };
    match kept {
        Some(sealed) => match seal.open(NAME, &sealed) {
            Ok(_known) => Ok(()),
            Err(_unreadable) => Err(StoreError::failed(SealError::OtherKey)),
        },
        None => {
            let transaction = disk::begin_write(database)?;
            let sealed = seal.seal(NAME, KNOWN).map_err(StoreError::failed)?;
            transaction.open_table(CHECK)?.insert(NAME, sealed.as_slice())?;
            Ok(transaction.commit()?)
        }
    }
}

impl EmbeddedEntities {
    /// Seals everything in the file with another key: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::Failed`], also where another process has it open, or with
    /// [`SealError::OtherKey`] where `old` is not its key.
    pub fn reseal(path: &Path, old: &Seal, new: &Seal) -> Result<(), StoreError> {
        let database = disk::open(path, CACHE_BYTES, None)?;
        check(&database, old)?;
        let transaction = disk::begin_write(&database)?;
        let tables: [(disk::Bytes, usize, Place); 5] = [
            (CHECK, 0, own),
            (SECRETS, 0, own),
            (PARAMETERS, 0, parameters::place),
            (FEEDS, FEED_HEAD, own),
            (identities::IDENTITIES, 0, own),
        ];
        for (table, head, place) in tables {
            anew(&transaction, table, (old, new), (head, place))?;
        }
        Ok(transaction.commit()?)
    }
}

/// Seals one table anew; `head` bytes of each value are open.
fn anew(
    transaction: &WriteTransaction,
    of: disk::Bytes,
    (old, new): (&Seal, &Seal),
    (head, place): (usize, Place),
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(of)?;
    let mut changed = Vec::new();
    for item in table.iter()? {
        let (key, value) = item?;
        let (key, place) = (key.value().to_vec(), place(key.value()));
        let (open, sealed) = value.value().split_at_checked(head).unwrap_or_default();
        let plain = old
            .open(&place, sealed)
            .map_err(|error| StoreError::corrupted(String::from_utf8_lossy(&key), error))?;
        let sealed = new.seal(&place, &plain).map_err(StoreError::failed)?;
        changed.push((key, [open, sealed.as_slice()].concat()));
    }
    for (key, value) in changed {
        table.insert(key.as_slice(), value.as_slice())?;
    }
    Ok(())
}
