//! The client for people: commands, tables, apply and its plan.
//!
//! Invariant: knows the hub by its REST API only. Every noun has one file with its commands and
//! what they do; [`Command`] is the list of nouns.

mod action;
mod activation;
mod apply;
mod code;
mod completion;
mod credentials;
mod dead_letter;
mod dev;
mod entity;
mod error;
mod event;
mod examples;
mod export;
mod feed;
mod follow;
mod hub;
mod name;
mod namespace;
mod options;
mod output;
mod package;
mod page;
mod parameters;
mod reference;
mod replay;
mod rule;
mod runtimes;
mod time;
mod trigger;
mod yaml;

use std::{path::Path, process::ExitCode};

use clap::Subcommand;

pub use apply::WrongManifest;
pub use completion::Completion;
pub use error::{CliError, EXIT_CODES};
pub use hub::Hub;
pub use options::{HubOptions, On, OnArgs};
pub use output::Output;
pub use reference::reference;

/// All that speaks to a running hub.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Functions: create, update, get, list, invoke, delete.
    Action(On<action::ActionCommand>),
    /// Named groups of actions: create, update, get, list, delete.
    Package(On<package::PackageCommand>),
    /// Places where events arrive: create, update, get, list, fire, delete.
    Trigger(On<trigger::TriggerCommand>),
    /// From a trigger to an action: create, update, get, list, status, enable, disable, delete.
    Rule(On<rule::RuleCommand>),
    /// Sources that fire a trigger: create, list, get, delete.
    Feed(On<feed::FeedCommand>),
    /// Make what a manifest describes; what is already so is left alone.
    #[command(after_help = apply::EXAMPLES)]
    Apply(OnArgs<apply::Apply>),
    /// Apply a folder's manifest at every save, and tell activations as they happen.
    #[command(after_help = dev::EXAMPLES)]
    Dev(OnArgs<dev::Dev>),
    /// Write the namespace as a manifest and code that apply elsewhere.
    #[command(after_help = export::EXAMPLES)]
    Export(OnArgs<export::Export>),
    /// What became of runs: list, get, logs, poll.
    Activation(On<activation::ActivationCommand>),
    /// Events of the namespace's hub: send, list, show, erase.
    Event(On<event::EventCommand>),
    /// Deliveries that were given up: list, show, replay, discard.
    #[command(name = "deadletter")]
    DeadLetter(On<dead_letter::DeadLetterCommand>),
    /// Deliver a range of the log again to one rule: create, list, get, cancel.
    Replay(On<replay::ReplayCommand>),
    /// The namespace of the key and what it may use: get.
    Namespace(On<namespace::NamespaceCommand>),
    /// Kinds of functions that the hub can run.
    #[command(after_help = examples::RUNTIMES)]
    Runtimes(OnArgs<runtimes::Runtimes>),
}

/// Runs one command in a runtime of its own, printing to the standard streams.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    let mut output = Output::standard(command.wants_json());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = match runtime {
        Ok(runtime) => runtime.block_on(execute(command, &mut output)),
        Err(source) => output.failure(&CliError::Local { what: "start".to_owned(), source }),
    };
    ExitCode::from(code)
}

/// Runs one command, printing to `output`; the exit code, [`EXIT_CODES`].
pub async fn execute(command: Command, output: &mut Output) -> u8 {
    match command.run(output).await {
        Ok(()) => 0,
        Err(error) => output.failure(&error),
    }
}

/// Makes what the manifest describes, a line for each entity.
///
/// # Errors
/// [`CliError`]: a wrong manifest (nothing is changed then), or what the hub refused.
pub async fn apply_manifest(
    hub: &Hub,
    manifest: &Path,
    output: &mut Output,
) -> Result<(), CliError> {
    apply::run(hub, &apply::Apply::of(manifest), output).await
}

/// Prints a line for each activation as it happens, until `stop` is done. An unreachable hub is
/// told once and waited for.
///
/// # Errors
/// [`CliError::Refused`] where the key is not taken; a closed output ends it without error.
pub async fn follow_activations(
    hub: &Hub,
    output: &mut Output,
    stop: impl Future<Output = ()>,
) -> Result<(), CliError> {
    follow::follow(hub, follow::Follow::default(), output, stop).await
}

// === impl Command ===

impl Command {
    fn wants_json(&self) -> bool {
        self.options().json
    }

    fn options(&self) -> &HubOptions {
        match self {
            Self::Action(on) => &on.hub,
            Self::Package(on) => &on.hub,
            Self::Trigger(on) => &on.hub,
            Self::Rule(on) => &on.hub,
            Self::Feed(on) => &on.hub,
            Self::Apply(on) => &on.hub,
            Self::Dev(on) => &on.hub,
            Self::Export(on) => &on.hub,
            Self::Activation(on) => &on.hub,
            Self::Event(on) => &on.hub,
            Self::DeadLetter(on) => &on.hub,
            Self::Replay(on) => &on.hub,
            Self::Namespace(on) => &on.hub,
            Self::Runtimes(on) => &on.hub,
        }
    }

    #[expect(clippy::cognitive_complexity, reason = "a line for each command")]
    async fn run(self, output: &mut Output) -> Result<(), CliError> {
        let hub = Hub::find(self.options())?;
        match self {
            Self::Action(on) => on.command.run(&hub, output).await,
            Self::Package(on) => on.command.run(&hub, output).await,
            Self::Trigger(on) => on.command.run(&hub, output).await,
            Self::Rule(on) => on.command.run(&hub, output).await,
            Self::Feed(on) => on.command.run(&hub, output).await,
            Self::Apply(on) => apply::run(&hub, &on.command, output).await,
            Self::Dev(on) => {
                let hub = dev::reached(&on.hub, output).await?;
                dev::run(&hub, on.command, output).await
            }
            Self::Export(on) => export::run(&hub, &on.command, output).await,
            Self::Activation(on) => on.command.run(&hub, output).await,
            Self::Event(on) => on.command.run(&hub, output).await,
            Self::DeadLetter(on) => on.command.run(&hub, output).await,
            Self::Replay(on) => on.command.run(&hub, output).await,
            Self::Namespace(on) => on.command.run(&hub, output).await,
            Self::Runtimes(_) => runtimes::list(&hub, output).await,
        }
    }
}
