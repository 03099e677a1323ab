//! A proxy that makes the server look like a CouchDB cluster: sequences in text that are another
//! each time, lives of databases, counts of what is pending, selectors; and that fails on demand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use reqwest::{Client, Method, Url};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

/// Continuous feeds are cut off after so many bytes, in the middle of a line.
const CUT_AFTER: usize = 3_000;

/// The proxy, until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// How it behaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Mood {
    /// As a server does.
    #[default]
    Well,
    /// Every request is answered so.
    Answers(u16, Value),
    /// Nothing is answered, and what is under way is silent.
    Silent,
    /// Continuous feeds give nothing, all else is well.
    HoldsBack,
}

#[derive(Debug)]
struct Shared {
    upstream: Url,
    http: Client,
    mood: watch::Sender<Mood>,
    cluster: Mutex<Cluster>,
}

#[derive(Debug, Default)]
struct Cluster {
    /// Lives of databases; what was there before the proxy has none.
    lives: HashMap<String, u64>,
    answers: u64,
    refused: usize,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) async fn start(upstream: &Url) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream: upstream.clone(),
            http: super::server::client(8),
            mood: watch::Sender::default(),
            cluster: Mutex::default(),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the proxy serves");
        });
        Self { port, shared, task }
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.shared.mood.send_replace(mood);
    }

    /// Requests that were answered with an error on demand.
    pub(crate) fn refused(&self) -> usize {
        self.shared.cluster().refused
    }

    /// Tells of a database that was made anew behind the proxy's back.
    pub(crate) fn made(&self, db: &str) {
        let mut cluster = self.shared.cluster();
        cluster.answers += 1;
        let life = cluster.answers;
        cluster.lives.insert(db.to_owned(), life);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Shared ===

impl Shared {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's number as a cluster tells it: text, another each time.
    fn opaque(&self, seq: &mut Value) {
        if let Some(number) = seq.as_u64() {
            let mut cluster = self.cluster();
            cluster.answers += 1;
            *seq = format!("{number}-g1AAAACbe{:x}", cluster.answers).into();
        }
    }

    async fn wait_while_silent(&self) {
        let mut mood = self.mood.subscribe();
        let _open = mood.wait_for(|mood| *mood != Mood::Silent).await.is_ok();
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.wait_while_silent().await;
    let mood = shared.mood.borrow().clone();
    if let Mood::Answers(status, body) = mood {
        shared.cluster().refused += 1;
        return answer(status, &body);
    }
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let mut url = shared.upstream.clone();
    url.set_path(head.uri.path());
    url.set_query(head.uri.query());
    url.set_username("").unwrap();
    url.set_password(None).unwrap();
    let wanted = Wanted::take(&mut url, &body);
    let method = if wanted.selector.is_some() { Method::GET } else { head.method.clone() };
    let mut upstream = shared.http.request(method, url.clone()).body(body);
    for name in [header::CONTENT_TYPE, header::AUTHORIZATION] {
        if let Some(value) = head.headers.get(&name) {
            upstream = upstream.header(name, value);
        }
    }
    let Ok(given) = upstream.send().await else {
        return answer(502, &json!({"error": "bad_gateway", "reason": "upstream is away"}));
    };
    let status = given.status().as_u16();
    if wanted.continuous && status == 200 {
        return feed(shared, wanted, given);
    }
    let headers = content_type(given.headers());
    let Ok(bytes) = given.bytes().await else {
        return answer(502, &json!({"error": "bad_gateway", "reason": "upstream went away"}));
    };
    let path: Vec<_> = head.uri.path().split('/').filter(|part| !part.is_empty()).collect();
    match (path.as_slice(), serde_json::from_slice::<Value>(&bytes)) {
        ([db], Ok(about)) if about.is_object() => {
            database(&shared, db, &head.method, status, about)
        }
        ([db, "_changes"], Ok(page)) if status == 200 => changes(&shared, db, &wanted, page).await,
        (_, _) => (StatusCode::from_u16(status).unwrap(), headers, bytes).into_response(),
    }
}

fn answer(status: u16, body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::from_u16(status).unwrap(), json, body.to_string()).into_response()
}

fn content_type(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.get(header::CONTENT_TYPE).cloned();
    kept.map(|value| (header::CONTENT_TYPE, value)).into_iter().collect()
}

/// What CouchDB says where the other server says less.
fn database(shared: &Shared, db: &str, method: &Method, status: u16, mut about: Value) -> Response {
    if status == 404 {
        return answer(404, &json!({"error": "not_found", "reason": "Database does not exist."}));
    }
    if *method == Method::GET && status == 200 {
        shared.opaque(&mut about["update_seq"]);
        let life = shared.cluster().lives.get(db).copied().unwrap_or(1);
        about["instance_start_time"] = (1_700_000_000 + life).to_string().into();
        about["cluster"] = json!({"q": 2, "n": 1, "w": 1, "r": 1});
    }
    answer(status, &about)
}

/// A feed that is asked for what there is.
async fn changes(shared: &Shared, db: &str, wanted: &Wanted, mut page: Value) -> Response {
    let mut about = shared.upstream.clone();
    about.set_path(db);
    let about: Value = match shared.http.get(about).send().await {
        Ok(answer) => answer.json().await.unwrap_or_default(),
        Err(_away) => Value::Null,
    };
    let last = page["last_seq"].as_u64().unwrap_or_default();
    let newest = about["update_seq"].as_u64().unwrap_or_default();
    page["pending"] = newest.saturating_sub(last).into();
    let rows = page["results"].as_array_mut().unwrap();
    rows.retain_mut(|row| wanted.passes(row));
    for row in rows {
        shared.opaque(&mut row["seq"]);
    }
    shared.opaque(&mut page["last_seq"]);
    answer(200, &page)
}

/// A continuous feed, line by line, cut off in the middle of one.
fn feed(shared: Arc<Shared>, wanted: Wanted, given: reqwest::Response) -> Response {
    let state = (shared, wanted, given, Vec::<u8>::new(), 0_usize);
    let lines =
        futures::stream::unfold(state, |(shared, wanted, mut given, mut rest, sent)| async move {
            loop {
                if sent == usize::MAX {
                    return Some((Err(Cut), (shared, wanted, given, rest, sent)));
                }
                let mood = shared.mood.borrow().clone();
                if mood == Mood::HoldsBack {
                    std::future::pending::<()>().await;
                }
                shared.wait_while_silent().await;
                if let Mood::Answers(..) = mood {
                    return None;
                }
                if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let Some(mut line) = wanted.line(&shared, line) else { continue };
                    if sent > CUT_AFTER && line.len() > 2 {
                        line.truncate(line.len() / 2);
                        let cut = (shared, wanted, given, rest, usize::MAX);
                        // Then the connection breaks.
                        return Some((Ok(line), cut));
                    }
                    let sent = sent.saturating_add(line.len());
                    return Some((Ok(line), (shared, wanted, given, rest, sent)));
                }
                match given.chunk().await {
                    Ok(Some(bytes)) => rest.extend_from_slice(&bytes),
                    Ok(None) | Err(_) => return None,
                }
            }
        });
    Body::from_stream(lines).into_response()
}

