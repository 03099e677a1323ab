//! The form of a backup: entries with their checksums, a head before them, a manifest after.

use std::{
    io::{self, Read, Write},
    path::{Component, Path},
};

use serde::{Deserialize, Serialize};

use super::BackupError;

/// Format that this program writes; it reads all up to it.
const FORMAT: u32 = 1;
/// First entry: by whom, in which format.
pub(super) const HEAD: &str = "backup.json";
/// Last entry: what there is, with checksums. A backup without it is not whole.
pub(super) const MANIFEST: &str = "manifest.json";
/// Entry in the place of the manifest where the copy broke off: why.
const FAILED: &str = "failed";
/// Largest entry that is read into memory. Unit: bytes.
const MAX_SMALL: u64 = 256 << 20;

/// Who made the backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    format: u32,
    program: String,
    /// Format of the data directory.
    data: u32,
}

/// What is in a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// When it was begun. Unit: epoch milliseconds.
    pub(super) begun_ms: u64,
    /// What it has of the log.
    pub(super) log: LogPart,
    /// In the order in which they stand.
    pub(super) entries: Vec<Entry>,
}

/// The log of a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LogPart {
    /// Whose it was.
    pub(super) uid: String,
    /// Number after its last record.
    pub(super) next: u64,
}

/// One entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its path within the backup.
    pub(super) name: String,
    /// How long it is.
    pub(super) bytes: u64,
    /// BLAKE3, as hex.
    pub(super) blake3: String,
}

/// Writes entries one after the other, as a tar.
pub(super) struct Writer<W: Write> {
    tar: tar::Builder<W>,
    entries: Vec<Entry>,
    begun_ms: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a backup.
    pub(super) fn new(out: W, begun_ms: u64) -> io::Result<Self> {
        let mut own = Self { tar: tar::Builder::new(out), entries: Vec::new(), begun_ms };
        let head = head()?;
        own.append(HEAD, head.len() as u64, head.as_slice())?;
        Ok(own)
    }

    /// Copies `bytes` bytes.
    pub(super) fn entry(&mut self, name: &str, bytes: u64, from: impl Read) -> io::Result<()> {
        let mut hashed = Hashed::new(from.take(bytes), bytes);
        self.append(name, bytes, &mut hashed)?;
        let (_, blake3) = hashed.sum();
        self.entries.push(Entry { name: name.to_owned(), bytes, blake3 });
        Ok(())
    }

    /// Writes what there is to be, and the end.
    pub(super) fn finish(mut self, log: LogPart) -> io::Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let manifest = Manifest { begun_ms: self.begun_ms, log, entries };
        self.json(MANIFEST, &manifest)?;
        self.tar.into_inner()?.flush()
    }

    /// Says that it broke off.
    pub(super) fn fail(mut self, why: &str) -> io::Result<()> {
        self.append(FAILED, why.len() as u64, why.as_bytes())?;
        self.tar.into_inner()?.flush()
    }

    fn json(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(value)?;
        self.append(name, text.len() as u64, text.as_slice())
    }

    fn append(&mut self, name: &str, bytes: u64, from: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(self.begun_ms / 1_000);
        header.set_entry_type(tar::EntryType::Regular);
        self.tar.append_data(&mut header, name, from)
    }
}

/// The first entry of what this program writes.
pub(super) fn head() -> serde_json::Result<Vec<u8>> {
    let program = env!("CARGO_PKG_VERSION").to_owned();
    serde_json::to_vec_pretty(&Head { format: FORMAT, program, data: crate::directory::FORMAT })
}

/// Takes an entry's name and content; all of it must be read.
pub(super) type Take<'a> = dyn FnMut(&str, &mut dyn Read) -> Result<(), BackupError> + 'a;

