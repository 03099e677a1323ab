//! A hub that expects requests in an order and gives prepared answers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// `id:key` as Basic credentials.
const BASIC: &str = "authorization: Basic aWQ6a2V5";

/// Requests to expect, each with its answer.
#[derive(Default)]
pub(crate) struct Script {
    steps: Vec<Step>,
    repeat_last: bool,
}

#[derive(Clone)]
struct Step {
    request: String,
    /// Whether `request` is only its beginning.
    begins: bool,
    body: Option<Value>,
    headers: Vec<String>,
    reply: Reply,
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<String>,
    body: String,
}

/// The hub while it runs.
pub(crate) struct Hub {
    host: String,
    left: Arc<Mutex<VecDeque<Step>>>,
    wrong: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn reply(status: u16, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Reply { status, headers: Vec::new(), body }
}

/// A port that nobody listens on.
pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Reply {
    pub(crate) fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn step(mut self, method: &str, path: &str, body: Option<Value>, reply: Reply) -> Self {
        let request = format!("{method} {path}");
        let headers = vec![BASIC.to_owned()];
        self.steps.push(Step { request, begins: false, body, headers, reply });
        self
    }

    pub(crate) fn get(self, path: &str, reply: Reply) -> Self {
        self.step("GET", path, None, reply)
    }

    /// A `GET` whose path begins so.
    pub(crate) fn get_begins(self, path: &str, reply: Reply) -> Self {
        let mut script = self.step("GET", path, None, reply);
        if let Some(step) = script.steps.last_mut() {
            step.begins = true;
        }
        script
    }

    /// The last request may come any number of times.
    pub(crate) fn repeat_last(mut self) -> Self {
        self.repeat_last = true;
        self
    }

    pub(crate) fn put(self, path: &str, body: Value, reply: Reply) -> Self {
        self.step("PUT", path, Some(body), reply)
    }

    pub(crate) fn put_any(self, path: &str, reply: Reply) -> Self {
        self.step("PUT", path, None, reply)
    }

    pub(crate) fn post(self, path: &str, body: Value, reply: Reply) -> Self {
        self.step("POST", path, Some(body), reply)
    }

    pub(crate) fn delete(self, path: &str, reply: Reply) -> Self {
        self.step("DELETE", path, None, reply)
    }

    /// The last request must carry this header too.
    pub(crate) fn with_header(mut self, line: &str) -> Self {
        if let Some(step) = self.steps.last_mut() {
            step.headers.push(line.to_owned());
        }
        self
    }

    pub(crate) async fn start(self) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = format!("http://{}", listener.local_addr().expect("an address"));
        let repeated = self.steps.last().filter(|_| self.repeat_last).cloned();
        let left = Arc::new(Mutex::new(VecDeque::from(self.steps)));
        let wrong = Arc::<Mutex<Vec<String>>>::default();
        let hub = Hub { host, left: Arc::clone(&left), wrong: Arc::clone(&wrong) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let step = left.lock().expect("no panic").pop_front().or_else(|| repeated.clone());
                serve(stream, step, &wrong).await;
            }
        });
        hub
    }
}

impl Hub {
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Every request came, as it was expected.
    pub(crate) fn all_used(&self) {
        let wrong = self.wrong.lock().expect("no panic").clone();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let left: Vec<_> =
            self.left.lock().expect("no panic").iter().map(|s| s.request.clone()).collect();
        assert!(left.is_empty(), "requests that did not come: {left:?}");
    }
}

/// Notes what is wrong with one request, then answers it; `None` where the client went away.
async fn serve(stream: TcpStream, step: Option<Step>, wrong: &Mutex<Vec<String>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.parse().unwrap_or(0);
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let request = head.first()?.trim_end_matches(" HTTP/1.1").to_owned();
    let note = |mistake: String| wrong.lock().expect("no panic").push(mistake);
    let Some(step) = step else {
        note(format!("nobody expected {request}"));
        return None;
    };
    step.mistake(&request, &head, &body).map(note);
    let Reply { status, headers, body: text } = &step.reply;
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let answer = format!(
        "HTTP/1.1 {status} x\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()
}

impl Step {
    fn mistake(&self, request: &str, head: &[String], body: &[u8]) -> Option<String> {
        let same =
            if self.begins { request.starts_with(&self.request) } else { request == self.request };
        if !same {
            return Some(format!("expected {}, got {request}", self.request));
        }
        let has = |line: &&String| !head.iter().any(|there| there.eq_ignore_ascii_case(line));
        if let Some(missing) = self.headers.iter().find(has) {
            return Some(format!("{request}: no header `{missing}` in {head:?}"));
        }
        let sent: Option<Value> = serde_json::from_slice(body).ok();
        match &self.body {
            Some(expected) if sent.as_ref() != Some(expected) => {
                Some(format!("{request}: expected {expected}, got {sent:?}"))
            }
            _ => None,
        }
    }
}
