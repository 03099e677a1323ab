//! Erasing records: out of the tables first, then their bytes out of pages that nobody uses.
//!
//! The database writes pages anew and leaves the old ones as they are until they are used again:
//! what was removed lies open in the file, and so does what a record was before it was replaced.
//! While a transaction is held nobody else writes, and what is found then of a record that no
//! table has lies in pages that are free.

use std::{fs::OpenOptions, io, ops::Range, os::unix::fs::FileExt as _, path::Path};

use evoke_schemas::{ActivationId, Namespace};
use redb::ReadableTable as _;

use super::{Shared, layout};
use crate::{StoreError, disk};

/// Bytes of the file looked at together.
const WINDOW: usize = 8 << 20;
/// Longest record that is found whole. Unit: bytes.
const MAX_RECORD: usize = 24 << 20;
/// What a record's JSON begins with.
const BEGIN: &[u8] = b"{\"namespace\":\"";
/// Before an id, the first time in a record's JSON.
const ID: &[u8] = b"\"activationId\":\"";
/// Longest way from the begin of a record to its id. Unit: bytes.
const MAX_HEAD: usize = 4 << 10;
/// A key that no record has.
const NOBODY: &[u8] = b"erasing";

/// Takes the records away; gives how many there were.
pub(super) fn erase(
    shared: &Shared,
    namespace: &Namespace,
    ids: &[ActivationId],
) -> Result<usize, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let removed = remove(shared, namespace, ids)?;
    // The commit before the last one is kept for recovery: after these neither has the records.
    for key in [NOBODY, NOBODY] {
        let transaction = disk::begin_write(&shared.database)?;
        {
            let mut by_id = transaction.open_table(layout::BY_ID)?;
            if by_id.remove(key)?.is_none() {
                by_id.insert(key, [].as_slice())?;
            }
        }
        transaction.commit()?;
    }
    // Held, so that no page that is free now is used before it is clean.
    let transaction = disk::begin_write(&shared.database)?;
    let gone: Vec<ActivationId> = {
        let by_id = transaction.open_table(layout::BY_ID)?;
        let mut gone = Vec::with_capacity(ids.len());
        for id in ids {
            if by_id.get(id.0.as_slice())?.is_none() {
                gone.push(*id);
            }
        }
        gone
    };
    scrub(&shared.path, &gone)?;
    transaction.abort()?;
    Ok(removed)
}

fn remove(
    shared: &Shared,
    namespace: &Namespace,
    ids: &[ActivationId],
) -> Result<usize, StoreError> {
    let transaction = disk::begin_write(&shared.database)?;
    let mut removed = 0;
    {
        let mut by_id = transaction.open_table(layout::BY_ID)?;
        for id in ids {
            let entry = by_id.get(id.0.as_slice())?;
            let entry = entry.and_then(|entry| {
                let (start, owner) = layout::read_index(entry.value())?;
                (owner == namespace.as_str()).then_some(start)
            });
            let Some(start) = entry else { continue };
            by_id.remove(id.0.as_slice())?;
            let name = layout::bucket_name(layout::bucket_of(start));
            let mut bucket = transaction.open_table(layout::records(&name))?;
            let key = layout::key(namespace.as_str(), start, *id);
            removed += usize::from(bucket.remove(key.as_slice())?.is_some());
        }
    }
    transaction.commit()?;
    Ok(removed)
}

/// Overwrites with zeros what the file still has of these records.
fn scrub(path: &Path, ids: &[ActivationId]) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let size = file.metadata()?.len();
    let mut window = vec![0; WINDOW + MAX_HEAD];
    let mut at = 0;
    while at < size {
        let got = read_up_to(&file, &mut window, at)?;
        let bytes = window.get(..got).unwrap_or_default();
        for place in memchr_all(bytes, ID) {
            let id = bytes.get(place + ID.len()..place + ID.len() + 32);
            let id = id.and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
            if id.is_some_and(|id| ids.contains(&id)) {
                clean(&file, at + place as u64)?;
            }
        }
        at += WINDOW as u64;
    }
    file.sync_data()
}

/// Overwrites the record whose id is named at `place`, if it is its own id: a record may also hold
/// another one's.
fn clean(file: &std::fs::File, place: u64) -> io::Result<()> {
    let from = place.saturating_sub(MAX_HEAD as u64);
    let mut bytes = vec![0; MAX_RECORD];
    let got = read_up_to(file, &mut bytes, from)?;
    bytes.truncate(got);
    let named = usize::try_from(place - from).unwrap_or(usize::MAX);
    if let Some(range) = record_around(&bytes, named) {
        let zeros = vec![0; range.len()];
        file.write_all_at(&zeros, from + range.start as u64)?;
    }
    Ok(())
}

/// The record whose own id is named at `named`: from its begin to the first byte that no JSON has.
fn record_around(bytes: &[u8], named: usize) -> Option<Range<usize>> {
    let head = bytes.get(..named)?;
    let begin = head.windows(BEGIN.len()).rposition(|part| part == BEGIN)?;
    let first = memchr_all(bytes.get(begin..)?, ID).next()? + begin;
    if first != named {
        return None;
    }
    let rest = bytes.get(named..)?;
    let end = rest.iter().position(|byte| *byte < b' ').unwrap_or(rest.len());
    Some(begin..named + end)
}

/// Every place of `what`.
fn memchr_all<'a>(bytes: &'a [u8], what: &'static [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = what.first().copied().unwrap_or_default();
    let begins = bytes.iter().enumerate().filter(move |(_, byte)| **byte == first);
    begins.map(|(place, _)| place).filter(move |place| {
        bytes.get(*place..*place + what.len()).is_some_and(|part| part == what)
    })
}

fn read_up_to(file: &std::fs::File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + got as u64) {
            Ok(0) => break,
            Ok(read) => got += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_records_own_id_finds_it() {
        let id = "44".repeat(16);
        let own =
            format!("{{\"namespace\":\"guest\",\"name\":\"a\",\"activationId\":\"{id}\",\"x\":1}}");
        let other = own
            .replace(&id, &"55".repeat(16))
            .replace("\"x\":1", &format!("\"result\":{{\"activationId\":\"{id}\"}}"));
        let file = [b"junk\0", own.as_bytes(), b"\x03\0next", other.as_bytes(), b"\0"].concat();
        let places: Vec<_> = memchr_all(&file, ID).collect();
        assert_eq!(places.len(), 3);
        let found: Vec<_> = places.iter().map(|place| record_around(&file, *place)).collect();
        assert_eq!(found[0], Some(5..5 + own.len()));
        assert!(found[1].is_some() && found[2].is_none(), "what it holds is not its own");
    }
}
