//! The hub's process: started, waited for, killed with proof that nothing of it lives on, stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    client::{Call, Client},
    error::FaultError,
    ports::free_port,
};

/// Longest time from start to ready, on a busy machine and after a power cut.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Longest time from the hub's death to that of all it started.
const ORPHAN_LIMIT: Duration = Duration::from_secs(5);
/// Longest time for a stop that drains.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Pause between looks at a condition.
const LOOK: Duration = Duration::from_millis(10);
/// Lines of the hub's log in an error.
const LOG_LINES: usize = 40;

/// How the hub is started, each time the same.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program, and words before `up`.
    pub program: Vec<PathBuf>,
    /// Its data directory.
    pub data: PathBuf,
    /// Variables beside the test's own.
    pub environment: Vec<(&'static str, OsString)>,
    /// Where its output goes.
    pub log: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// Words after those of `up` that every hub is started with.
    pub words: Vec<String>,
}

impl Launch {
    /// The hub under test: `EVOKE_BIN`, else the one built beside the test.
    ///
    /// # Errors
    /// `NoProgram`.
    pub fn of_the_hub(room: &Path) -> Result<Self, FaultError> {
        let built =
            std::env::current_exe()?.ancestors().nth(2).unwrap_or(Path::new(".")).join("evoke");
        let program = std::env::var_os("EVOKE_BIN").map_or(built, PathBuf::from);
        if !program.exists() {
            return Err(FaultError::NoProgram(program));
        }
        Self::of(vec![program], room)
    }

    /// Another program that takes the same arguments.
    ///
    /// # Errors
    /// What the files say.
    pub fn of(program: Vec<PathBuf>, room: &Path) -> Result<Self, FaultError> {
        fs::create_dir_all(room.join("data"))?;
        let address = (Ipv4Addr::LOCALHOST, free_port()?).into();
        Ok(Self {
            program,
            data: room.join("data").canonicalize()?,
            environment: Vec::new(),
            log: room.join("hub.log"),
            address,
            words: Vec::new(),
        })
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// What the start says.
    pub fn start(&self) -> Result<Hub, FaultError> {
        let log = fs::File::options().create(true).append(true).open(&self.log)?;
        let (first, words) =
            self.program.split_first().ok_or_else(|| FaultError::NoProgram(PathBuf::new()))?;
        let child = Command::new(first)
            .args(words)
            .args(["up", "--listen", &self.address.to_string(), "--data"])
            .arg(&self.data)
            .args(&self.words)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or_else(|| std::io::Error::other("a child without a number"))?;
        Ok(Hub { child, pid, launch: self.clone() })
    }

    /// A client with the credentials that stand in the data directory.
    ///
    /// # Errors
    /// They are not there.
    pub fn client(&self) -> Result<Client, FaultError> {
        use base64::Engine as _;
        let pair = fs::read_to_string(self.data.join("credentials"))?;
        let basic = base64::engine::general_purpose::STANDARD.encode(pair.trim());
        Ok(Client::new(self.address, format!("Basic {basic}")))
    }

    fn log_end(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines
            .iter()
            .skip(lines.len().saturating_sub(LOG_LINES))
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// A process that was started.
#[derive(Debug)]
pub struct Hub {
    child: Child,
    pid: u32,
    launch: Launch,
}

impl Hub {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it says it is ready.
    ///
    /// # Errors
    /// `Ended` or `TimedOut`.
    pub async fn ready(&mut self) -> Result<Duration, FaultError> {
        let start = Instant::now();
        let mut client = Client::new(self.launch.address, String::new());
        while start.elapsed() < READY_LIMIT {
            self.alive("it was to become ready")?;
            let answer = client.once(&Call::get("/readyz")).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(start.elapsed());
            }
            sleep(LOOK).await;
        }
        Err(FaultError::TimedOut {
            what: "/readyz",
            limit: READY_LIMIT,
            state: self.launch.log_end(),
        })
    }

    /// Still running?
    ///
    /// # Errors
    /// `Ended`.
    pub fn alive(&mut self, during: &'static str) -> Result<(), FaultError> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(FaultError::Ended {
                status: status.to_string(),
                during,
                log: self.launch.log_end(),
            }),
        }
    }

    /// `kill -9`; says how many processes of the hub lived then. All are dead when this returns.
    ///
    /// # Errors
    /// `TimedOut` names the processes that live on; `Ended` where it was dead before.
    pub async fn kill(mut self) -> Result<usize, FaultError> {
        self.alive("it was to be killed")?;
        // Stopped first, so that it starts nothing between the look and the kill.
        signal(self.pid, libc::SIGSTOP)?;
        let family = descendants(self.pid);
        signal(self.pid, libc::SIGKILL)?;
        self.child.wait().await?;
        let start = Instant::now();
        loop {
            let mut left: BTreeSet<u32> =
                family.iter().filter(|one| one.lives()).map(|one| one.pid).collect();
            left.extend(marked(&self.launch.data));
            if left.is_empty() {
                return Ok(family.len());
            }
            if start.elapsed() > ORPHAN_LIMIT {
                let state = left.iter().map(|pid| describe(*pid)).collect::<Vec<_>>().join("; ");
                return Err(FaultError::TimedOut {
                    what: "the death of all that a killed hub had started",
                    limit: ORPHAN_LIMIT,
                    state,
                });
            }
            sleep(LOOK).await;
        }
    }

    /// Waits for the end of a hub that was told to end, however that is.
    ///
    /// # Errors
    /// `TimedOut`.
    pub async fn ended(mut self) -> Result<std::process::ExitStatus, FaultError> {
        let ended = tokio::time::timeout(STOP_LIMIT, self.child.wait()).await;
        Ok(ended.map_err(|_elapsed| FaultError::TimedOut {
            what: "the end",
            limit: STOP_LIMIT,
            state: self.launch.log_end(),
        })??)
    }

    /// Memory that it has: now, and most ever. Unit: bytes.
    ///
    /// # Errors
    /// It is not there.
    pub fn memory(&self) -> Result<(u64, u64), FaultError> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let both = of("VmRSS:").zip(of("VmHWM:"));
        let both = both.ok_or_else(|| std::io::Error::other("no memory in its status"))?;
        Ok((both.0 << 10, both.1 << 10))
    }

    /// Asks it to end and does not wait.
    ///
    /// # Errors
    /// It is not there.
    pub fn told_to_end(&self) -> Result<(), FaultError> {
        Ok(signal(self.pid, libc::SIGTERM)?)
    }

    /// Asks it to stop and waits for a clean end.
    ///
    /// # Errors
    /// `Ended` with a status other than 0; `TimedOut`.
    pub async fn stop(mut self) -> Result<(), FaultError> {
        self.alive("it was to stop")?;
        signal(self.pid, libc::SIGTERM)?;
        let status = tokio::time::timeout(STOP_LIMIT, self.child.wait()).await;
        let status = status.map_err(|_elapsed| FaultError::TimedOut {
            what: "a stop",
            limit: STOP_LIMIT,
            state: self.launch.log_end(),
        })??;
        if status.success() {
            return Ok(());
        }
        Err(FaultError::Ended {
            status: status.to_string(),
            during: "it stopped",
            log: self.launch.log_end(),
        })
    }
}

