//! The program `evoke`: reads what it is told, wires, and ends.

mod args;
mod config;
mod directory;
mod host;
mod keys;
mod log;
mod parts;
mod sandbox_api;
mod server;
mod stores;
mod telemetry;
mod tls;
mod up;
mod welcome;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

use crate::args::{Command, Key, Log, Program, Up};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that serve requests and drive deliveries; the functions have the other processors' time.
const WORKERS: usize = 2;
/// Open files that the hub can use: its bounds on connections and sandboxes are below.
const OPEN_FILES: u64 = 65_536;
/// Exit code of settings that cannot be.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // A sandbox begins as this program again; nothing may have started before it.
    if std::env::args_os().nth(1).is_some_and(|word| word == "sandbox-init") {
        evoke_sandbox::sandbox_init_main();
    }
    let done = match Program::parse().command {
        Command::Up(settings) => run_hub(&settings),
        Command::Key(Key::Add { namespace, data }) => add_key(&namespace, &data),
        Command::Log(Log::Verify { data, json }) => log::verify(&data, json),
        Command::Client(command) => return evoke_cli::run(command),
    };
    done.unwrap_or_else(|error| {
        say(&format!("evoke: {error}"));
        ExitCode::FAILURE
    })
}

fn run_hub(settings: &Up) -> Result<ExitCode, Box<dyn std::error::Error>> {
    telemetry::start(settings.log_format, &settings.log_level)?;
    if let Err(error) = open_files() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    let settings = match config::Settings::check(settings) {
        Ok(settings) => settings,
        Err(mistakes) => {
            for mistake in mistakes {
                say(&format!("evoke up: {mistake}"));
            }
            return Ok(ExitCode::from(USAGE));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .thread_name("evoke")
        .build()?;
    runtime.block_on(up::run(settings))
}

/// Raises the soft limit on open files as far as the hard one lets it: each connection and each
/// sandbox takes some.
fn open_files() -> nix::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(OPEN_FILES);
    if soft >= wanted { Ok(()) } else { setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) }
}

fn add_key(
    namespace: &str,
    data: &std::path::Path,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let directory = directory::Directory::open(data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let key = runtime.block_on(keys::add(&directory, namespace))?;
    writeln!(io::stdout(), "{key}")?;
    Ok(ExitCode::SUCCESS)
}

/// For people, on standard error; a closed one is nobody to tell.
fn say(text: &str) {
    if writeln!(io::stderr(), "{text}").is_err() {
        tracing::debug!(text, "nobody listens");
    }
}
