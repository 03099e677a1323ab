//! The hub over HTTP: paths, key, answers, and errors that say what to do.

use std::{fmt, time::Duration};

use base64::Engine as _;
use evoke_schemas::Secret;
use reqwest::{Method, StatusCode, Url, header};
use serde_json::Value;

use crate::{
    credentials::{self, Places},
    error::CliError,
    options::HubOptions,
};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take: a blocking invocation waits up to 60 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);
/// What the hub says of an entity that is not there.
const MISSING: &str = "The requested resource does not exist.";
/// Most items the hub lists at once.
pub(crate) const MAX_LIST: usize = 200;

/// A hub, with the key of a namespace.
#[derive(Clone)]
pub struct Hub {
    client: reqwest::Client,
    base: Url,
    key: Secret,
}

/// An answer of the hub, whatever its status.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    retry_after: Option<Duration>,
    /// What was asked for, such as `rule r`.
    subject: String,
}

/// A request below `/api/v1/namespaces/_`.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    method: Method,
    namespace: &'a str,
    path: Vec<&'a str>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    content_type: &'static str,
}

// === impl Hub ===

impl Hub {
    /// The hub and key that the options name, or those of this machine.
    ///
    /// # Errors
    /// [`CliError::Refused`] where no key is found, [`CliError::Usage`] for an address that is none.
    pub fn find(options: &HubOptions) -> Result<Self, CliError> {
        let found = credentials::find(options, &Places::here())?;
        let Some(key) = found.key else {
            return Err(CliError::Refused(format!(
                "no key found (looked for {}): start a hub here with `evoke up`, or name its data \
                 directory with --data or a key with --key",
                found.looked.join(", ")
            )));
        };
        Self::connect(&found.host, &key, options.insecure)
    }

