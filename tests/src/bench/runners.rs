//! Node.js under our own launcher outside any sandbox: what the controls run.

use std::{io, path::PathBuf, process::Stdio};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    process::{Child, Command},
};

/// The launcher that the hub runs too.
const LAUNCHER: &str = include_str!("../../../platform/invoker/launchers/nodejs.js");
/// Longest answer taken. Unit: bytes.
const MAX_FRAME: u32 = 1 << 20;

/// One interpreter with the no-op action in it.
#[derive(Debug)]
pub struct Runner {
    channel: UnixStream,
    calls: u32,
    _child: Child,
}

/// Writes the launcher where an interpreter can read it.
///
/// # Errors
/// Those of the file.
pub fn place_launcher(folder: &std::path::Path) -> io::Result<PathBuf> {
    let path = folder.join("launcher.js");
    std::fs::write(&path, LAUNCHER)?;
    Ok(path)
}

impl Runner {
    /// Starts the interpreter and initialises the action.
    ///
    /// # Errors
    /// Those of the process, and a launcher that does not answer as it should.
    pub async fn start(launcher: &std::path::Path) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let script = "exec node --max-semi-space-size=4 \"$0\" 3<&0 </dev/null";
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(launcher)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut runner = Self { channel: UnixStream::from_std(ours)?, calls: 0, _child: child };
        runner.read().await?;
        let init = json!({"init": {
            "name": "noop", "main": "main", "binary": false, "env": {}, "perRun": {},
        }});
        runner.send(init.to_string().as_bytes()).await?;
        runner.call(b"function main() { return {} }").await?;
        Ok(runner)
    }

    /// Runs the action once.
    ///
    /// # Errors
    /// As [`Runner::start`].
    pub async fn run(&mut self) -> io::Result<Vec<u8>> {
        self.call(br#"{"run":{"value":{},"env":{"__OW_ACTIVATION_ID":"0"}}}"#).await
    }

    async fn call(&mut self, frame: &[u8]) -> io::Result<Vec<u8>> {
        self.send(frame).await?;
        self.read().await
    }

    /// A frame: its length, the number of the call, what is said.
    async fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.calls += 1;
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.calls.to_be_bytes());
        bytes.extend_from_slice(frame);
        self.channel.write_all(&bytes).await
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let length = self.channel.read_u32().await?;
        let _call = self.channel.read_u32().await?;
        if length > MAX_FRAME {
            return Err(io::Error::other("an answer too long"));
        }
        let mut answer = vec![0; length as usize];
        self.channel.read_exact(&mut answer).await?;
        if answer.starts_with(b"{\"error\"") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        Ok(answer)
    }
}
