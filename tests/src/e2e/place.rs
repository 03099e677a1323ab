//! A hub in a room of its own: started there, again and again; the room of a failed test is kept.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use super::{caller::Caller, wait::SOON};
use crate::fault::{
    error::FaultError,
    hub::{Hub, Launch},
};

/// Pause between looks for a file.
const LOOK: Duration = Duration::from_millis(5);
/// Lines of the hub's log that a failing test shows.
const LOG_LINES: usize = 30;

/// A room, and how the hub is started in it.
#[derive(Debug)]
pub struct Place {
    room: TempDir,
    /// How it is started.
    pub launch: Launch,
    /// Whether the test that had it came to its end.
    is_done: bool,
}

impl Place {
    /// An empty room.
    ///
    /// # Errors
    /// No program, no room.
    pub fn new() -> Result<Self, FaultError> {
        let room = tempfile::tempdir()?;
        let mut launch = Launch::of_the_hub(room.path())?;
        launch.environment.push(("EVOKE_SANDBOX_MEMORY", "2048".into()));
        Ok(Self { room, launch, is_done: false })
    }

    /// Starts the hub and waits until it is ready.
    ///
    /// # Errors
    /// It did not become ready.
    pub async fn start(&self) -> Result<(Hub, Caller), FaultError> {
        let mut hub = self.launch.start()?;
        hub.ready().await?;
        // Commands find the hub by it; it is written right after the hub says that it is ready.
        let address = self.data().join("address");
        let there = timeout(SOON, async {
            while !address.exists() {
                sleep(LOOK).await;
            }
        });
        there.await.map_err(|_elapsed| FaultError::TimedOut {
            what: "the address file",
            limit: SOON,
            state: "none".to_owned(),
        })?;
        Ok((hub, self.caller()?))
    }

    /// Stops the hub, which must end clean: the end of a test.
    ///
    /// # Errors
    /// As `Hub::stop`.
    pub async fn end(mut self, hub: Hub) -> Result<(), FaultError> {
        hub.stop().await?;
        self.done();
        Ok(())
    }

    /// The room is not needed any more.
    pub fn done(&mut self) {
        self.is_done = true;
    }

    /// Whose credentials stand in the data directory.
    ///
    /// # Errors
    /// There are none.
    pub fn caller(&self) -> Result<Caller, FaultError> {
        let pair = fs::read_to_string(self.data().join("credentials"))?;
        Ok(self.caller_with(&pair))
    }

    /// A caller with this `uuid:key`.
    #[must_use]
    pub fn caller_with(&self, pair: &str) -> Caller {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(pair.trim());
        Caller { address: self.launch.address, authorization: Some(format!("Basic {basic}")) }
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.launch.data
    }

    /// The room around it.
    #[must_use]
    pub fn room(&self) -> &Path {
        self.room.path()
    }

    /// What the hubs of this room have logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.launch.log).unwrap_or_default()).into_owned()
    }

    /// The program with other words, to its end; of the data directory where a word is `DATA`.
    ///
    /// # Errors
    /// It could not be started.
    pub async fn run(&self, words: &[&str]) -> Result<Output, FaultError> {
        let words = words.iter().map(|word| match *word {
            "DATA" => self.data().as_os_str(),
            word => OsStr::new(word),
        });
        let ended = Command::new(self.program()).args(words).stdin(Stdio::null()).output().await;
        Ok(ended?)
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.launch.program.first().cloned().unwrap_or_default()
    }
}

impl Drop for Place {
    /// A test that fails leaves its room and shows the end of the log.
    #[expect(clippy::print_stderr, reason = "the harness shows it beside the failure")]
    fn drop(&mut self) {
        if !self.is_done {
            self.room.disable_cleanup(true);
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let end = lines.iter().skip(lines.len().saturating_sub(LOG_LINES));
            let end: Vec<_> = end.copied().collect();
            eprintln!("the room is kept: {}\n{}", self.room.path().display(), end.join("\n"));
        }
    }
}
