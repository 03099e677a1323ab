//! A feed of CouchDB through the whole hub, while the hub and the server die: each document's
//! revision becomes one event of the log, in order, and at least one activation.
//!
//! 300 documents, 5 kills and one restart of the server; with EVOKE_FULL=1, 10,000, 20 and 3.
#![expect(clippy::panic, reason = "a test that cannot go on ends")]

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::Engine as _;
use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{ECHO, node, text, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

type Done = Result<(), FaultError>;

/// Documents written at the same time, so that several are under way whenever the hub dies.
const WRITERS: usize = 4;
/// Longest wait for what was written to arrive, of the full run.
const ARRIVES_WITHIN: Duration = Duration::from_secs(300);
/// Pause before a write is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// Longest list that is asked for.
const PAGE: usize = 200;

/// The server under test, in a folder of its own.
struct Couch {
    port: u16,
    run: PathBuf,
}

impl Couch {
    async fn start(room: &Path) -> Result<Self, FaultError> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let couch = Self { port, run: room.join("couch") };
        couch.command(&["start"]).await?;
        Ok(couch)
    }

    async fn command(&self, words: &[&str]) -> Done {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/couch.sh");
        let ended = Command::new(script)
            .args(words)
            .env("COUCH_PORT", self.port.to_string())
            .env("COUCH_RUN", &self.run)
            .stdout(std::process::Stdio::null())
            .status()
            .await?;
        if ended.success() {
            return Ok(());
        }
        Err(std::io::Error::other(format!("couch.sh {words:?}: {ended}")).into())
    }

    /// Writes a document, trying until the server has it.
    async fn write(&self, id: &str, number: usize) -> Done {
        let path = format!("/numbers/{id}");
        let start = Instant::now();
        loop {
            let ask = Ask::new("PUT", &path).json(&json!({"n": number}));
            let state = match self.caller().send(ask).await {
                // A conflict is with this very write, whose answer was lost.
                Ok(reply) if matches!(reply.status, 201 | 202 | 409) => return Ok(()),
                Ok(reply) => reply.text(),
                Err(error) => error.to_string(),
            };
            if start.elapsed() > SOON {
                return Err(FaultError::TimedOut { what: "the write", limit: SOON, state });
            }
            sleep(AGAIN).await;
        }
    }

    fn caller(&self) -> Caller {
        let basic = base64::engine::general_purpose::STANDARD.encode("admin:secret");
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        Caller { address, authorization: Some(format!("Basic {basic}")) }
    }

    fn feed(&self) -> Value {
        json!({"provider": "couchdb", "trigger": "changed", "parameters": {
            "host": "127.0.0.1", "port": self.port, "protocol": "http", "dbname": "numbers",
            "username": "admin", "password": "secret", "include_docs": true,
        }})
    }
}

impl Drop for Couch {
    /// Also after a test that failed.
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/couch.sh");
        let mut stop = std::process::Command::new(script);
        let stop = stop.arg("stop").env("COUCH_PORT", self.port.to_string());
        drop(stop.env("COUCH_RUN", &self.run).status());
    }
}

/// Everything of a list, page after page; nothing may be added to it meanwhile.
async fn all(caller: &Caller, path: &str) -> Result<Vec<Value>, FaultError> {
    let mut found = Vec::new();
    loop {
        let page = caller.get(&format!("{path}&limit={PAGE}&skip={}", found.len())).await?;
        let Value::Array(page) = page else { panic!("no list: {page}") };
        let last = page.len() < PAGE;
        found.extend(page);
        if last {
            return Ok(found);
        }
    }
}

