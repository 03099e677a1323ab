//! Measures what a sandbox costs over a bare spawn of the same interpreter, and a pause.
//!
//! Run as root: `cargo run --release -p evoke-sandbox --example overhead`. Rounds alternate, so
//! that both sides see the same machine.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement for people"
)]

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use evoke_sandbox::{Config, Network, NoApi, ProcessDriver, SandboxDriver, SandboxSpec};

const ROUNDS: usize = 60;

fn spec(name: String, argv: &[&str], network: Network) -> SandboxSpec {
    SandboxSpec {
        name,
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: vec![],
        read_only: vec![],
        files: vec![],
        memory_bytes: 256 << 20,
        pids: 64,
        cpu_weight: 100,
        tmp_bytes: 64 << 20,
        network,
        workdir: "/tmp".into(),
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

async fn first_byte(driver: &dyn SandboxDriver, argv: &[&str], network: Network) -> Duration {
    let start = Instant::now();
    let sandbox = driver.start(spec("o".to_owned(), argv, network)).await.unwrap();
    let read = sandbox.stdout.read(&mut [0; 16]).await.unwrap();
    let took = start.elapsed();
    assert!(read > 0);
    sandbox.life.kill().await;
    took
}

fn bare(argv: &[&str]) -> Duration {
    let start = Instant::now();
    let (program, arguments) = argv.split_first().unwrap();
    let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut byte = [0; 16];
    let read = std::io::Read::read(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let took = start.elapsed();
    assert!(read > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

#[tokio::main]
async fn main() {
    let data = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    let exe = exe.parent().unwrap().parent().unwrap().join("evoke-sandbox-init");
    let config = Config { data_dir: data.path().to_owned(), exe: Some(exe), ..Config::default() };
    let driver = ProcessDriver::open(config, Arc::new(NoApi)).await.unwrap();
    println!("{:#?}", driver.report());
    let programs: [(&str, &[&str]); 3] = [
        ("echo", &["/bin/echo", "x"]),
        ("node", &["/usr/bin/node", "-e", "console.log(1)"]),
        ("python", &["/usr/bin/python3", "-S", "-E", "-c", "print(1)"]),
    ];
    for (name, argv) in programs {
        let (mut plain, mut none, mut egress) = (vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
            plain.push(bare(argv));
            none.push(first_byte(&driver, argv, Network::None).await);
            egress.push(first_byte(&driver, argv, Network::Egress).await);
        }
        println!(
            "{name}: bare p50 {:.2} p95 {:.2} ms; no network p50 {:.2} p95 {:.2} ms; egress p50 {:.2} p95 {:.2} ms",
            percentile(&mut plain, 50),
            percentile(&mut plain, 95),
            percentile(&mut none, 50),
            percentile(&mut none, 95),
            percentile(&mut egress, 50),
            percentile(&mut egress, 95),
        );
    }
    let node = ["/usr/bin/node", "-e", "console.log(1); setInterval(() => {}, 1000)"];
    let sandbox = driver.start(spec("p".to_owned(), &node, Network::None)).await.unwrap();
    assert!(sandbox.stdout.read(&mut [0; 16]).await.unwrap() > 0);
    let (mut pauses, mut resumes) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        sandbox.life.pause().await.unwrap();
        pauses.push(start.elapsed());
        let start = Instant::now();
        sandbox.life.resume().await.unwrap();
        resumes.push(start.elapsed());
    }
    println!(
        "pause p50 {:.3} p95 {:.3} ms; resume p50 {:.3} p95 {:.3} ms",
        percentile(&mut pauses, 50),
        percentile(&mut pauses, 95),
        percentile(&mut resumes, 50),
        percentile(&mut resumes, 95),
    );
    sandbox.life.kill().await;
    driver.close().await;
}
