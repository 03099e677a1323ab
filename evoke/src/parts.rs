//! The rooms of one hub, opened in the order in which they stand on each other.

use std::sync::Arc;

use evoke_controller::{
    Hub, HubParts, InvocationParts, Invocations, Records, Runner, Runners, StoredCode, System,
};
use evoke_event_log::{EventLog, Retention, SegmentLog};
use evoke_feeds::{Clock as FeedClock, EventSink, Supervisor, SystemClock};
use evoke_invoker::Invoker;
use evoke_sandbox::SandboxDriver;
use evoke_schemas::trace::Tracer;
use evoke_trigger_engine::{Clock, Engine, EngineConfig, EngineParts, config::DeliveryConfig};

use evoke_store::Reserve;

use crate::{
    config::Settings, directory::Directory, disk, host::Program, sandbox_api::SandboxApi,
    stores::Stores, telemetry::Exporter,
};

type Failure = Box<dyn std::error::Error>;

/// Driver of sandboxes.
const DRIVER: &str = "process";

/// Everything that runs.
pub(crate) struct Parts {
    /// What is kept.
    pub(crate) stores: Stores,
    /// The log, for backups.
    pub(crate) log: Arc<SegmentLog>,
    /// Accepts and delivers.
    pub(crate) engine: Engine,
    /// Runs actions.
    pub(crate) invoker: Invoker,
    /// The engine's way to the invoker.
    pub(crate) invocations: Arc<Invocations>,
    /// Runs feeds.
    pub(crate) supervisor: Arc<Supervisor>,
    /// Answers requests.
    pub(crate) hub: Arc<Hub>,
    /// The API in the sandboxes.
    pub(crate) sandbox_api: Arc<SandboxApi>,
    /// Sends spans away.
    pub(crate) exporter: Option<Arc<Exporter>>,
}

impl Parts {
    /// Opens all of them; nothing is delivered and nothing listens yet.
    ///
    /// # Errors
    /// What cannot be opened, and why.
    pub(crate) async fn open(settings: &Settings, directory: &Directory) -> Result<Self, Failure> {
        let log = open_log(directory).await?;
        let sandbox_api = Arc::new(SandboxApi::default());
        let (stores, driver) = tokio::try_join!(
            open_stores(settings, directory),
            open_driver(settings, directory, Arc::clone(&sandbox_api)),
        )?;
        let invoker = open_invoker(settings, driver, &stores).await?;
        let engine = open_engine(settings, directory, Arc::clone(&log) as _, &stores).await?;
        let clock: Arc<dyn FeedClock> = Arc::new(SystemClock);
        let config = config_of(settings);
        let manifest = Arc::new(invoker.runtimes().manifest().clone());
        let runner: Arc<dyn Runner> = Arc::new(invoker.clone());
        let system = open_system(&clock)?;
        let entities = system.over(Arc::clone(&stores.entities) as _);
        let runners = Runners::new(policy()?, vec![runner], Arc::clone(&system) as _);
        let invocations = Invocations::new(
            InvocationParts {
                entities: Arc::clone(&entities),
                activations: Arc::clone(&stores.activations) as _,
                identities: Arc::clone(&stores.identities) as _,
                manifest: Arc::clone(&manifest),
                runners: Arc::new(runners),
                clock: Arc::clone(&clock),
            },
            &config,
        );
        let sink: Arc<dyn EventSink> = Arc::new(engine.clone());
        let registry = Arc::new(evoke_providers::registry());
        let supervisor = Supervisor::new(registry, sink, Arc::clone(&clock));
        let hub = Hub::new(HubParts {
            config,
            entities,
            feeds: Arc::clone(&stores.entities) as _,
            activations: Arc::clone(&stores.activations) as _,
            code: Arc::clone(&stores.code),
            identities: Arc::clone(&stores.identities) as _,
            manifest,
            engine: engine.clone(),
            invocations: Arc::clone(&invocations),
            system,
            feed_control: Arc::clone(&supervisor) as _,
            clock,
            build: env!("CARGO_PKG_VERSION").to_owned(),
        });
        hub.answer_from(Arc::new(engine.clone()));
        let exporter = start_traces(settings, &engine, &invocations)?;
        hub.measure_host(Arc::new(Program::new(directory.path(), exporter.clone())));
        Ok(Self {
            stores,
            log,
            engine,
            invoker,
            invocations,
            supervisor,
            hub,
            sandbox_api,
            exporter,
        })
    }
}

