//! Who calls the API: any method, headers and bytes; the answer with its headers.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::fault::error::FaultError;

/// What relative paths are below.
const ROOT: &str = "/api/v1/namespaces/_";
/// Longest time for one answer: more than the longest blocking call.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// A caller with credentials, or without.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The hub's.
    pub address: SocketAddr,
    /// `Authorization`, where there is one.
    pub authorization: Option<String>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Of the answer.
    pub headers: HeaderMap,
    /// As it came.
    pub body: Bytes,
}

// === impl Ask ===

impl Ask {
    /// A request without a body; a path that does not begin with `/` is below the caller's namespace.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{ROOT}/{path}") };
        Self { method: method.to_owned(), path, headers: Vec::new(), body: Bytes::new() }
    }

    /// With JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").bytes(body.to_string())
    }

    /// With any body.
    #[must_use]
    pub fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

// === impl Reply ===

impl Reply {
    /// The body as JSON; `null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value; empty where it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The sentence of an error; the whole body where it is none.
    #[must_use]
    pub fn error(&self) -> String {
        let error = self.json().get("error").and_then(Value::as_str).map(str::to_owned);
        error.unwrap_or_else(|| self.text())
    }
}

// === impl Caller ===

impl Caller {
    /// The same without credentials.
    #[must_use]
    pub fn nobody(&self) -> Self {
        Self { authorization: None, ..self.clone() }
    }

    /// Sends on a connection of its own.
    ///
    /// # Errors
    /// No answer.
    pub async fn send(&self, ask: Ask) -> Result<Reply, FaultError> {
        let what = format!("{} {}", ask.method, ask.path);
        match timeout(ANSWER_LIMIT, self.exchange(ask)).await {
            Ok(answer) => {
                Ok(answer.map_err(|error| std::io::Error::other(format!("{what}: {error:?}")))?)
            }
            Err(_elapsed) => {
                Err(FaultError::TimedOut { what: "an answer", limit: ANSWER_LIMIT, state: what })
            }
        }
    }

    /// As `send`, and the answer's status is of the 200s.
    ///
    /// # Errors
    /// `Answer` with another status, or none.
    pub async fn good(&self, ask: Ask) -> Result<Reply, FaultError> {
        let (method, path) = (ask.method.clone(), ask.path.clone());
        let reply = self.send(ask).await?;
        if (200..300).contains(&reply.status) {
            return Ok(reply);
        }
        Err(FaultError::Answer { method, path, status: reply.status, body: reply.text() })
    }

    /// GET of JSON that is there.
    ///
    /// # Errors
    /// As `good`.
    pub async fn get(&self, path: &str) -> Result<Value, FaultError> {
        Ok(self.good(Ask::new("GET", path)).await?.json())
    }

    /// PUT of JSON, over what is there.
    ///
    /// # Errors
    /// As `good`.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, FaultError> {
        let path = format!("{path}?overwrite=true");
        Ok(self.good(Ask::new("PUT", &path).json(body)).await?.json())
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// As `good`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply, FaultError> {
        self.good(Ask::new("POST", path).json(body)).await
    }

    async fn exchange(&self, ask: Ask) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        // An error of the connection is also the error of the call that waits on it.
        driver.spawn(async move { drop(connection.await) });
        let mut request = Request::builder()
            .method(ask.method.as_str())
            .uri(&ask.path)
            .header(header::HOST, self.address.to_string());
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let response = sender.send_request(request.body(Full::new(ask.body))?).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}
