//! The connection to the brokers: its settings, what it says of its troubles, and the questions
//! that take a while.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use evoke_feeds::{FeedContext, Report, SourceError};
use rdkafka::{
    ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{Consumer as _, ConsumerContext, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use serde_json::{Value, json};

use super::{
    parameters::{Parameters, Password, Sasl, StartFrom, Tls},
    position::{Partitions, Position},
    reach::reach,
    tokens::Tokens,
    topics::Topics,
};

/// Longest wait for an answer of the brokers.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often the client tells of itself. Unit: milliseconds.
const STATISTICS_MS: u32 = 2_000;
/// Most that is fetched ahead. Unit: kilobytes.
const READ_AHEAD_KB: u32 = 8_192;
/// First and longest wait before a broker is called again. Unit: milliseconds.
const RECONNECT_MS: (u32, u32) = (250, 10_000);
/// Longest text of a trouble. Unit: characters.
const MAX_TROUBLE: usize = 400;

/// A consumer that says how it is doing.
pub(super) type Consumer = StreamConsumer<Teller>;

/// A client of the brokers; questions to it are asked on threads that may block.
#[derive(Clone)]
pub(super) struct Client(Arc<Held>);

/// The consumer, ended on a thread that may block.
struct Held {
    consumer: Option<Arc<Consumer>>,
    teller: Teller,
}

/// Hears what the client says, and tells the feed's report.
#[derive(Clone, Debug)]
pub(super) struct Teller(Arc<Heard>);

#[derive(Debug)]
struct Heard {
    report: Report,
    tokens: Option<Tokens>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest trouble, and whether somebody must mend it.
    trouble: Option<Trouble>,
    /// Next offsets that are durable in the hub.
    kept: BTreeMap<String, Partitions>,
    /// Whether the source is open: before that only its opening tells.
    open: bool,
    /// Topics that are missing.
    missing: Vec<String>,
    /// Whether the report was told last that all is well.
    running: bool,
}

#[derive(Clone, Debug)]
struct Trouble {
    text: String,
    refused: bool,
}

/// Partitions by topic, as the brokers have them.
pub(super) type Found = BTreeMap<String, Vec<i32>>;

// === impl Client ===

impl Client {
    pub(super) async fn open(
        feed: &FeedContext,
        parameters: &Parameters,
    ) -> Result<Self, SourceError> {
        reach(&parameters.brokers).await?;
        let tokens = match &parameters.sasl {
            Some(Sasl::OAuth(oauth)) => Some(Tokens::open(oauth).await?),
            _ => None,
        };
        let teller = Teller(Arc::new(Heard {
            report: feed.report.clone(),
            tokens,
            state: Mutex::new(State::default()),
        }));
        let config = config(feed, parameters);
        let made: Result<Consumer, _> = config.create_with_context(teller.clone());
        // Wrong settings of TLS come to light here: a certificate that is none.
        let consumer = made.map_err(|error| SourceError::Waiting(plain(&error)))?;
        Ok(Self(Arc::new(Held { consumer: Some(Arc::new(consumer)), teller })))
    }

    pub(super) fn teller(&self) -> &Teller {
        &self.0.teller
    }

    pub(super) fn consumer(&self) -> Result<Arc<Consumer>, SourceError> {
        let consumer = self.0.consumer.clone();
        consumer.ok_or_else(|| SourceError::Retry("the client has ended".to_owned()))
    }

    /// Asks on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Consumer) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let consumer = self.consumer()?;
        let asked = tokio::task::spawn_blocking(move || question(&consumer)).await;
        match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.0.teller.explain(&error)),
            Err(gone) => Err(SourceError::Retry(gone.to_string())),
        }
    }

    /// The partitions that there are of these topics.
    pub(super) async fn find(&self, topics: &Topics) -> Result<Found, SourceError> {
        let topics = topics.clone();
        self.ask(move |consumer| {
            let mut found = Found::new();
            let mut take = |name: Option<&str>| -> Result<(), KafkaError> {
                let metadata = consumer.fetch_metadata(name, ANSWER_WITHIN)?;
                for topic in metadata.topics() {
                    match topic.error().map(RDKafkaErrorCode::from) {
                        None if topics.has(topic.name()) => {
                            let partitions = topic.partitions().iter().map(|it| it.id()).collect();
                            found.insert(topic.name().to_owned(), partitions);
                        }
                        Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => {
                            return Err(KafkaError::MetadataFetch(code));
                        }
                        // Missing, or without a leader for now.
                        None | Some(_) => {}
                    }
                }
                Ok(())
            };
            match &topics {
                Topics::Named(names) => names.iter().try_for_each(|name| take(Some(name)))?,
                Topics::Pattern(_) => take(None)?,
            }
            Ok(found)
        })
        .await
    }

    /// Where a reading begins, as explicit offsets, so that nothing is missed that comes after.
    ///
    /// A topic that is not there yet is not in it, and so is read from its beginning.
    pub(super) async fn pin(
        &self,
        topics: &Topics,
        from: StartFrom,
        reading: u64,
    ) -> Result<Position, SourceError> {
        let consumer = self.consumer()?;
        let pinned = async {
            let found = self.find(topics).await?;
            let ask = |consumer: &Consumer| Ok(consumer.client().fetch_cluster_id(ANSWER_WITHIN));
            let cluster = self.ask(ask).await?.unwrap_or_default();
            let topics = self.ask(move |consumer| resolve(consumer, &found, &from)).await?;
            Ok(Position { cluster, reading, topics, lives: BTreeMap::new() })
        };
        // What the client has to say is heard only by who asks it for records; there are none yet.
        let hear = async {
            loop {
                // Its errors are told to the teller already.
                drop(consumer.recv().await);
            }
        };
        tokio::select! {
            pinned = pinned => pinned,
            () = hear => Err(SourceError::Retry("the client has ended".to_owned())),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("teller", &self.0.teller).finish_non_exhaustive()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        // To end a client waits for its threads and for what it still asks of brokers: nobody waits
        // for that, not even the end of the hub.
        let ending = std::thread::Builder::new().name("kafka-end".to_owned());
        if let Err(error) = ending.spawn(move || drop(consumer)) {
            tracing::warn!(%error, "a client of Kafka is ended here and now");
        }
    }
}

