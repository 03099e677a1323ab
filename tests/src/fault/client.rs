//! A plain HTTP client of the hub: one connection that is made anew after every failure.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use super::error::FaultError;

/// Longest time for one answer; a hub under test on a busy machine is slow, never silent.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Pause before a call that failed is tried again.
const BACK_OFF: Duration = Duration::from_millis(20);
/// Longest time that a call is tried.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why there was no answer. All of them are retried.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("connect")]
    Connect(#[from] std::io::Error),
    /// The connection broke, or what came was not HTTP.
    #[error("exchange")]
    Exchange(#[from] hyper::Error),
    /// The request is not one.
    #[error("request")]
    Request(#[from] hyper::http::Error),
    /// Silence.
    #[error("no answer within {ANSWER_LIMIT:?}")]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `PUT`, …
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// Beside authorization and content type.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, or none.
    pub body: Option<Value>,
}

impl Call {
    /// A request without a body.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), headers: Vec::new(), body: None }
    }

    /// A PUT of JSON.
    #[must_use]
    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { method: "PUT", path: path.into(), headers: Vec::new(), body: Some(body) }
    }
}

/// Status and body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// As it came.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// One connection at most, to one hub.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    /// `Basic …`; empty before the hub has made its credentials.
    authorization: String,
    sender: Option<http1::SendRequest<Full<Bytes>>>,
    driver: JoinSet<()>,
}

impl Client {
    /// Connects at the first call.
    #[must_use]
    pub fn new(address: SocketAddr, authorization: String) -> Self {
        Self { address, authorization, sender: None, driver: JoinSet::new() }
    }

    /// One try.
    ///
    /// # Errors
    /// No answer, for whatever reason; it is not known whether the hub did what was asked.
    pub async fn once(&mut self, call: &Call) -> Result<Answer, CallError> {
        let answer =
            timeout(ANSWER_LIMIT, self.exchange(call)).await.map_err(CallError::from).flatten();
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    /// Tries until there is an answer other than 429 and 5xx.
    ///
    /// # Errors
    /// `TimedOut` after two minutes.
    pub async fn insist(&mut self, call: &Call) -> Result<Answer, FaultError> {
        let mut last = String::from("not tried");
        let tries = async {
            loop {
                match self.once(call).await {
                    Ok(answer) if answer.status == 429 || answer.status >= 500 => {
                        last =
                            format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
                    }
                    Ok(answer) => break answer,
                    Err(error) => last = format!("{error:?}"),
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        };
        let answer = timeout(PATIENCE, tries).await;
        answer.map_err(|_elapsed| FaultError::TimedOut {
            what: "an answer",
            limit: PATIENCE,
            state: format!("{} {}: {last}", call.method, call.path),
        })
    }

    /// As `insist`, and the answer is 200.
    ///
    /// # Errors
    /// `TimedOut`, or `Answer` with another status.
    pub async fn done(&mut self, call: &Call) -> Result<Answer, FaultError> {
        let answer = self.insist(call).await?;
        if answer.status == 200 {
            return Ok(answer);
        }
        Err(FaultError::Answer {
            method: call.method.into(),
            path: call.path.clone(),
            status: answer.status,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        })
    }

    async fn exchange(&mut self, call: &Call) -> Result<Answer, CallError> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await?;
        let mut request = Request::builder()
            .method(call.method)
            .uri(&call.path)
            .header(header::HOST, self.address.to_string())
            .header(header::ACCEPT, "application/json");
        if !self.authorization.is_empty() {
            request = request.header(header::AUTHORIZATION, &self.authorization);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let body = call.body.as_ref().map(ToString::to_string).unwrap_or_default();
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        self.sender = Some(sender);
        Ok(Answer { status, body })
    }

    async fn connect(&mut self) -> Result<http1::SendRequest<Full<Bytes>>, CallError> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.driver.abort_all();
        // An error of the connection is also the error of the call that waits on it.
        self.driver.spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}
