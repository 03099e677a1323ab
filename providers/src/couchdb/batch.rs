//! Changes on their way into a batch: bounds, what was seen already, before and after.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use evoke_feeds::{Batch, FeedContext};
use evoke_schemas::{Data, Event, limits::MAX_BATCH_BYTES};
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
/// Most bytes of a batch's data: the hub takes no more at once.
const MAX_BATCH: usize = MAX_BATCH_BYTES / 2;
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

    /// Puts back what did not fit into a batch, before all else; it is due at once.
    fn put_back(&mut self, changes: impl Iterator<Item = Change>) {
        for change in changes {
            self.push(change);
        }
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
        Batch::new(Vec::new(), serde_json::json!(self.position).to_string().into())
    }

    /// A batch of what was built; what does not fit stays there.
    pub(super) async fn make(&mut self, building: &mut Building) -> Result<Batch, Failure> {
        let (mut fresh, mut after) = (Vec::new(), self.position.seq.clone());
        for change in building.take() {
            if self.left().is_some_and(|left| fresh.len() as u64 >= left) {
                break;
            }
            if let Some(seq) = &change.seq {
                after = seq.clone();
            }
            if self.seen.insert(self.id(&change)) {
                fresh.push(change);
            }
        }
        let more = if self.with_versions {
            self.versions(&fresh).await?
        } else {
            fresh.iter().map(|_| Map::new()).collect()
        };
        let origin = Origin {
            feed: self.feed.key.uid,
            source: &self.source,
            now_ms: self.feed.clock.now_ms(),
        };
        let mut events: Vec<_> = fresh
            .iter()
            .zip(more)
            .map(|(change, more)| event(origin, &self.position, change, more))
            .collect();
        let fits = fitting(&events);
        if fits < events.len() {
            events.truncate(fits);
            let rest = fresh.split_off(fits);
            for change in &rest {
                let id = self.id(change);
                self.seen.remove(&id);
            }
            after = fresh.iter().rev().find_map(|it| it.seq.clone()).unwrap_or(after);
            building.put_back(rest.into_iter());
        }
        self.position.seq = after;
        self.position.events = self.position.events.saturating_add(events.len() as u64);
        Ok(Batch { events, ..self.stand() })
    }

    fn id(&self, change: &Change) -> String {
        super::event::id(self.feed.key.uid, &self.position, change)
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

/// How many of the events, at least one, make no more than a batch's bytes.
fn fitting(events: &[Event]) -> usize {
    let mut bytes = 0_usize;
    let fits = events.iter().take_while(|event| {
        bytes = bytes.saturating_add(match &event.data {
            Data::Json(text) => text.len(),
            Data::None | Data::Text(_) | Data::Binary(_) => 0,
        });
        bytes <= MAX_BATCH
    });
    fits.count().max(1)
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

    fn remove(&mut self, id: &str) {
        if self.known.remove(id) {
            self.order.retain(|known| known != id);
        }
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

    #[test]
    fn a_batch_takes_what_fits_and_never_nothing() {
        let event = |bytes: usize| {
            let mut event = Event::new("1", "/s", "t");
            event.data = Data::Json(vec![b' '; bytes].into());
            event
        };
        let check = |sizes: &[usize], expected: usize| {
            let events: Vec<_> = sizes.iter().map(|size| event(*size)).collect();
            assert_eq!(fitting(&events), expected, "{sizes:?}");
        };
        check(&[MAX_BATCH - 1, 1, 1], 2);
        check(&[MAX_BATCH + 1, 1], 1);
        check(&[1, MAX_BATCH], 1);
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
