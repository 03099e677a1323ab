//! The source: takes records from the client, in the order of their partitions, into batches.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::Duration,
};

use async_trait::async_trait;
use evoke_feeds::{Batch, BatchEnd, FeedContext, Source, SourceError};
use evoke_schemas::{Event, FeedPayload};
use futures::FutureExt as _;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::KafkaError,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    classic::Gathering,
    client::{Client, Found, plain},
    event::Record,
    parameters::Parameters,
    position::Position,
    topics::Topics,
};

/// Most batches that are on their way to the log.
const MAX_IN_FLIGHT: usize = 4;
/// Bytes of records that are on their way to the log, as far as one batch has no more.
const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;
/// How often the brokers are asked for new topics and partitions.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same while a topic is missing.
const LOOK_FOR_MISSING: Duration = Duration::from_secs(1);

/// An open feed of topics.
#[derive(Debug)]
pub(super) struct Reader {
    feed: FeedContext,
    client: Client,
    parameters: Parameters,
    /// After the last batch that was kept.
    position: Position,
    /// After each batch whose end is not told yet.
    yielded: VecDeque<Position>,
    /// After what is gathered.
    ahead: Position,
    pinned: bool,
    gathered: Gathered,
    found: mpsc::Receiver<Found>,
    finder: JoinHandle<()>,
}

/// What goes into the next batch.
#[derive(Debug, Default)]
struct Gathered {
    events: Vec<Event>,
    /// Records of which no event is made yet.
    classic: Gathering,
    records: usize,
    set_aside: BTreeMap<usize, String>,
    bytes: usize,
    /// When the batch goes at the latest.
    until: Option<Instant>,
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(
        feed: FeedContext,
        client: Client,
        parameters: Parameters,
        position: Position,
        pinned: bool,
    ) -> Result<Self, SourceError> {
        let consumer = client.consumer()?;
        consumer.assign(&list(&position)?).map_err(|error| retry(&error))?;
        client.teller().opened(&position.topics);
        let (out, found) = mpsc::channel(1);
        let finder = tokio::spawn(find(client.clone(), parameters.topics.clone(), out));
        Ok(Self {
            feed,
            client,
            parameters,
            yielded: VecDeque::with_capacity(MAX_IN_FLIGHT),
            ahead: position.clone(),
            position,
            pinned,
            gathered: Gathered::default(),
            found,
            finder,
        })
    }

    /// Takes a record in.
    fn take(&mut self, record: &Record) {
        self.ahead.read(&record.topic, record.partition, record.offset);
        let Gathered { events, classic, records, set_aside, bytes, until } = &mut self.gathered;
        let made = match self.feed.payload {
            FeedPayload::CloudEvent => vec![record.event(&self.ahead, &self.parameters)],
            FeedPayload::OpenWhisk => classic.take(record, &self.ahead, &self.parameters),
        };
        if !made.iter().any(|(_, refused)| refused.is_some()) {
            *bytes += record.size();
        }
        for (event, refused) in made {
            if let Some(why) = refused {
                set_aside.insert(events.len(), why);
            }
            events.push(event);
        }
        *records += 1;
        let wait = Duration::from_millis(self.parameters.batch.max_wait_ms);
        until.get_or_insert_with(|| Instant::now() + wait);
    }

    /// Whether the batch goes now.
    fn is_full(&self) -> bool {
        let bounds = &self.parameters.batch;
        let Gathered { records, bytes, until, .. } = &self.gathered;
        *records >= bounds.max_messages
            || *bytes >= bounds.max_bytes
            || until.is_some_and(|until| until <= Instant::now())
    }

