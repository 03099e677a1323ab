//! `evoke dev`: a folder's manifest applied at every save, activations told as they happen.
//!
//! What is under way finishes on the code it began with; that is the hub's doing, which resolves an
//! action once for each run.

mod watch;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;

use crate::{
    apply::{Applied, Applier},
    error::CliError,
    follow::{Follow, follow},
    hub::Hub,
    options::HubOptions,
    output::{Output, Tone},
    time::{clock, now_ms},
};
use watch::Watch;

/// Wait for more to be saved with what has been: editors and version control save in bursts.
const SETTLE: Duration = Duration::from_millis(10);
/// Longest such wait: who saves all the time is applied all the same.
const LONGEST_SETTLE: Duration = Duration::from_millis(100);
/// Wait until a hub that was away is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// For its help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  evoke dev                        the folder here
  evoke dev shop --logs            another one, with what the functions log
  evoke dev shop --name note       activations of one action only";

/// A folder to watch.
#[derive(Debug, Args)]
pub struct Dev {
    /// Folder with `manifest.yaml`, or a manifest.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Print each run's log lines too.
    #[arg(long)]
    logs: bool,
    /// Print activations of this action or trigger only.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take over entities that belong to another project.
    #[arg(long)]
    adopt: bool,
}

/// Applies until it is stopped by Ctrl-C.
///
/// # Errors
/// The folder cannot be watched; the key is not taken.
pub(crate) async fn run(hub: &Hub, dev: Dev, output: &mut Output) -> Result<(), CliError> {
    let mut other = output.twin();
    let what = Follow { name: dev.name.clone(), since_ms: None, logs: dev.logs, triggers: false };
    let stop = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without the signal nothing but the process's end stops it.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = follow(hub, what, &mut other, stop) => ended,
        ended = keep_applied(hub, &dev, output) => match ended {
            Err(CliError::Closed) => Ok(()),
            ended => ended,
        },
    }
}

/// The hub, once it answers: one that starts meanwhile says only then where it listens.
pub(crate) async fn reached(options: &HubOptions, output: &mut Output) -> Result<Hub, CliError> {
    let mut is_told = false;
    loop {
        let hub = Hub::find(options)?;
        let Err(error @ CliError::Unreachable(_)) = hub.about().await else { return Ok(hub) };
        if !is_told {
            line(output, Tone::Bad, "waiting", &error.to_string())?;
            is_told = true;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn keep_applied(hub: &Hub, dev: &Dev, output: &mut Output) -> Result<(), CliError> {
    let mut applier = Applier::new(dev.adopt);
    let mut watch = Watch::new()?;
    let mut began = Instant::now();
    loop {
        // What is saved while this goes on must be seen: first watch, then read.
        watch.follow(&applier.files(&dev.folder));
        let applied = apply(hub, &mut applier, dev, output).await;
        watch.follow(&applier.files(&dev.folder));
        let is_away = tell(applied, began, output)?;
        if is_away {
            tokio::time::sleep(RETRY).await;
            began = Instant::now();
            continue;
        }
        watch.changed().await;
        began = Instant::now();
        let more = async || tokio::time::timeout(SETTLE, watch.changed()).await.is_ok();
        while began.elapsed() < LONGEST_SETTLE && more().await {}
    }
}

async fn apply(
    hub: &Hub,
    applier: &mut Applier,
    dev: &Dev,
    output: &mut Output,
) -> (Option<Applied>, Option<CliError>) {
    match applier.plan(hub, &dev.folder).await {
        Ok(plan) => {
            let (applied, error) = applier.carry_out(hub, plan, output).await;
            output.progress_over();
            (Some(applied), error)
        }
        Err(error) => (None, Some(error)),
    }
}

/// One line for what was done, and one for what was not; whether the hub is away.
fn tell(
    (applied, error): (Option<Applied>, Option<CliError>),
    began: Instant,
    output: &mut Output,
) -> Result<bool, CliError> {
    let took = began.elapsed().as_millis();
    let changed = applied.map(|applied| applied.changed()).unwrap_or_default();
    let is_quiet = error.is_some() && changed.is_empty();
    if !is_quiet {
        line(output, Tone::Good, &format!("applied in {took} ms"), &what(&changed))?;
    }
    match error {
        Some(error @ CliError::Refused(_)) => Err(error),
        Some(error) => {
            line(output, Tone::Bad, "not applied", &error.to_string())?;
            Ok(matches!(error, CliError::Unreachable(_) | CliError::Hub { .. }))
        }
        None => Ok(false),
    }
}

fn what(changed: &[String]) -> String {
    if changed.is_empty() { "nothing to change".to_owned() } else { changed.join(", ") }
}

fn line(output: &mut Output, tone: Tone, word: &str, text: &str) -> Result<(), CliError> {
    if output.is_json() {
        let event = serde_json::json!({"time": now_ms(), "event": word, "text": text});
        return output.line(&event.to_string());
    }
    let time = output.paint(Tone::Faint, &clock(now_ms()));
    let word = output.paint(tone, word);
    output.line(&format!("{time}  {word}: {text}"))
}
