//! Rows about taking events in: durable batches, durable single events.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use super::{
    client::{MakeRequest, load, request},
    hub::{Control, Folder, Hub},
    stats::median,
    table::Row,
};

/// Rounds of control and hub, in turn.
const ROUNDS: usize = 5;
/// Length of one load.
const LENGTH: Duration = Duration::from_secs(2);
/// Events of one batch.
const BATCH: usize = 100;
/// Fills an event up to 1 KiB.
const FILL: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Number of the next event.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Both rows.
///
/// # Errors
/// Those of the processes and sockets.
pub async fn rows(program: &Path, parent: &Path) -> io::Result<Vec<Row>> {
    Ok(vec![batches(program, parent).await?, single(program, parent).await?])
}

async fn batches(program: &Path, parent: &Path) -> io::Result<Row> {
    let folder = Folder::new(parent, "batches")?;
    let hub = prepared(program, &folder.0).await?;
    let control = Control::start("append", &folder.0)?;
    let headers = hub.headers.replace("application/json", "application/cloudevents-batch+json");
    let make: MakeRequest = Arc::new(move |_, _| {
        request("POST", "/api/v1/namespaces/_/events", &headers, batch().as_bytes())
    });
    let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let bare = load(control.address, 8, LENGTH, 200, Arc::clone(&make)).await?.rate();
        let hub = good(load(hub.address, 8, LENGTH, 202, Arc::clone(&make)).await?)?;
        ours.push(hub * 100.0);
        theirs.push(bare * 100.0);
        ratios.push(hub / bare);
    }
    let ratio = median(&ratios);
    Ok(Row {
        what: "durable ingest, batches of 100 x 1 KiB, one rule matching 1 %",
        target: ">= 60 % of bare hyper + append + fdatasync; >= 50,000 events/s on a quiet machine",
        measured: format!("{:.0} events/s, {:.0} % of the control", median(&ours), ratio * 100.0),
        control: format!("{:.0} events/s", median(&theirs)),
        score: ratio / 0.6,
    })
}

async fn single(program: &Path, parent: &Path) -> io::Result<Row> {
    let folder = Folder::new(parent, "single")?;
    let hub = prepared(program, &folder.0).await?;
    let control = Control::start("append", &folder.0)?;
    let headers = hub.headers.replace("application/json", "application/cloudevents+json");
    let make: MakeRequest = Arc::new(move |_, _| {
        let mut body = String::with_capacity(1100);
        event(&mut body);
        request("POST", "/api/v1/namespaces/_/events", &headers, body.as_bytes())
    });
    let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let bare = load(control.address, 64, LENGTH, 200, Arc::clone(&make)).await?.rate();
        let hub = good(load(hub.address, 64, LENGTH, 202, Arc::clone(&make)).await?)?;
        ours.push(hub);
        theirs.push(bare);
        ratios.push(hub / bare);
    }
    let ratio = median(&ratios);
    Ok(Row {
        what: "durable ingest, single events, 64 connections",
        target: ">= 50 % of bare hyper awaiting the same group commit",
        measured: format!("{:.0} events/s, {:.0} % of the control", median(&ours), ratio * 100.0),
        control: format!("{:.0} events/s", median(&theirs)),
        score: ratio / 0.5,
    })
}

/// A hub whose one rule matches the events of type `hit`.
async fn prepared(program: &Path, folder: &Path) -> io::Result<Hub> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let hub = Hub::start(program, &data, &[]).await?;
    hub.node_action("noop", "function main() { return {} }").await?;
    let trigger = json!({"annotations": [{"key": "subscription", "value": {"type": "hit"}}]});
    hub.must("PUT", "/api/v1/namespaces/_/triggers/hits", &trigger).await?;
    let rule = json!({"trigger": "/_/hits", "action": "/_/noop"});
    hub.must("PUT", "/api/v1/namespaces/_/rules/hits-noop", &rule).await?;
    Ok(hub)
}

fn good(load: super::client::Load) -> io::Result<f64> {
    match &load.first_bad {
        None => Ok(load.rate()),
        Some(bad) => Err(io::Error::other(format!("{} refused: {bad}", load.bad))),
    }
}

/// Appends an event of 1 KiB with an id never used before; each hundredth matches.
fn event(text: &mut String) {
    use std::fmt::Write as _;
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let kind = if n.is_multiple_of(100) { "hit" } else { "miss" };
    let _infallible = write!(
        text,
        r#"{{"specversion":"1.0","id":"{n}","source":"/bench","type":"{kind}","datacontenttype":"application/json","data":{{"text":"{FILL}"}}}}"#
    );
}

fn batch() -> String {
    let mut text = String::with_capacity(BATCH * 1100);
    text.push('[');
    for i in 0..BATCH {
        if i > 0 {
            text.push(',');
        }
        event(&mut text);
    }
    text.push(']');
    text
}
