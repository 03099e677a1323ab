//! Rows about Kafka: how many records reach the log, how soon one runs an action, and what feeds
//! cost whose brokers are away.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig, Message as _,
    consumer::{Consumer as _, StreamConsumer},
    producer::{FutureProducer, FutureRecord},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    hub::{Folder, Hub},
    stats::{median, ms, percentile},
    table::Row,
};
use crate::e2e::service::Service;

/// Records of one round of the row of throughput, each of 1 KiB.
const RECORDS: usize = 180_000;
const RECORD: usize = 1_024;
/// Records that are produced together.
const AT_ONCE: usize = 1_000;
const ROUNDS: usize = 3;
/// Records of one append of the control: as many as the hub's batch.
const BATCH: usize = 500;
/// Records that are timed.
const TIMED: usize = 200;
/// Pause between two of them.
const BETWEEN: Duration = Duration::from_millis(40);
/// Feeds whose brokers are away.
const AWAY: usize = 100;
/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(20);
/// Longest wait for what was started to be there.
const WITHIN: Duration = Duration::from_secs(60);
/// Says when it started and with which record.
const STARTED: &str = "function main(args) { return { n: args.n, at: Date.now() } }";

/// Every row.
///
/// # Errors
/// Those of the processes and sockets.
pub async fn rows(program: &Path, parent: &Path) -> io::Result<Vec<Row>> {
    let folder = Folder::new(parent, "kafka")?;
    let kafka = Service::kafka(&folder.0).await.map_err(io::Error::other)?;
    let throughput = throughput(program, &folder, &kafka).await?;
    let latency = latency(program, &folder, &kafka).await?;
    drop(kafka);
    Ok(vec![throughput, latency, away(program, parent).await?])
}

async fn throughput(program: &Path, folder: &Folder, kafka: &Service) -> io::Result<Row> {
    let producer = producer(kafka, 20)?;
    let value = vec![b'x'; RECORD];
    let mut sends = Vec::new();
    for _ in 0..RECORDS {
        let record: FutureRecord<'_, (), [u8]> = FutureRecord::to("many").payload(&value);
        sends.push(producer.send_result(record).map_err(|(error, _)| io::Error::other(error))?);
        if sends.len() == AT_ONCE {
            for sent in sends.drain(..) {
                let sent = sent.await.map_err(io::Error::other)?;
                sent.map_err(|(error, _)| io::Error::other(error))?;
            }
        }
    }
    let hub = Hub::start(program, &folder.0.join("many"), &[]).await?;
    hub.must("PUT", "/api/v1/namespaces/_/triggers/got", &json!({})).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(through_the_hub(&hub, kafka, round).await?);
        bare.push(through_a_file(folder, kafka, round).await?);
    }
    let ratios: Vec<f64> = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
    let (rate, control, ratio) = (median(&ours), median(&bare), median(&ratios));
    Ok(Row {
        what: "Kafka -> durable log, 1 KiB records",
        target: ">= 60 % of a bare consumer with the same group commit, >= 30,000/s",
        measured: format!("{rate:.0}/s, {:.0} %", ratio * 100.0),
        control: format!("{control:.0}/s"),
        score: (ratio / 0.6).min(rate / 30_000.0),
    })
}