/// The connection is cut off.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut off")
    }
}

impl std::error::Error for Cut {}

/// What a request wants that the server behind does not know.
#[derive(Debug)]
struct Wanted {
    continuous: bool,
    selector: Option<Value>,
    designs: bool,
    with_docs: bool,
}

// === impl Wanted ===

impl Wanted {
    /// Takes it out of the request, and gives sequences back as the server knows them.
    fn take(url: &mut Url, body: &[u8]) -> Self {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let get = |name: &str| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        let selected = get("filter") == Some("_selector");
        let wanted = Self {
            continuous: get("feed") == Some("continuous"),
            selector: selected
                .then(|| serde_json::from_slice::<Value>(body).unwrap()["selector"].clone()),
            designs: get("filter") == Some("_design"),
            with_docs: get("include_docs") == Some("true"),
        };
        if pairs.is_empty() {
            return wanted;
        }
        let mut query = url.query_pairs_mut();
        query.clear();
        for (name, value) in &pairs {
            match name.as_str() {
                "since" => {
                    let number = value.split_once("-g1AAAACbe").map_or(value.as_str(), |(n, _)| n);
                    query.append_pair("since", number);
                }
                "filter" | "include_docs" if selected => {}
                "filter" if wanted.designs => {}
                _ => {
                    query.append_pair(name, value);
                }
            }
        }
        if selected {
            query.append_pair("include_docs", "true");
        }
        drop(query);
        wanted
    }

    /// Whether a row is wanted, and the row as it is wanted.
    fn passes(&self, row: &mut Value) -> bool {
        if self.designs {
            return row["id"].as_str().is_some_and(|id| id.starts_with("_design/"));
        }
        let Some(selector) = self.selector.as_ref().and_then(Value::as_object) else { return true };
        let passes = selector.iter().all(|(name, value)| row["doc"].get(name) == Some(value));
        if !self.with_docs {
            row.as_object_mut().unwrap().remove("doc");
        }
        passes
    }

    fn line(&self, shared: &Shared, line: Vec<u8>) -> Option<Vec<u8>> {
        let Ok(mut row) = serde_json::from_slice::<Value>(&line) else { return Some(line) };
        if !self.passes(&mut row) {
            return None;
        }
        shared.opaque(&mut row["seq"]);
        Some(format!("{row}\n").into_bytes())
    }
}