/// Reads a backup that is a tar, entry by entry, and checks it.
///
/// # Errors
/// It is none, of a newer format, cut or damaged; what `take` says.
pub(super) fn read(
    from: impl Read,
    name: &str,
    take: &mut Take<'_>,
) -> Result<Manifest, BackupError> {
    let no_backup = |error: io::Error| BackupError::NoBackup(name.to_owned(), error.to_string());
    let mut archive = tar::Archive::new(from);
    let mut seen: Vec<Entry> = Vec::new();
    let mut is_begun = false;
    for entry in archive.entries().map_err(no_backup)? {
        let mut entry = entry.map_err(|error| match is_begun {
            true => BackupError::Cut(error.to_string()),
            false => no_backup(error),
        })?;
        let path = entry.path().map_err(no_backup)?.display().to_string();
        if !is_begun {
            let wrong = || BackupError::NoBackup(name.to_owned(), format!("it begins with {path}"));
            check_head(&small(&mut entry).ok().filter(|_| path == HEAD).ok_or_else(wrong)?, name)?;
            is_begun = true;
            continue;
        }
        if path == FAILED {
            let why = small(&mut entry).map_err(|error| BackupError::Cut(error.to_string()))?;
            return Err(BackupError::Cut(String::from_utf8_lossy(&why).into_owned()));
        }
        if path == MANIFEST {
            let text = small(&mut entry).map_err(|error| BackupError::Cut(error.to_string()))?;
            return check(manifest(&text)?, &seen);
        }
        let size = entry.size();
        seen.push(pass(&path, size, &mut entry, take)?);
    }
    Err(BackupError::Cut("its end is missing".to_owned()))
}

/// Gives one entry on, and says what it was.
pub(super) fn pass(
    name: &str,
    bytes: u64,
    from: &mut dyn Read,
    take: &mut Take<'_>,
) -> Result<Entry, BackupError> {
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(BackupError::NoBackup(
            name.to_owned(),
            "it leads out of the backup".to_owned(),
        ));
    }
    let mut hashed = Hashed::new(from, bytes);
    let taken = take(name, &mut hashed);
    if hashed.is_cut {
        return Err(BackupError::Cut(format!("it ends within {name}")));
    }
    taken?;
    io::copy(&mut hashed, &mut io::sink()).map_err(|error| BackupError::Cut(error.to_string()))?;
    let (bytes, blake3) = hashed.sum();
    Ok(Entry { name: name.to_owned(), bytes, blake3 })
}

/// Whether this program reads backups of that head.
pub(super) fn check_head(text: &[u8], name: &str) -> Result<(), BackupError> {
    let head: Head = serde_json::from_slice(text)
        .map_err(|error| BackupError::NoBackup(name.to_owned(), error.to_string()))?;
    let found = head.format.max(head.data);
    if head.format > FORMAT || head.data > crate::directory::FORMAT {
        return Err(BackupError::Newer { program: head.program, found });
    }
    Ok(())
}

/// The manifest, where what was seen is what it lists.
pub(super) fn check(manifest: Manifest, seen: &[Entry]) -> Result<Manifest, BackupError> {
    for entry in &manifest.entries {
        let Some(found) = seen.iter().find(|it| it.name == entry.name) else {
            return Err(BackupError::Cut(format!("{} is missing", entry.name)));
        };
        if (found.bytes, &found.blake3) != (entry.bytes, &entry.blake3) {
            return Err(BackupError::Damaged(entry.name.clone()));
        }
    }
    if let Some(more) = seen.iter().find(|it| manifest.entries.iter().all(|e| e.name != it.name)) {
        return Err(BackupError::Damaged(more.name.clone()));
    }
    Ok(manifest)
}

/// Reads a manifest.
pub(super) fn manifest(text: &[u8]) -> Result<Manifest, BackupError> {
    serde_json::from_slice(text).map_err(|_malformed| BackupError::Damaged(MANIFEST.to_owned()))
}

/// An entry that fits into memory.
pub(super) fn small(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_SMALL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Passes on what is read and sums it up.
struct Hashed<R> {
    from: R,
    wanted: u64,
    bytes: u64,
    /// Whether it ended before there was all that was wanted.
    is_cut: bool,
    hasher: blake3::Hasher,
}

impl<R: Read> Hashed<R> {
    fn new(from: R, wanted: u64) -> Self {
        Self { from, wanted, bytes: 0, is_cut: false, hasher: blake3::Hasher::new() }
    }

    fn sum(&self) -> (u64, String) {
        (self.bytes, self.hasher.finalize().to_hex().to_string())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(into)?;
        self.hasher.update(into.get(..got).unwrap_or_default());
        self.bytes += got as u64;
        if got == 0 && !into.is_empty() && self.bytes < self.wanted {
            self.is_cut = true;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(got)
    }
}