/// Records a second, from a feed's creation until all are durable.
async fn through_the_hub(hub: &Hub, kafka: &Service, round: usize) -> io::Result<f64> {
    let path = format!("/api/v1/namespaces/_/feeds/many{round}");
    let feed = json!({"provider": "kafka", "trigger": "got", "parameters": {
        "brokers": kafka.address(), "topic": "many", "startFrom": "earliest", "value": "binary"}});
    let begin = Instant::now();
    hub.must("PUT", &path, &feed).await?;
    loop {
        let shown = hub.must("GET", &path, &Value::Null).await?;
        let next = shown.pointer("/status/position/topics/many/0").and_then(Value::as_u64);
        if next.is_some_and(|next| next >= RECORDS as u64) {
            break;
        }
        if begin.elapsed() > WITHIN {
            return Err(io::Error::other(format!("not every record came: {shown}")));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = a_second(begin);
    hub.must("DELETE", &path, &Value::Null).await?;
    Ok(rate)
}

/// The same, of a consumer that appends to a file and syncs each batch.
async fn through_a_file(folder: &Folder, kafka: &Service, round: usize) -> io::Result<f64> {
    let mut file = File::create(folder.0.join(format!("bare{round}")))?;
    let begin = Instant::now();
    let consumer = consumer(kafka, "many", &format!("bare{round}"), "earliest")?;
    let (mut batch, mut count) = (Vec::new(), 0);
    while count < RECORDS {
        let message = consumer.recv().await.map_err(io::Error::other)?;
        batch.extend_from_slice(message.payload().unwrap_or_default());
        count += 1;
        if batch.len() >= BATCH * RECORD || count == RECORDS {
            file.write_all(&batch)?;
            file.sync_data()?;
            batch.clear();
        }
    }
    Ok(a_second(begin))
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn a_second(begin: Instant) -> f64 {
    RECORDS as f64 / begin.elapsed().as_secs_f64()
}

async fn latency(program: &Path, folder: &Folder, kafka: &Service) -> io::Result<Row> {
    let producer = producer(kafka, 0)?;
    let hub = Hub::start(program, &folder.0.join("timed"), &[]).await?;
    hub.node_action("started", STARTED).await?;
    hub.trigger_to("got", "started").await?;
    // The topic is made by its first record.
    send(&producer, "timed", 0).await?;
    let feed = json!({"provider": "kafka", "trigger": "got",
        "parameters": {"brokers": kafka.address(), "topic": "timed", "startFrom": "earliest"}});
    hub.must("PUT", "/api/v1/namespaces/_/feeds/timed", &feed).await?;
    let bare = bare_reader(kafka)?;
    let mut sent = Vec::new();
    for number in 1..=TIMED {
        sent.push(now());
        send(&producer, "timed", number).await?;
        tokio::time::sleep(BETWEEN).await;
    }
    let started = started(&hub).await?;
    let seen = tokio::time::timeout(WITHIN, bare).await;
    let seen = seen.map_err(io::Error::other)?.map_err(io::Error::other)??;
    let mut sync = syncs(&folder.0)?;
    let (mut ours, mut control) = (Vec::new(), Vec::new());
    // The first started a sandbox, or made the consumers know each other.
    for (number, at) in sent.iter().enumerate().map(|(place, at)| (place + 1, at)).skip(3) {
        let of = |list: &HashMap<usize, Duration>| {
            list.get(&number).map(|then| then.saturating_sub(*at))
        };
        let both = of(&started).zip(of(&seen));
        let (hub, reader) =
            both.ok_or_else(|| io::Error::other(format!("{number} did not come")))?;
        ours.push(hub);
        control.push(reader);
    }
    let [p50, p99] = [0.5, 0.99].map(|part| percentile(&mut ours, part));
    let (bare, fsync) = (percentile(&mut control, 0.99), percentile(&mut sync, 0.99));
    let target = ms(bare) + 3.0 * ms(fsync) + 5.0;
    Ok(Row {
        what: "Kafka record produced -> action started, warm, quiet",
        target: "p99 <= a bare consumer's + 3 x fdatasync's p99 + 5 ms",
        measured: format!("p50 {:.1} ms, p99 {:.1} ms of {target:.1} ms", ms(p50), ms(p99)),
        control: format!("p99 {:.1} ms; fdatasync p99 {:.2} ms", ms(bare), ms(fsync)),
        score: target / ms(p99),
    })
}

/// When a consumer with nothing behind it saw each record.
fn bare_reader(kafka: &Service) -> io::Result<JoinHandle<io::Result<HashMap<usize, Duration>>>> {
    let consumer = consumer(kafka, "timed", "bare-timed", "earliest")?;
    Ok(tokio::spawn(async move {
        let mut seen = HashMap::new();
        while seen.len() <= TIMED {
            let message = consumer.recv().await.map_err(io::Error::other)?;
            let value: Value = serde_json::from_slice(message.payload().unwrap_or_default())?;
            let number = value.get("n").and_then(Value::as_u64).unwrap_or_default();
            seen.insert(usize::try_from(number).unwrap_or_default(), now());
        }
        Ok(seen)
    }))
}

/// When the action started for each record.
async fn started(hub: &Hub) -> io::Result<HashMap<usize, Duration>> {
    let begin = Instant::now();
    while usize::try_from(hub.count("started").await?).unwrap_or(0) <= TIMED {
        if begin.elapsed() > WITHIN {
            return Err(io::Error::other("not every record ran the action"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (mut all, mut skip) = (HashMap::new(), 0);
    while skip <= TIMED {
        let path = format!(
            "/api/v1/namespaces/_/activations?docs=true&name=started&limit=100&skip={skip}"
        );
        let page = hub.must("GET", &path, &Value::Null).await?;
        for record in page.as_array().into_iter().flatten() {
            let of = |name: &str| record.pointer(name).and_then(Value::as_u64).unwrap_or_default();
            let number = usize::try_from(of("/response/result/n")).unwrap_or_default();
            all.insert(number, Duration::from_millis(of("/response/result/at")));
        }
        skip += 100;
    }
    Ok(all)
}

/// Times of syncing a small write, as a batch of one record is.
fn syncs(folder: &Path) -> io::Result<Vec<Duration>> {
    let mut file = File::create(folder.join("syncs"))?;
    (0..TIMED)
        .map(|_| {
            let begin = Instant::now();
            file.write_all(&[b'x'; RECORD])?;
            file.sync_data()?;
            Ok(begin.elapsed())
        })
        .collect()
}

async fn away(program: &Path, parent: &Path) -> io::Result<Row> {
    let folder = Folder::new(parent, "away")?;
    let hub = Hub::start(program, &folder.0.join("data"), &[]).await?;
    hub.must("PUT", "/api/v1/namespaces/_/triggers/got", &json!({})).await?;
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let feed = json!({"provider": "kafka", "trigger": "got",
        "parameters": {"brokers": format!("127.0.0.1:{port}"), "topic": "t"}});
    let paths = (0..AWAY).map(|number| format!("/api/v1/namespaces/_/feeds/away{number}"));
    let mut made = tokio::task::JoinSet::new();
    let hub = std::sync::Arc::new(hub);
    for path in paths {
        let (hub, feed) = (std::sync::Arc::clone(&hub), feed.clone());
        made.spawn(async move { hub.must("PUT", &path, &feed).await.map(drop) });
    }
    while let Some(one) = made.join_next().await {
        one.map_err(io::Error::other)??;
    }
    // What making them cost is over, and the waits between two tries have grown.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let before = hub.processor_time()?;
    tokio::time::sleep(WATCHED).await;
    let busy = (hub.processor_time()?.saturating_sub(before)).as_secs_f64();
    let share = busy / WATCHED.as_secs_f64() * 100.0;
    Ok(Row {
        what: "100 Kafka feeds whose broker is unreachable: processor",
        target: "<= 5 % of a core",
        measured: format!("{share:.2} %"),
        control: "none".to_owned(),
        score: 5.0 / share.max(0.01),
    })
}

fn producer(kafka: &Service, linger_ms: u32) -> io::Result<FutureProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.address()).set("linger.ms", linger_ms.to_string());
    config.create().map_err(io::Error::other)
}

async fn send(producer: &FutureProducer, topic: &str, number: usize) -> io::Result<()> {
    let value = json!({"n": number}).to_string();
    let record: FutureRecord<'_, (), str> = FutureRecord::to(topic).payload(&value);
    let sent = producer.send(record, WITHIN).await;
    sent.map(drop).map_err(|(error, _)| io::Error::other(error))
}

fn consumer(kafka: &Service, topic: &str, group: &str, from: &str) -> io::Result<StreamConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.address())
        .set("group.id", group)
        .set("auto.offset.reset", from)
        .set("enable.auto.commit", "false");
    let consumer: StreamConsumer = config.create().map_err(io::Error::other)?;
    consumer.subscribe(&[topic]).map_err(io::Error::other)?;
    Ok(consumer)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
