//! Rows about feeds: how soon a change of the source runs an action, and what many idle feeds cost.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinHandle,
};

use super::{
    hub::{Folder, Hub},
    stats::{ms, percentile},
    table::Row,
};
use crate::{
    e2e::{
        caller::{Ask, Caller},
        service::Service,
    },
    fault::error::FaultError,
};

/// Changes that are timed.
const CHANGES: usize = 200;
/// Pause between two of them: the hub is to be quiet.
const BETWEEN: Duration = Duration::from_millis(40);
/// Alarms of the row of idle feeds.
const ALARMS: usize = 900;
/// Feeds of one server in that row.
const DATABASE_FEEDS: usize = 50;
/// Feeds of one broker in that row.
const TOPIC_FEEDS: usize = 50;
/// How long idle feeds are watched.
const WATCHED: Duration = Duration::from_secs(20);
/// Longest wait for what was started to be there.
const WITHIN: Duration = Duration::from_secs(60);
/// Says when it started and for which document.
const STARTED: &str = "function main(args) { return { id: args.id, at: Date.now() } }";

/// When a bare reader of the changes saw each document.
type Seen = Arc<Mutex<Vec<(String, Duration)>>>;

/// Every row.
///
/// # Errors
/// Those of the processes and sockets.
pub async fn rows(program: &Path, parent: &Path) -> io::Result<Vec<Row>> {
    let mut rows = vec![changes(program, parent).await?];
    rows.extend(idle(program, parent).await?);
    Ok(rows)
}

async fn changes(program: &Path, parent: &Path) -> io::Result<Row> {
    let folder = Folder::new(parent, "changes")?;
    let couch = Service::couch(&folder.0).await.map_err(other)?;
    let server = couch.caller("admin", "secret");
    server.good(Ask::new("PUT", "/timed")).await.map_err(other)?;
    let hub = Hub::start(program, &folder.0.join("data"), &[]).await?;
    hub.node_action("started", STARTED).await?;
    hub.trigger_to("changed", "started").await?;
    put_feed(&hub, "timed", &database_feed(couch.port, "changed")).await?;
    let (seen, reader) = bare_reader(&server).await?;
    let mut written = Vec::new();
    for n in 0..=CHANGES {
        let id = format!("d{n:04}");
        written.push((id.clone(), now()));
        server
            .good(Ask::new("PUT", &format!("/timed/{id}")).json(&json!({})))
            .await
            .map_err(other)?;
        tokio::time::sleep(BETWEEN).await;
    }
    let started = started(&hub).await?;
    reader.abort();
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // The first started a sandbox.
    for (id, at) in written.iter().skip(1) {
        let of = |list: &[(String, Duration)]| {
            list.iter().find(|(known, _)| known == id).map(|(_, then)| then.saturating_sub(*at))
        };
        let both = of(&started).zip(of(&seen));
        let (hub, reader) = both.ok_or_else(|| io::Error::other(format!("{id} did not come")))?;
        ours.push(hub);
        bare.push(reader);
    }
    let (p50, control) = (percentile(&mut ours, 0.5), percentile(&mut bare, 0.5));
    let above = ms(p50.saturating_sub(control));
    Ok(Row {
        what: "CouchDB change -> action started, warm, quiet",
        target: "p50 <= 10 ms above what a bare continuous reader sees",
        measured: format!(
            "p50 {:.1} ms, p99 {:.1} ms, {above:.1} ms above",
            ms(p50),
            ms(percentile(&mut ours, 0.99))
        ),
        control: format!("p50 {:.1} ms", ms(control)),
        score: 10.0 / above.max(0.1),
    })
}

/// Reads the changes as they come, with nothing behind it.
async fn bare_reader(server: &Caller) -> io::Result<(Seen, JoinHandle<io::Result<()>>)> {
    let mut stream = TcpStream::connect(server.address).await?;
    let authorization = server.authorization.as_deref().unwrap_or_default();
    let path = "/timed/_changes?feed=continuous&since=now&heartbeat=10000";
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    // The server answers at once; what is written afterwards is then a change.
    while !lines.next_line().await?.unwrap_or_default().is_empty() {}
    let seen = Seen::default();
    let own = Arc::clone(&seen);
    let reader = tokio::spawn(async move {
        while let Some(line) = lines.next_line().await? {
            if let Ok(change) = serde_json::from_str::<Value>(&line)
                && let Some(id) = change.get("id").and_then(Value::as_str)
            {
                own.lock().unwrap_or_else(PoisonError::into_inner).push((id.to_owned(), now()));
            }
        }
        Ok(())
    });
    Ok((seen, reader))
}

