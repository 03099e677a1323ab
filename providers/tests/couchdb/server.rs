//! The server under test: the one that `COUCHDB_URL` names, else one that is started here.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use reqwest::{Client, Method, StatusCode, Url};
use serde_json::{Value, json};

/// A server that speaks CouchDB's protocol.
#[derive(Debug)]
pub(crate) struct Server {
    url: Url,
    http: Client,
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    port: u16,
    run: tempfile::TempDir,
}

/// One server for the tests that run at the same time.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// A client that keeps at most so many idle connections.
pub(crate) fn client(idle: usize) -> Client {
    let _there_already = rustls::crypto::ring::default_provider().install_default().is_err();
    Client::builder().no_proxy().pool_max_idle_per_host(idle).build().unwrap()
}

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/services/couch.sh")
}

// === impl Server ===

impl Server {
    /// The server that tests share.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
        let named = std::env::var("COUCHDB_URL").ok();
        let server = Arc::new(match named {
            Some(url) => Self::at(Url::parse(&url).expect("an address"), None),
            None => Self::own(),
        });
        *shared = Arc::downgrade(&server);
        server
    }

    /// A server of one's own, to be stopped and started.
    pub(crate) fn own() -> Self {
        // Free when asked for; who takes it in between makes the start fail, and it is tried again.
        for _ in 0..3 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let run = tempfile::tempdir().unwrap();
            let started = Started { port, run };
            if started.command("start", &[]) {
                let url = format!("http://admin:secret@127.0.0.1:{port}");
                return Self::at(Url::parse(&url).unwrap(), Some(started));
            }
        }
        panic!("the server does not start");
    }

    fn at(url: Url, started: Option<Started>) -> Self {
        // Connections of one test's runtime are of no use to another's.
        let http = client(0);
        Self { url, http, started }
    }

    pub(crate) fn stop(&self) {
        let started = self.started.as_ref().expect("a server of one's own");
        assert!(started.command("stop", &["keep"]), "the server does not stop");
    }

    pub(crate) fn start(&self) {
        let started = self.started.as_ref().expect("a server of one's own");
        assert!(started.command("start", &[]), "the server does not start again");
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Asks for a path with its query; the answer's status and JSON.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let request = self.http.request(method, self.url.join(path).unwrap());
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.expect("the server answers");
        let status = answer.status();
        (status, answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn must(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// Makes a database of one shard, whose changes come in the order they were made.
    pub(crate) async fn make(&self, db: &str) {
        self.must(Method::PUT, &format!("/{db}?q=1"), None).await;
    }

    /// Writes a document, over what is there; its revision.
    pub(crate) async fn put(&self, db: &str, id: &str, mut doc: Value) -> String {
        let path = format!("/{db}/{id}");
        let (status, there) = self.ask(Method::GET, &path, None).await;
        if status.is_success() {
            doc["_rev"] = there["_rev"].clone();
        }
        let made = self.must(Method::PUT, &path, Some(doc)).await;
        made["rev"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn delete(&self, db: &str, id: &str) {
        let there = self.must(Method::GET, &format!("/{db}/{id}"), None).await;
        let path = format!("/{db}/{id}?rev={}", there["_rev"].as_str().unwrap());
        self.must(Method::DELETE, &path, None).await;
    }

    /// Writes new revisions of these documents at once.
    pub(crate) async fn bulk(&self, db: &str, docs: Vec<Value>) -> Vec<Value> {
        let path = format!("/{db}/_bulk_docs");
        let made = self.must(Method::POST, &path, Some(json!({"docs": docs}))).await;
        let made = made.as_array().cloned().unwrap();
        assert!(made.iter().all(|made| made["rev"].is_string()), "refused: {made:?}");
        made
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Also one that did not start whole.
        self.command("stop", &[]);
    }
}

// === impl Started ===

impl Started {
    fn command(&self, verb: &str, more: &[&str]) -> bool {
        Command::new(script())
            .arg(verb)
            .args(more)
            .env("COUCH_PORT", self.port.to_string())
            .env("COUCH_RUN", self.run.path().join("couch"))
            .env("COUCH_USER", "admin")
            .env("COUCH_PASS", "secret")
            .stdout(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}
