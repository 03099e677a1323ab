//! Changes on their way into a batch: bounds, what was seen already, before and after.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use evoke_feeds::{Batch, FeedContext};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    changes::Change,
    client::Failure,
    database::{Database, Versions},
    diff::diff,
    event::{Origin, event},
    parameters::{Bounds, Parameters},
    position::Position,
};

/// Events of late that are known by their ids. A server that goes back to an earlier sequence
/// shows changes again, and so does one whose losing branch of a conflict changed.
const SEEN: usize = 4096;
/// Documents whose versions are asked for at the same time.
const DIFFS_AT_ONCE: usize = 8;

/// Changes that make the next batch.
#[derive(Debug)]
pub(super) struct Building {
    bounds: Bounds,
    changes: Vec<Change>,
    bytes: usize,
    first: Option<Instant>,
}

/// Makes batches of changes, and holds where the feed stands after them.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) position: Position,
    feed: FeedContext,
    database: Database,
    source: String,
    with_versions: bool,
    max_events: Option<u64>,
    seen: Seen,
}

/// The newest ids, each once.
#[derive(Debug, Default)]
struct Seen {
    known: HashSet<String>,
    order: VecDeque<String>,
}

// === impl Building ===

impl Building {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, changes: Vec::new(), bytes: 0, first: None }
    }

    pub(super) fn push(&mut self, change: Change) {
        self.first.get_or_insert_with(Instant::now);
        self.bytes = self.bytes.saturating_add(change.size);
        self.changes.push(change);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.changes.len() >= self.bounds.max_messages || self.bytes >= self.bounds.max_bytes
    }

    /// When what is there shall go, though the batch is not full.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.first? + Duration::from_millis(self.bounds.max_wait_ms))
    }

    fn take(&mut self) -> Vec<Change> {
        self.bytes = 0;
        self.first = None;
        std::mem::take(&mut self.changes)
    }
}

// === impl Maker ===

impl Maker {
    pub(super) fn new(
        feed: FeedContext,
        database: Database,
        parameters: &Parameters,
        position: Position,
    ) -> Self {
        Self {
            position,
            feed,
            source: database.address(),
            database,
            with_versions: parameters.shape.diff,
            max_events: parameters.max_events,
            seen: Seen::default(),
        }
    }

    /// Whether no further event may come.
    pub(super) fn is_finished(&self) -> bool {
        self.left() == Some(0)
    }

    /// A batch that only tells where the feed stands.
    pub(super) fn stand(&self) -> Batch {
        Batch { events: Vec::new(), position: serde_json::json!(self.position).to_string().into() }
    }

    /// The batch of what was built.
    pub(super) async fn make(&mut self, building: &mut Building) -> Result<Batch, Failure> {
        let mut fresh = Vec::new();
        for change in building.take() {
            if self.left().is_some_and(|left| fresh.len() as u64 >= left) {
                break;
            }
            if let Some(seq) = &change.seq {
                self.position.seq = seq.clone();
            }
            let id = super::event::id(self.feed.key.uid, &self.position, &change);
            if self.seen.insert(id) {
                fresh.push(change);
            }
        }
        let more = if self.with_versions {
            self.versions(&fresh).await?
        } else {
            fresh.iter().map(|_| Map::new()).collect()
        };
        self.position.events = self.position.events.saturating_add(fresh.len() as u64);
        let origin = Origin {
            feed: self.feed.key.uid,
            source: &self.source,
            now_ms: self.feed.clock.now_ms(),
        };
        let events = fresh
            .iter()
            .zip(more)
            .map(|(change, more)| event(origin, &self.position, change, more))
            .collect();
        Ok(Batch { events, ..self.stand() })
    }

    fn left(&self) -> Option<u64> {
        self.max_events.map(|max| max.saturating_sub(self.position.events))
    }

    /// Before and after of each change.
    async fn versions(&self, changes: &[Change]) -> Result<Vec<Map<String, Value>>, Failure> {
        let wanted: Vec<_> = changes
            .iter()
            .map(|change| {
                let rev = change.changes.first().map(|leaf| leaf.rev.clone());
                (self.database.clone(), change.id.clone(), rev)
            })
            .collect();
        let asked = wanted.into_iter().map(|(database, id, rev)| async move {
            match rev {
                Some(rev) => database.versions(&id, &rev).await.map(before_and_after),
                None => Ok(Map::new()),
            }
        });
        stream::iter(asked).buffered(DIFFS_AT_ONCE).try_collect().await
    }
}

/// Members of an event's data: `previousRev` where there was one, `previous`, which is null where
/// there is none any more, and `patch` where there is.
fn before_and_after(versions: Versions) -> Map<String, Value> {
    let mut members = Map::new();
    if let (Some(previous), Some(doc)) = (&versions.previous, &versions.doc) {
        members.insert("patch".to_owned(), diff(previous, doc).into());
    }
    if let Some(rev) = versions.previous_rev {
        members.insert("previousRev".to_owned(), rev.into());
    }
    members.insert("previous".to_owned(), versions.previous.unwrap_or_default());
    members
}

// === impl Seen ===

impl Seen {
    /// Whether it is new.
    fn insert(&mut self, id: String) -> bool {
        if !self.known.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_until_it_is_old() {
        let mut seen = Seen::default();
        assert!(seen.insert("a".to_owned()) && !seen.insert("a".to_owned()));
        for number in 0..SEEN {
            assert!(seen.insert(number.to_string()));
        }
        assert!(seen.insert("a".to_owned()), "the oldest is let go");
        assert_eq!(seen.known.len(), SEEN);
    }

    #[tokio::test]
    async fn a_batch_is_full_by_count_or_bytes_and_due_after_its_first() {
        let bounds = Bounds { max_messages: 3, max_bytes: 100, max_wait_ms: 50 };
        let change = |size| Change {
            id: String::new(),
            seq: None,
            changes: Vec::new(),
            deleted: false,
            doc: None,
            without_doc: false,
            size,
        };
        let mut building = Building::new(bounds);
        assert_eq!(building.due(), None);
        building.push(change(10));
        let due = building.due().unwrap();
        building.push(change(10));
        assert!(!building.is_full() && building.due() == Some(due));
        building.push(change(10));
        assert!(building.is_full());
        assert_eq!(building.take().len(), 3);
        building.push(change(100));
        assert!(building.is_full());
    }
}
