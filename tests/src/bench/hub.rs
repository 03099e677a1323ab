//! A hub under measurement, and the processes that stand beside it.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::Engine as _;
use serde_json::Value;

use super::client::{Answer, Connection, request};

/// Longest wait for a process to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks at whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A running hub, ended when dropped.
#[derive(Debug)]
pub struct Hub {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// `Authorization` and `Content-Type` as header lines.
    pub headers: String,
    /// Time from exec to the first good answer of `/readyz`.
    pub ready_after: Duration,
}

impl Hub {
    /// Starts the program on a data directory and waits until it is ready.
    ///
    /// # Errors
    /// Those of the process, and a hub that is not ready in time.
    pub async fn start(program: &Path, data: &Path, more: &[&str]) -> io::Result<Self> {
        let _left_of_a_former_hub = fs::remove_file(data.join("address"));
        let log = fs::File::create(data.with_extension("log"))?;
        let start = Instant::now();
        let child = Command::new(program)
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut hub = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            headers: String::new(),
            ready_after: Duration::ZERO,
        };
        loop {
            if hub.is_ready(data).await {
                hub.ready_after = start.elapsed();
                break;
            }
            if start.elapsed() > READY_WITHIN || hub.child.try_wait()?.is_some() {
                let said = fs::read_to_string(data.with_extension("log")).unwrap_or_default();
                return Err(io::Error::other(format!("the hub did not become ready: {said}")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let key = fs::read_to_string(data.join("credentials"))?;
        let key = base64::engine::general_purpose::STANDARD.encode(key.trim());
        hub.headers = format!("Authorization: Basic {key}\r\nContent-Type: application/json\r\n");
        Ok(hub)
    }

    async fn is_ready(&mut self, data: &Path) -> bool {
        let Ok(address) = fs::read_to_string(data.join("address")) else { return false };
        let text = address.trim().trim_start_matches("http://").trim_end_matches('/');
        let Ok(address) = text.parse() else { return false };
        self.address = address;
        match Connection::open(address).await {
            Ok(mut connection) => connection
                .send(&request("GET", "/readyz", "", b""))
                .await
                .is_ok_and(|answer| answer.status == 200),
            Err(_not_yet) => false,
        }
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> io::Result<Answer> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut connection = Connection::open(self.address).await?;
        connection.send(&request(method, path, &self.headers, body.as_bytes())).await
    }

    /// As [`Hub::call`], for an answer that must be good.
    ///
    /// # Errors
    /// Also an answer of another kind, with its text.
    pub async fn must(&self, method: &str, path: &str, body: &Value) -> io::Result<Value> {
        let answer = self.call(method, path, body).await?;
        if !(200..300).contains(&answer.status) {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(io::Error::other(format!("{method} {path}: {} {text}", answer.status)));
        }
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// Makes a Node action of this code.
    ///
    /// # Errors
    /// As [`Hub::must`].
    pub async fn node_action(&self, name: &str, code: &str) -> io::Result<()> {
        let body = serde_json::json!({"exec": {"kind": "nodejs:default", "code": code}});
        let path = format!("/api/v1/namespaces/_/actions/{name}?overwrite=true");
        self.must("PUT", &path, &body).await.map(|_entity| ())
    }

    /// Makes a trigger and a rule from it to an action.
    ///
    /// # Errors
    /// As [`Hub::must`].
    pub async fn trigger_to(&self, trigger: &str, action: &str) -> io::Result<()> {
        let path = format!("/api/v1/namespaces/_/triggers/{trigger}?overwrite=true");
        self.must("PUT", &path, &serde_json::json!({})).await?;
        let rule = serde_json::json!({
            "trigger": format!("/_/{trigger}"), "action": format!("/_/{action}"),
        });
        let path = format!("/api/v1/namespaces/_/rules/{trigger}-{action}?overwrite=true");
        self.must("PUT", &path, &rule).await.map(|_entity| ())
    }

    /// Number of activations of that name.
    ///
    /// # Errors
    /// As [`Hub::must`].
    pub async fn count(&self, name: &str) -> io::Result<u64> {
        let path = format!("/api/v1/namespaces/_/activations?count=true&name={name}");
        let count = self.must("GET", &path, &Value::Null).await?;
        count.get("activations").and_then(Value::as_u64).ok_or_else(|| io::Error::other("no count"))
    }

    /// Resident memory of the hub's own process. Unit: bytes.
    ///
    /// # Errors
    /// Those of `/proc`.
    pub fn resident(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no VmRSS"))
    }

    /// Processor time that the hub's own process has had, in steps of 10 ms.
    ///
    /// # Errors
    /// Those of `/proc`.
    pub fn processor_time(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').skip(11).take(2));
        let ticks = fields.map(|fields| fields.flat_map(str::parse::<u64>).sum::<u64>());
        ticks.map(|ticks| Duration::from_millis(ticks * 10)).ok_or_else(|| io::Error::other("stat"))
    }

    /// Ends the hub as `kill -9` does.
    ///
    /// # Errors
    /// Those of the process.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_status| ())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A control: this program again, with other arguments; ended when dropped.
#[derive(Debug)]
pub struct Control {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Control {
    /// Starts `bench control NAME DIR` and reads its address.
    ///
    /// # Errors
    /// Those of the process.
    pub fn start(name: &str, folder: &Path) -> io::Result<Self> {
        use std::io::BufRead as _;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["control", name])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            io::BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, address })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A folder for one measurement, removed when dropped.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// A new one below `parent`, which must be on a real disk.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(parent: &Path, name: &str) -> io::Result<Self> {
        let path = parent.join(format!("bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
        let _gone = fs::remove_file(self.0.with_extension("log"));
    }
}