fn spawn_writers(
    couch: &Arc<Couch>,
    documents: usize,
    written: &Arc<AtomicUsize>,
) -> tokio::task::JoinSet<Done> {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (couch, written) = (Arc::clone(couch), Arc::clone(written));
        writers.spawn(async move {
            for number in (writer..documents).step_by(WRITERS) {
                couch.write(&format!("d{number:05}"), number).await?;
                written.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
    }
    writers
}

async fn when(written: &AtomicUsize, count: usize) -> Done {
    until("documents to be written", ARRIVES_WITHIN, async || {
        let now = written.load(Ordering::SeqCst);
        Ok(if now >= count { Ok(()) } else { Err(format!("{now} of {count}")) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_document_is_one_event_and_an_activation_though_all_die() -> Done {
    let full = std::env::var_os("EVOKE_FULL").is_some();
    let (documents, kills, restarts) = if full { (10_000, 20, 3) } else { (300, 5, 1) };
    let mut place = Place::new()?;
    let couch = Arc::new(Couch::start(place.room()).await?);
    couch.caller().good(Ask::new("PUT", "/numbers")).await?;
    let (mut hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, "changed", &json!({}), &["echo"], &Value::Null).await?;
    let made = caller.put("feeds/numbers", &couch.feed()).await?;
    assert_eq!(made["status"]["pinned"], json!(true), "{made}");
    assert!(!made.to_string().contains("secret"), "{made}");

    let written = Arc::<AtomicUsize>::default();
    let mut writers = spawn_writers(&couch, documents, &written);
    let deaths = kills + restarts;
    for death in 1..=deaths {
        when(&written, documents * death / (deaths + 1)).await?;
        if death % (deaths / restarts) == 0 {
            couch.command(&["stop", "keep"]).await?;
            couch.command(&["start"]).await?;
        } else {
            hub.kill().await?;
            hub = place.launch.start()?;
            hub.ready().await?;
        }
    }
    while let Some(writer) = writers.join_next().await {
        writer.map_err(std::io::Error::from)??;
    }
    let count = || async { caller.get("activations?count=true&name=echo").await };
    until("an activation for each document", ARRIVES_WITHIN, async || {
        let count = count().await?["activations"].as_u64().unwrap_or_default();
        Ok(if count >= documents as u64 { Ok(()) } else { Err(format!("{count} of {documents}")) })
    })
    .await?;
    check(&caller, documents).await?;
    hub.stop().await?;
    place.done();
    Ok(())
}

async fn check(caller: &Caller, documents: usize) -> Done {
    let mut events = BTreeMap::<String, usize>::new();
    for event in all(caller, "events?trigger=changed").await? {
        *events.entry(text(&event, "/event/subject")).or_default() += 1;
    }
    let doubles: Vec<_> = events.iter().filter(|(_, times)| **times != 1).collect();
    assert_eq!(doubles, [], "documents of several events");
    let mut ran = BTreeMap::<String, u64>::new();
    for record in all(caller, "activations?docs=true&name=echo").await? {
        let id = text(&record, "/response/result/args/id");
        let number = record.pointer("/response/result/args/doc/n").and_then(Value::as_u64);
        ran.insert(id, number.unwrap_or(u64::MAX));
    }
    for number in 0..documents {
        let id = format!("d{number:05}");
        assert!(events.contains_key(&id), "{id} is no event");
        assert_eq!(ran.get(&id), Some(&(number as u64)), "{id} did not run with its document");
    }
    assert_eq!(events.len(), documents, "events of nothing that was written");
    Ok(())
}

/// What a feed says while its server is away, and that it mends by itself.
#[tokio::test]
async fn a_server_that_is_away_is_told_and_mends_by_itself() -> Done {
    let mut place = Place::new()?;
    let couch = Couch::start(place.room()).await?;
    couch.caller().good(Ask::new("PUT", "/numbers")).await?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, "changed", &json!({}), &["echo"], &Value::Null).await?;
    caller.put("feeds/numbers", &couch.feed()).await?;
    let state = |wanted: &'static str| {
        let caller = caller.clone();
        async move {
            until("the feed's state", Duration::from_secs(30), async || {
                let feed = caller.get("feeds/numbers").await?;
                let state = text(&feed, "/status/state");
                Ok(if state == wanted { Ok(feed) } else { Err(feed.to_string()) })
            })
            .await
        }
    };
    state("running").await?;
    couch.command(&["stop", "keep"]).await?;
    let away = state("waiting").await?;
    assert!(text(&away, "/status/reason").contains("127.0.0.1"), "{away}");
    couch.command(&["start"]).await?;
    let back = state("running").await?;
    assert!(text(&back, "/status/lastError").contains("127.0.0.1"), "{back}");
    couch.write("d0", 7).await?;
    let records = evoke_tests::e2e::entities::records_when(&caller, "echo", 1).await?;
    assert_eq!(records[0].pointer("/response/result/args/doc/n"), Some(&json!(7)));
    let shown = place.run(&["feed", "get", "numbers", "--data", "DATA"]).await?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in ["running", "last error", "position", "\"***\""] {
        assert!(shown.contains(part), "no {part} in:\n{shown}");
    }
    hub.stop().await?;
    place.done();
    Ok(())
}
