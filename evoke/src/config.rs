//! The settings of a hub, checked whole before anything is bound.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use evoke_sandbox::Cidr;
use tokio_rustls::TlsAcceptor;

use crate::{
    args::{NetworkChoice, Up},
    tls,
};

/// Least memory for all sandboxes together. Unit: MB.
const MIN_SANDBOX_MEMORY: u64 = 256;
/// Least budget of the event log. Unit: MB.
const MIN_LOG_SIZE: u64 = 256;

/// Settings that fit together.
pub(crate) struct Settings {
    /// Directory of everything that is kept.
    pub(crate) data: PathBuf,
    /// Address of the API.
    pub(crate) listen: SocketAddr,
    /// Address of the operators' metrics.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Certificate of the API.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Whether OpenWhisk's well-known keys are accepted.
    pub(crate) dev_keys: bool,
    /// What the sandboxes may do.
    pub(crate) sandbox: evoke_sandbox::Config,
    /// Memory for all sandboxes together, where set. Unit: MB.
    pub(crate) sandbox_memory: Option<u64>,
    /// Budget of the event log. Unit: bytes.
    pub(crate) log_bytes: u64,
    /// How long events are kept.
    pub(crate) log_age: Duration,
    /// How long activation records are kept.
    pub(crate) activation_age: Duration,
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
    /// A network that cannot be read.
    #[error("--allow-network: {0}")]
    Network(#[from] evoke_sandbox::ParseCidrError),
    /// Metrics of all namespaces where others can read them.
    #[error(
        "--metrics-listen {0} can be reached from outside and asks for no credentials: take a loopback address, or give --insecure"
    )]
    MetricsExposed(SocketAddr),
    /// Too little to work with.
    #[error("{0} must be at least {1}")]
    TooSmall(&'static str, u64),
    /// A file that is not there.
    #[error("--apply: there is no file {0}")]
    NoManifest(PathBuf),
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
        if up.log_size < MIN_LOG_SIZE {
            wrong.push(SettingError::TooSmall("--log-size", MIN_LOG_SIZE));
        }
        if up.sandbox_memory.is_some_and(|megabytes| megabytes < MIN_SANDBOX_MEMORY) {
            wrong.push(SettingError::TooSmall("--sandbox-memory", MIN_SANDBOX_MEMORY));
        }
        if let Some(file) = up.apply.as_ref().filter(|file| !file.is_file()) {
            wrong.push(SettingError::NoManifest(file.clone()));
        }
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
            sandbox,
            sandbox_memory: up.sandbox_memory,
            log_bytes: up.log_size << 20,
            log_age: Duration::from_secs(up.log_age.saturating_mul(3_600)),
            activation_age: Duration::from_secs(up.activation_age.saturating_mul(3_600)),
            apply: up.apply.clone(),
            follow: up.follow,
        })
    }
}

fn certificate(up: &Up, wrong: &mut Vec<SettingError>) -> Option<TlsAcceptor> {
    match (&up.tls_cert, &up.tls_key) {
        (Some(certificate), Some(key)) => match tls::acceptor(certificate, key) {
            Ok(acceptor) => Some(acceptor),
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
