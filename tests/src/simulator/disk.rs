//! A directory on a disk that forgets: what was not synced may be lost, in part and out of order.
//!
//! Each file has the bytes that a reader sees now and the bytes that are safe. A write waits
//! between the two until the file is synced; a name until the directory is. At a power cut each
//! sector of each waiting write, and each waiting name, survives or not by chance. When only the
//! process dies, everything stays as it was, still waiting: a log that takes it for safe at its
//! next start is caught by the power cut after.

use std::collections::BTreeMap;

use super::chance::Chance;
use super::tally::{Group, Tally};

/// What a disk writes whole or not at all. Unit: bytes.
pub const SECTOR: usize = 512;

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File(usize);

/// The disk has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The disk.
#[derive(Debug)]
pub struct Disk {
    files: Vec<Content>,
    names: BTreeMap<String, File>,
    safe_names: BTreeMap<String, File>,
    waiting_names: Vec<NameChange>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    safe: Vec<u8>,
    waiting: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug)]
enum NameChange {
    Put(String, File),
    Rename(String, String, File),
    Remove(String),
}

/// How much of what waits survives a power cut.
#[derive(Clone, Copy, Debug)]
enum Mercy {
    Nothing,
    Everything,
    Prefix,
    Sectors,
}

// === impl Disk ===

