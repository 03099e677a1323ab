//! A real service beside the hub, started and ended by its script in `services`.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::process::Command;

use super::caller::Caller;
use crate::fault::error::FaultError;

/// A service on a free port of loopback, in a folder of its own; ended when dropped, also by a
/// test that fails.
#[derive(Debug)]
pub struct Service {
    script: &'static str,
    prefix: &'static str,
    /// Where it listens.
    pub port: u16,
    /// Its own, so that it is there for as long as the service.
    run: TempDir,
}

impl Service {
    /// A server that speaks CouchDB's protocol, with the administrator `admin:secret`.
    ///
    /// # Errors
    /// It could not be started.
    pub async fn couch(room: &Path) -> Result<Self, FaultError> {
        Self::start("couch.sh", "COUCH", room).await
    }

    /// A broker of Kafka's, of one node.
    ///
    /// # Errors
    /// It could not be started.
    pub async fn kafka(room: &Path) -> Result<Self, FaultError> {
        Self::start("kafka.sh", "KAFKA", room).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn start(
        script: &'static str,
        prefix: &'static str,
        room: &Path,
    ) -> Result<Self, FaultError> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let run = tempfile::tempdir_in(std::path::absolute(room)?.parent().unwrap_or(room))?;
        let service = Self { script, prefix, port, run };
        service.again().await?;
        Ok(service)
    }

    /// Ends it; what it has stays.
    ///
    /// # Errors
    /// What its script says.
    pub async fn end(&self) -> Result<(), FaultError> {
        self.command(&["stop", "keep"]).await
    }

    /// Starts it with what it has, and returns when it is ready.
    ///
    /// # Errors
    /// What its script says.
    pub async fn again(&self) -> Result<(), FaultError> {
        self.command(&["start"]).await
    }

    /// Runs one of Kafka's own tools against it.
    ///
    /// # Errors
    /// What its script says.
    pub async fn tool(&self, class: &str, words: &[&str]) -> Result<(), FaultError> {
        let address = self.address();
        let all = [&["tool", class, "--bootstrap-server", &address], words].concat();
        self.command(&all).await
    }

    async fn command(&self, words: &[&str]) -> Result<(), FaultError> {
        let (program, variables) = self.script();
        let mut command = Command::new(program);
        let ended = command.args(words).envs(variables).stdout(Stdio::null()).status().await?;
        if ended.success() {
            return Ok(());
        }
        Err(std::io::Error::other(format!("{} {words:?}: {ended}", self.script)).into())
    }

    /// The script, and the variables that tell it which service is meant.
    fn script(&self) -> (PathBuf, [(String, String); 2]) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("services").join(self.script);
        let port = (format!("{}_PORT", self.prefix), self.port.to_string());
        let run = self.run.path().join("service").display().to_string();
        let run = (format!("{}_RUN", self.prefix), run);
        (program, [port, run])
    }

    /// A caller of its HTTP API.
    #[must_use]
    pub fn caller(&self, user: &str, password: &str) -> Caller {
        use base64::Engine as _;
        let pair = format!("{user}:{password}");
        let basic = base64::engine::general_purpose::STANDARD.encode(pair);
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        Caller { address, authorization: Some(format!("Basic {basic}")) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let (program, variables) = self.script();
        let mut stop = std::process::Command::new(program);
        drop(stop.arg("stop").envs(variables).stdout(Stdio::null()).status());
    }
}