fn config(feed: &FeedContext, parameters: &Parameters) -> ClientConfig {
    let own = || format!("evoke-{}", feed.key.uid);
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", parameters.brokers.join(","))
        .set("client.id", "evoke")
        .set("group.id", parameters.group.clone().unwrap_or_else(own))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // An offset that is there no more: what was let go is gone, what is left is read.
        .set("auto.offset.reset", "earliest")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", isolation(parameters))
        .set("queued.max.messages.kbytes", READ_AHEAD_KB.to_string())
        // A full queue is looked at again soon: the usual second would be most of a catch-up.
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.wait.max.ms", "500")
        .set("statistics.interval.ms", STATISTICS_MS.to_string())
        .set("reconnect.backoff.ms", RECONNECT_MS.0.to_string())
        .set("reconnect.backoff.max.ms", RECONNECT_MS.1.to_string())
        .set("socket.keepalive.enable", "true")
        .set("socket.timeout.ms", "20000")
        .set("log_level", "4");
    secure(&mut config, parameters.tls.as_ref(), parameters.sasl.as_ref());
    config
}

/// How client and brokers know each other.
pub(super) fn secure(config: &mut ClientConfig, tls: Option<&Tls>, sasl: Option<&Sasl>) {
    let protocol = match (tls, sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = tls {
        let secret = |secret: &Option<evoke_schemas::Secret>| {
            secret.as_ref().map(|secret| secret.reveal().to_owned())
        };
        for (name, value) in [
            ("ssl.ca.pem", tls.ca.clone()),
            ("ssl.certificate.pem", tls.cert.clone()),
            ("ssl.key.pem", secret(&tls.key)),
            ("ssl.key.password", secret(&tls.key_password)),
        ] {
            if let Some(value) = value {
                config.set(name, value);
            }
        }
    }
    if let Some(sasl) = sasl {
        config.set("sasl.mechanism", sasl.mechanism());
        if let Some(Password { username, password }) = sasl.password() {
            config.set("sasl.username", username).set("sasl.password", password.reveal());
        }
    }
}

fn isolation(parameters: &Parameters) -> &'static str {
    if parameters.uncommitted { "read_uncommitted" } else { "read_committed" }
}

fn resolve(
    consumer: &Consumer,
    found: &Found,
    from: &StartFrom,
) -> Result<BTreeMap<String, Partitions>, KafkaError> {
    let mut asked = TopicPartitionList::new();
    let first = match from {
        StartFrom::Earliest => Offset::Beginning,
        StartFrom::Time(ms) => Offset::Offset(i64::try_from(*ms).unwrap_or(i64::MAX)),
        StartFrom::Latest | StartFrom::Committed | StartFrom::Offsets(_) => Offset::End,
    };
    for (topic, partitions) in found {
        for partition in partitions {
            asked.add_partition_offset(topic, *partition, first)?;
        }
    }
    let mut topics = BTreeMap::<String, Partitions>::new();
    if asked.count() == 0 {
        return Ok(topics);
    }
    let committed = match from {
        StartFrom::Committed => Some(consumer.committed_offsets(asked.clone(), ANSWER_WITHIN)?),
        _ => None,
    };
    for element in consumer.offsets_for_times(asked, ANSWER_WITHIN)?.elements() {
        element.error()?;
        let (topic, partition) = (element.topic().to_owned(), element.partition());
        let given = match (from, &committed) {
            (StartFrom::Offsets(offsets), _) => {
                offsets.get(&topic).and_then(|of| of.get(&partition)).copied()
            }
            (_, Some(committed)) => {
                let known = committed.find_partition(&topic, partition);
                known.and_then(|known| absolute(known.offset()))
            }
            (_, None) => None,
        };
        let offset = match given.or_else(|| absolute(element.offset())) {
            Some(offset) => offset,
            // No record of that time or later: the present end.
            None => consumer.fetch_watermarks(&topic, partition, ANSWER_WITHIN)?.1,
        };
        topics.entry(topic).or_default().insert(partition, offset);
    }
    Ok(topics)
}