impl Disk {
    /// An empty disk that holds `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            files: Vec::new(),
            names: BTreeMap::new(),
            safe_names: BTreeMap::new(),
            waiting_names: Vec::new(),
            capacity,
        }
    }

    /// Makes the disk smaller or larger; what is there stays.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Bytes in files that have a name.
    #[must_use]
    pub fn used(&self) -> usize {
        self.names.values().map(|file| self.files[file.0].now.len()).sum()
    }

    /// The names there are, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The file of a name.
    #[must_use]
    pub fn open(&self, name: &str) -> Option<File> {
        self.names.get(name).copied()
    }

    /// A new, empty file under `name`.
    pub fn create(&mut self, name: &str) -> File {
        let file = File(self.files.len());
        self.files.push(Content::default());
        self.names.insert(name.to_owned(), file);
        self.waiting_names.push(NameChange::Put(name.to_owned(), file));
        file
    }

    /// Gives a file another name, over whatever had it.
    pub fn rename(&mut self, from: &str, to: &str) {
        let Some(file) = self.names.remove(from) else { return };
        self.names.insert(to.to_owned(), file);
        self.waiting_names.push(NameChange::Rename(from.to_owned(), to.to_owned(), file));
    }

    /// Takes a name away.
    pub fn remove(&mut self, name: &str) {
        if self.names.remove(name).is_some() {
            self.waiting_names.push(NameChange::Remove(name.to_owned()));
        }
    }

    /// Bytes of a file, as a reader sees them.
    #[must_use]
    pub fn read(&self, file: File) -> &[u8] {
        &self.files[file.0].now
    }

    /// Sets a file's length; new bytes are zero.
    ///
    /// # Errors
    /// [`Full`]; nothing happened.
    pub fn set_len(&mut self, file: File, len: usize) -> Result<(), Full> {
        let old = self.files[file.0].now.len();
        if len > old && self.used() + (len - old) > self.capacity {
            return Err(Full);
        }
        let content = &mut self.files[file.0];
        content.now.resize(len, 0);
        content.waiting.push(Change::Length(len));
        Ok(())
    }

    /// Writes; the bytes are not safe yet.
    ///
    /// # Errors
    /// [`Full`] if the file would have to grow; nothing happened.
    pub fn write(&mut self, file: File, at: usize, bytes: &[u8]) -> Result<(), Full> {
        let end = at + bytes.len();
        let old = self.files[file.0].now.len();
        if end > old && self.used() + (end - old) > self.capacity {
            return Err(Full);
        }
        let content = &mut self.files[file.0];
        put(&mut content.now, at, bytes);
        content.waiting.push(Change::Write { at, bytes: bytes.to_vec() });
        Ok(())
    }

    /// Makes all writes to a file safe.
    pub fn sync(&mut self, file: File) {
        let content = &mut self.files[file.0];
        for change in content.waiting.drain(..) {
            match change {
                Change::Write { at, bytes } => put(&mut content.safe, at, &bytes),
                Change::Length(len) => content.safe.resize(len, 0),
            }
        }
    }

    /// Makes all names safe.
    pub fn sync_names(&mut self) {
        self.waiting_names.clear();
        self.safe_names.clone_from(&self.names);
    }

    /// Whether these bytes would be there after a power cut now, in a file with a name.
    #[must_use]
    pub fn is_safe(&self, file: File, at: usize, bytes: &[u8]) -> bool {
        self.files[file.0].safe.get(at..at + bytes.len()) == Some(bytes)
            && self.safe_names.values().any(|named| *named == file)
    }

    /// Changes a safe byte behind everybody's back.
    pub fn damage(&mut self, file: File, at: usize) {
        let content = &mut self.files[file.0];
        for bytes in [&mut content.now, &mut content.safe] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x55;
            }
        }
    }

    /// A sync that failed: some of what waits is safe, the rest never will be, and who reads the
    /// file after a restart sees only what is.
    pub fn fail_sync(&mut self, file: File, chance: &mut Chance, tally: &mut Tally) {
        self.settle(file, chance, tally);
    }

    /// Power is cut: what waits survives in part, and only that is there afterwards.
    pub fn cut_power(&mut self, chance: &mut Chance, tally: &mut Tally) {
        self.settle_names(chance, tally);
        for file in 0..self.files.len() {
            self.settle(File(file), chance, tally);
        }
    }

    fn settle_names(&mut self, chance: &mut Chance, tally: &mut Tally) {
        let ordered = chance.percent(70);
        let mut ended = false;
        for change in std::mem::take(&mut self.waiting_names) {
            let kept = !ended && chance.percent(60);
            ended |= ordered && !kept;
            if !kept {
                tally.count(Group::Fault, change.lost_as());
                continue;
            }
            match change {
                NameChange::Put(name, file) => {
                    self.safe_names.insert(name, file);
                }
                NameChange::Rename(from, to, file) => {
                    if self.safe_names.get(&from) == Some(&file) {
                        self.safe_names.remove(&from);
                    }
                    self.safe_names.insert(to, file);
                }
                NameChange::Remove(name) => {
                    self.safe_names.remove(&name);
                }
            }
        }
        self.names.clone_from(&self.safe_names);
    }

    fn settle(&mut self, file: File, chance: &mut Chance, tally: &mut Tally) {
        let content = &mut self.files[file.0];
        if content.waiting.is_empty() {
            return;
        }
        let mercy = chance.weighted(&[
            (25, Mercy::Nothing),
            (10, Mercy::Everything),
            (30, Mercy::Prefix),
            (35, Mercy::Sectors),
        ]);
        let total: usize = content.waiting.iter().map(Change::sectors).sum();
        let mut prefix = chance.index(total + 1);
        let mut survives = |chance: &mut Chance| match mercy {
            Mercy::Nothing => false,
            Mercy::Everything => true,
            Mercy::Prefix => {
                let within = prefix > 0;
                prefix = prefix.saturating_sub(1);
                within
            }
            Mercy::Sectors => chance.percent(50),
        };
        for change in content.waiting.drain(..) {
            match change {
                Change::Length(len) => {
                    if survives(chance) {
                        content.safe.resize(len, 0);
                    }
                }
                Change::Write { at, bytes } => {
                    let (mut kept, mut all) = (0, 0);
                    for (from, piece) in sectors(at, &bytes) {
                        all += 1;
                        if survives(chance) {
                            kept += 1;
                            put(&mut content.safe, from, piece);
                        }
                    }
                    tally.count(Group::Fault, fate(kept, all, mercy));
                }
            }
        }
        content.now.clone_from(&content.safe);
    }
}

