//! What the program is told: its command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};

use crate::limits::{ForAll, ForOne};

/// Events in, functions invoked, nothing lost.
#[derive(Debug, Parser)]
#[command(name = "evoke", version, about, propagate_version = true, subcommand_required = true)]
pub(crate) struct Program {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program can do: run the hub, keep its directory, or speak to a running one.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the hub on a data directory.
    Up(Box<Up>),
    /// Look at the settings that `up` would have, without starting anything.
    #[command(subcommand)]
    Config(Config),
    /// Copy a data directory, also while its hub runs, into a new file or folder.
    #[command(after_help = BACKUP_HELP)]
    Backup(Backup),
    /// Make a data directory of a backup.
    #[command(after_help = RESTORE_HELP)]
    Restore(Restore),
    /// Keep the keys of namespaces.
    #[command(subcommand)]
    Key(Key),
    /// Look into the event log of a data directory.
    #[command(subcommand)]
    Log(Log),
    /// Print what a shell needs to complete the command line.
    Completion(evoke_cli::Completion),
    /// All that speaks to a running hub.
    #[command(flatten)]
    Client(evoke_cli::Command),
}

const UP_HELP: &str = "\
Examples:
  evoke up
  evoke up --apply examples/quickstart/manifest.yaml --follow
  evoke up --data /var/lib/evoke --listen 0.0.0.0:3233 --tls-cert hub.pem --tls-key hub.key

Signals: TERM and INT end the hub (a second one at once), HUP reads the certificate again.

Exit codes: 0 ended as asked · 1 failed · 2 wrong settings · 3 the data directory is in use
4 the data directory is of another version · 130 ended by a second signal";
const BACKUP_HELP: &str = "\
Examples:
  evoke backup --data /var/lib/evoke /backup/monday.tar.gz
  evoke backup --data /var/lib/evoke /backup/monday
  evoke restore --data /var/lib/evoke /backup/monday.tar.gz

A backup holds the keys that secrets are encrypted with: keep it as you keep those.";

const RESTORE_HELP: &str = "\
Examples:
  evoke restore --data /var/lib/evoke /backup/monday.tar.gz";
const CHECK_HELP: &str = "\
Examples:
  evoke config check --config /etc/evoke/evoke.toml
  evoke config check --listen 0.0.0.0:3233 --tls-cert hub.pem --tls-key hub.key";
const SHOW_HELP: &str = "\
Examples:
  evoke config show
  evoke config show --config /etc/evoke/evoke.toml";
const KINDS_HELP: &str = "\
Examples:
  evoke config runtimes > runtimes.json
  evoke up --runtimes runtimes.json";
const KEY_HELP: &str = "\
Examples:
  evoke key add shop
  evoke key add shop --data /var/lib/evoke";
const LIST_HELP: &str = "\
Examples:
  evoke key list
  evoke key list --data /var/lib/evoke";
const ROTATE_HELP: &str = "\
Examples:
  evoke key rotate shop";
const LIMITS_HELP: &str = "\
Examples:
  evoke key limits shop
  evoke key limits shop --code 10MB --entities 500
  evoke key limits shop --kinds nodejs:20,python:3.11
  evoke key limits shop --reset";
const RESEAL_HELP: &str = "\
Examples:
  evoke key reseal --data /var/lib/evoke --to /etc/evoke/seal.key";
const VERIFY_HELP: &str = "\
Examples:
  evoke log verify
  evoke log verify --data /var/lib/evoke --json";

