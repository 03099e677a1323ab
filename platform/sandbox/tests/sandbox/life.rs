//! Pause, kill, drop, and what start refuses.

use std::{path::Path, time::Duration};

use evoke_sandbox::{Ending, LifeError, PlacedFile, SandboxDriver, Shown, StartError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::stage::{NODE, PYTHON, Stage, spec};

const ECHO: &str = "
import socket
s = socket.socket(fileno=3)
while True:
    data = s.recv(100)
    if not data: break
    print('got', flush=True)
    s.sendall(data.upper())";

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_sandbox_stands_still_and_goes_on() {
    let stage = Stage::open().await;
    let mut sandbox = stage.start(spec("echo", PYTHON, ECHO)).await;
    let mut answer = [0; 3];
    sandbox.channel.write_all(b"one").await.unwrap();
    sandbox.channel.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ONE");
    // What was written before the answer is there when the answer is.
    let mut logs = Vec::new();
    sandbox.stdout.drain(&mut logs, 100).unwrap();
    assert_eq!(logs, b"got\n");

    sandbox.life.pause().await.unwrap();
    sandbox.channel.write_all(b"two").await.unwrap();
    let silence = Duration::from_millis(200);
    assert!(timeout(silence, sandbox.channel.read_exact(&mut answer)).await.is_err());
    assert!(sandbox.life.memory_usage().unwrap() > 1 << 20);
    sandbox.life.resume().await.unwrap();
    sandbox.channel.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"TWO");

    sandbox.life.pause().await.unwrap();
    sandbox.life.kill().await;
    assert_eq!(sandbox.life.exited().await.ending, Ending::Killed);
    assert!(matches!(sandbox.life.pause().await, Err(LifeError::Ended)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_sandbox_is_gone_and_its_name_is_free() {
    let stage = Stage::open().await;
    let sandbox = stage.start(spec("again", PYTHON, ECHO)).await;
    let process = format!("/proc/{}", sandbox.life.host_pid());
    assert!(Path::new(&process).exists());
    let taken = stage.driver.start(spec("again", PYTHON, ECHO)).await;
    assert!(matches!(taken, Err(StartError::NameTaken(_))));
    drop(sandbox);
    let free = async {
        loop {
            match stage.driver.start(spec("again", PYTHON, ECHO)).await {
                Ok(_) => break,
                Err(StartError::NameTaken(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    timeout(Duration::from_secs(10), free).await.unwrap();
    assert!(!Path::new(&process).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn placed_and_shown_files_are_there_and_read_only() {
    let stage = Stage::open().await;
    let shown = stage.data.path().join("code.txt");
    std::fs::write(&shown, "shown").unwrap();
    let code = "const fs=require('fs');const r=[fs.readFileSync('/launch/a.txt')+'',\
                fs.readFileSync('/code/c.txt')+'',process.cwd(),process.env.HOME,process.env.X];\
                for(const p of ['/launch/a.txt','/code/c.txt'])try{fs.appendFileSync(p,'x');r.push(p)}\
                catch(e){r.push('no')};console.log(r.join())";
    let mut spec = spec("files", NODE, code);
    spec.workdir = "/launch".into();
    spec.env = vec![("X".to_owned(), "y".to_owned())];
    let content = b"placed".to_vec();
    spec.files = vec![PlacedFile { path: "/launch/a.txt".into(), content, executable: false }];
    spec.read_only = vec![Shown { host: shown, inside: "/code/c.txt".into() }];
    let outcome = stage.run(spec).await;
    assert_eq!(outcome.stdout, "placed,shown,/launch,/tmp,y,no,no\n", "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    let stage = Stage::open().await;
    let missing = stage.driver.start(spec("none", "/usr/bin/no-such-program", "")).await;
    match missing {
        Err(StartError::Exec { program, source }) => {
            assert_eq!(program, "/usr/bin/no-such-program");
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
    let mut hidden = spec("none", PYTHON, "");
    hidden.read_only = vec![Shown { host: "/no/such/path".into(), inside: "/x".into() }];
    let hidden = stage.driver.start(hidden).await;
    assert!(matches!(hidden, Err(StartError::Setup { .. })), "{hidden:?}");
    let swept = stage.driver.sweep().await;
    assert_eq!((swept.processes, swept.cgroups), (0, 0));
    assert!(stage.python("none", "print(1)").await.exit.ending == Ending::Code(0));
}

/// Only where the caller took namespaces away; see the test below.
#[tokio::test(flavor = "multi_thread")]
async fn without_namespaces_nothing_starts_unless_told() {
    let stage = Stage::open().await;
    let report = stage.driver.report();
    if report.namespaces {
        assert!(report.seccomp, "{:?}", report.notes);
        return;
    }
    assert!(report.notes.iter().any(|note| note.contains("not be isolated")), "{report:?}");
    let refused = stage.driver.start(spec("refused", PYTHON, "")).await;
    assert!(matches!(refused, Err(StartError::Unisolated { .. })), "{refused:?}");
    let open = Stage::with(|config| config.allow_unisolated = true).await;
    let outcome = open.python("allowed", "print(open('/proc/self/status').read())").await;
    assert!(outcome.stdout.contains("Seccomp:\t2"), "{outcome:?}");
    let sandbox = open.start(spec("killed", PYTHON, ECHO)).await;
    sandbox.life.pause().await.unwrap();
    sandbox.life.resume().await.unwrap();
    sandbox.life.kill().await;
    assert_eq!(sandbox.life.exited().await.ending, Ending::Killed);
}

#[test]
fn a_machine_without_namespaces_is_told_apart() {
    let take_away = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
    let test = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-current-user", "--keep-caps", "sh", "-c", take_away]);
    command.arg(test).args(["--exact", "life::without_namespaces_nothing_starts_unless_told"]);
    if crate::stage::is_root() {
        eprintln!("skipped: root keeps its namespaces; run as an ordinary user");
        return;
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
