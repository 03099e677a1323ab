//! The settings of a hub, checked whole before anything is bound.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use evoke_invoker::{Manifest, ManifestError};
use evoke_sandbox::Cidr;
use evoke_schemas::{NamespaceLimits, namespace_limits::CapError};
use evoke_store::{Seal, SealError};
use tracing_subscriber::EnvFilter;

use crate::{
    args::{NetworkChoice, Up},
    settings::Told,
    telemetry::ExporterSettings,
    tls::{self, Certificate},
};

/// Least memory for all sandboxes together. Unit: MB.
const MIN_SANDBOX_MEMORY: u64 = 256;
/// Least budget of the event log. Unit: MB.
const MIN_LOG_SIZE: u64 = 256;
/// Least budget of the data directory. Unit: MB.
const MIN_DISK_BUDGET: u64 = 512;
/// Least time for the end of a hub. Unit: seconds.
const MIN_DRAIN: u64 = 1;

/// Settings that fit together.
pub(crate) struct Settings {
    /// Directory of everything that is kept.
    pub(crate) data: PathBuf,
    /// Address of the API.
    pub(crate) listen: SocketAddr,
    /// Address of the operators' metrics.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Certificate of the API.
    pub(crate) tls: Option<Certificate>,
    /// Whether OpenWhisk's well-known keys are accepted.
    pub(crate) dev_keys: bool,
    /// What keeps the code of actions, by name.
    pub(crate) code_store: String,
    /// Key that secrets are sealed with, where it is not in the data directory.
    pub(crate) seal_key_file: Option<PathBuf>,
    /// What the sandboxes may do.
    pub(crate) sandbox: evoke_sandbox::Config,
    /// Memory for all sandboxes together, where set. Unit: MB.
    pub(crate) sandbox_memory: Option<u64>,
    /// Kinds in the place of the built-in ones, where set.
    pub(crate) runtimes: Option<PathBuf>,
    /// Budget of the event log. Unit: bytes.
    pub(crate) log_bytes: u64,
    /// How long events are kept.
    pub(crate) log_age: Duration,
    /// How long activation records are kept.
    pub(crate) activation_age: Duration,
    /// How long requests are answered on after the hub was told to end.
    pub(crate) drain_delay: Duration,
    /// Most time of the end after that.
    pub(crate) drain_within: Duration,
    /// Most bytes of the data directory, where set.
    pub(crate) disk_budget: Option<u64>,
    /// Most connections to the API.
    pub(crate) connections: usize,
    /// Caps of every namespace that has none of its own.
    pub(crate) namespace: NamespaceLimits,
    /// Where traces go.
    pub(crate) traces: Option<ExporterSettings>,
    /// Part of the traces that begin here which is recorded.
    pub(crate) trace_ratio: f64,
    /// Manifest to apply once ready.
    pub(crate) apply: Option<PathBuf>,
    /// Whether activations are printed as they happen.
    pub(crate) follow: bool,
}

