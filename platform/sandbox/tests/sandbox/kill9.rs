//! A hub that is killed: nothing of it lives on, and the next start clears away the rest.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use evoke_sandbox::{Network, NoApi, ProcessDriver, SandboxDriver};

use crate::stage::{PYTHON, Stage, config, read_line, spec};

/// Set for the process that plays the hub: its data directory.
const DATA: &str = "EVOKE_SANDBOX_TEST_HUB";
const LIMIT: Duration = Duration::from_secs(20);

/// Not a test by itself: the hub that the test below starts and kills.
#[test]
fn hub_to_be_killed() {
    let Some(data) = std::env::vars_os().find(|(key, _)| key == DATA).map(|(_, value)| value)
    else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = config(Path::new(&data));
        let driver = ProcessDriver::open(config, Arc::new(NoApi)).await.unwrap();
        let code = "
import os, time
os.fork()
print('up', flush=True)
while True: time.sleep(60)";
        let mut running = spec("running", PYTHON, code);
        running.network = Network::Egress;
        let running = driver.start(running).await.unwrap();
        let paused = driver.start(spec("paused", PYTHON, code)).await.unwrap();
        read_line(&running.stdout).await;
        read_line(&paused.stdout).await;
        paused.life.pause().await.unwrap();
        // The line is longer than what the test harness prints, and starts one of its own.
        eprintln!("\npids {} {}", running.life.host_pid(), paused.life.host_pid());
        std::future::pending::<()>().await;
    });
}

fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_killed_hub() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill9::hub_to_be_killed", "--nocapture"])
        .env(DATA, data.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(hub.stderr.take().unwrap()).lines();
    let pids = lines.map(Result::unwrap).find_map(|line| {
        line.strip_prefix("pids ")
            .map(|pids| pids.split(' ').map(str::to_owned).collect::<Vec<_>>())
    });
    let pids = pids.unwrap();
    assert!(pids.iter().all(|pid| is_alive(pid)));

    // Another hub's sandbox on the same machine must not be touched.
    let other = Stage::open().await;
    let neighbour = other.start(spec("running", PYTHON, "print(1, flush=True); input()")).await;

    hub.kill().unwrap();
    hub.wait().unwrap();
    wait_until("the running sandbox is dead", || !is_alive(&pids[0]));

    let driver = ProcessDriver::open(config(data.path()), Arc::new(NoApi)).await.unwrap();
    let swept = driver.sweep().await;
    assert_eq!(swept.stuck, Vec::<String>::new());
    wait_until("the paused sandbox is dead", || !is_alive(&pids[1]));
    let has_groups = driver.report().cgroup != evoke_sandbox::CgroupKind::None;
    assert_eq!(swept.cgroups, if has_groups { 2 } else { 0 }, "{swept:?}");
    let again = driver.sweep().await;
    assert_eq!((again.processes, again.cgroups), (0, 0), "the first sweep left something");
    assert_eq!(read_line(&neighbour.stdout).await, "1");
    assert_eq!(other.driver.sweep().await.cgroups, 0, "a living sandbox is no leftover");
    let fresh = driver.start(spec("running", PYTHON, "print(2)")).await.unwrap();
    assert_eq!(read_line(&fresh.stdout).await, "2");
}
