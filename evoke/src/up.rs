//! The life of a running hub: open, serve, deliver, drain.

use std::{future::Future, process::ExitCode, sync::Arc, time::Duration};

use evoke_cli::Output;
use evoke_controller::{Api, delete_ended};
use evoke_store::{ActivationStore as _, FeedStore as _};
use evoke_trigger_engine::{Clock, Steps};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backup::Source,
    config::Settings,
    control::{ControlSocket, Desk},
    directory::Directory,
    disk, notify,
    parts::Parts,
    server::{self, Server, Share},
    tls::Certificate,
    welcome,
};

type Failure = Box<dyn std::error::Error>;

/// How long requests under way may go on at the end.
const REQUESTS_WITHIN: Duration = Duration::from_secs(10);
/// How long runs under way may go on at the end; what does not end is delivered at the next start.
const RUNS_WITHIN: Duration = Duration::from_secs(10);
/// How long the last spans may take to a collector.
const SPANS_WITHIN: Duration = Duration::from_secs(2);
/// How often activation records are looked at for their age.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);

/// Runs the hub until a signal, or until its log fails.
///
/// # Errors
/// What could not be opened or bound.
pub(crate) async fn run(settings: Settings) -> Result<ExitCode, Failure> {
    let signals = Signals::listen()?;
    let directory = Directory::open(&settings.data)?;
    let _claim = directory.claim()?;
    let parts = Parts::open(&settings, &directory).await?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let listener = server::bind(settings.listen)?;
    let address = listener.local_addr()?;
    let metrics = settings.metrics_listen.map(server::bind).transpose()?;
    let control = ControlSocket::bind(&directory)?;
    let server = Server::new(Api::new(Arc::clone(&parts.hub)), settings.connections, stop.clone());
    parts.sandbox_api.serve_with(server.clone());
    let loaded = parts.hub.load().await?;
    tracing::info!(triggers = loaded.triggers, rules = loaded.rules, "entities loaded");
    let tls = settings.tls.as_ref().map(Certificate::acceptor).transpose()?;
    server.listen(listener, tls, Share::Api, stop.child_token());
    if let Some(metrics) = metrics {
        serve_operators(metrics, &parts, &server, &stop)?;
    }
    parts.engine.start(Arc::clone(&parts.invocations) as _)?;
    start_feeds(&parts).await?;
    let source = Source::new(&directory, Arc::clone(&parts.log), &parts.stores);
    let desk = Desk { keeper: Arc::clone(&parts.hub) as _, source };
    tasks.spawn(control.serve(desk, stop.clone()));
    if let Some(certificate) = settings.tls.clone() {
        tasks.spawn(certificate.follow(Arc::clone(&signals.reload), stop.clone()));
    }
    tasks.spawn(expire(
        Arc::clone(&parts.stores.activations),
        settings.activation_age,
        stop.clone(),
    ));
    tasks.spawn(disk::watch(&parts, &settings, &directory).run(stop.clone()));
    tasks.spawn(delete_ended(Arc::clone(&parts.hub), stop.clone()));
    // Who finds the address finds a hub that is ready.
    parts.hub.set_ready();
    directory.keep_address(address, settings.tls.is_some())?;
    tracing::info!(%address, data = %directory.path().display(), "ready");
    notify::tell(notify::State::Ready);
    let shown = show(&settings, &directory, address, stop.clone());
    let failed = until_end(signals, &parts, shown).await;
    notify::tell(notify::State::Stopping);
    parts.hub.set_ending();
    if failed.as_ref().is_ok_and(|failed| !failed) {
        tokio::time::sleep(settings.drain_delay).await;
    }
    let draining = drain(&parts, &server, &stop, &tasks);
    let drained = tokio::time::timeout(settings.drain_within, draining).await;
    directory.forget_address();
    if drained.is_err() {
        tracing::error!("the end took too long: what is under way is resumed at the next start");
    }
    Ok(if failed? || drained.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Shows the metrics of all namespaces on a listener of their own.
fn serve_operators(
    listener: TcpListener,
    parts: &Parts,
    server: &Server,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let operators = server.with(Api::operators(Arc::clone(&parts.hub)));
    operators.listen(listener, None, Share::Operators, stop.child_token());
    tracing::info!(%address, "metrics for operators");
    Ok(())
}

async fn start_feeds(parts: &Parts) -> Result<(), Failure> {
    for feed in parts.stores.entities.feeds(None).await? {
        parts.supervisor.apply(feed).await?;
    }
    Ok(())
}

/// Applies the manifest and prints what happens, as far as either is wanted.
async fn show(
    settings: &Settings,
    directory: &Directory,
    address: std::net::SocketAddr,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let tls = settings.tls.is_some();
    let host = format!("{}://{address}", if tls { "https" } else { "http" });
    let key = directory.credentials()?.unwrap_or_default();
    let client = evoke_cli::Hub::connect(&host, &key, tls)?;
    let mut output = Output::standard(false);
    if let Some(manifest) = &settings.apply {
        evoke_cli::apply_manifest(&client, manifest, &mut output).await?;
    }
    if settings.follow {
        let program = std::env::args().next().unwrap_or_else(|| "evoke".to_owned());
        welcome::print(address, tls, &settings.data, &program)?;
        let until = async move { stop.cancelled().await };
        evoke_cli::follow_activations(&client, &mut output, until).await?;
    }
    Ok(())
}

/// Whether the hub ended because it failed.
async fn until_end(
    mut signals: Signals,
    parts: &Parts,
    shown: impl Future<Output = Result<(), Failure>>,
) -> Result<bool, Failure> {
    tokio::pin!(shown);
    let mut showing = true;
    loop {
        tokio::select! {
            () = signals.next() => {
                tracing::info!("ending: what is under way is finished or resumed at the next start");
                exit_at_second(signals);
                return Ok(false);
            }
            failure = parts.engine.failed() => {
                tracing::error!(%failure, "the hub cannot go on and ends; it recovers at the next start");
                return Ok(true);
            }
            shown = &mut shown, if showing => {
                showing = false;
                shown?;
            }
        }
    }
}

/// Requests and feeds stop first, then deliveries, then sandboxes, then what is kept.
async fn drain(parts: &Parts, server: &Server, stop: &CancellationToken, tasks: &TaskTracker) {
    stop.cancel();
    parts.supervisor.shutdown().await;
    if !server.drained(REQUESTS_WITHIN).await {
        tracing::warn!("requests under way were cut off");
    }
    if tokio::time::timeout(RUNS_WITHIN, parts.engine.shutdown()).await.is_err() {
        tracing::info!("deliveries under way are resumed at the next start");
    }
    // What still waits for room waits no more: it is delivered again at the next start.
    if let Some(reserve) = &parts.stores.reserve {
        reserve.end();
    }
    parts.invoker.shutdown(Duration::from_secs(1)).await;
    keep_the_last(parts).await;
    tasks.close();
    tasks.wait().await;
}

/// Records that are staged become durable, spans that wait are sent.
async fn keep_the_last(parts: &Parts) {
    if let Err(error) = parts.stores.activations.flush().await {
        tracing::error!(%error, "the last activation records may be lost");
    }
    if let Some(exporter) = &parts.exporter {
        exporter.end(SPANS_WITHIN).await;
    }
}

async fn expire(
    activations: Arc<evoke_store::EmbeddedActivations>,
    age: Duration,
    stop: CancellationToken,
) {
    let (clock, mut steps) = (Clock::system(), Steps::default());
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EXPIRE_EVERY) => {}
        }
        steps.look(&clock);
        if !steps.is_settled(&clock) {
            continue;
        }
        let before = clock.now_ms().saturating_sub(age_ms);
        if let Err(error) = activations.expire(before).await {
            tracing::warn!(%error, "old activation records stay");
        }
    }
}

/// SIGINT and SIGTERM; SIGHUP tells `reload`.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    reload: Arc<Notify>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let reload = Arc::new(Notify::new());
        let (mut hangup, told) = (signal(SignalKind::hangup())?, Arc::clone(&reload));
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                tracing::info!("SIGHUP: certificate and key are read again, where there are any");
                told.notify_one();
            }
        });
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            reload,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A second signal ends at once: nothing accepted is lost by it.
fn exit_at_second(mut signals: Signals) {
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(130);
    });
}
