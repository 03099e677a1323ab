//! The connections of one listener: who of them keeps the hub waiting, and who goes first where
//! all room is taken.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Least time that a client has to send a request, or to take an answer, where others wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same for a request's body, which may be large.
const BODY_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked who must go, while others wait.
const LOOK: Duration = Duration::from_millis(50);
/// Connections that go at a time.
const GO_AT_ONCE: usize = 64;

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Guests {
    room: Arc<Semaphore>,
    next: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Guest>>>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Guest {
    waits: Mutex<Waits>,
    /// Told when it must go.
    pub(super) leave: CancellationToken,
}

/// For whom somebody waits.
#[derive(Clone, Copy, Debug)]
enum Waits {
    /// The hub waits for the client, since then: for a request, or for the answer to be taken.
    Client(Instant),
    /// The hub waits for the rest of a request, since then.
    Body(Instant),
    /// The client waits for the hub.
    Hub,
}

/// A place of a connection; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    guests: Arc<Guests>,
    number: u64,
    pub(super) guest: Arc<Guest>,
    _permit: OwnedSemaphorePermit,
}

// === impl Guests ===

impl Guests {
    pub(super) fn new(room: usize) -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(room)),
            next: AtomicU64::new(0),
            all: Mutex::default(),
        })
    }

    /// Room for one more; where there is none, those that keep the hub waiting longest go.
    pub(super) async fn room(&self) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
        let free = Arc::clone(&self.room).acquire_owned();
        tokio::pin!(free);
        loop {
            tokio::select! {
                biased;
                permit = &mut free => return permit,
                () = tokio::time::sleep(LOOK) => self.send_away(),
            }
        }
    }

    /// Takes a connection in.
    pub(super) fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Seat {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let waits = Mutex::new(Waits::Client(Instant::now()));
        let guest = Arc::new(Guest { waits, leave: CancellationToken::new() });
        self.lock().insert(number, Arc::clone(&guest));
        Seat { guests: Arc::clone(self), number, guest, _permit: permit }
    }

    fn send_away(&self) {
        let now = Instant::now();
        let mut idle: Vec<(Instant, Arc<Guest>)> = {
            let all = self.lock();
            let since = |guest: &Arc<Guest>| Some((guest.too_slow_since()?, Arc::clone(guest)));
            all.values().filter_map(since).collect()
        };
        idle.retain(|(since, guest)| *since <= now && !guest.leave.is_cancelled());
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (_, guest) in idle.iter().take(GO_AT_ONCE) {
            guest.leave.cancel();
        }
        if !idle.is_empty() {
            let count = idle.len().min(GO_AT_ONCE);
            tracing::debug!(count, "connections that kept the hub waiting are closed for others");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Guest>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.guests.lock().remove(&self.number);
    }
}

// === impl Guest ===

impl Guest {
    /// The client has sent a request's head.
    pub(super) fn begins_body(&self) {
        *self.lock() = Waits::Body(Instant::now());
    }

    /// The client has sent all of a request and waits.
    pub(super) fn served(&self) {
        *self.lock() = Waits::Hub;
    }

    /// The answer is there for the client to take, and the next request for it to send.
    pub(super) fn answered(&self) {
        *self.lock() = Waits::Client(Instant::now());
    }

    /// Since when the hub waits longer than it has to.
    fn too_slow_since(&self) -> Option<Instant> {
        match *self.lock() {
            Waits::Client(since) => since.checked_add(PATIENCE),
            Waits::Body(since) => since.checked_add(BODY_PATIENCE),
            Waits::Hub => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_goes_for_a_newcomer_and_none_that_is_served() {
        let guests = Guests::new(2);
        let idle = guests.seat(guests.room().await.unwrap());
        let served = guests.seat(guests.room().await.unwrap());
        served.guest.served();
        let begun = Instant::now();
        let leave = idle.guest.leave.clone();
        let goes = tokio::spawn(async move {
            leave.cancelled().await;
            drop(idle);
        });
        let third = guests.seat(guests.room().await.unwrap());
        goes.await.unwrap();
        assert!(begun.elapsed() >= PATIENCE, "not before it had time to send");
        assert!(!served.guest.leave.is_cancelled());
        third.guest.answered();
        assert_eq!(guests.lock().len(), 2);
        drop((third, served));
        assert!(guests.lock().is_empty());
    }
}
