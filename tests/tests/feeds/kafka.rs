//! A topic of Kafka's: every record, in the order of its partition.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use evoke_tests::{
    e2e::{
        entities::{ECHO, node, records_when, text, trigger},
        place::Place,
        service::Service,
    },
    fault::error::FaultError,
};
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::campaign::{self, Course, Done, Subject, TRIGGER};

/// Partitions of the topic.
const PARTITIONS: usize = 4;
/// How long a node of a cluster is away, with its partitions led by the others.
const AWAY: Duration = Duration::from_secs(10);
/// Records of a step of the producer, and the pause after it: they flow while all dies.
const STEP: (usize, Duration) = (25, Duration::from_millis(25));

/// The brokers under test, with a topic of numbered records.
struct Kafka {
    nodes: Vec<Service>,
    /// How many of them died.
    died: AtomicUsize,
}

impl Kafka {
    async fn one(room: &Path) -> Result<Self, FaultError> {
        Self::with(vec![Service::kafka(room).await?]).await
    }

    async fn cluster(room: &Path) -> Result<Self, FaultError> {
        Self::with(Service::kafka_cluster(room).await?.into()).await
    }

    async fn with(nodes: Vec<Service>) -> Result<Self, FaultError> {
        let kafka = Self { nodes, died: AtomicUsize::new(0) };
        kafka
            .node()
            .tool(
                "org.apache.kafka.tools.TopicCommand",
                &["--create", "--topic", "numbers", "--partitions", &PARTITIONS.to_string()],
            )
            .await?;
        Ok(kafka)
    }

    /// The node whose turn it is to die. Of a cluster each leads some partition: those of the one
    /// that died before went to the others.
    fn node(&self) -> &Service {
        let turn = self.died.load(Ordering::SeqCst);
        self.nodes.iter().cycle().nth(turn).unwrap_or_else(|| panic!("there is no node"))
    }

    fn brokers(&self) -> String {
        self.nodes.iter().map(Service::address).collect::<Vec<_>>().join(",")
    }

    fn feed(&self) -> Value {
        json!({"provider": "kafka", "trigger": TRIGGER, "parameters": {
            "brokers": self.brokers(), "topic": "numbers",
        }})
    }

    /// A producer that tries until the broker has each record once, in order.
    fn producer(&self) -> Result<FutureProducer, FaultError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers())
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "300000")
            .set("reconnect.backoff.max.ms", "500");
        config.create().map_err(other)
    }
}

fn other(error: rdkafka::error::KafkaError) -> FaultError {
    std::io::Error::other(error).into()
}

impl Subject for Kafka {
    fn feeds(&self) -> Vec<(String, Value)> {
        vec![("numbers".to_owned(), self.feed())]
    }

    async fn produce(self: Arc<Self>, records: usize, produced: Arc<AtomicUsize>) -> Done {
        let producer = self.producer()?;
        for first in (0..records).step_by(STEP.0) {
            let mut sent = Vec::new();
            for number in first..records.min(first + STEP.0) {
                let (key, value) = (format!("k{}", number % 16), number.to_string());
                let record = FutureRecord::to("numbers").key(&key).payload(&value);
                sent.push(producer.send_result(record).map_err(|(error, _)| other(error))?);
            }
            for delivery in sent {
                let delivered = delivery.await.map_err(std::io::Error::other)?;
                delivered.map_err(|(error, _)| other(error))?;
                produced.fetch_add(1, Ordering::SeqCst);
            }
            sleep(STEP.1).await;
        }
        Ok(())
    }

    async fn restart(&self) -> Done {
        let node = self.node();
        if self.nodes.len() == 1 {
            node.end().await?;
            return node.again().await;
        }
        node.kill().await?;
        self.died.fetch_add(1, Ordering::SeqCst);
        sleep(AWAY).await;
        node.again().await
    }

    fn check(&self, records: usize, events: &[Value], activations: &[Value]) {
        let mut partitions = BTreeMap::<u64, Vec<u64>>::new();
        let mut numbers = BTreeMap::<u64, usize>::new();
        // The newest comes first.
        for event in events.iter().rev() {
            let whole =
                |path: &str| event.pointer(path).and_then(Value::as_u64).unwrap_or(u64::MAX);
            let offset = text(event, "/event/offset").parse().unwrap_or(u64::MAX);
            partitions.entry(whole("/event/partition")).or_default().push(offset);
            *numbers.entry(whole("/event/data")).or_default() += 1;
        }
        let wanted: BTreeMap<_, _> = (0..records as u64).map(|number| (number, 1)).collect();
        assert_eq!(numbers, wanted, "events of each number");
        for (partition, offsets) in &partitions {
            let whole: Vec<_> = (0..offsets.len() as u64).collect();
            assert_eq!(*offsets, whole, "the log's order of partition {partition}");
        }
        let mut ran: Vec<_> = activations
            .iter()
            .filter_map(|record| record.pointer("/response/result/args/data")?.as_u64())
            .collect();
        ran.sort_unstable();
        ran.dedup();
        assert_eq!(ran.len(), records, "numbers that ran");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_every_record_is_one_event_and_an_activation_though_all_die() -> Done {
    let course = Course::of(
        Course { records: 1_000, kills: 5, restarts: 1, between: 2 },
        Course { records: 10_000, kills: 20, restarts: 3, between: 10 },
    );
    let mut place = Place::new()?;
    let kafka = Arc::new(Kafka::one(place.room()).await?);
    campaign::run(&mut place, kafka, course).await?;
    place.done();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three brokers: `make feed-test`"]
async fn f1_every_record_is_one_event_and_an_activation_though_leaders_die() -> Done {
    let course = Course { records: 10_000, kills: 6, restarts: 3, between: 2 };
    let mut place = Place::new()?;
    let kafka = Arc::new(Kafka::cluster(place.room()).await?);
    campaign::run(&mut place, Arc::clone(&kafka), course).await?;
    assert_eq!(kafka.died.load(Ordering::SeqCst), 3, "each broker died once");
    place.done();
    Ok(())
}

#[tokio::test]
async fn f13_a_broker_that_is_away_is_told_and_mends_by_itself() -> Done {
    let mut place = Place::new()?;
    let kafka = Kafka::one(place.room()).await?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, TRIGGER, &json!({}), &["echo"], &Value::Null).await?;
    caller.put("feeds/numbers", &kafka.feed()).await?;
    let away = async || kafka.node().end().await;
    let back = async || kafka.node().again().await;
    let (gone, mended) = campaign::unplug(&caller, "numbers", away, back).await?;
    assert!(text(&gone, "/status/reason").contains("127.0.0.1"), "{gone}");
    assert!(text(&mended, "/status/lastError").contains("127.0.0.1"), "{mended}");
    let producer = kafka.producer()?;
    let record = FutureRecord::to("numbers").key("key").payload("7");
    let sent = producer.send(record, Duration::from_secs(30)).await;
    sent.map_err(|(error, _)| other(error))?;
    let records = records_when(&caller, "echo", 1).await?;
    assert_eq!(records[0].pointer("/response/result/args/data"), Some(&json!(7)));
    assert_eq!(records[0].pointer("/response/result/args/__ce/subject"), Some(&json!("key")));
    let shown = place.run(&["feed", "get", "numbers", "--data", "DATA"]).await?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in ["running", "last error", "position", "lag"] {
        assert!(shown.contains(part), "no {part} in:\n{shown}");
    }
    hub.stop().await?;
    place.done();
    Ok(())
}
