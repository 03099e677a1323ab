//! What the tests share: a driver, a specification, a program run to its end.

use std::{path::Path, sync::Arc, time::Duration};

use evoke_sandbox::{
    Config, Exit, Network, NoApi, Output, ProcessDriver, Sandbox, SandboxDriver, SandboxSpec,
};
use tempfile::TempDir;
use tokio::time::timeout;

pub(crate) const PYTHON: &str = "/usr/bin/python3";
pub(crate) const NODE: &str = "/usr/bin/node";
/// A program that does not end by then hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A hub's driver and data directory.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) driver: ProcessDriver,
    pub(crate) data: TempDir,
}

/// How a program ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: Exit,
}

pub(crate) fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t0\t0")
}

/// Says why a test does nothing for an ordinary user.
pub(crate) fn wants_root(why: &str) -> bool {
    if !is_root() {
        eprintln!("skipped: not root: {why}");
    }
    is_root()
}

pub(crate) fn config(data: &Path) -> Config {
    Config {
        data_dir: data.to_owned(),
        exe: Some(env!("CARGO_BIN_EXE_evoke-sandbox-init").into()),
        ..Config::default()
    }
}

pub(crate) fn spec(name: &str, program: &str, code: &str) -> SandboxSpec {
    let flag = if program == PYTHON { "-c" } else { "-e" };
    SandboxSpec {
        name: name.to_owned(),
        argv: [program, flag, code].map(str::to_owned).to_vec(),
        env: vec![],
        read_only: vec![],
        files: vec![],
        memory_bytes: 256 << 20,
        pids: 64,
        cpu_weight: 100,
        tmp_bytes: 16 << 20,
        network: Network::None,
        workdir: "/tmp".into(),
    }
}

pub(crate) async fn read_all(output: &Output) -> String {
    let mut all = Vec::new();
    let mut buf = [0; 4096];
    loop {
        match output.read(&mut buf).await.unwrap() {
            0 => return String::from_utf8_lossy(&all).into_owned(),
            length => all.extend_from_slice(&buf[..length]),
        }
    }
}

/// Reads until a whole line came.
pub(crate) async fn read_line(output: &Output) -> String {
    let mut line = Vec::new();
    let mut byte = [0; 1];
    let read = async {
        while output.read(&mut byte).await.unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
    };
    timeout(LIMIT, read).await.unwrap();
    String::from_utf8(line).unwrap()
}

// === impl Stage ===

impl Stage {
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = config(data.path());
        change(&mut config);
        let driver = ProcessDriver::open(config, Arc::new(NoApi)).await.unwrap();
        Self { driver, data }
    }

    pub(crate) async fn start(&self, spec: SandboxSpec) -> Sandbox {
        self.driver.start(spec).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    pub(crate) async fn run(&self, spec: SandboxSpec) -> Outcome {
        let sandbox = self.start(spec).await;
        let ended = timeout(LIMIT, async {
            let (stdout, stderr) =
                tokio::join!(read_all(&sandbox.stdout), read_all(&sandbox.stderr));
            Outcome { stdout, stderr, exit: sandbox.life.exited().await }
        });
        let outcome = ended.await.unwrap();
        sandbox.life.kill().await;
        outcome
    }

    pub(crate) async fn python(&self, name: &str, code: &str) -> Outcome {
        self.run(spec(name, PYTHON, code)).await
    }

    pub(crate) async fn node(&self, name: &str, code: &str) -> Outcome {
        self.run(spec(name, NODE, code)).await
    }
}
