//! Tokens for OAUTHBEARER: asked for with a client's credentials (RFC 6749, 4.4), and anew before
//! they end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use evoke_feeds::SourceError;
use evoke_schemas::Secret;
use rdkafka::client::OAuthToken;
use reqwest::Url;
use serde::Deserialize;
use tokio::task::JoinHandle;

/// Who asks for tokens, and where.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OAuth {
    #[serde(deserialize_with = "url")]
    pub(super) token_url: Url,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    #[serde(default)]
    pub(super) scope: Option<String>,
}

fn url<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Url, D::Error> {
    let text = String::deserialize(text)?;
    Url::parse(&text).map_err(serde::de::Error::custom)
}

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest answer. Unit: bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Wait after the endpoint did not answer well.
const AGAIN: Duration = Duration::from_secs(5);
/// Life of a token that does not say how long it lasts.
const USUAL_LIFE: Duration = Duration::from_secs(300);
/// Shortest time between two tokens.
const SHORTEST: Duration = Duration::from_secs(1);

/// The newest token, kept new as long as this lives.
#[derive(Debug)]
pub(super) struct Tokens {
    newest: Arc<Mutex<Token>>,
    principal: String,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Token {
    text: Secret,
    /// Unit: epoch milliseconds.
    until_ms: i64,
    life: Duration,
}

// === impl Tokens ===

impl Tokens {
    /// Asks for the first token.
    ///
    /// # Errors
    /// [`SourceError::Waiting`] where the endpoint says no, [`SourceError::Retry`] where it is away.
    pub(super) async fn open(oauth: &OAuth) -> Result<Self, SourceError> {
        let first = ask(oauth).await?;
        let newest = Arc::new(Mutex::new(first));
        let task = tokio::spawn(renew(oauth.clone(), Arc::clone(&newest)));
        Ok(Self { newest, principal: oauth.client_id.clone(), task })
    }

    /// The newest token, as the client takes it.
    pub(super) fn newest(&self) -> OAuthToken {
        let token = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        OAuthToken {
            token: token.text.reveal().to_owned(),
            principal_name: self.principal.clone(),
            lifetime_ms: token.until_ms,
        }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn renew(oauth: OAuth, newest: Arc<Mutex<Token>>) {
    loop {
        let life = newest.lock().unwrap_or_else(PoisonError::into_inner).life;
        tokio::time::sleep((life * 7 / 10).max(SHORTEST)).await;
        loop {
            match ask(&oauth).await {
                Ok(token) => {
                    *newest.lock().unwrap_or_else(PoisonError::into_inner) = token;
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "no new token for Kafka");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

async fn ask(oauth: &OAuth) -> Result<Token, SourceError> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: Secret,
        expires_in: Option<u64>,
    }
    let away = |why: &dyn std::fmt::Display| {
        SourceError::Retry(format!("the endpoint of tokens cannot be reached: {why}"))
    };
    // A form is written as a query is.
    let mut form = oauth.token_url.clone();
    form.query_pairs_mut().clear().append_pair("grant_type", "client_credentials");
    if let Some(scope) = &oauth.scope {
        form.query_pairs_mut().append_pair("scope", scope);
    }
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else installing one at the same time is just as good.
        let _ours = rustls::crypto::ring::default_provider().install_default().is_ok();
    }
    let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy();
    let http = http.redirect(reqwest::redirect::Policy::none()).build();
    let http = http.map_err(|error| away(&error.without_url()))?;
    let asked = http
        .post(oauth.token_url.clone())
        .basic_auth(&oauth.client_id, Some(oauth.client_secret.reveal()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned())
        .send()
        .await;
    let mut answer = asked.map_err(|error| away(&error.without_url()))?;
    let status = answer.status();
    if status.is_server_error() {
        return Err(away(&status));
    }
    if !status.is_success() {
        let text = format!("the endpoint of tokens refuses the client: {status}");
        return Err(SourceError::Waiting(text));
    }
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(|error| away(&error.without_url()))? {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_ANSWER {
            return Err(SourceError::Waiting("the answer with a token is too long".to_owned()));
        }
    }
    // Its text may hold the token, so that the error does not quote it.
    let granted: Granted = serde_json::from_slice(&body).map_err(|_secret| {
        SourceError::Waiting("the endpoint of tokens answers without `access_token`".to_owned())
    })?;
    let life = granted.expires_in.map_or(USUAL_LIFE, Duration::from_secs);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let until_ms = i64::try_from((now + life).as_millis()).unwrap_or(i64::MAX);
    Ok(Token { text: granted.access_token, until_ms, life })
}