/// Settings of `evoke up`; each can also come from the environment and from the file.
#[derive(Debug, Args)]
#[command(after_help = UP_HELP)]
pub(crate) struct Up {
    /// TOML file of settings, named as the flags are; flag and environment go before it.
    #[arg(long, value_name = "FILE", env = "EVOKE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of everything that is kept.
    #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = "data")]
    pub(crate) data: PathBuf,
    /// Address of the API; other than loopback wants --tls-cert and --tls-key, or --insecure.
    #[arg(long, value_name = "HOST:PORT", env = "EVOKE_LISTEN", default_value = "127.0.0.1:3233")]
    pub(crate) listen: SocketAddr,
    /// Serve plain HTTP on an address that others can reach.
    #[arg(long, env = "EVOKE_INSECURE")]
    pub(crate) insecure: bool,
    /// Certificate chain, PEM.
    #[arg(long, value_name = "FILE", env = "EVOKE_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key, PEM.
    #[arg(long, value_name = "FILE", env = "EVOKE_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Accept OpenWhisk's two well-known keys (`guest`, `whisk.system`); loopback only.
    #[arg(long, env = "EVOKE_DEV_KEYS")]
    pub(crate) dev_keys: bool,
    /// Manifest to apply once the hub is ready.
    #[arg(long, value_name = "FILE")]
    pub(crate) apply: Option<PathBuf>,
    /// Print what to try, then each activation as it happens.
    #[arg(long)]
    pub(crate) follow: bool,
    /// Run functions without namespaces or seccomp where the machine refuses them. Dangerous.
    #[arg(long, env = "EVOKE_ALLOW_UNISOLATED")]
    pub(crate) allow_unisolated: bool,
    /// Whether functions may reach the outside.
    #[arg(long, value_name = "WHICH", env = "EVOKE_NETWORK", default_value = "egress")]
    pub(crate) network: NetworkChoice,
    /// Private network that functions may reach all the same, such as 10.1.0.0/16; repeatable.
    #[arg(long, value_name = "CIDR", env = "EVOKE_ALLOW_NETWORK", value_delimiter = ',')]
    pub(crate) allow_network: Vec<String>,
    /// Memory for all sandboxes together, in MB; default: three fifths of the machine's.
    #[arg(long, value_name = "MB", env = "EVOKE_SANDBOX_MEMORY")]
    pub(crate) sandbox_memory: Option<u64>,
    /// JSON file of the kinds that functions can be of, in the place of the built-in ones.
    #[arg(long, value_name = "FILE", env = "EVOKE_RUNTIMES")]
    pub(crate) runtimes: Option<PathBuf>,
    /// Most bytes of the event log on disk, in MB; past it intake answers 429.
    #[arg(long, value_name = "MB", env = "EVOKE_LOG_SIZE", default_value_t = 20_480)]
    pub(crate) log_size: u64,
    /// How long events are kept, in hours.
    #[arg(long, value_name = "HOURS", env = "EVOKE_LOG_AGE", default_value_t = 168)]
    pub(crate) log_age: u64,
    /// How long activation records are kept, in hours.
    #[arg(long, value_name = "HOURS", env = "EVOKE_ACTIVATION_AGE", default_value_t = 168)]
    pub(crate) activation_age: u64,
    /// How long the hub answers on after it was told to end, with /readyz saying 503, in seconds.
    #[arg(long, value_name = "SECONDS", env = "EVOKE_DRAIN_DELAY", default_value_t = 0)]
    pub(crate) drain_delay: u64,
    /// Most time that the whole end may take after that, in seconds.
    #[arg(long, value_name = "SECONDS", env = "EVOKE_DRAIN_WITHIN", default_value_t = 30)]
    pub(crate) drain_within: u64,
    /// Most bytes of the whole data directory on disk, in MB; past it what is new is answered 429.
    #[arg(long, value_name = "MB", env = "EVOKE_DISK_BUDGET")]
    pub(crate) disk_budget: Option<u64>,
    /// Most connections to the API at once; more wait, and who keeps the hub waiting is closed.
    #[arg(long, value_name = "COUNT", env = "EVOKE_CONNECTIONS", default_value_t = 4_096)]
    pub(crate) connections: usize,
    /// Caps of each namespace.
    #[command(flatten)]
    pub(crate) limits: ForAll,
    /// File with the key that secrets are sealed with, 64 hexadecimal digits, mode 0600, on another
    /// disk than the data; else the one of the last start, or one in the data directory.
    #[arg(long, value_name = "FILE", env = "EVOKE_SEAL_KEY_FILE")]
    pub(crate) seal_key_file: Option<PathBuf>,
    /// Address of a listener that shows operators the metrics of all namespaces, without
    /// credentials; other than loopback wants --insecure.
    #[arg(long, value_name = "HOST:PORT", env = "EVOKE_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// What keeps the code of actions.
    #[arg(long, value_name = "NAME", env = "EVOKE_CODE_STORE", default_value = CODE_STORE,
          value_parser = code_stores())]
    pub(crate) code_store: String,
    /// Address of an OpenTelemetry collector that takes traces over HTTP, such as
    /// http://127.0.0.1:4318; without it none are recorded.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Header for the collector; repeatable.
    #[arg(
        long,
        value_name = "NAME=VALUE",
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) otlp_header: Vec<String>,
    /// Part of the traces that begin here which is recorded, 0 to 1; others as their sender says.
    #[arg(long, value_name = "PART", env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = 1.0)]
    pub(crate) trace_ratio: f64,
    /// What the hub is called in traces.
    #[arg(long, value_name = "NAME", env = "OTEL_SERVICE_NAME", default_value = "evoke")]
    pub(crate) service_name: String,
    /// Form of the hub's own log, on standard error.
    #[arg(long, value_name = "FORM", env = "EVOKE_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// What is logged: error, warn, info, debug, or a filter such as `info,evoke_feeds=debug`.
    #[arg(long, value_name = "LEVEL", env = "EVOKE_LOG", default_value = "info")]
    pub(crate) log_level: String,
}

