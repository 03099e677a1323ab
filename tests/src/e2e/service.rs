//! A real service beside the hub, started and ended by its script in `services`.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::process::Command;

use super::caller::Caller;
use crate::fault::{error::FaultError, ports::free_port};

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
    /// What its script is told beside port and folder.
    told: Vec<(String, String)>,
}

impl Service {
    /// A server that speaks CouchDB's protocol, with the administrator `admin:secret`.
    ///
    /// # Errors
    /// It could not be started.
    pub async fn couch(room: &Path) -> Result<Self, FaultError> {
        let service = Self::new("couch.sh", "COUCH", room)?;
        service.again().await?;
        Ok(service)
    }

    /// A broker of Kafka's, of one node.
    ///
    /// # Errors
    /// It could not be started.
    pub async fn kafka(room: &Path) -> Result<Self, FaultError> {
        let service = Self::new("kafka.sh", "KAFKA", room)?;
        service.again().await?;
        Ok(service)
    }

    /// Three brokers of Kafka's that are one cluster; each has a copy of everything.
    ///
    /// # Errors
    /// One could not be started.
    pub async fn kafka_cluster(room: &Path) -> Result<[Self; 3], FaultError> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let voters: Vec<_> =
            (1..).zip(ports).map(|(node, port)| format!("{node}@127.0.0.1:{port}")).collect();
        let voters = voters.join(",");
        let node = |number: u8| {
            let mut node = Self::new("kafka.sh", "KAFKA", room)?;
            node.told.push(("KAFKA_VOTERS".to_owned(), voters.clone()));
            node.told.push(("KAFKA_NODE".to_owned(), number.to_string()));
            Ok::<_, FaultError>(node)
        };
        let nodes = [node(1)?, node(2)?, node(3)?];
        let [first, second, third] = &nodes;
        // None is ready before most are there.
        tokio::try_join!(first.again(), second.again(), third.again())?;
        Ok(nodes)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn new(script: &'static str, prefix: &'static str, room: &Path) -> Result<Self, FaultError> {
        let run = tempfile::tempdir_in(std::path::absolute(room)?.parent().unwrap_or(room))?;
        Ok(Self { script, prefix, port: free_port()?, run, told: Vec::new() })
    }

    /// Ends it at once, as its machine would; what it has stays.
    ///
    /// # Errors
    /// What its script says.
    pub async fn kill(&self) -> Result<(), FaultError> {
        self.command(&["kill"]).await
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
    fn script(&self) -> (PathBuf, Vec<(String, String)>) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("services").join(self.script);
        let port = (format!("{}_PORT", self.prefix), self.port.to_string());
        let run = self.run.path().join("service").display().to_string();
        let run = (format!("{}_RUN", self.prefix), run);
        (program, [&[port, run], self.told.as_slice()].concat())
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
