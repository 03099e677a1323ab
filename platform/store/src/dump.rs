//! Databases written out and read back: what a backup has of them, in no format of a database.
//!
//! A chunk is the records of one table: a byte that says of what sort, the length and bytes of the
//! table's name, then length and bytes of each key and value. Lengths are 32 bits, little end first.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    TableDefinition, TableError, TableHandle as _,
};

use crate::{StoreError, disk};

/// Bytes of a chunk, but for one record that is longer.
const CHUNK_BYTES: usize = 1 << 20;
/// Pages kept in memory while a database is filled.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// A table of bytes by bytes.
const BYTES: u8 = 0;
/// A table of numbers by name.
const NUMBERS: u8 = 1;

type Numbers<'a> = TableDefinition<'a, &'static str, u64>;
type Table<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// A database as one moment had it; writers go on beside it.
pub struct Snapshot(ReadTransaction);

/// A database that is filled from chunks.
#[derive(Debug)]
pub struct Load {
    database: Database,
    file: File,
}

/// A chunk that is none.
#[derive(Debug, thiserror::Error)]
#[error("the chunk is cut or of an unknown sort")]
struct NoChunk;

impl Snapshot {
    pub(crate) fn of(database: &Database) -> Result<Self, StoreError> {
        Ok(Self(database.begin_read()?))
    }

    /// Gives every record of every table, chunk by chunk.
    ///
    /// # Errors
    /// [`StoreError::Failed`], also with what `take` says.
    pub fn chunks(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), StoreError> {
        for table in self.0.list_tables()? {
            let name = table.name();
            match self.0.open_table(Table::new(name)) {
                Ok(table) => {
                    let mut chunk = Chunk::new(BYTES, name);
                    for item in table.iter()? {
                        let (key, value) = item?;
                        chunk.push(key.value(), value.value(), &mut take)?;
                    }
                    chunk.give(&mut take)?;
                }
                Err(TableError::TableTypeMismatch { .. }) => {
                    let mut chunk = Chunk::new(NUMBERS, name);
                    for item in self.0.open_table(Numbers::new(name))?.iter()? {
                        let (key, value) = item?;
                        let number = value.value().to_le_bytes();
                        chunk.push(key.value().as_bytes(), &number, &mut take)?;
                    }
                    chunk.give(&mut take)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Snapshot").finish_non_exhaustive()
    }
}

impl Load {
    /// An empty database in a new file.
    ///
    /// # Errors
    /// [`StoreError::Failed`], also where the file exists.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { database: disk::database(file.try_clone()?, CACHE_BYTES)?, file })
    }

    /// Takes one chunk.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] for one that is none, [`StoreError::Failed`].
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        let cut = || StoreError::corrupted("a chunk", NoChunk);
        let (sort, mut rest) = chunk.split_first().ok_or_else(cut)?;
        let name = field(&mut rest).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(cut)?;
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        match *sort {
            BYTES => {
                let mut table = transaction.open_table(Table::new(name))?;
                while !rest.is_empty() {
                    let (key, value) = field(&mut rest).zip(field(&mut rest)).ok_or_else(cut)?;
                    table.insert(key, value)?;
                }
            }
            NUMBERS => {
                let mut table = transaction.open_table(Numbers::new(name))?;
                while !rest.is_empty() {
                    let (key, value) = field(&mut rest).zip(field(&mut rest)).ok_or_else(cut)?;
                    let key = std::str::from_utf8(key).ok().ok_or_else(cut)?;
                    let number = value.first_chunk().ok_or_else(cut)?;
                    table.insert(key, u64::from_le_bytes(*number))?;
                }
            }
            _ => return Err(cut()),
        }
        Ok(transaction.commit()?)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn finish(self) -> Result<(), StoreError> {
        disk::begin_write(&self.database)?.commit()?;
        drop(self.database);
        Ok(self.file.sync_all()?)
    }
}

/// The next length and bytes, taken off.
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (field, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(field)
}

/// Records on their way out.
struct Chunk {
    bytes: Vec<u8>,
    head: usize,
}

impl Chunk {
    fn new(sort: u8, table: &str) -> Self {
        let mut bytes = vec![sort];
        put(&mut bytes, table.as_bytes());
        Self { head: bytes.len(), bytes }
    }

    fn push(
        &mut self,
        key: &[u8],
        value: &[u8],
        take: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.bytes.len() + key.len() + value.len() > CHUNK_BYTES {
            self.give(take)?;
        }
        put(&mut self.bytes, key);
        put(&mut self.bytes, value);
        Ok(())
    }

    /// Gives what there is.
    fn give(&mut self, take: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.bytes.len() > self.head {
            take(&self.bytes)?;
            self.bytes.truncate(self.head);
        }
        Ok(())
    }
}

/// Keys and values of a database are below 4 GiB by its own rules.
fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(field);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Rows = BTreeMap<(String, Vec<u8>), Vec<u8>>;

    fn dumped(path: &Path) -> (Vec<Vec<u8>>, Rows) {
        let database = disk::open(path, CACHE_BYTES, None).unwrap();
        let (mut chunks, mut rows) = (Vec::new(), Rows::new());
        Snapshot::of(&database)
            .unwrap()
            .chunks(|chunk| {
                let mut rest = &chunk[1..];
                let table = String::from_utf8(field(&mut rest).unwrap().to_vec()).unwrap();
                while !rest.is_empty() {
                    let key = field(&mut rest).unwrap().to_vec();
                    rows.insert((table.clone(), key), field(&mut rest).unwrap().to_vec());
                }
                chunks.push(chunk.to_vec());
                Ok(())
            })
            .unwrap();
        (chunks, rows)
    }

    #[test]
    fn a_database_comes_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from.redb"), folder.path().join("to.redb"));
        {
            let database = disk::open(&from, CACHE_BYTES, None).unwrap();
            let transaction = disk::begin_write(&database).unwrap();
            {
                let mut bytes = transaction.open_table(Table::new("bytes")).unwrap();
                for number in 0..300_u32 {
                    let key = number.to_be_bytes();
                    bytes.insert(key.as_slice(), vec![7; 10_000].as_slice()).unwrap();
                }
                bytes.insert(b"large".as_slice(), vec![8; 3 * CHUNK_BYTES].as_slice()).unwrap();
                bytes.insert(b"empty".as_slice(), b"".as_slice()).unwrap();
                let mut numbers = transaction.open_table(Numbers::new("numbers")).unwrap();
                numbers.insert("last", u64::MAX - 3).unwrap();
            }
            transaction.commit().unwrap();
        }
        let (chunks, rows) = dumped(&from);
        assert_eq!(rows.len(), 303);
        assert!(chunks.len() > 3);
        let mut load = Load::create(&to).unwrap();
        for chunk in &chunks {
            load.add(chunk).unwrap();
        }
        load.finish().unwrap();
        assert!(Load::create(&to).is_err(), "it is there");
        assert_eq!(dumped(&to).1, rows);
    }

    #[test]
    fn a_cut_chunk_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut load = Load::create(&folder.path().join("a.redb")).unwrap();
        let mut whole = Chunk::new(BYTES, "t");
        whole.push(b"key", b"value", &mut |_: &[u8]| Ok(())).unwrap();
        load.add(&whole.bytes).unwrap();
        let head = whole.head;
        for length in (0..whole.bytes.len()).filter(|length| *length != head) {
            assert!(load.add(&whole.bytes[..length]).is_err(), "{length}");
        }
        assert!(load.add(&[9, 1, 0, 0, 0, b't']).is_err());
    }
}