impl NameChange {
    fn lost_as(&self) -> &'static str {
        match self {
            Self::Put(..) => "power cut loses a new name",
            Self::Rename(..) => "power cut undoes a rename",
            Self::Remove(..) => "power cut brings a removed file back",
        }
    }
}

impl Change {
    fn sectors(&self) -> usize {
        match self {
            Self::Write { at, bytes, .. } => sectors(*at, bytes).count(),
            Self::Length(_) => 1,
        }
    }
}

fn fate(kept: usize, all: usize, mercy: Mercy) -> &'static str {
    match mercy {
        _ if kept == 0 => "power cut loses a write",
        _ if kept == all => "power cut spares a write not synced",
        Mercy::Sectors => "power cut leaves holes in a write",
        Mercy::Nothing | Mercy::Everything | Mercy::Prefix => "power cut tears a write",
    }
}

/// The pieces of a write, cut where sectors end.
fn sectors(at: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let head = (SECTOR - at % SECTOR).min(bytes.len());
    let (first, rest) = bytes.split_at(head);
    let first = (!first.is_empty()).then_some((at, first));
    let rest = rest.chunks(SECTOR).enumerate();
    first.into_iter().chain(rest.map(move |(n, piece)| (at + head + n * SECTOR, piece)))
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(disk: &mut Disk, seed: u64) -> Tally {
        let mut tally = Tally::default();
        disk.cut_power(&mut Chance::new(seed), &mut tally);
        tally
    }

    #[test]
    fn what_is_synced_survives_every_cut() {
        for seed in 0..200 {
            let mut disk = Disk::new(1 << 20);
            let file = disk.create("a");
            disk.write(file, 100, &[7; 3_000]).unwrap();
            assert!(!disk.is_safe(file, 100, &[7; 3_000]));
            disk.sync(file);
            assert!(!disk.is_safe(file, 100, &[7; 3_000]), "its name is not safe yet");
            disk.sync_names();
            assert!(disk.is_safe(file, 100, &[7; 3_000]));
            cut(&mut disk, seed);
            let file = disk.open("a").unwrap();
            assert_eq!(&disk.read(file)[100..], [7; 3_000]);
        }
    }

    #[test]
    fn what_is_not_synced_is_lost_torn_holed_or_spared() {
        let mut tally = Tally::default();
        for seed in 0..200 {
            let mut disk = Disk::new(1 << 20);
            let file = disk.create("a");
            disk.sync_names();
            disk.write(file, 10, &[1; 4_000]).unwrap();
            disk.rename("a", "b");
            disk.create("c");
            disk.remove("c");
            tally.merge(&cut(&mut disk, seed));
            assert!(disk.open("a").is_some() != disk.open("b").is_some(), "one name or the other");
            let file = disk.open("a").or(disk.open("b")).unwrap();
            for (at, piece) in sectors(10, &[1; 4_000]) {
                let found = disk.read(file).get(at..at + piece.len());
                let whole = found.is_none_or(|found| found.iter().all(|byte| *byte == found[0]));
                assert!(whole, "a sector is never cut");
            }
        }
        for fate in [
            "power cut loses a write",
            "power cut tears a write",
            "power cut leaves holes in a write",
            "power cut spares a write not synced",
            "power cut loses a new name",
            "power cut undoes a rename",
            "power cut brings a removed file back",
        ] {
            assert!(tally.of(Group::Fault, fate) > 0, "{fate}");
        }
    }

    #[test]
    fn a_full_disk_takes_writes_inside_a_file_only() {
        let mut disk = Disk::new(1_000);
        let file = disk.create("a");
        disk.set_len(file, 900).unwrap();
        assert_eq!(disk.write(file, 800, &[1; 300]), Err(Full));
        assert!(disk.write(file, 800, &[1; 100]).is_ok());
        disk.remove("a");
        assert_eq!(disk.used(), 0);
    }
}