async fn open_stores(settings: &Settings, directory: &Directory) -> Result<Stores, Failure> {
    let reserve = Reserve::open(&directory.join(disk::RESERVE), disk::RESERVE_BYTES)?;
    let (code, dev) = (&settings.code_store, settings.dev_keys);
    let (key, reserve) = (settings.seal_key_file.as_deref(), Arc::new(reserve));
    Ok(Stores::open(directory, code, dev, key, Some(reserve)).await?)
}

/// The way to a collector of traces, where one is set.
fn start_traces(
    settings: &Settings,
    engine: &Engine,
    invocations: &Invocations,
) -> Result<Option<Arc<Exporter>>, Failure> {
    let exporter = settings.traces.clone().map(Exporter::start).transpose()?;
    if let Some(exporter) = &exporter {
        let tracer = Tracer::new(Arc::clone(exporter) as _, settings.trace_ratio);
        engine.trace_with(tracer.clone());
        invocations.trace_with(tracer);
    }
    Ok(exporter)
}

fn config_of(settings: &Settings) -> evoke_controller::Config {
    evoke_controller::Config {
        namespace: settings.namespace,
        ..evoke_controller::Config::default()
    }
}

/// The packages of `/whisk.system`.
fn open_system(clock: &Arc<dyn FeedClock>) -> Result<Arc<System>, Failure> {
    let (packages, feeds) = (evoke_providers::packages(), evoke_providers::feed_actions());
    let actions = evoke_providers::native_actions()?;
    Ok(System::new(&packages, feeds, actions, Arc::clone(clock)))
}

/// The one policy, where there is one invoker.
fn policy() -> Result<evoke_placement::Policy, Failure> {
    evoke_placement::POLICIES.first().copied().ok_or_else(|| "no placement policy".into())
}

async fn open_log(directory: &Directory) -> Result<Arc<SegmentLog>, Failure> {
    let path = directory.join("log");
    let opened = tokio::task::spawn_blocking(move || {
        SegmentLog::open(&path, evoke_event_log::Config::default())
    });
    let (log, report) = opened.await??;
    tracing::info!(?report, "event log opened");
    Ok(Arc::new(log))
}

async fn open_driver(
    settings: &Settings,
    directory: &Directory,
    api: Arc<SandboxApi>,
) -> Result<Arc<dyn SandboxDriver>, Failure> {
    let mut config = settings.sandbox.clone();
    directory.path().clone_into(&mut config.data_dir);
    let driver = evoke_sandbox::open_driver(DRIVER, config, api).await?;
    let swept = driver.sweep().await;
    if swept.processes + swept.cgroups + swept.links > 0 {
        tracing::info!(?swept, "what a former life of the hub left is cleared away");
    }
    for note in driver.report().notes {
        tracing::warn!("sandbox: {note}");
    }
    Ok(driver)
}

async fn open_invoker(
    settings: &Settings,
    driver: Arc<dyn SandboxDriver>,
    stores: &Stores,
) -> Result<Invoker, Failure> {
    let config = evoke_invoker::Config {
        memory_mb: settings.sandbox_memory,
        manifest: settings.runtimes.clone(),
        ..evoke_invoker::Config::default()
    };
    let code = Arc::new(StoredCode::new(Arc::clone(&stores.code)));
    let invoker = Invoker::open(config, driver, code).await?;
    for runtime in invoker.runtimes().report() {
        tracing::debug!(?runtime, "runtime");
    }
    Ok(invoker)
}

async fn open_engine(
    settings: &Settings,
    directory: &Directory,
    log: Arc<dyn EventLog>,
    stores: &Stores,
) -> Result<Engine, Failure> {
    let age_ms = u64::try_from(settings.log_age.as_millis()).unwrap_or(u64::MAX);
    let config = EngineConfig {
        delivery: DeliveryConfig {
            running_per_namespace: usize::try_from(settings.namespace.deliveries())
                .unwrap_or(usize::MAX),
            parked_bytes_per_namespace: settings.namespace.undelivered,
            ..DeliveryConfig::default()
        },
        retention: Retention { max_age_ms: Some(age_ms), max_bytes: Some(settings.log_bytes) },
        ..EngineConfig::default()
    };
    let parts = EngineParts {
        log,
        activations: Arc::new(Records::new(Arc::clone(&stores.activations) as _)),
        clock: Clock::system(),
        checkpoints: Some(directory.join("checkpoints")),
    };
    Ok(Engine::open(parts, config).await?)
}
