//! The exporter of spans: a bounded queue, a task that sends what is in it to a collector, and
//! numbers of what was dropped. Nothing of the hub ever waits for it.

use std::{sync::Arc, time::Duration};

use evoke_controller::SpanCounts;
use evoke_schemas::{
    Secret,
    measure::Counter,
    trace::{Span, SpanSink},
};
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::otlp;

/// Spans that wait; what comes when it is full is dropped and counted.
const QUEUE: usize = 16_384;
/// Most spans of one request.
const MOST_AT_ONCE: usize = 512;
/// Longest wait of a span for others to go with.
const LINGER: Duration = Duration::from_millis(500);
/// Longest time for one request.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often a batch is sent at most.
const TRIES: u32 = 4;
/// First wait before a batch is sent again; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Where spans go.
#[derive(Clone, Debug)]
pub(crate) struct ExporterSettings {
    /// The collector's base address; `/v1/traces` is added.
    pub(crate) endpoint: Url,
    /// Headers of each request.
    pub(crate) headers: Vec<Header>,
    /// What the hub is called.
    pub(crate) service: String,
}

/// A header that is sent to the collector.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    name: reqwest::header::HeaderName,
    value: Secret,
}

/// A collector that spans are sent to.
#[derive(Debug)]
pub(crate) struct Exporter {
    queue: mpsc::Sender<Span>,
    measures: Arc<Measures>,
    stop: CancellationToken,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Measures {
    exported: Counter,
    overflowed: Counter,
    refused: Counter,
}

/// The task's own.
struct Sending {
    client: reqwest::Client,
    url: Url,
    headers: reqwest::header::HeaderMap,
    service: String,
    measures: Arc<Measures>,
    stop: CancellationToken,
    /// Whether the last batch was taken, so that a collector that is away is told once.
    good: bool,
}

impl std::str::FromStr for Header {
    type Err = String;

    /// `NAME=VALUE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
        let name = name.trim().parse().map_err(|error| format!("{error}"))?;
        let sound = reqwest::header::HeaderValue::from_str(value.trim()).is_ok();
        let value = Secret::new(value.trim());
        if sound { Ok(Self { name, value }) } else { Err("has no value that can be sent".into()) }
    }
}

impl Exporter {
    /// Starts the task.
    ///
    /// # Errors
    /// The client cannot be made.
    pub(crate) fn start(settings: ExporterSettings) -> Result<Arc<Self>, reqwest::Error> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else installing one at the same time is just as good.
            let _ours = rustls::crypto::ring::default_provider().install_default().is_ok();
        }
        let client = reqwest::Client::builder()
            .timeout(ANSWER_WITHIN)
            .no_proxy()
            .user_agent(concat!("evoke/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let mut headers = reqwest::header::HeaderMap::new();
        for Header { name, value } in settings.headers {
            if let Ok(mut value) = reqwest::header::HeaderValue::from_str(value.reveal()) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        let (queue, inbox) = mpsc::channel(QUEUE);
        let (measures, stop) = (Arc::<Measures>::default(), CancellationToken::new());
        let sending = Sending {
            client,
            url: traces_of(settings.endpoint),
            headers,
            service: settings.service,
            measures: Arc::clone(&measures),
            stop: stop.clone(),
            good: true,
        };
        let task = std::sync::Mutex::new(Some(tokio::spawn(sending.run(inbox))));
        Ok(Arc::new(Self { queue, measures, stop, task }))
    }

    /// What became of spans so far.
    pub(crate) fn counts(&self) -> SpanCounts {
        SpanCounts {
            exported: self.measures.exported.get(),
            overflowed: self.measures.overflowed.get(),
            refused: self.measures.refused.get(),
        }
    }

    /// Sends what is in the queue, each batch once, and ends; at most for so long.
    pub(crate) async fn end(&self, within: Duration) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(task) = task else { return };
        if tokio::time::timeout(within, task).await.is_err() {
            tracing::info!("the last spans were not exported in time");
        }
    }
}

impl SpanSink for Exporter {
    fn take(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.measures.overflowed.one();
        }
    }
}

/// `/v1/traces` below the collector's base address.
fn traces_of(mut endpoint: Url) -> Url {
    if let Ok(mut path) = endpoint.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "traces"]);
    }
    endpoint
}

// === impl Sending ===

impl Sending {
    async fn run(mut self, mut inbox: mpsc::Receiver<Span>) {
        let mut spans = Vec::with_capacity(MOST_AT_ONCE);
        loop {
            let came = tokio::select! {
                biased;
                came = inbox.recv_many(&mut spans, MOST_AT_ONCE) => came,
                () = self.stop.cancelled() => 0,
            };
            if came == 0 {
                return;
            }
            self.gather(&mut inbox, &mut spans).await;
            self.send(&spans).await;
            spans.clear();
        }
    }

    /// Waits a moment for more, so that few requests carry much.
    async fn gather(&self, inbox: &mut mpsc::Receiver<Span>, spans: &mut Vec<Span>) {
        let enough = tokio::time::sleep(LINGER);
        tokio::pin!(enough);
        while spans.len() < MOST_AT_ONCE {
            let room = MOST_AT_ONCE - spans.len();
            tokio::select! {
                biased;
                came = inbox.recv_many(spans, room) => if came == 0 { return },
                () = self.stop.cancelled() => return,
                () = &mut enough => return,
            }
        }
    }

    async fn send(&mut self, spans: &[Span]) {
        let body = otlp::body(&self.service, spans).to_string();
        let mut wait = FIRST_WAIT;
        for attempt in 1..=TRIES {
            let failure = match self.post(body.clone()).await {
                Ok(()) => {
                    self.measures.exported.add(spans.len() as u64);
                    self.good = true;
                    return;
                }
                Err(failure) => failure,
            };
            if std::mem::take(&mut self.good) {
                tracing::warn!(collector = %self.url, failure = %failure.why, "spans are not taken");
            }
            if !failure.may_pass || attempt == TRIES || self.stop.is_cancelled() {
                break;
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
            wait *= 2;
        }
        self.measures.refused.add(spans.len() as u64);
    }

    async fn post(&self, body: String) -> Result<(), Failure> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone());
        let answer = request.header(CONTENT_TYPE, "application/json").body(body).send().await;
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                let status = answer.status();
                let may_pass =
                    status == StatusCode::TOO_MANY_REQUESTS || matches!(status.as_u16(), 502..=504);
                Err(Failure { why: format!("answered {status}"), may_pass })
            }
            Err(error) => Err(Failure { why: error.without_url().to_string(), may_pass: true }),
        }
    }
}

/// Why a batch was not taken.
struct Failure {
    why: String,
    /// Whether sending it again may help.
    may_pass: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_below_the_base() {
        for (base, want) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example/otlp/", "https://otel.example/otlp/v1/traces"),
        ] {
            assert_eq!(traces_of(base.parse().unwrap()).as_str(), want);
        }
    }

    #[test]
    fn a_header_is_read_and_not_shown() {
        let header: Header = "api-key = s3cret".parse().unwrap();
        assert!(!format!("{header:?}").contains("s3cret"));
        for bad in ["x", "a b=c", "a=b\nc"] {
            assert!(bad.parse::<Header>().is_err(), "{bad:?}");
        }
    }
}