/// The code store where none is named.
pub(crate) const CODE_STORE: &str = "files";

fn code_stores() -> PossibleValuesParser {
    evoke_store::CODE_STORES.iter().map(|(name, _)| *name).collect::<Vec<_>>().into()
}

/// The outside, for functions that say nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkChoice {
    /// The outside and the API; never the host, other sandboxes or private networks.
    Egress,
    /// The API only.
    None,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `evoke config …`
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say every mistake at once, or that there is none.
    #[command(after_help = CHECK_HELP)]
    Check(Box<Up>),
    /// Print each setting and where it comes from, as a file that could be given.
    #[command(after_help = SHOW_HELP)]
    Show(Box<Up>),
    /// Print the built-in kinds of functions, as a file that can be changed and given by --runtimes.
    #[command(after_help = KINDS_HELP)]
    Runtimes,
}

/// `evoke backup`
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// New file (`.tar`, `.tar.gz`) or folder.
    #[arg(value_name = "BACKUP")]
    pub(crate) to: PathBuf,
    /// Directory of the hub, running or not.
    #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = "data")]
    pub(crate) data: PathBuf,
}

/// `evoke restore`
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// What `evoke backup` made.
    #[arg(value_name = "BACKUP")]
    pub(crate) from: PathBuf,
    /// Directory to make; there may be none, or an empty one.
    #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = "data")]
    pub(crate) data: PathBuf,
}

/// `evoke key …`
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a namespace and print its key as `uuid:key`.
    #[command(after_help = KEY_HELP)]
    Add {
        /// Name of the namespace.
        namespace: String,
        /// Directory of the hub, running or not.
        #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = "data")]
        data: PathBuf,
    },
    /// List the namespaces.
    #[command(after_help = LIST_HELP)]
    List {
        /// Directory of the hub, running or not.
        #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = "data")]
        data: PathBuf,
    },
    /// Give a namespace another key and print it; the former key opens nothing from then on.
    #[command(after_help = ROTATE_HELP)]
    Rotate {
        /// Name of the namespace.
        namespace: String,
        /// Directory of the hub, running or not.
        #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = "data")]
        data: PathBuf,
    },
    /// Seal everything that is secret with another key; no hub may run.
    #[command(after_help = RESEAL_HELP)]
    Reseal {
        /// File of the new key; made where it is missing.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Directory of the hub.
        #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = "data")]
        data: PathBuf,
        /// File with the key of now, where it is not the one that the hub last had.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Show or set what one namespace may use.
    #[command(after_help = LIMITS_HELP)]
    Limits(ForOne),
}

/// `evoke log …`
#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Check every checksum and the hash chain of a log that no hub has open.
    #[command(after_help = VERIFY_HELP)]
    Verify {
        /// Directory of the hub.
        #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = "data")]
        data: PathBuf,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests;
