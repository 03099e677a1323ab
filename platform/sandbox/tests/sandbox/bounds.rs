//! Bounds of memory, processes and disk, each pushed against.

use evoke_sandbox::{CgroupKind, Ending, SandboxDriver};

use crate::stage::{NODE, PYTHON, Stage, spec};

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_is_bounded_and_dies_whole() {
    let stage = Stage::open().await;
    let code = "
import os, time, signal
started = 0
while True:
    try: pid = os.fork()
    except OSError as e: print(started, type(e).__name__, flush=True); break
    if pid == 0:
        while True: time.sleep(60)
    started += 1
";
    let mut bomb = spec("forks", PYTHON, code);
    bomb.pids = 20;
    let outcome = stage.run(bomb).await;
    assert_eq!(outcome.stdout, "19 BlockingIOError\n", "{}", outcome.stderr);
    assert_eq!(outcome.exit.ending, Ending::Code(0));
    // A program that breeds without end is killed as a whole, while it breeds.
    let mut breeder = spec("breeder", "/bin/sh", "");
    breeder.argv = ["/bin/sh", "-c", "b() { b | b & b; }; echo up; b"].map(str::to_owned).to_vec();
    let breeder = stage.start(breeder).await;
    assert_eq!(crate::stage::read_line(&breeder.stdout).await, "up");
    breeder.life.kill().await;
    assert_eq!(breeder.life.exited().await.ending, Ending::Killed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_bomb_is_killed_and_said_so() {
    let stage = Stage::open().await;
    let python = "a = []\nwhile True: a.append(bytearray(1 << 20))";
    let node = "const a=[];for(;;)a.push(Buffer.alloc(1<<20,1))";
    for (name, program, code) in [("python", PYTHON, python), ("node", NODE, node)] {
        let mut bomb = spec(name, program, code);
        bomb.memory_bytes = 128 << 20;
        let outcome = stage.run(bomb).await;
        assert!(outcome.exit.oom_killed, "{outcome:?}");
        assert_eq!(outcome.exit.ending, Ending::Signal(9));
    }
    assert!(!stage.python("modest", "bytearray(1 << 20)").await.exit.oom_killed);
}

#[tokio::test(flavor = "multi_thread")]
async fn tmp_fills_up_and_no_further() {
    let stage = Stage::open().await;
    let code = "
import os
written = 0
with open('/tmp/big', 'wb', buffering=0) as f:
    try:
        while True: written += f.write(b'x' * 65536)
    except OSError as e: print(e.strerror, written >> 20)
files = 0
os.unlink('/tmp/big')
try:
    while True: open('/tmp/%d' % files, 'w').close(); files += 1
except OSError as e: print(e.strerror, files < 70000)
";
    let outcome = stage.python("disk", code).await;
    let expected = "No space left on device 16\nNo space left on device True\n";
    assert_eq!(outcome.stdout, expected, "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_tmp_count_as_memory() {
    let stage = Stage::open().await;
    if stage.driver.report().cgroup == CgroupKind::None {
        eprintln!("skipped: no control group counts files in memory here");
        return;
    }
    let mut spec =
        spec("shm", PYTHON, "open('/tmp/x','wb').write(b'x' * (200 << 20)); print('ok')");
    spec.memory_bytes = 64 << 20;
    spec.tmp_bytes = 512 << 20;
    let outcome = stage.run(spec).await;
    assert!(outcome.exit.oom_killed && outcome.stdout.is_empty(), "{outcome:?}");
}
