//! Rows about the program itself: size at rest, start, restart on much data.

use std::{fs, io, path::Path, time::Duration};

use serde_json::json;

use super::{
    client::{Connection, request},
    hub::{Folder, Hub},
    stats::{median, ms},
    table::Row,
};

/// Starts that are measured.
const STARTS: usize = 5;
/// Bytes of log for the restart.
const LOG_BYTES: u64 = 5 << 30;
/// Deliveries left unfinished for the restart.
const UNFINISHED: u64 = 100_000;
/// Longest time that making the data for the restart may take.
const MAKING: Duration = Duration::from_secs(1_200);

/// The row of size and start.
///
/// # Errors
/// Those of the processes and sockets.
pub async fn idle(program: &Path, parent: &Path) -> io::Result<Vec<Row>> {
    let (mut ready, mut bare, mut resident) = (vec![], vec![], vec![]);
    for n in 0..STARTS {
        let folder = Folder::new(parent, &format!("idle-{n}"))?;
        let begin = std::time::Instant::now();
        std::process::Command::new(program).arg("--version").output()?;
        bare.push(ms(begin.elapsed()));
        let hub = Hub::start(program, &folder.0, &[]).await?;
        ready.push(ms(hub.ready_after));
        tokio::time::sleep(Duration::from_secs(3)).await;
        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
        resident.push(hub.resident()? as f64 / 1e6);
    }
    let (ready, resident) = (median(&ready), median(&resident));
    Ok(vec![
        Row {
            what: "idle: resident memory of the hub itself",
            target: "<= 60 MB",
            measured: format!("{resident:.1} MB"),
            control: "none".to_owned(),
            score: 60.0 / resident,
        },
        Row {
            what: "ready after exec on an empty directory",
            target: "<= 300 ms",
            measured: format!("{ready:.0} ms"),
            control: format!("{:.1} ms for `--version`", median(&bare)),
            score: 300.0 / ready,
        },
    ])
}

/// The row of restart: `kill -9`, then ready again with a large log and much left to do.
///
/// # Errors
/// Those of the processes and sockets.
pub async fn restart(program: &Path, parent: &Path) -> io::Result<Row> {
    let folder = Folder::new(parent, "restart")?;
    let data = folder.0.join("data");
    fs::create_dir_all(&data)?;
    let hub = Hub::start(program, &data, &[]).await?;
    hub.trigger_to_missing().await?;
    fill(&hub, &data).await?;
    let bytes = size_of(&data.join("log"))?;
    hub.kill()?;
    let hub = Hub::start(program, &data, &[]).await?;
    let took = ms(hub.ready_after);
    #[expect(clippy::cast_precision_loss, reason = "gigabytes")]
    let gigabytes = bytes as f64 / 1e9;
    Ok(Row {
        what: "restart after kill -9, 5 GB of log, 100,000 unfinished deliveries",
        target: "<= 2 s",
        measured: format!("{took:.0} ms with {gigabytes:.1} GB"),
        control: "none".to_owned(),
        score: 2_000.0 / took,
    })
}

impl Hub {
    /// A trigger `later` whose rule's action is gone, so that its deliveries stay unfinished.
    async fn trigger_to_missing(&self) -> io::Result<()> {
        self.node_action("gone", "function main() { return {} }").await?;
        self.trigger_to("later", "gone").await?;
        self.must("DELETE", "/api/v1/namespaces/_/actions/gone", &json!(null)).await.map(|_| ())
    }
}

async fn fill(hub: &Hub, data: &Path) -> io::Result<()> {
    let begin = std::time::Instant::now();
    let mut connection = Connection::open(hub.address).await?;
    let headers = hub.headers.replace("application/json", "application/cloudevents-batch+json");
    let mut n = 0_u64;
    loop {
        let waits = n < UNFINISHED;
        let path = if waits { "triggers/later" } else { "events" };
        let body = filler(n, if waits { 100 } else { 900 });
        let path = format!("/api/v1/namespaces/_/{path}");
        let answer = connection.send(&request("POST", &path, &headers, body.as_bytes())).await?;
        match answer.status {
            202 | 204 => n += 100,
            429 => tokio::time::sleep(Duration::from_millis(100)).await,
            status => {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                return Err(io::Error::other(format!("{status} {text}")));
            }
        }
        if n.is_multiple_of(100_000) && n >= UNFINISHED && size_of(&data.join("log"))? >= LOG_BYTES
        {
            return Ok(());
        }
        if begin.elapsed() > MAKING {
            return Err(io::Error::other("the log did not grow to its size in time"));
        }
    }
}

fn filler(from: u64, bytes: usize) -> String {
    let event = |n: u64| {
        json!({
            "specversion": "1.0", "id": n.to_string(), "source": "/fill", "type": "fill",
            "data": {"text": "x".repeat(bytes)},
        })
    };
    serde_json::Value::from((from..from + 100).map(event).collect::<Vec<_>>()).to_string()
}

fn size_of(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
