//! A real broker, started here, and what produces to it.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _},
};

/// Longest wait for an answer of the broker.
const WITHIN: Duration = Duration::from_secs(20);

/// A broker of one node.
pub(crate) struct Broker {
    port: u16,
    run: tempfile::TempDir,
}

/// One broker for the tests that run at the same time.
static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());

// === impl Broker ===

impl Broker {
    /// The broker that tests share.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = shared.upgrade() {
            return broker;
        }
        let broker = Arc::new(Self::own());
        *shared = Arc::downgrade(&broker);
        broker
    }

    /// A broker of one's own, to be stopped and started.
    pub(crate) fn own() -> Self {
        // Free when asked for; who takes it in between makes the start fail, and it is tried again.
        for _ in 0..3 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let broker = Self { port, run: tempfile::tempdir().unwrap() };
            if broker.command(&["start"]) {
                return broker;
            }
        }
        panic!("the broker does not start");
    }

    pub(crate) fn stop(&self) {
        assert!(self.command(&["stop", "keep"]), "the broker does not stop");
    }

    pub(crate) fn start(&self) {
        assert!(self.command(&["start"]), "the broker does not start again");
    }

    fn run(&self) -> PathBuf {
        self.run.path().join("kafka")
    }

    fn command(&self, words: &[&str]) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/services/kafka.sh");
        let mut command = Command::new(script);
        command.args(words).env("KAFKA_PORT", self.port.to_string()).env("KAFKA_RUN", self.run());
        command.stdout(std::process::Stdio::null()).status().unwrap().success()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it wants credentials, and its authority as PEM.
    pub(crate) fn secured(&self) -> (String, String) {
        let port = std::fs::read_to_string(self.run().join("sasl-port")).unwrap();
        let ca = std::fs::read_to_string(self.run().join("certs/ca.pem")).unwrap();
        (format!("127.0.0.1:{}", port.trim()), ca)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    pub(crate) async fn make(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = self.admin().create_topics([&new], &AdminOptions::new()).await.unwrap();
        made.into_iter().next().unwrap().unwrap();
        // The answer comes before every part of the broker knows.
        self.until_known(topic, partitions).await;
    }

    async fn until_known(&self, topic: &str, partitions: i32) {
        let admin = self.admin();
        let name = topic.to_owned();
        let known = tokio::task::spawn_blocking(move || {
            let begin = std::time::Instant::now();
            while begin.elapsed() < WITHIN {
                let metadata = admin.inner().fetch_metadata(Some(&name), WITHIN).unwrap();
                let topic = &metadata.topics()[0];
                let led = topic.partitions().iter().filter(|it| it.leader() >= 0).count();
                if topic.error().is_none() && i32::try_from(led).unwrap() == partitions {
                    return true;
                }
            }
            false
        });
        assert!(known.await.unwrap(), "topic {topic} does not come up");
    }

    pub(crate) async fn delete(&self, topic: &str) {
        let gone = self.admin().delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        gone.into_iter().next().unwrap().unwrap();
    }

    pub(crate) async fn widen(&self, topic: &str, partitions: usize) {
        let wider = NewPartitions::new(topic, partitions);
        let made = self.admin().create_partitions([&wider], &AdminOptions::new()).await.unwrap();
        made.into_iter().next().unwrap().unwrap();
        self.until_known(topic, i32::try_from(partitions).unwrap()).await;
    }

    pub(crate) fn producer(&self) -> FutureProducer {
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("linger.ms", "0");
        config.set("message.max.bytes", "4000000").create().unwrap()
    }

    /// A producer of a transaction that has begun.
    pub(crate) async fn transaction(&self, id: &str) -> FutureProducer {
        let producer: FutureProducer = self.config().set("transactional.id", id).create().unwrap();
        let own = producer.clone();
        let begun = tokio::task::spawn_blocking(move || {
            own.init_transactions(WITHIN).and_then(|()| own.begin_transaction())
        });
        begun.await.unwrap().unwrap();
        producer
    }
}

/// Ends a transaction.
pub(crate) async fn finish(producer: FutureProducer, commit: bool) {
    let ended = tokio::task::spawn_blocking(move || {
        if commit {
            producer.commit_transaction(WITHIN)
        } else {
            producer.abort_transaction(WITHIN)
        }
    });
    ended.await.unwrap().unwrap();
}

/// A record to produce.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent<'a> {
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(&'a str, &'a str)],
}

/// Produces a record and returns when the broker has it.
pub(crate) async fn send(producer: &FutureProducer, topic: &str, sent: Sent<'_>) {
    let mut record = FutureRecord::<[u8], [u8]>::to(topic);
    record.partition = sent.partition;
    record.key = sent.key;
    record.payload = sent.value;
    let headers = sent.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(*value) })
    });
    producer.send(record.headers(headers), WITHIN).await.unwrap();
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.command(&["stop"]);
    }
}