/// One setting that cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    /// Plain HTTP where others can reach it.
    #[error(
        "--listen {0} can be reached from outside: give --tls-cert and --tls-key, or --insecure for plain HTTP"
    )]
    Exposed(SocketAddr),
    /// One of a pair.
    #[error("--tls-cert and --tls-key go together")]
    HalfTls,
    /// A certificate that cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// Well-known keys where others can reach them.
    #[error("--dev-keys is for loopback only, not for --listen {0}")]
    DevKeysExposed(SocketAddr),
    /// A key of secrets that cannot be used.
    #[error("--seal-key-file {0}: {1}")]
    Seal(PathBuf, SealError),
    /// Kinds that cannot be read.
    #[error("--runtimes {0}: {1}")]
    Runtimes(PathBuf, ManifestError),
    /// A network that cannot be read.
    #[error("--allow-network: {0}")]
    Network(#[from] evoke_sandbox::ParseCidrError),
    /// Metrics of all namespaces where others can read them.
    #[error(
        "--metrics-listen {0} can be reached from outside and asks for no credentials: take a loopback address, or give --insecure"
    )]
    MetricsExposed(SocketAddr),
    /// A collector that cannot be.
    #[error("--otlp-endpoint: `{0}` is not an http or https address")]
    Collector(String),
    /// A header for the collector that cannot be sent.
    #[error("--otlp-header: {0}")]
    Header(String),
    /// A part that is none.
    #[error("--trace-ratio must be between 0 and 1, not {0}")]
    Ratio(f64),
    /// Too little to work with.
    #[error("{0} must be at least {1}")]
    TooSmall(&'static str, u64),
    /// A cap out of its bounds.
    #[error(transparent)]
    Cap(#[from] CapError),
    /// A file that is not there.
    #[error("--apply: there is no file {0}")]
    NoManifest(PathBuf),
    /// A filter that cannot be read.
    #[error("--log-level {0}: {1}")]
    LogLevel(String, tracing_subscriber::filter::ParseError),
}

/// Every mistake of what was told: in the values, then in how they fit together.
///
/// # Errors
/// A sentence each, with the place that it comes from.
pub(crate) fn check(told: &Told) -> Result<Settings, Vec<String>> {
    let mut mistakes = told.mistakes.clone();
    match Settings::check(&told.up) {
        Ok(settings) if mistakes.is_empty() => return Ok(settings),
        Ok(_) => {}
        Err(wrong) => mistakes.extend(wrong.iter().map(|error| with_origin(error, told))),
    }
    Err(mistakes)
}

/// The sentence names flags; where a file or the environment set them, it says so.
fn with_origin(error: &SettingError, told: &Told) -> String {
    let set = error.settings().iter().filter_map(|name| Some((name, told.origin(name)?)));
    let places: Vec<String> = set.map(|(name, origin)| format!("{name}: {origin}")).collect();
    if places.is_empty() { error.to_string() } else { format!("{error} ({})", places.join(", ")) }
}

impl SettingError {
    /// The settings that it is about.
    fn settings(&self) -> &'static [&'static str] {
        match self {
            Self::Exposed(_) => &["listen", "tls-cert", "tls-key"],
            Self::HalfTls | Self::Tls(_) => &["tls-cert", "tls-key"],
            Self::DevKeysExposed(_) => &["dev-keys", "listen"],
            Self::MetricsExposed(_) => &["metrics-listen", "insecure"],
            Self::Network(_) => &["allow-network"],
            Self::TooSmall("--log-size", _) => &["log-size"],
            Self::TooSmall("--sandbox-memory", _) => &["sandbox-memory"],
            Self::TooSmall("--disk-budget", _) => &["disk-budget"],
            Self::TooSmall("--connections", _) => &["connections"],
            Self::TooSmall(..) => &["drain-within"],
            Self::Cap(error) => match error.cap() {
                "code" => &["code-size"],
                "payload" => &["payload-size"],
                "undelivered" => &["undelivered-size"],
                "entities" => &["entities"],
                _ => &["sandboxes"],
            },
            Self::NoManifest(_) => &["apply"],
            Self::Seal(..) => &["seal-key-file"],
            Self::Runtimes(..) => &["runtimes"],
            Self::Collector(_) => &["otlp-endpoint"],
            Self::Header(_) => &["otlp-header"],
            Self::Ratio(_) => &["trace-ratio"],
            Self::LogLevel(..) => &["log-level"],
        }
    }
}

impl Settings {
    /// Checks what was told.
    ///
    /// # Errors
    /// Every mistake at once.
    pub(crate) fn check(up: &Up) -> Result<Self, Vec<SettingError>> {
        let mut wrong = Vec::new();
        let tls = certificate(up, &mut wrong);
        let loopback = up.listen.ip().is_loopback();
        if !loopback && tls.is_none() && !up.insecure {
            wrong.push(SettingError::Exposed(up.listen));
        }
        if !loopback && up.dev_keys {
            wrong.push(SettingError::DevKeysExposed(up.listen));
        }
        if let Some(address) = up.metrics_listen.filter(|at| !at.ip().is_loopback() && !up.insecure)
        {
            wrong.push(SettingError::MetricsExposed(address));
        }
        if let Err(error) = EnvFilter::try_new(&up.log_level) {
            wrong.push(SettingError::LogLevel(up.log_level.clone(), error));
        }
        bounds(up, &mut wrong);
        let traces = traces(up, &mut wrong);
        files(up, &mut wrong);
        let sandbox = sandboxes(up, &mut wrong);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            data: up.data.clone(),
            listen: up.listen,
            metrics_listen: up.metrics_listen,
            tls,
            dev_keys: up.dev_keys,
            code_store: up.code_store.clone(),
            seal_key_file: up.seal_key_file.clone(),
            sandbox,
            sandbox_memory: up.sandbox_memory,
            runtimes: up.runtimes.clone(),
            log_bytes: up.log_size << 20,
            log_age: Duration::from_secs(up.log_age.saturating_mul(3_600)),
            activation_age: Duration::from_secs(up.activation_age.saturating_mul(3_600)),
            drain_delay: Duration::from_secs(up.drain_delay),
            drain_within: Duration::from_secs(up.drain_within),
            disk_budget: up.disk_budget.map(|megabytes| megabytes << 20),
            connections: up.connections,
            namespace: up.limits.limits(),
            traces,
            trace_ratio: up.trace_ratio,
            apply: up.apply.clone(),
            follow: up.follow,
        })
    }
}

