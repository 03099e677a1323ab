//! The first minute: the quickstart applied, its alarm and its webhook seen at work, Ctrl-C.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends, in what it is made of too"
)]

use std::{path::PathBuf, process::Stdio, time::Duration};

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        place::Place,
    },
    fault::error::FaultError,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Instant, timeout_at},
};

type Done = Result<(), FaultError>;

const MINUTE: Duration = Duration::from_secs(60);

/// The output so far, and what is still to come before the minute is over.
struct Reading {
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
    until: Instant,
}

impl Reading {
    /// A line like this that was read before, in whatever order, or the next that comes.
    async fn seen_or_find(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> Done {
        if !self.seen.iter().any(|line| is_it(line)) {
            self.find(what, is_it).await?;
        }
        Ok(())
    }

    /// Reads on to a line like this.
    async fn find(
        &mut self,
        what: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> Result<String, FaultError> {
        loop {
            let next = timeout_at(self.until, self.lines.next_line()).await;
            let Ok(next) = next else {
                panic!("no {what} within a minute:\n{}", self.seen.join("\n"))
            };
            let Some(line) = next? else {
                panic!("the output ends before {what}:\n{}", self.seen.join("\n"))
            };
            self.seen.push(line.clone());
            if is_it(&line) {
                return Ok(line);
            }
        }
    }
}

fn manifest() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/manifest.yaml")
}

fn start(place: &Place) -> Result<(Child, Reading), FaultError> {
    let log = std::fs::File::options().create(true).append(true).open(&place.launch.log)?;
    let mut hub = Command::new(place.program())
        .args(["up", "--listen", "127.0.0.1:0", "--follow", "--apply"])
        .arg(manifest())
        .arg("--data")
        .arg(place.data())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    let output = hub.stdout.take().expect("a pipe");
    let lines = BufReader::new(output).lines();
    Ok((hub, Reading { lines, seen: Vec::new(), until: Instant::now() + MINUTE }))
}

/// The request that the printed `curl` would send.
fn as_curl(command: &str) -> (String, Ask) {
    let url =
        command.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
    let (host, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
    let quoted = |flag: &str| {
        let parts = command.split(flag).skip(1);
        parts
            .filter_map(|part| {
                part.trim_start().strip_prefix('\'')?.split('\'').next().map(str::to_owned)
            })
            .collect::<Vec<_>>()
    };
    let mut ask = Ask::new("POST", &format!("/{path}"));
    for header in quoted(" -H ") {
        let (name, value) = header.split_once(": ").expect("a header");
        ask = ask.header(name, value);
    }
    (host.to_owned(), ask.bytes(quoted(" -d ").remove(0)))
}

async fn interrupt(mut hub: Child) -> Done {
    let pid = hub.id().expect("a running hub").to_string();
    Command::new("kill").args(["-INT", &pid]).status().await?;
    let ended = tokio::time::timeout(Duration::from_secs(30), hub.wait()).await;
    let status = ended.unwrap_or_else(|_| panic!("SIGINT did not end the hub"))?;
    assert_eq!(status.code(), Some(0), "{status}");
    Ok(())
}

#[tokio::test]
async fn the_quickstart_shows_alarm_and_webhook_within_a_minute_and_ends_clean() -> Done {
    let mut place = Place::new()?;
    let (hub, mut output) = start(&place)?;
    output
        .find("word that it is ready", |line| {
            line.starts_with("Evoke is ready at http://127.0.0.1:")
        })
        .await?;
    output.find("credentials", |line| line.contains("credentials")).await?;
    let first = output.find("a curl to try", |line| line.trim_start().starts_with("curl ")).await?;
    let mut command = first;
    while command.ends_with('\\') {
        command.pop();
        command.push_str(&output.find("the rest of the curl", |_| true).await?);
    }
    for action in ["describe", "fingerprint"] {
        output
            .seen_or_find("the alarm's activation", |line| {
                line.contains(action) && line.contains("  ok  ")
            })
            .await?;
    }
    assert!(output.seen.iter().any(|line| line.contains("tick of ")), "{}", output.seen.join("\n"));

    let (host, ask) = as_curl(&command);
    let credentials = place.caller()?.authorization;
    let caller = Caller { address: host.parse().expect("an address"), authorization: credentials };
    let reply = caller.send(ask).await?;
    assert_eq!(reply.status, 202, "{}", reply.text());
    output
        .seen_or_find("the order's activation", |line| {
            line.contains("describe") && line.contains("2 × tea")
        })
        .await?;
    output
        .seen_or_find("the order's fingerprint", |line| {
            line.contains("fingerprint") && line.contains("order-1")
        })
        .await?;
    for (words, wanted) in [("event list", "order-1"), ("activation list", "fingerprint")] {
        let printed = output.seen.iter().any(|line| line.contains(words));
        assert!(printed, "`{words}` is one to try:\n{}", output.seen.join("\n"));
        let words: Vec<_> = words.split(' ').chain(["--data", "DATA"]).collect();
        let ended = place.run(&words).await?;
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success() && text.contains(wanted), "{words:?}: {text}");
    }
    interrupt(hub).await?;

    let (hub, mut output) = start(&place)?;
    output.find("the alarm, again", |line| line.contains("tick of ")).await?;
    let changed =
        output.seen.iter().find(|line| line.contains("created") || line.contains("updated"));
    assert_eq!(changed, None, "the second start applies the same and changes nothing");
    let doubles =
        caller_of(&place).await?.get("activations?name=describe&docs=true&limit=200").await?;
    let orders =
        doubles.as_array().into_iter().flatten().filter(|run| run.to_string().contains("2 × tea"));
    assert_eq!(orders.count(), 1, "nothing runs again");
    interrupt(hub).await?;
    place.done();
    Ok(())
}

/// A caller of the hub that runs now, wherever it listens.
async fn caller_of(place: &Place) -> Result<Caller, FaultError> {
    let text = std::fs::read_to_string(place.data().join("address"))?;
    let address = text.trim().trim_start_matches("http://").parse().expect("an address");
    Ok(Caller { address, ..place.caller()? })
}