#[expect(unsafe_code, reason = "kill(2) on a child that was not yet waited for")]
fn signal(pid: u32, number: i32) -> std::io::Result<()> {
    let pid = i32::try_from(pid).map_err(std::io::Error::other)?;
    // SAFETY: no memory is involved.
    if unsafe { libc::kill(pid, number) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// A process by number and time of birth, as numbers are used again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    born: u64,
    zombie: bool,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<_> = text.rsplit_once(") ")?.1.split(' ').collect();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            born: fields.get(19)?.parse().ok()?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
        })
    }

    /// A zombie whose reaper is slow does nothing any more.
    fn lives(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.born == self.born && !now.zombie)
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|item| item.file_name().to_str()?.parse().ok())
}

fn descendants(of: u32) -> Vec<Process> {
    let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for process in processes().filter_map(Process::read).filter(|process| !process.zombie) {
        children.entry(process.parent).or_default().push(process);
    }
    let (mut found, mut todo) = (Vec::new(), vec![of]);
    while let Some(pid) = todo.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            todo.push(child.pid);
            found.push(child);
        }
    }
    found
}

/// Processes that have the data directory in their arguments, environment or mounts: also those that left the family.
fn marked(data: &Path) -> Vec<u32> {
    let mark = data.as_os_str().as_encoded_bytes();
    let has = |pid: u32, file: &str| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        text.windows(mark.len()).any(|part| part == mark)
    };
    processes()
        .filter(|pid| ["cmdline", "environ", "mountinfo"].iter().any(|file| has(*pid, file)))
        .filter(|pid| Process::read(*pid).is_some_and(|process| !process.zombie))
        .collect()
}

fn describe(pid: u32) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid} `{}`", String::from_utf8_lossy(&text).replace('\0', " ").trim())
}