fn bounds(up: &Up, wrong: &mut Vec<SettingError>) {
    if up.log_size < MIN_LOG_SIZE {
        wrong.push(SettingError::TooSmall("--log-size", MIN_LOG_SIZE));
    }
    if up.sandbox_memory.is_some_and(|megabytes| megabytes < MIN_SANDBOX_MEMORY) {
        wrong.push(SettingError::TooSmall("--sandbox-memory", MIN_SANDBOX_MEMORY));
    }
    if up.drain_within < MIN_DRAIN {
        wrong.push(SettingError::TooSmall("--drain-within", MIN_DRAIN));
    }
    if up.disk_budget.is_some_and(|megabytes| megabytes < MIN_DISK_BUDGET) {
        wrong.push(SettingError::TooSmall("--disk-budget", MIN_DISK_BUDGET));
    }
    if up.connections == 0 {
        wrong.push(SettingError::TooSmall("--connections", 1));
    }
    if let Err(caps) = up.limits.limits().check() {
        wrong.extend(caps.into_iter().map(SettingError::from));
    }
}

/// Files that are read later on.
fn files(up: &Up, wrong: &mut Vec<SettingError>) {
    if let Some(file) = up.apply.as_ref().filter(|file| !file.is_file()) {
        wrong.push(SettingError::NoManifest(file.clone()));
    }
    if let Some(file) = &up.seal_key_file
        && let Err(error) = Seal::of_file(file)
    {
        wrong.push(SettingError::Seal(file.clone(), error));
    }
    if let Some(file) = &up.runtimes
        && let Err(error) = Manifest::of_file(file)
    {
        wrong.push(SettingError::Runtimes(file.clone(), error));
    }
}

fn certificate(up: &Up, wrong: &mut Vec<SettingError>) -> Option<Certificate> {
    match (&up.tls_cert, &up.tls_key) {
        (Some(certificate), Some(key)) => match Certificate::read(certificate, key) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                wrong.push(error.into());
                None
            }
        },
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            wrong.push(SettingError::HalfTls);
            None
        }
    }
}

fn traces(up: &Up, wrong: &mut Vec<SettingError>) -> Option<ExporterSettings> {
    if !(0.0..=1.0).contains(&up.trace_ratio) {
        wrong.push(SettingError::Ratio(up.trace_ratio));
    }
    let mut headers = Vec::new();
    for text in up.otlp_header.iter().filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(header) => headers.push(header),
            Err(error) => wrong.push(SettingError::Header(error)),
        }
    }
    let endpoint = up.otlp_endpoint.as_ref().filter(|text| !text.is_empty())?;
    match reqwest::Url::parse(endpoint) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {
            let service = up.service_name.clone();
            Some(ExporterSettings { endpoint: url, headers, service })
        }
        Ok(_) | Err(_) => {
            wrong.push(SettingError::Collector(endpoint.clone()));
            None
        }
    }
}

fn sandboxes(up: &Up, wrong: &mut Vec<SettingError>) -> evoke_sandbox::Config {
    let mut allow: Vec<Cidr> = Vec::new();
    for text in &up.allow_network {
        match text.parse() {
            Ok(network) => allow.push(network),
            Err(error) => wrong.push(SettingError::Network(error)),
        }
    }
    evoke_sandbox::Config {
        data_dir: up.data.clone(),
        allow,
        egress: up.network == NetworkChoice::Egress,
        allow_unisolated: up.allow_unisolated,
        ..evoke_sandbox::Config::default()
    }
}
