//! A supervised feed on a database of its own, asked directly or through the proxy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use evoke_feeds::{EventSink, FeedState, FeedStatus, MemorySink, Supervisor, SystemClock};
use evoke_providers::{couchdb::classic, registry};
use evoke_schemas::{EntityName, EntityUid, Event, Feed, KeyValues, Namespace};
use serde_json::{Map, Value, json};

use super::{proxy::Proxy, server::Server};

/// How long anything may take before a test calls it stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(120);
pub(crate) const FEED: EntityUid = EntityUid([9; 16]);

static NAMES: AtomicU64 = AtomicU64::new(0);

/// How the feed asks its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Direct,
    Proxy,
}

/// A database, and a feed of it into a sink in memory.
pub(crate) struct Rig {
    pub(crate) server: Arc<Server>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) db: String,
    pub(crate) sink: Arc<MemorySink>,
    pub(crate) supervisor: Arc<Supervisor>,
    generation: AtomicU64,
}

impl Rig {
    pub(crate) async fn new(via: Via) -> Self {
        Self::on(Server::shared(), via).await
    }

    pub(crate) async fn on(server: Arc<Server>, via: Via) -> Self {
        let proxy = match via {
            Via::Direct => None,
            Via::Proxy => Some(Proxy::start(server.url()).await),
        };
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let db = format!("evoke-test-{}-{number}", std::process::id());
        server.make(&db).await;
        let sink = MemorySink::new();
        let supervisor = supervise(&sink);
        Self { server, proxy, db, sink, supervisor, generation: AtomicU64::new(0) }
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a proxy")
    }

    /// Parameters of a feed of this database, with more.
    pub(crate) fn parameters(&self, more: Value) -> Map<String, Value> {
        let url = self.server.url();
        let port =
            self.proxy.as_ref().map_or(url.port_or_known_default(), |proxy| Some(proxy.port));
        let host = if self.proxy.is_some() { Some("127.0.0.1") } else { url.host_str() };
        let protocol = if self.proxy.is_some() { "http" } else { url.scheme() };
        let mut parameters = json!({"host": host, "port": port, "protocol": protocol,
            "username": url.username(), "password": url.password(), "dbname": self.db,
            "heartbeat": 300});
        let members = parameters.as_object_mut().unwrap();
        members.extend(more.as_object().cloned().unwrap_or_default());
        members.clone()
    }

    /// CREATE, UPDATE, PAUSE and UNPAUSE; returns when the feed has a position.
    pub(crate) async fn apply(&self, more: Value, paused: bool) {
        self.want(more, paused).await;
        within("a position", self.sink.wait_for_position(FEED)).await;
    }

    /// The same, without waiting.
    pub(crate) async fn want(&self, more: Value, paused: bool) {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let feed = self.feed(generation, self.parameters(more), paused);
        within("the wish", self.supervisor.apply(feed)).await.unwrap();
    }

    /// The hub stops and starts again.
    pub(crate) async fn restart(&mut self, more: Value) {
        within("the end", self.supervisor.shutdown()).await;
        self.supervisor = supervise(&self.sink);
        let generation = self.generation.load(Ordering::SeqCst);
        let feed = self.feed(generation, self.parameters(more), false);
        within("the wish", self.supervisor.apply(feed)).await.unwrap();
    }

    fn feed(&self, generation: u64, parameters: Map<String, Value>, paused: bool) -> Feed {
        Feed {
            namespace: Namespace::new("guest").unwrap(),
            name: EntityName::new("documents").unwrap(),
            uid: FEED,
            generation,
            provider: "couchdb".to_owned(),
            trigger: EntityName::new("changed").unwrap(),
            parameters,
            annotations: KeyValues::default(),
            feed_action: None,
            paused,
            reset: None,
            updated: 0,
        }
    }

    pub(crate) async fn put(&self, id: &str, doc: Value) -> String {
        self.server.put(&self.db, id, doc).await
    }

    /// Waits until so many events came; exactly these must be there.
    pub(crate) async fn events(&self, count: usize) -> Vec<Event> {
        let came = tokio::time::timeout(STUCK, self.sink.wait_for(count)).await;
        let events = self.sink.events();
        let status = self.supervisor.status(FEED);
        assert!(came.is_ok(), "stuck: {} of {count} events: {status:?}", events.len());
        assert_eq!(events.len(), count, "more than was to come: {:?}", ids(&events));
        events
    }

    /// The document ids of the events, in order.
    pub(crate) async fn documents(&self, count: usize) -> Vec<String> {
        ids(&self.events(count).await)
    }

    /// Waits until the status is so.
    pub(crate) async fn status(
        &self,
        what: &str,
        is_so: impl Fn(&FeedStatus) -> bool,
    ) -> FeedStatus {
        let asked = tokio::time::Instant::now();
        loop {
            let status = self.supervisor.status(FEED).expect("a status");
            if is_so(&status) {
                return status;
            }
            assert!(asked.elapsed() < STUCK, "never {what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the feed waits for a reason with these words.
    pub(crate) async fn waiting(&self, words: &str) -> FeedStatus {
        self.status(words, |status| {
            let says = status.reason.as_ref().is_some_and(|reason| reason.contains(words));
            status.state == FeedState::Waiting && says
        })
        .await
    }

    pub(crate) async fn running(&self) -> FeedStatus {
        self.status("running", |status| status.state == FeedState::Running).await
    }

    /// Writes a design document with a filter of the type's name.
    pub(crate) async fn put_filter(&self) {
        let filter = "function(doc, req) { return doc.type === req.query.type; }";
        self.put("_design/pick", json!({"filters": {"fruit": filter}})).await;
    }
}

pub(crate) fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| classic(event)["id"].as_str().unwrap().to_owned()).collect()
}

/// A member of an event's data.
pub(crate) fn member(event: &Event, name: &str) -> Option<Value> {
    event.arguments().get(name).cloned()
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STUCK, future).await {
        Ok(done) => done,
        Err(_late) => panic!("stuck: waited for {what}"),
    }
}

pub(crate) fn supervise(sink: &Arc<MemorySink>) -> Arc<Supervisor> {
    let sink = Arc::clone(sink) as Arc<dyn EventSink>;
    Supervisor::new(Arc::new(registry()), sink, Arc::new(SystemClock))
}
