//! What the embedded stores share: opening a database, reading off the async workers, file modes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use redb::{
    Database, ReadOnlyTable, ReadTransaction, TableDefinition, TableError, backends::FileBackend,
};

use crate::{Reserve, StoreError, reserve::ReservedFile};

/// Cache of a database that is only made. Unit: bytes.
const MAKING_CACHE_BYTES: usize = 1 << 20;

/// A table of bytes by bytes; the meaning is its owner's.
pub(crate) type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
pub(crate) type Read = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Opens or makes the database; only the owner may read the file. A crash needs no walk through
/// the whole file at the next start (see [`begin_write`]).
/// With a reserve, what finds no room on disk gets it from there.
pub(crate) fn open(
    path: &Path,
    cache_bytes: usize,
    reserve: Option<&Arc<Reserve>>,
) -> Result<Arc<Database>, StoreError> {
    if !path.exists() {
        make(path)?;
    }
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let database = match reserve {
        None => database(file, cache_bytes)?,
        Some(reserve) => {
            let backend = ReservedFile::new(FileBackend::new(file)?, Arc::clone(reserve));
            Database::builder().set_cache_size(cache_bytes).create_with_backend(backend)?
        }
    };
    Ok(Arc::new(database))
}

/// Makes an empty database beside `path` and gives it its name when it is whole: a power cut in
/// the middle would leave a name without a header, which could never be opened again.
fn make(path: &Path) -> Result<(), StoreError> {
    let draft = path.with_extension("draft");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    let synced = file.try_clone()?;
    drop(database(file, MAKING_CACHE_BYTES)?);
    synced.sync_all()?;
    std::fs::rename(&draft, path)?;
    Ok(sync_folder_of(path)?)
}

pub(crate) fn database(file: File, cache_bytes: usize) -> Result<Database, StoreError> {
    let backend = FileBackend::new(file)?;
    Ok(Database::builder().set_cache_size(cache_bytes).create_with_backend(backend)?)
}

/// A durable transaction that also saves what a start after a crash would otherwise have to walk
/// the whole file for.
pub(crate) fn begin_write(database: &Database) -> Result<redb::WriteTransaction, StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(redb::Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// The table, or none where nothing was ever written to it.
pub(crate) fn table(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, &'static [u8], &'static [u8]>,
) -> Result<Option<Read>, StoreError> {
    match transaction.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Runs blocking work where it stops no async worker.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await?
}

/// Makes a rename or creation inside the file's folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes a whole file so that a crash leaves all of it or nothing; only the owner may read it.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.draft", uuid::Uuid::new_v4().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half of it would keep the room that there is not.
        std::fs::remove_file(&draft)?;
        return Err(error);
    }
    std::fs::rename(&draft, path)?;
    sync_folder_of(path)
}

/// The least text after all that begin with `prefix`, so that a range ends there.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}
