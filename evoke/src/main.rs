//! The program `evoke`: reads what it is told, wires, and ends.

mod args;
mod backup;
mod config;
mod control;
mod directory;
mod disk;
mod host;
mod keys;
mod limits;
mod log;
mod notify;
mod parts;
mod sandbox_api;
mod server;
mod settings;
mod stores;
mod telemetry;
mod tls;
mod up;
mod welcome;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{ArgMatches, FromArgMatches as _};
use evoke_invoker::Manifest;

use crate::{
    args::{Command, Config, Log, Program},
    settings::Told,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that serve requests and drive deliveries; the functions have the other processors' time.
const WORKERS: usize = 2;
/// Open files that the hub can use: its bounds on connections and sandboxes are below.
const OPEN_FILES: u64 = 65_536;
/// Exit code of settings that cannot be.
const USAGE: u8 = 2;

type Done = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // A sandbox begins as this program again; nothing may have started before it.
    if std::env::args_os().nth(1).is_some_and(|word| word == "sandbox-init") {
        evoke_sandbox::sandbox_init_main();
    }
    let matches = settings::program().get_matches();
    run(&matches).unwrap_or_else(|error| {
        say(&format!("evoke: {error}"));
        ExitCode::from(directory::exit_code(error.as_ref()))
    })
}

fn run(matches: &ArgMatches) -> Done {
    if let Some(matches) = matches.subcommand_matches("up") {
        return run_hub(&settings::told(matches)?);
    }
    if let Some((which, matches)) =
        matches.subcommand_matches("config").and_then(|it| it.subcommand())
        && which != "runtimes"
    {
        return show_settings(&settings::told(matches)?, which == "show");
    }
    match Program::from_arg_matches(matches)?.command {
        Command::Key(told) => keys::run(&told),
        Command::Log(Log::Verify { data, json }) => log::verify(&data, json),
        Command::Backup(told) => backup::take(&told),
        Command::Restore(told) => backup::restore(&told),
        Command::Completion(shell) => {
            shell.print(settings::program())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Client(command) => Ok(evoke_cli::run(command)),
        Command::Config(Config::Runtimes) => {
            write!(io::stdout(), "{}", Manifest::BUILT_IN)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Up(_) | Command::Config(_) => Ok(ExitCode::from(USAGE)),
    }
}

fn run_hub(told: &Told) -> Done {
    let settings = match config::check(told) {
        Ok(settings) => settings,
        Err(mistakes) => return Ok(say_mistakes("evoke up", &mistakes)),
    };
    telemetry::start(told.up.log_format, &told.up.log_level)?;
    if let Err(error) = open_files() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .thread_name("evoke")
        .build()?;
    let ended = runtime.block_on(up::run(settings));
    // What has not ended by now is not waited for: it is finished at the next start.
    runtime.shutdown_background();
    ended
}

/// The settings that a hub would have, or what is wrong with them.
fn show_settings(told: &Told, is_wanted: bool) -> Done {
    if is_wanted {
        for setting in &told.settings {
            writeln!(io::stdout(), "{setting}")?;
        }
    }
    match config::check(told) {
        Err(mistakes) => Ok(say_mistakes("evoke config", &mistakes)),
        Ok(_) if is_wanted => Ok(ExitCode::SUCCESS),
        Ok(_) => {
            writeln!(io::stdout(), "the settings are good")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn say_mistakes(who: &str, mistakes: &[String]) -> ExitCode {
    for mistake in mistakes {
        say(&format!("{who}: {mistake}"));
    }
    ExitCode::from(USAGE)
}

/// Raises the soft limit on open files as far as the hard one lets it: each connection and each
/// sandbox takes some.
fn open_files() -> nix::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(OPEN_FILES);
    if soft >= wanted { Ok(()) } else { setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) }
}

/// For people, on standard error; a closed one is nobody to tell.
fn say(text: &str) {
    if writeln!(io::stderr(), "{text}").is_err() {
        tracing::debug!(text, "nobody listens");
    }
}
