//! A feed in one life of the process: the lifecycle core, and the task that it starts and ends.
//!
//! The task does what the pump does, in steps between which everything can happen: it asks where
//! it stands, fetches, appends, is told of the end.

use evoke_event_log::{FEED_REMOVED, FeedPosition, Guard};
use evoke_feeds::{
    FeedKey, ResetTo, SinkError, Start, StoredPosition,
    lifecycle::{End, State},
};
use evoke_schemas::{Data, Event, event::Attribute};
use evoke_trigger_engine::ingest::FeedMark;
use evoke_trigger_engine::{Incoming, Origin, Target};

use super::chance::Chance;
use super::clients::FEED_SOURCE;
use super::sources::{Life, Offsets, PARTITIONS, Read, Sources, Stand};

/// Most records of a batch, in each partition.
const BATCH: u64 = 4;

/// A feed of the process.
#[derive(Debug)]
pub struct Fed {
    /// Where it is in its life.
    pub state: State,
    /// Its task.
    pub task: Option<Task>,
    /// Tasks that were given up and wake up once their successor has written.
    pub late: Option<Task>,
    /// Whether its position is to be let go, and is not yet.
    pub forgetting: bool,
}

/// A task at work.
#[derive(Clone, Debug)]
pub struct Task {
    /// Among all tasks of the process.
    pub number: u64,
    /// Generation that it was started for.
    pub generation: u64,
    /// What it does next.
    pub stage: Stage,
    /// Whether it was told to end.
    pub cancelled: bool,
    /// Whether it has kept a batch.
    pub progressed: bool,
    /// What the next append must name.
    pub revision: u64,
    /// Where it stands.
    pub stand: Option<Stand>,
    /// A batch that it sent behind the one it hears of next; after it, it stands there.
    pub behind: Option<Stand>,
}

/// What a task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Ask for its position and open the source.
    Open,
    /// Fetch.
    Fetch,
    /// Append what it fetched; after it, it stands there.
    Append(Stand),
    /// Hear of its append.
    Hear(Stand),
    /// Hear of the batch behind the one that was refused, and append that one again.
    Recall(Stand),
    /// Tell the source that the batch is kept.
    Acknowledge,
    /// Nothing: it does not look up, whatever it is told.
    Hang,
}

/// What opening came to.
#[derive(Debug)]
pub enum Opened {
    /// It stands there by the log.
    After(Stand, u64),
    /// It begins anew there, which is to be pinned.
    Pins(Stand, u64),
    /// It is over.
    Ends(End),
}

// === impl Fed ===

impl Fed {
    /// Of which nobody has wanted anything.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::NEW, task: None, late: None, forgetting: false }
    }
}

impl Default for Fed {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Task ===

impl Task {
    /// A new one.
    #[must_use]
    pub fn new(number: u64, generation: u64) -> Self {
        Self {
            number,
            generation,
            stage: Stage::Open,
            cancelled: false,
            progressed: false,
            revision: 0,
            stand: None,
            behind: None,
        }
    }

    /// Where it opens, by the log and what is wanted.
    #[must_use]
    pub fn open(
        &self,
        life: usize,
        stored: Option<&FeedPosition>,
        sources: &mut Sources,
        now_ms: u64,
    ) -> Opened {
        let Life { feed, earliest, .. } = sources.life(life).clone();
        let stored = stored.map(|position| StoredPosition {
            generation: position.at.generation,
            revision: position.at.revision,
            position: position.state.clone(),
        });
        if stored.as_ref().is_some_and(|stored| stored.generation == FEED_REMOVED) {
            return Opened::Ends(End::Superseded);
        }
        let key = FeedKey { uid: feed.uid, generation: self.generation };
        let revision = match key.first_revision(stored.as_ref()) {
            Ok(revision) => revision,
            Err(SinkError::Superseded) => return Opened::Ends(End::Superseded),
            Err(error) => return Opened::Ends(failed(&error.to_string(), false)),
        };
        let (reset, from) = match Start::of(&feed, stored) {
            Start::After(bytes) => {
                return match Stand::decode(&bytes) {
                    Some(stand) => Opened::After(stand, revision),
                    None => Opened::Ends(failed("no position", false)),
                };
            }
            Start::Fresh => (0, if earliest { ResetTo::Earliest } else { ResetTo::Latest }),
            Start::Reset(to) => (feed.reset.as_ref().map_or(0, |reset| reset.generation), to),
        };
        let next = match from {
            ResetTo::Earliest => 0,
            _other => sources.available(now_ms),
        };
        let reading = sources.reading(life, reset);
        Opened::Pins(Stand { reading, next: [next; PARTITIONS] }, revision)
    }

    /// What it reads next; nothing where there is nothing new.
    pub fn fetch(&self, sources: &Sources, now_ms: u64, chance: &mut Chance) -> Option<Stand> {
        let stand = self.stand?;
        let there = sources.available(now_ms);
        let mut next = stand.next;
        for place in &mut next {
            let left = u64::from(there.saturating_sub(*place));
            *place += chance.within(0, BATCH).min(left) as u32;
        }
        (next != stand.next).then_some(Stand { next, ..stand })
    }

    /// Itself as it will be once the append that it has not heard of is kept.
    #[must_use]
    pub fn ahead(&self, after: Stand) -> Self {
        Self { stand: Some(after), revision: self.revision + 1, ..self.clone() }
    }

    /// The events between where it stands and `after`, with the position.
    #[must_use]
    pub fn batch(&self, life: &Life, after: &Stand) -> (Vec<Incoming>, FeedMark) {
        let from = self.stand.filter(|stand| stand.reading == after.reading);
        let from: Offsets = from.map_or(after.next, |stand| stand.next);
        let mut events = Vec::new();
        for (partition, (from, until)) in from.into_iter().zip(after.next).enumerate() {
            for number in from..until {
                events.push(incoming(life, Read { reading: after.reading, partition, number }));
            }
        }
        let feed = u128::from_be_bytes(life.feed.uid.0);
        let guard = Guard { feed, generation: self.generation, revision: self.revision };
        (events, FeedMark { guard, state: after.encode() })
    }
}

/// An error that may pass.
#[must_use]
pub fn failed(reason: &str, progressed: bool) -> End {
    End::Retry { reason: reason.to_owned(), progressed, waits: false }
}

fn incoming(life: &Life, read: Read) -> Incoming {
    let text = read.token().text();
    let mut event = Event::new(text.clone(), FEED_SOURCE, "fed");
    event.data = Data::Json(format!("{{\"t\":\"{text}\"}}").into());
    let key = Attribute::Text(format!("f{}-{}", read.reading, read.partition));
    event.extensions.insert("partitionkey".to_owned(), key);
    Incoming {
        namespace: life.feed.namespace.clone(),
        target: Target::Trigger(life.feed.trigger.clone()),
        event,
        origin: Origin::Feed,
        headers: None,
        subject: "simulator".to_owned(),
        dedup: false,
    }
}
