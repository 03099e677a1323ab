//! Requests to a CouchDB server: addresses, who asks, and what an answer means.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use evoke_schemas::Secret;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::parameters::Auth;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take, and the silence within one.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read whole. Unit: bytes.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Longest text of an error that is passed on. Unit: bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A server, and who asks it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    http: Client,
    base: Url,
    auth: Auth,
    token: Arc<Mutex<Option<Token>>>,
}

/// A token of IBM's, until it ends.
#[derive(Clone, Debug)]
struct Token {
    text: Secret,
    until: Instant,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The server was not reached, or went silent.
    #[error("{server} cannot be reached: {why}")]
    Away { server: String, why: String },
    /// It said no.
    #[error("{status} {error}: {reason}")]
    Refused { status: u16, error: String, reason: String },
    /// It said something else than CouchDB does.
    #[error("the server's answer is not CouchDB's: {0}")]
    Strange(String),
    /// Its answer is longer than [`MAX_ANSWER_BYTES`].
    #[error("the answer is longer than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
}

/// The client that all requests share; its connections are per server.
pub(super) fn http() -> Result<Client, reqwest::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else installing one at the same time is just as good.
        let _ours = rustls::crypto::ring::default_provider().install_default().is_ok();
    }
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("evoke/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .build()
}

// === impl Server ===

impl Server {
    pub(super) fn new(http: Client, base: Url, auth: Auth) -> Self {
        Self { http, base, auth, token: Arc::default() }
    }

    /// The address of a path below the server's, without credentials.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// A request by who asks, with a query.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(String, String)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        Ok(match &self.auth {
            Auth::Nobody => request,
            Auth::Basic { username, password } => {
                request.basic_auth(username, Some(password.reveal()))
            }
            Auth::Iam { url, key } => request.bearer_auth(self.token(url, key).await?.reveal()),
        })
    }

    /// The answer to a request, once its head is there and says yes.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answer = match tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.away(&error)),
            Err(_elapsed) => return Err(self.silent()),
        };
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    /// The answer to a request as JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, Failure> {
        let answer = self.send(request).await?;
        let body = self.body(answer, MAX_ANSWER_BYTES).await?;
        serde_json::from_slice(&body).map_err(|error| Failure::Strange(error.to_string()))
    }

    /// The body of an answer, at most `max` bytes.
    pub(super) async fn body(&self, mut answer: Response, max: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(bytes) = self.chunk(&mut answer, ANSWER_TIMEOUT).await? {
            if body.len() + bytes.len() > max {
                return Err(Failure::TooLong);
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    /// The next bytes of an answer; `None` at its end. May be dropped without losing any.
    pub(super) async fn chunk(
        &self,
        answer: &mut Response,
        silence: Duration,
    ) -> Result<Option<bytes::Bytes>, Failure> {
        match tokio::time::timeout(silence, answer.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(self.away(&error)),
            Err(_elapsed) => Err(self.silent()),
        }
    }

    fn name(&self) -> String {
        format!("`{}`", self.base.origin().ascii_serialization())
    }

    fn away(&self, error: &reqwest::Error) -> Failure {
        // The address in the error's own text may have a query; its deepest cause says more.
        let mut cause: &dyn std::error::Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        Failure::Away { server: self.name(), why: cause.to_string() }
    }

    fn silent(&self) -> Failure {
        Failure::Away { server: self.name(), why: "it is silent".to_owned() }
    }

    async fn refusal(&self, answer: Response) -> Failure {
        #[derive(Deserialize, Default)]
        struct Said {
            #[serde(default)]
            error: Value,
            #[serde(default)]
            reason: Value,
        }
        let text = |value: Value| match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let status = answer.status();
        let body = self.body(answer, MAX_ERROR_BYTES).await.unwrap_or_default();
        let said = serde_json::from_slice::<Said>(&body).unwrap_or_default();
        let error = match text(said.error) {
            error if error.is_empty() => {
                status.canonical_reason().unwrap_or("without a reason").to_lowercase()
            }
            error => error,
        };
        Failure::Refused { status: status.as_u16(), error, reason: text(said.reason) }
    }

    /// IBM's token for the key, asked for anew a minute before it ends.
    async fn token(&self, url: &Url, key: &Secret) -> Result<Secret, Failure> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: Secret,
            expires_in: u64,
        }
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = known.filter(|token| token.until > Instant::now()) {
            return Ok(token.text);
        }
        // A form is written as a query is.
        let mut form = url.clone();
        form.query_pairs_mut()
            .clear()
            .append_pair("grant_type", "urn:ibm:params:oauth:grant-type:apikey")
            .append_pair("apikey", key.reveal());
        let request = self
            .http
            .post(url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(form.query().unwrap_or_default().to_owned());
        let granted: Granted = self.json(request).await.map_err(|failure| match failure {
            // The token server's refusal is one of the credentials, whatever its own number.
            Failure::Refused { status: 400..=404, error, reason } => {
                Failure::Refused { status: StatusCode::UNAUTHORIZED.as_u16(), error, reason }
            }
            other => other,
        })?;
        let lasts = Duration::from_secs(granted.expires_in.saturating_sub(60));
        let token = Token { text: granted.access_token, until: Instant::now() + lasts };
        let mut known = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.insert(token).text.clone())
    }
}

// === impl Failure ===

impl Failure {
    /// The status of a refusal.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Away { .. } | Self::Strange(_) | Self::TooLong => None,
        }
    }

    /// Whether CouchDB itself says that there is no such database: another server's 404, of a
    /// proxy for one, does not tell so.
    pub(super) fn is_of_no_database(&self) -> bool {
        matches!(self, Self::Refused { status: 404, error, .. } if error == "not_found")
    }
}
