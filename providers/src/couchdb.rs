//! CouchDB: an event for each change of a database's documents.

pub mod actions;
mod batch;
pub mod changes;
mod client;
mod database;
mod diff;
mod event;
mod face;
mod parameters;
mod position;
mod reader;

use std::sync::Mutex;

use async_trait::async_trait;
use evoke_feeds::{
    Batch, BatchEnd, FeedContext, Fields, Provider, ResetTo, Source, SourceError, Start,
};
use tokio::{sync::mpsc, task::JoinHandle};

use changes::Seq;
pub use event::{DELETED_TYPE, UPDATED_TYPE, classic};
pub use face::{PACKAGE, feed_actions, native_actions};
use parameters::Since;
pub use parameters::{IAM_URL, Parameters};
use position::Position;
use reader::{Begin, Given, Reader};

/// Batches that wait to be asked for; the reader rests while they do.
const READ_AHEAD: usize = 1;

/// The provider `couchdb`.
///
/// One event for each row of the changes feed: each revision of a document that the feed shows,
/// once. CouchDB shows of a document only the newest change.
#[derive(Debug, Default)]
pub struct CouchDb {
    /// Made when first needed; its connections are shared by all feeds.
    http: Mutex<Option<reqwest::Client>>,
}

/// An open feed of changes: the far end of a [`Reader`].
#[derive(Debug)]
struct Changes {
    given: mpsc::Receiver<Given>,
    task: JoinHandle<()>,
}

#[async_trait]
impl Provider for CouchDb {
    const NAME: &'static str = "couchdb";
    type Parameters = Parameters;

    fn parameters(fields: &mut Fields<'_>) -> Option<Parameters> {
        Parameters::read(fields)
    }

    async fn open(
        &self,
        feed: FeedContext,
        parameters: Parameters,
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError> {
        let http = self.http()?;
        let server = client::Server::new(http, parameters.server.clone(), parameters.auth.clone());
        let database = database::Database::new(server, &parameters);
        let (begin, position) = begin(from, &parameters, feed.key.generation)?;
        let (out, given) = mpsc::channel(READ_AHEAD);
        let reader = Reader::new(feed, database, parameters, position, out);
        Ok(Box::new(Changes { given, task: tokio::spawn(reader.run(begin)) }))
    }
}

impl CouchDb {
    fn http(&self) -> Result<reqwest::Client, SourceError> {
        let mut made = self.http.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(http) = &*made {
            return Ok(http.clone());
        }
        let http = client::http().map_err(|error| SourceError::Retry(error.to_string()))?;
        Ok(made.insert(http).clone())
    }
}

/// Where the reader begins, and the position that it begins with.
fn begin(
    from: Start,
    parameters: &Parameters,
    generation: u64,
) -> Result<(Begin, Position), SourceError> {
    let dbname = parameters.dbname.as_str();
    let anew =
        |since: Since, round| (Begin::Pin(since), Position::new(Seq::beginning(), dbname, round));
    match from {
        Start::Fresh => Ok(anew(parameters.since.clone(), 0)),
        Start::After(stored) => {
            let position: Position = serde_json::from_slice(&stored).map_err(|error| {
                SourceError::Fatal(format!("the stored position is unreadable: {error}"))
            })?;
            // A sequence counts in its own database only.
            if position.dbname == dbname {
                Ok((Begin::Go, position))
            } else {
                Ok(anew(parameters.since.clone(), generation))
            }
        }
        Start::Reset(ResetTo::Latest) => Ok(anew(Since::Now, generation)),
        Start::Reset(ResetTo::Earliest) => Ok(anew(Since::After(Seq::beginning()), generation)),
        Start::Reset(ResetTo::Position(value)) => match Seq::try_from(value) {
            Ok(seq) => Ok(anew(Since::After(seq), generation)),
            Err(error) => Err(SourceError::Fatal(error.to_string())),
        },
        Start::Reset(ResetTo::Time(_)) => Err(SourceError::Fatal(
            "CouchDB keeps no times of changes: reset to `earliest`, `latest` or a sequence"
                .to_owned(),
        )),
    }
}

// === impl Changes ===

#[async_trait]
impl Source for Changes {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        match self.given.recv().await {
            Some(given) => given,
            None => Err(SourceError::Retry("the reader of the changes ended".to_owned())),
        }
    }

    async fn ended(&mut self, end: BatchEnd) -> Result<(), SourceError> {
        match end {
            // The server is told nothing: the position is the hub's.
            BatchEnd::Kept => Ok(()),
            // To go on would be to pass over the changes: they stay until they can be taken.
            BatchEnd::Refused(reason) => Err(SourceError::Waiting(reason)),
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::Url;
    use serde_json::json;

    use super::{
        parameters::{Auth, Filter},
        *,
    };

    fn parameters() -> Parameters {
        Parameters {
            server: Url::parse("http://127.0.0.1").unwrap(),
            dbname: "fruit".to_owned(),
            auth: Auth::Nobody,
            since: Since::Now,
            filter: Filter::All,
            shape: parameters::Shape::default(),
            max_events: None,
            heartbeat: Duration::from_secs(6),
            batch: parameters::Bounds::default(),
        }
    }

    /// What is pinned, if anything is, and the round of the events.
    fn begun(from: Start) -> Result<(Option<Since>, u64), String> {
        match begin(from, &parameters(), 7) {
            Ok((Begin::Pin(since), position)) => Ok((Some(since), position.round)),
            Ok((Begin::Go, position)) => Ok((None, position.round)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn stored(dbname: &str) -> Start {
        Start::After(json!({"seq": "7-a", "dbname": dbname, "round": 3}).to_string().into())
    }

    #[test]
    fn f11_a_reset_reads_from_there_in_a_round_of_its_own() {
        let reset = |to| begun(Start::Reset(to));
        let seq = |value| Some(Since::After(Seq::try_from(value).unwrap()));
        assert_eq!(reset(ResetTo::Latest), Ok((Some(Since::Now), 7)));
        assert_eq!(reset(ResetTo::Earliest), Ok((seq(json!(0)), 7)));
        assert_eq!(reset(ResetTo::Position(json!("9-x"))), Ok((seq(json!("9-x")), 7)));
        assert!(reset(ResetTo::Position(json!({"seq": 1}))).is_err());
        assert!(reset(ResetTo::Time(1_000)).unwrap_err().contains("no times of changes"));
    }

    #[test]
    fn a_position_goes_on_in_its_own_database_only() {
        assert_eq!(begun(Start::Fresh), Ok((Some(Since::Now), 0)));
        assert_eq!(begun(stored("fruit")), Ok((None, 3)));
        assert_eq!(begun(stored("roots")), Ok((Some(Since::Now), 7)));
        assert!(begun(Start::After("rubbish".into())).is_err());
    }
}
