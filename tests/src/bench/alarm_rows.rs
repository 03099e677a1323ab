//! Rows about alarms: what a million cost, and how late ten thousand ticks a second are.

use std::{
    io,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use evoke_providers::alarms::{
    schedule::{Mark, Rhythm, Schedule},
    scheduler::Scheduler,
};
use serde_json::{Value, json};

use super::{
    hub::{Folder, Hub},
    stats::{ms, percentile},
    table::Row,
};

/// Schedules of the row of many.
const MANY: u64 = 1_000_000;
/// Alarms of the row of ticks, each every 10 ms.
const ALARMS: usize = 100;
/// How long ticks are watched.
const WATCHED: Duration = Duration::from_secs(5);
/// Pause between two looks at the newest ticks.
const LOOK: Duration = Duration::from_millis(100);

/// Every row.
///
/// # Errors
/// Those of the processes and sockets.
pub async fn rows(program: &Path, parent: &Path) -> io::Result<Vec<Row>> {
    let mut rows = many()?;
    rows.extend(ticks(program, parent).await?);
    Ok(rows)
}

fn many() -> io::Result<Vec<Row>> {
    let (before, begin, now_ms) = (resident()?, Instant::now(), now().as_millis());
    let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
    let mut scheduler = Scheduler::new();
    for number in 0..MANY {
        let rhythm = Rhythm::Every { anchor_ms: now_ms + number % 3_600_000, period_ms: 3_600_000 };
        let mark = Mark { until_ms: now_ms, ..Mark::default() };
        scheduler.insert(Schedule::new(rhythm), mark, now_ms);
    }
    let loaded = begin.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let memory = resident()?.saturating_sub(before) as f64 / 1e6;
    if scheduler.next_due().is_none() {
        return Err(io::Error::other("the scheduler has nothing to do"));
    }
    Ok(vec![
        Row {
            what: "1,000,000 schedules in the scheduler: memory",
            target: "<= 400 MB",
            measured: format!("{memory:.0} MB"),
            control: "none".to_owned(),
            score: 400.0 / memory,
        },
        Row {
            what: "1,000,000 schedules loaded",
            target: "<= 5 s",
            measured: format!("{loaded:.2} s"),
            control: "none".to_owned(),
            score: 5.0 / loaded,
        },
    ])
}

async fn ticks(program: &Path, parent: &Path) -> io::Result<Vec<Row>> {
    let folder = Folder::new(parent, "ticks")?;
    let hub = Hub::start(program, &folder.0.join("data"), &[]).await?;
    hub.must("PUT", "/api/v1/namespaces/_/triggers/tick", &json!({})).await?;
    let feed = json!({"provider": "alarms", "trigger": "tick", "parameters": {"every": "10ms"}});
    for number in 0..ALARMS {
        hub.must("PUT", &format!("/api/v1/namespaces/_/feeds/alarm{number}"), &feed).await?;
    }
    let (begin, before) = (Instant::now(), fired(&hub).await?);
    let mut late = Vec::new();
    while begin.elapsed() < WATCHED {
        tokio::time::sleep(LOOK).await;
        let since = now().as_millis().saturating_sub(50);
        let path = format!("/api/v1/namespaces/_/events?limit=200&since={since}");
        let newest = hub.must("GET", &path, &Value::Null).await?;
        late.extend(newest.as_array().into_iter().flatten().filter_map(lateness));
    }
    let (after, elapsed) = (fired(&hub).await?, begin.elapsed());
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = after.saturating_sub(before) as f64 / elapsed.as_secs_f64();
    let (p50, p99) = (percentile(&mut late, 0.5), percentile(&mut late, 0.99));
    Ok(vec![Row {
        what: "alarms: 100 every 10 ms into the log",
        target: "10,000 ticks/s, lateness p99 <= 50 ms",
        measured: format!("{rate:.0}/s, late p50 {:.1} ms, p99 {:.1} ms", ms(p50), ms(p99)),
        control: format!("{} ticks looked at", late.len()),
        score: (50.0 / ms(p99).max(0.1)).min(rate / 9_900.0),
    }])
}

/// Ticks that are durable, by the positions of the feeds.
async fn fired(hub: &Hub) -> io::Result<u64> {
    let feeds = hub.must("GET", "/api/v1/namespaces/_/feeds?limit=200", &Value::Null).await?;
    let of = |feed: &Value| feed.pointer("/status/position/fired").and_then(Value::as_u64);
    Ok(feeds.as_array().into_iter().flatten().filter_map(of).sum())
}

/// From the scheduled instant, which the id tells, to the log.
fn lateness(event: &Value) -> Option<Duration> {
    let id = event.pointer("/event/id").and_then(Value::as_str)?;
    let scheduled: u64 = id.rsplit('-').next()?.parse().ok()?;
    let accepted = event.get("accepted").and_then(Value::as_u64)?;
    Some(Duration::from_millis(accepted.saturating_sub(scheduled)))
}

/// Of this very process. Unit: bytes.
fn resident() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map(|number| number * 1024).ok_or_else(|| io::Error::other("no VmRSS"))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
