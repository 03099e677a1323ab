//! A supervised feed of a topic of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use evoke_feeds::{EventSink, FeedStatus, MemorySink, Supervisor, SystemClock};
use evoke_providers::registry;
use evoke_schemas::{
    Data, EntityName, EntityUid, Event, Feed, KeyValues, Namespace, Reset, ResetTo,
};
use rdkafka::producer::FutureProducer;
use serde_json::{Map, Value, json};

use super::broker::{Broker, Sent, send};

/// How long anything may take before a test calls it stuck.
const STUCK: Duration = Duration::from_secs(120);
pub(crate) const FEED: EntityUid = EntityUid([9; 16]);

static NAMES: AtomicU64 = AtomicU64::new(0);

/// A topic, and a feed of it into a sink in memory.
pub(crate) struct Rig {
    pub(crate) broker: Arc<Broker>,
    pub(crate) topic: String,
    pub(crate) sink: Arc<MemorySink>,
    pub(crate) supervisor: Arc<Supervisor>,
    producer: FutureProducer,
    generation: AtomicU64,
    numbers: AtomicUsize,
    feed_action: Option<String>,
}

impl Rig {
    pub(crate) async fn new(partitions: i32) -> Self {
        Self::on(Broker::shared(), partitions).await
    }

    pub(crate) async fn on(broker: Arc<Broker>, partitions: i32) -> Self {
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let topic = format!("t{number}-{}", std::process::id());
        if partitions > 0 {
            broker.make(&topic, partitions).await;
        }
        let sink = MemorySink::new();
        let supervisor = supervise(&sink);
        let producer = broker.producer();
        Self {
            broker,
            topic,
            sink,
            supervisor,
            producer,
            generation: AtomicU64::new(0),
            numbers: AtomicUsize::new(0),
            feed_action: None,
        }
    }

    pub(crate) fn parameters(&self, more: &Value) -> Map<String, Value> {
        let mut parameters = Map::new();
        parameters.insert("brokers".to_owned(), self.broker.address().into());
        if more.get("topicPattern").is_none() {
            parameters.insert("topic".to_owned(), self.topic.clone().into());
        }
        parameters.extend(more.as_object().cloned().unwrap_or_default());
        parameters
    }

    /// The same topic, with a producer that knows its present partitions.
    pub(crate) fn producing_anew(self) -> Self {
        Self { producer: self.broker.producer(), ..self }
    }

    /// The same topic, with a feed that OpenWhisk's clients made.
    pub(crate) fn openwhisk(self) -> Self {
        Self { feed_action: Some("messaging/kafkaFeed".to_owned()), ..self }
    }

    /// The same topic, with a hub that knows nothing yet.
    pub(crate) fn anew(self) -> Self {
        let sink = MemorySink::new();
        Self { supervisor: supervise(&sink), sink, ..self }
    }

    /// CREATE, UPDATE, PAUSE and UNPAUSE; returns when the feed has a position.
    pub(crate) async fn apply(&self, more: Value, paused: bool) {
        self.want(more, paused, None).await;
        within("a position", self.sink.wait_for_position(FEED)).await;
    }

    /// The same, without waiting.
    pub(crate) async fn want(&self, more: Value, paused: bool, reset: Option<ResetTo>) {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let reset = reset.map(|to| Reset { generation, to });
        let feed = self.feed(generation, &more, paused, reset);
        within("the wish", self.supervisor.apply(feed)).await.unwrap();
    }

    /// A reset; returns when its place is durable.
    pub(crate) async fn reset(&self, more: Value, to: ResetTo) {
        self.want(more, false, Some(to)).await;
        let generation = self.generation.load(Ordering::SeqCst);
        within("the reset", self.supervisor.settled(FEED, generation)).await;
    }

    /// The hub stops and starts again.
    pub(crate) async fn restart(&mut self, more: Value) {
        within("the end", self.supervisor.shutdown()).await;
        self.supervisor = supervise(&self.sink);
        let generation = self.generation.load(Ordering::SeqCst);
        let feed = self.feed(generation, &more, false, None);
        within("the wish", self.supervisor.apply(feed)).await.unwrap();
    }

    fn feed(&self, generation: u64, more: &Value, paused: bool, reset: Option<Reset>) -> Feed {
        Feed {
            namespace: Namespace::new("guest").unwrap(),
            name: EntityName::new("records").unwrap(),
            uid: FEED,
            generation,
            provider: "kafka".to_owned(),
            trigger: EntityName::new("received").unwrap(),
            parameters: self.parameters(more),
            annotations: KeyValues::default(),
            feed_action: self.feed_action.clone(),
            paused,
            reset,
            updated: 0,
        }
    }

    pub(crate) async fn send(&self, sent: Sent<'_>) {
        send(&self.producer, &self.topic, sent).await;
    }

    /// Produces the next numbers, each to the partition of its remainder.
    pub(crate) async fn produce(&self, count: usize, partitions: usize) {
        let from = self.numbers.fetch_add(count, Ordering::SeqCst);
        let mut sends = Vec::new();
        for number in from..from + count {
            let producer = self.producer.clone();
            let topic = self.topic.clone();
            sends.push(async move {
                let text = number.to_string();
                let partition = i32::try_from(number % partitions).unwrap();
                let value = Some(text.as_bytes());
                let sent = Sent { partition: Some(partition), value, ..Sent::default() };
                send(&producer, &topic, sent).await;
            });
        }
        futures::future::join_all(sends).await;
    }

    /// Waits until so many events came; exactly these must be there.
    pub(crate) async fn events(&self, count: usize) -> Vec<Event> {
        within(&format!("{count} events"), self.sink.wait_for(count)).await;
        let events = self.sink.events();
        assert_eq!(events.len(), count, "more than was to come: {events:?}");
        events
    }

    /// The numbers that came, sorted, and each partition's in its order.
    pub(crate) async fn numbers(&self, count: usize, partitions: usize) -> Vec<usize> {
        let mut numbers: Vec<_> = self.events(count).await.iter().map(number).collect();
        for partition in 0..partitions {
            let own: Vec<_> = numbers.iter().filter(|it| **it % partitions == partition).collect();
            assert!(own.is_sorted(), "partition {partition} is out of order: {own:?}");
        }
        numbers.sort_unstable();
        numbers
    }

    pub(crate) fn status(&self) -> FeedStatus {
        self.supervisor.status(FEED).unwrap()
    }

    /// Waits until the status is so.
    pub(crate) async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&FeedStatus) -> bool,
    ) -> FeedStatus {
        let asked = tokio::time::Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(asked.elapsed() < STUCK, "never {what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) fn number(event: &Event) -> usize {
    match &event.data {
        Data::Json(text) => std::str::from_utf8(text).unwrap().parse().unwrap(),
        other => panic!("no number: {other:?}"),
    }
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STUCK, future).await {
        Ok(done) => done,
        Err(_late) => panic!("stuck: waited for {what}"),
    }
}

fn supervise(sink: &Arc<MemorySink>) -> Arc<Supervisor> {
    let sink = Arc::clone(sink) as Arc<dyn EventSink>;
    Supervisor::new(Arc::new(registry()), sink, Arc::new(SystemClock))
}

/// Nothing more.
pub(crate) fn plain() -> Value {
    json!({})
}
