//! A sink in memory with the real guard and with faults on demand, for tests of feeds.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use evoke_schemas::{EntityName, EntityUid, Event, Namespace};
use tokio::sync::watch;

use crate::sink::{Ack, EventSink, FeedBatch, SinkError, StoredPosition, Undelivered};

/// Generation of a feed that was removed.
const REMOVED: u64 = u64::MAX;

/// Keeps everything it took and compares before it appends, as the event log does.
#[derive(Debug)]
pub struct MemorySink {
    kept: Mutex<Kept>,
    changed: watch::Sender<()>,
    open: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<Event>,
    feeds: HashMap<EntityUid, StoredPosition>,
    refusals: VecDeque<SinkError>,
    undelivered: Undelivered,
    set_aside: Vec<(Event, String)>,
    lost_answers: usize,
    hanging: usize,
}

impl MemorySink {
    /// An empty sink.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            changed: watch::Sender::new(()),
            open: watch::Sender::new(true),
        })
    }

    /// Answers the next appends with these errors, one each.
    pub fn refuse_next(&self, errors: impl IntoIterator<Item = SinkError>) {
        self.kept().refusals.extend(errors);
    }

    /// Errors of [`MemorySink::refuse_next`] that nobody has met yet.
    #[must_use]
    pub fn refusals_left(&self) -> usize {
        self.kept().refusals.len()
    }

    /// Keeps the batches of the next appends but answers that the sink is unavailable.
    pub fn lose_answers(&self, count: usize) {
        self.kept().lost_answers = count;
    }

    /// What rules have to do from now on.
    pub fn set_undelivered(&self, undelivered: Undelivered) {
        self.change(|kept| kept.undelivered = undelivered);
    }

    /// Events that were set aside, with the reason.
    #[must_use]
    pub fn set_aside(&self) -> Vec<(Event, String)> {
        self.kept().set_aside.clone()
    }

    /// While shut, appends hang before anything is kept.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Every event that was kept, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.kept().events.clone()
    }

    /// Waits until at least this many events are kept.
    pub async fn wait_for(&self, events: usize) {
        self.wait_until(|kept| kept.events.len() >= events).await;
    }

    /// Waits until the feed has a position.
    pub async fn wait_for_position(&self, feed: EntityUid) {
        self.wait_until(|kept| kept.feeds.contains_key(&feed)).await;
    }

    /// Waits until an append hangs at the shut sink.
    pub async fn wait_for_hanging(&self) {
        self.wait_until(|kept| kept.hanging > 0).await;
    }

    /// Appends that hang at the shut sink.
    #[must_use]
    pub fn hanging(&self) -> usize {
        self.kept().hanging
    }

    async fn wait_until(&self, is_so: impl Fn(&Kept) -> bool) {
        let mut changed = self.changed.subscribe();
        while !is_so(&self.kept()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    async fn pass_the_door(&self) {
        let mut open = self.open.subscribe();
        if !*open.borrow() {
            self.change(|kept| kept.hanging += 1);
            // The sender lives in `self`: waiting ends only with an open door.
            let _opened = open.wait_for(|open| *open).await.is_ok();
            self.change(|kept| kept.hanging -= 1);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        let answer = change(&mut self.kept());
        self.changed.send_replace(());
        answer
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventSink for MemorySink {
    async fn append(&self, batch: &FeedBatch) -> Result<Ack, SinkError> {
        self.pass_the_door().await;
        self.change(|kept| kept.append(batch))
    }

    async fn position(&self, uid: EntityUid) -> Result<Option<StoredPosition>, SinkError> {
        let stored = self.kept().feeds.get(&uid).cloned();
        match stored {
            Some(stored) if stored.generation == REMOVED => Err(SinkError::Superseded),
            stored => Ok(stored),
        }
    }

    async fn undelivered(
        &self,
        _namespace: &Namespace,
        _trigger: &EntityName,
    ) -> Result<Undelivered, SinkError> {
        Ok(self.kept().undelivered)
    }

    async fn remove(&self, uid: EntityUid) -> Result<(), SinkError> {
        let gone = StoredPosition { generation: REMOVED, revision: 0, position: Bytes::new() };
        self.change(|kept| kept.feeds.insert(uid, gone));
        Ok(())
    }
}

// === impl Kept ===

impl Kept {
    fn append(&mut self, batch: &FeedBatch) -> Result<Ack, SinkError> {
        if let Some(error) = self.refusals.pop_front() {
            return Err(error);
        }
        let stored = self.feeds.get(&batch.feed.uid);
        if batch.revision != batch.feed.first_revision(stored)? {
            return Err(SinkError::Superseded);
        }
        for (index, reason) in &batch.set_aside {
            if let Some(event) = batch.events.get(*index) {
                self.set_aside.push((event.clone(), reason.clone()));
            }
        }
        let revision = batch.revision + 1;
        let generation = batch.feed.generation;
        let position = batch.position.clone();
        self.events.extend(batch.events.iter().cloned());
        self.feeds.insert(batch.feed.uid, StoredPosition { generation, revision, position });
        if self.lost_answers > 0 {
            self.lost_answers -= 1;
            return Err(SinkError::Unavailable("the answer was lost".to_owned()));
        }
        Ok(Ack { revision })
    }
}