    /// Takes what is there without waiting.
    fn take_what_is_there(&mut self) -> Result<(), SourceError> {
        let consumer = self.client.consumer()?;
        let bounds = self.parameters.batch;
        while self.gathered.records < bounds.max_messages && self.gathered.bytes < bounds.max_bytes
        {
            match consumer.recv().now_or_never() {
                Some(Ok(message)) => self.take(&Record::of(&message)),
                Some(Err(error)) => self.complain(&error)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// An error between records. The client goes on by itself, and has told its teller; only what
    /// it calls fatal ends it.
    fn complain(&self, error: &KafkaError) -> Result<(), SourceError> {
        tracing::debug!(feed = %self.feed.name, %error, "between records");
        match error {
            KafkaError::MessageConsumptionFatal(_) => Err(retry(error)),
            _ => Ok(()),
        }
    }

    /// Reads partitions that were not there before, from their beginning.
    fn learn(&self, found: &Found) -> Result<(), SourceError> {
        let consumer = self.client.consumer()?;
        let assigned = consumer.assignment().map_err(|error| retry(&error))?;
        let mut new = TopicPartitionList::new();
        for (topic, partitions) in found {
            for partition in partitions {
                if assigned.find_partition(topic, *partition).is_none() {
                    let at = self.ahead.next(topic, *partition);
                    let at = at.map_or(Offset::Beginning, Offset::Offset);
                    new.add_partition_offset(topic, *partition, at)
                        .map_err(|error| retry(&error))?;
                }
            }
        }
        if new.count() > 0 {
            tracing::info!(feed = %self.feed.name, partitions = ?new, "new partitions are read");
            consumer.incremental_assign(&new).map_err(|error| retry(&error))?;
        }
        let missing = match &self.parameters.topics {
            Topics::Named(names) => {
                names.iter().filter(|name| !found.contains_key(*name)).cloned().collect()
            }
            Topics::Pattern(_) => Vec::new(),
        };
        self.client.teller().missing(missing);
        Ok(())
    }

    fn batch(&mut self) -> Batch {
        let Gathered { mut events, mut classic, set_aside, .. } = mem::take(&mut self.gathered);
        events.extend(classic.end());
        let position = serde_json::json!(self.ahead).to_string();
        self.yielded.push_back(self.ahead.clone());
        Batch { events, set_aside, position: position.into() }
    }

    /// Tells the group that the user has named where the feed stands, for tools of Kafka; the hub's
    /// own log is what counts.
    fn tell_group(&self) {
        if self.parameters.group.is_none() {
            return;
        }
        let told = self.client.consumer().and_then(|consumer| {
            let list = list(&self.position)?;
            if list.count() == 0 {
                return Ok(());
            }
            consumer.commit(&list, CommitMode::Async).map_err(|error| retry(&error))
        });
        if let Err(error) = told {
            tracing::debug!(feed = %self.feed.name, %error, "the group's offsets are not told");
        }
    }
}

#[async_trait]
impl Source for Reader {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if !self.pinned {
            return Ok(Some(self.batch()));
        }
        let consumer = self.client.consumer()?;
        loop {
            self.take_what_is_there()?;
            if self.is_full() {
                return Ok(Some(self.batch()));
            }
            let until = self.gathered.until;
            // Each arm may be dropped at any time: what it has taken is in `self`.
            tokio::select! {
                received = consumer.recv() => match received {
                    Ok(message) => self.take(&Record::of(&message)),
                    Err(error) => self.complain(&error)?,
                },
                Some(found) = self.found.recv() => self.learn(&found)?,
                () = wait(until) => return Ok(Some(self.batch())),
            }
        }
    }

    async fn ended(&mut self, end: BatchEnd) -> Result<(), SourceError> {
        if let BatchEnd::Refused(reason) = end {
            // To go on would be to pass over the records: they stay until they can be taken.
            return Err(SourceError::Waiting(reason));
        }
        self.pinned = true;
        let Some(kept) = self.yielded.pop_front() else { return Ok(()) };
        for (topic, partitions) in &kept.topics {
            for (partition, next) in partitions {
                if self.position.next(topic, *partition) != Some(*next) {
                    self.client.teller().kept(topic, *partition, *next);
                }
            }
        }
        self.position = kept;
        self.tell_group();
        Ok(())
    }

    fn in_flight(&self) -> usize {
        // Nothing may be read before the beginning is kept.
        let room = IN_FLIGHT_BYTES / self.parameters.batch.max_bytes;
        if self.pinned { room.clamp(1, MAX_IN_FLIGHT) } else { 1 }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.finder.abort();
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Asks for the topics again and again; troubles on the way are told by the client itself.
async fn find(client: Client, topics: Topics, out: mpsc::Sender<Found>) {
    loop {
        let found = client.find(&topics).await;
        let missing = match (&found, &topics) {
            (Ok(found), Topics::Named(names)) => found.len() < names.len(),
            _ => false,
        };
        if let Ok(found) = found
            && out.send(found).await.is_err()
        {
            return;
        }
        tokio::time::sleep(if missing { LOOK_FOR_MISSING } else { LOOK_EVERY }).await;
    }
}

/// The position as the client takes it.
fn list(position: &Position) -> Result<TopicPartitionList, SourceError> {
    let mut list = TopicPartitionList::new();
    for (topic, partitions) in &position.topics {
        for (partition, next) in partitions {
            list.add_partition_offset(topic, *partition, Offset::Offset(*next))
                .map_err(|error| retry(&error))?;
        }
    }
    Ok(list)
}

fn retry(error: &KafkaError) -> SourceError {
    SourceError::Retry(plain(error))
}
