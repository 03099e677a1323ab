//! Which user id each living sandbox has, and that no two share a name.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::StartError;

/// Hubs that run beside each other on one machine.
pub(crate) const LANES: u32 = 16;
/// Sandboxes of one hub that live at once.
pub(crate) const LANE_SLOTS: u32 = 1024;

/// The slots of one hub.
#[derive(Debug)]
pub(super) struct Slots {
    first_uid: Option<u32>,
    lane: u32,
    /// Holds the lane: the name is free again when this process ends, however it ends.
    _claim: Option<UnixDatagram>,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug)]
struct Book {
    free: BTreeSet<u32>,
    names: HashMap<String, u32>,
}

/// A place among the living; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    name: String,
    number: u32,
    book: Arc<Mutex<Book>>,
}

// === impl Slots ===

impl Slots {
    /// Claims a lane that no other hub on this machine holds. Without `uid_base` all sandboxes
    /// have the caller's user.
    pub(super) fn open(uid_base: Option<u32>) -> io::Result<Self> {
        let free = (0..LANE_SLOTS).collect();
        let book = Arc::new(Mutex::new(Book { free, names: HashMap::new() }));
        let Some(base) = uid_base else {
            return Ok(Self { first_uid: None, lane: 0, _claim: None, book });
        };
        let (lane, claim) = claim_lane()?;
        let first_uid = Some(base + lane * LANE_SLOTS);
        Ok(Self { first_uid, lane, _claim: Some(claim), book })
    }

    pub(super) fn lane(&self) -> u32 {
        self.lane
    }

    pub(super) fn first_uid(&self) -> Option<u32> {
        self.first_uid
    }

    pub(super) fn claim(&self, name: &str) -> Result<Slot, StartError> {
        let mut book = lock(&self.book);
        if book.names.contains_key(name) {
            return Err(StartError::NameTaken(name.to_owned()));
        }
        let number = book.free.pop_first().ok_or(StartError::Full(LANE_SLOTS as usize))?;
        book.names.insert(name.to_owned(), number);
        Ok(Slot { name: name.to_owned(), number, book: Arc::clone(&self.book) })
    }

    pub(super) fn uid(&self, slot: &Slot) -> Option<u32> {
        self.first_uid.map(|first| first + slot.number)
    }

    pub(super) fn is_alive(&self, name: &str) -> bool {
        lock(&self.book).names.contains_key(name)
    }
}

fn claim_lane() -> io::Result<(u32, UnixDatagram)> {
    for lane in 0..LANES {
        let name = SocketAddr::from_abstract_name(format!("evoke-sandbox-lane-{lane}"))?;
        match UnixDatagram::bind_addr(&name) {
            Ok(claim) => return Ok((lane, claim)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{LANES} hubs already run sandboxes on this machine")))
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Slot ===

impl Drop for Slot {
    fn drop(&mut self) {
        let mut book = lock(&self.book);
        book.names.remove(&self.name);
        book.free.insert(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_given_once_and_come_back() {
        let slots = Slots::open(None).unwrap();
        let first = slots.claim("a").unwrap();
        assert!(matches!(slots.claim("a"), Err(StartError::NameTaken(_))));
        let second = slots.claim("b").unwrap();
        assert_ne!(first.number, second.number);
        let number = first.number;
        drop(first);
        assert!(!slots.is_alive("a") && slots.is_alive("b"));
        assert_eq!(slots.claim("a").unwrap().number, number);
    }

    #[test]
    fn the_last_slot_is_followed_by_full() {
        let slots = Slots::open(None).unwrap();
        let all: Vec<_> = (0..LANE_SLOTS).map(|n| slots.claim(&n.to_string()).unwrap()).collect();
        assert!(matches!(slots.claim("more"), Err(StartError::Full(1024))));
        drop(all);
        assert!(slots.claim("more").is_ok());
    }

    #[test]
    fn two_hubs_have_different_users() {
        let (one, two) = (Slots::open(Some(5000)).unwrap(), Slots::open(Some(5000)).unwrap());
        assert_ne!(one.first_uid, two.first_uid);
        assert_ne!(one.lane(), two.lane());
    }
}
