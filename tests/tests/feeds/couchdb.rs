//! A database of CouchDB's: every document's revision.

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
        caller::{Ask, Caller},
        entities::{ECHO, node, records_when, text, trigger},
        place::Place,
        service::Service,
        wait::SOON,
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::campaign::{self, Course, Done, Subject, TRIGGER};

/// Documents written at the same time, so that several are under way whenever the hub dies.
const WRITERS: usize = 4;
/// Pause before a write is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// The server under test, with a database of numbered documents.
struct Couch(Service);

impl Couch {
    async fn start(room: &Path) -> Result<Self, FaultError> {
        let couch = Self(Service::couch(room).await?);
        couch.caller().good(Ask::new("PUT", "/numbers")).await?;
        Ok(couch)
    }

    fn caller(&self) -> Caller {
        self.0.caller("admin", "secret")
    }

    /// Writes a document, trying until the server has it.
    async fn write(&self, number: usize) -> Done {
        let path = format!("/numbers/{}", name(number));
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

    fn feed(&self) -> Value {
        json!({"provider": "couchdb", "trigger": TRIGGER, "parameters": {
            "host": "127.0.0.1", "port": self.0.port, "protocol": "http", "dbname": "numbers",
            "username": "admin", "password": "secret", "include_docs": true,
        }})
    }
}

fn name(number: usize) -> String {
    format!("d{number:05}")
}

impl Subject for Couch {
    fn feeds(&self) -> Vec<(String, Value)> {
        vec![("numbers".to_owned(), self.feed())]
    }

    async fn produce(self: Arc<Self>, records: usize, produced: Arc<AtomicUsize>) -> Done {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (couch, produced) = (Arc::clone(&self), Arc::clone(&produced));
            writers.spawn(async move {
                for number in (writer..records).step_by(WRITERS) {
                    couch.write(number).await?;
                    produced.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<_, FaultError>(())
            });
        }
        while let Some(writer) = writers.join_next().await {
            writer.map_err(std::io::Error::from)??;
        }
        Ok(())
    }

    async fn restart(&self) -> Done {
        self.0.end().await?;
        self.0.again().await
    }

    fn check(&self, records: usize, events: &[Value], activations: &[Value]) {
        let mut times = BTreeMap::<String, usize>::new();
        for event in events {
            *times.entry(text(event, "/event/subject")).or_default() += 1;
        }
        let doubles: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
        assert_eq!(doubles, [], "documents of several events");
        let mut ran = BTreeMap::<String, u64>::new();
        for record in activations {
            let id = text(record, "/response/result/args/id");
            let number = record.pointer("/response/result/args/doc/n").and_then(Value::as_u64);
            ran.insert(id, number.unwrap_or(u64::MAX));
        }
        for number in 0..records {
            let id = name(number);
            assert!(times.contains_key(&id), "{id} is no event");
            assert_eq!(ran.get(&id), Some(&(number as u64)), "{id} did not run with its document");
        }
        assert_eq!(times.len(), records, "events of nothing that was written");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_every_document_is_one_event_and_an_activation_though_all_die() -> Done {
    let course = Course::of(
        Course { records: 300, kills: 5, restarts: 1, between: 2 },
        Course { records: 10_000, kills: 20, restarts: 3, between: 10 },
    );
    let mut place = Place::new()?;
    let couch = Arc::new(Couch::start(place.room()).await?);
    campaign::run(&mut place, couch, course).await?;
    place.done();
    Ok(())
}

#[tokio::test]
async fn f18_a_server_that_is_away_is_told_and_mends_by_itself() -> Done {
    let mut place = Place::new()?;
    let couch = Couch::start(place.room()).await?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, TRIGGER, &json!({}), &["echo"], &Value::Null).await?;
    caller.put("feeds/numbers", &couch.feed()).await?;
    let away = async || couch.0.end().await;
    let back = async || couch.0.again().await;
    let (gone, mended) = campaign::unplug(&caller, "numbers", away, back).await?;
    assert_eq!(text(&gone, "/status/state"), "waiting");
    assert!(text(&gone, "/status/reason").contains("127.0.0.1"), "{gone}");
    assert!(text(&mended, "/status/lastError").contains("127.0.0.1"), "{mended}");
    couch.write(7).await?;
    let records = records_when(&caller, "echo", 1).await?;
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