fn absolute(offset: Offset) -> Option<i64> {
    match offset {
        Offset::Offset(offset) if offset >= 0 => Some(offset),
        _ => None,
    }
}

/// An error's text, without the names of the library's own kinds.
pub(super) fn plain(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => code.to_string(),
        None => error.to_string(),
    }
}

// === impl Teller ===

impl Teller {
    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a question's error means, with the trouble behind it.
    fn explain(&self, error: &KafkaError) -> SourceError {
        let trouble = self.state(|state| state.trouble.clone());
        let refused = error.rdkafka_error_code().is_some_and(is_refusal);
        match trouble {
            Some(Trouble { text, refused: true }) => SourceError::Waiting(text),
            _ if refused => SourceError::Waiting(plain(error)),
            Some(Trouble { text, refused: false }) => SourceError::Retry(text),
            None => SourceError::Retry(format!("the brokers do not answer: {}", plain(error))),
        }
    }

    /// From now on troubles are told to the feed's report at once.
    pub(super) fn opened(&self, kept: &BTreeMap<String, Partitions>) {
        self.state(|state| {
            state.open = true;
            state.kept.clone_from(kept);
        });
    }

    /// What is durable in the hub by now.
    pub(super) fn kept(&self, topic: &str, partition: i32, next: i64) {
        self.state(|state| match state.kept.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, next);
            }
            None => {
                state.kept.insert(topic.to_owned(), Partitions::from([(partition, next)]));
            }
        });
    }

    /// Topics that should be there and are not.
    pub(super) fn missing(&self, topics: Vec<String>) {
        if let Some(first) = topics.first() {
            self.0.report.waiting(format!("topic `{first}` does not exist; it is looked for"));
        }
        self.state(|state| {
            state.running &= topics.is_empty();
            state.missing = topics;
        });
    }

    fn trouble(&self, text: &str, refused: bool) {
        let text: String = text.chars().take(MAX_TROUBLE).collect();
        let open = self.state(|state| {
            state.trouble = Some(Trouble { text: text.clone(), refused });
            state.running = false;
            state.open
        });
        if open {
            self.0.report.waiting(text);
        }
    }

    /// A broker answers.
    fn fine(&self) {
        let tell = self.state(|state| {
            state.trouble = None;
            let well = state.open && state.missing.is_empty();
            well && !std::mem::replace(&mut state.running, well)
        });
        if tell {
            self.0.report.running();
        }
    }
}

pub(super) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SSL
    )
}

impl ClientContext for Teller {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let tokens = self.0.tokens.as_ref();
        tokens.map(Tokens::newest).ok_or_else(|| "the feed has no tokens".into())
    }

    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        if matches!(
            code,
            Some(Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopic)
        ) {
            // The finder says which topic is missing, and when it is back.
            return;
        }
        let refused = code.is_some_and(is_refusal);
        let former = self.state(|state| state.trouble.clone());
        // What a refusal said is more than that the broker hung up after it, and why one broker
        // is away is more than that all are.
        let says_less = match &former {
            Some(Trouble { refused: true, .. }) => !refused,
            Some(_) => code == Some(Code::AllBrokersDown),
            None => false,
        };
        if !says_less {
            let text = if reason.is_empty() { plain(&error) } else { reason.to_owned() };
            self.trouble(&text, refused);
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut brokers = statistics.brokers.values();
        if brokers.any(|broker| broker.state == "UP") {
            self.fine();
        }
        let kept = self.state(|state| state.kept.clone());
        self.0.report.lag(lag(&statistics, &kept));
    }
}

impl ConsumerContext for Teller {}

/// How far the brokers are ahead of what is durable here.
fn lag(statistics: &Statistics, kept: &BTreeMap<String, Partitions>) -> Value {
    let (mut total, mut partitions) = (0, serde_json::Map::new());
    for (topic, next) in kept {
        let known = statistics.topics.get(topic);
        for (partition, next) in next {
            let at = known.and_then(|topic| topic.partitions.get(partition));
            let end =
                at.map(|at| at.ls_offset.max(if at.ls_offset < 0 { at.hi_offset } else { -1 }));
            if let Some(end) = end.filter(|end| *end >= 0) {
                let behind = end.saturating_sub(*next).max(0);
                total += behind;
                partitions.insert(format!("{topic}-{partition}"), behind.into());
            }
        }
    }
    json!({ "total": total, "partitions": partitions })
}