    /// The hub at `host`, such as `http://127.0.0.1:3233`, with `key` as `uuid:key`. No connection
    /// is made yet.
    ///
    /// # Errors
    /// [`CliError::Usage`] for an address that is none.
    pub fn connect(host: &str, key: &str, insecure: bool) -> Result<Self, CliError> {
        let usage = |error: &dyn fmt::Display| {
            CliError::Usage(format!("`{host}` is not the address of a hub: {error}"))
        };
        let base = Url::parse(host).map_err(|error| usage(&error))?;
        if base.cannot_be_a_base() {
            return Err(usage(&"it has no host"));
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else installing one at the same time is just as good.
            let _ours = rustls::crypto::ring::default_provider().install_default().is_ok();
        }
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .no_proxy()
            .user_agent(concat!("evoke/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(insecure)
            .build()
            .map_err(|error| usage(&error))?;
        Ok(Self { client, base, key: Secret::new(key) })
    }

    /// Address of the hub, without a slash at its end.
    #[must_use]
    pub fn host(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The key, as `uuid:key`; for actions that act in its name.
    pub(crate) fn key(&self) -> &str {
        self.key.reveal()
    }

    /// The body of the answer to a request that succeeded; an error names what was asked for.
    pub(crate) async fn ask(&self, request: Request<'_>) -> Result<Value, CliError> {
        self.answer(request).await?.success()
    }

    /// The answer, of whatever status.
    pub(crate) async fn answer(&self, request: Request<'_>) -> Result<Answer, CliError> {
        let url = self.url(&["api", "v1", "namespaces", request.namespace], &request)?;
        let subject = request.subject();
        Ok(Answer { subject, ..self.send(url, request).await? })
    }

    /// `GET` of a path from the root, without key.
    pub(crate) async fn about(&self) -> Result<Value, CliError> {
        let request = get(&[]);
        let url = self.url(&[], &request)?;
        self.send(url, request).await?.success()
    }

    fn url(&self, prefix: &[&str], request: &Request<'_>) -> Result<Url, CliError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(prefix.iter().chain(&request.path));
        }
        // A dot segment would be resolved away and name something else.
        if request.path.iter().any(|part| part.is_empty() || matches!(*part, "." | "..")) {
            return Err(CliError::Usage(format!("`{}` is not a name", request.path.join("/"))));
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }

    async fn send(&self, url: Url, request: Request<'_>) -> Result<Answer, CliError> {
        let basic = base64::engine::general_purpose::STANDARD.encode(self.key.reveal());
        let mut builder = self
            .client
            .request(request.method, url)
            .header(header::AUTHORIZATION, format!("Basic {basic}"));
        if let Some(body) = &request.body {
            builder =
                builder.header(header::CONTENT_TYPE, request.content_type).body(body.to_string());
        }
        let response = builder.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        let body = match serde_json::from_str(&text) {
            Ok(body) => body,
            Err(_not_json) if text.is_empty() => Value::Null,
            Err(_not_json) => Value::String(text),
        };
        Ok(Answer { status, body, retry_after, subject: String::new() })
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let host = self.host();
        CliError::Unreachable(if error.is_timeout() && !error.is_connect() {
            format!("the hub at {host} did not answer in time")
        } else if error.is_connect() {
            format!("no hub at {host} ({cause}): is it running? start it with `evoke up`")
        } else {
            format!("the connection to the hub at {host} broke: {cause}")
        })
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

// === impl Answer ===

impl Answer {
    /// The body, or the error that the status stands for.
    pub(crate) fn success(self) -> Result<Value, CliError> {
        if self.status.is_success() { Ok(self.body) } else { Err(self.failure()) }
    }

    /// The error that the status stands for.
    pub(crate) fn failure(self) -> CliError {
        let said = match &self.body {
            Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            body => body.get("error").and_then(Value::as_str),
        };
        let message =
            said.map_or_else(|| format!("the hub answered {}", self.status), str::to_owned);
        match self.status {
            StatusCode::UNAUTHORIZED => CliError::Refused(format!(
                "{message}: the hub does not know this key (is it the key of another data \
                 directory? name it with --data or --key)"
            )),
            StatusCode::FORBIDDEN => CliError::Refused(message),
            StatusCode::NOT_FOUND if message == MISSING => {
                CliError::NotFound(format!("{} does not exist", self.subject))
            }
            StatusCode::NOT_FOUND => CliError::NotFound(self.about(&message)),
            StatusCode::CONFLICT => CliError::Conflict(self.about(&message)),
            StatusCode::TOO_MANY_REQUESTS => {
                CliError::Hub { message, retry_after: self.retry_after }
            }
            status if status.is_server_error() => {
                CliError::Hub { message, retry_after: self.retry_after }
            }
            _ => CliError::Invalid(self.about(&message)),
        }
    }

    fn about(&self, message: &str) -> String {
        if self.subject.is_empty() {
            message.to_owned()
        } else {
            format!("{}: {message}", self.subject)
        }
    }
}

// === impl Request ===

impl Request<'_> {
    /// `rule r` for `rules/r`; the collection itself where that is asked for.
    fn subject(&self) -> String {
        match self.path.as_slice() {
            [] => String::new(),
            [collection] => (*collection).to_owned(),
            [collection, name @ ..] => {
                format!("{} {}", collection.trim_end_matches('s'), name.join("/"))
            }
        }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn query_if(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }
}

impl<'a> Request<'a> {
    /// In this namespace instead of the key's own.
    pub(crate) fn of(mut self, namespace: &'a str) -> Self {
        self.namespace = namespace;
        self
    }
}

fn request<'a>(method: Method, path: &[&'a str]) -> Request<'a> {
    Request {
        method,
        namespace: "_",
        path: path.to_vec(),
        query: Vec::new(),
        body: None,
        content_type: "application/json",
    }
}

pub(crate) fn get<'a>(path: &[&'a str]) -> Request<'a> {
    request(Method::GET, path)
}

pub(crate) fn put<'a>(path: &[&'a str]) -> Request<'a> {
    request(Method::PUT, path)
}

pub(crate) fn post<'a>(path: &[&'a str]) -> Request<'a> {
    request(Method::POST, path)
}

pub(crate) fn delete<'a>(path: &[&'a str]) -> Request<'a> {
    request(Method::DELETE, path)
}