/// When the action started for each document.
async fn started(hub: &Hub) -> io::Result<Vec<(String, Duration)>> {
    let begin = std::time::Instant::now();
    while usize::try_from(hub.count("started").await?).unwrap_or(0) <= CHANGES {
        if begin.elapsed() > WITHIN {
            return Err(io::Error::other("not every change ran the action"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut all = Vec::new();
    while all.len() <= CHANGES {
        let path = format!(
            "/api/v1/namespaces/_/activations?docs=true&name=started&limit=100&skip={}",
            all.len()
        );
        let page = hub.must("GET", &path, &Value::Null).await?;
        let records = page.as_array().filter(|records| !records.is_empty());
        for record in records.ok_or_else(|| io::Error::other("records are missing"))? {
            let id = record.pointer("/response/result/id").and_then(Value::as_str);
            let at = record.pointer("/response/result/at").and_then(Value::as_u64);
            all.push((id.unwrap_or_default().to_owned(), Duration::from_millis(at.unwrap_or(0))));
        }
    }
    Ok(all)
}

async fn idle(program: &Path, parent: &Path) -> io::Result<Vec<Row>> {
    let folder = Folder::new(parent, "idle-feeds")?;
    let couch = Service::couch(&folder.0).await.map_err(other)?;
    let kafka = Service::kafka(&folder.0).await.map_err(other)?;
    let topic = ["--create", "--topic", "idle"];
    kafka.tool("org.apache.kafka.tools.TopicCommand", &topic).await.map_err(other)?;
    let server = couch.caller("admin", "secret");
    server.good(Ask::new("PUT", "/timed")).await.map_err(other)?;
    let hub = Hub::start(program, &folder.0.join("data"), &[]).await?;
    hub.node_action("started", STARTED).await?;
    hub.trigger_to("changed", "started").await?;
    many_feeds(&hub, &couch, &kafka).await?;
    // What making them cost is over.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = hub.processor_time()?;
    tokio::time::sleep(WATCHED).await;
    let busy = (hub.processor_time()?.saturating_sub(before)).as_secs_f64();
    let share = busy / WATCHED.as_secs_f64() * 100.0;
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let resident = hub.resident()? as f64 / 1e6;
    Ok(vec![
        Row {
            what: "900 alarms, 50 CouchDB feeds, 50 Kafka feeds, idle: memory",
            target: "<= 250 MB",
            measured: format!("{resident:.0} MB"),
            control: "none".to_owned(),
            score: 250.0 / resident,
        },
        Row {
            what: "the same: processor",
            target: "<= 5 % of a core",
            measured: format!("{share:.2} %"),
            control: "none".to_owned(),
            score: 5.0 / share.max(0.01),
        },
    ])
}

async fn many_feeds(hub: &Hub, couch: &Service, kafka: &Service) -> io::Result<()> {
    for n in 0..ALARMS {
        let alarm = json!({
            "provider": "alarms", "trigger": "changed", "parameters": {"every": "20h"},
        });
        put_feed(hub, &format!("alarm{n}"), &alarm).await?;
    }
    for n in 0..DATABASE_FEEDS {
        put_feed(hub, &format!("couch{n}"), &database_feed(couch.port, "changed")).await?;
    }
    for n in 0..TOPIC_FEEDS {
        let feed = json!({"provider": "kafka", "trigger": "changed",
            "parameters": {"brokers": kafka.address(), "topic": "idle"}});
        put_feed(hub, &format!("kafka{n}"), &feed).await?;
    }
    Ok(())
}

async fn put_feed(hub: &Hub, name: &str, feed: &Value) -> io::Result<()> {
    let path = format!("/api/v1/namespaces/_/feeds/{name}");
    let made = hub.must("PUT", &path, feed).await?;
    if made.pointer("/status/pinned") == Some(&json!(true)) {
        return Ok(());
    }
    Err(io::Error::other(format!("the feed has no place: {made}")))
}

fn database_feed(port: u16, trigger: &str) -> Value {
    json!({"provider": "couchdb", "trigger": trigger, "parameters": {
        "host": "127.0.0.1", "port": port, "protocol": "http", "dbname": "timed",
        "username": "admin", "password": "secret",
    }})
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn other(error: FaultError) -> io::Error {
    io::Error::other(format!("{error:?}"))
}
