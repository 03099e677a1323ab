//! Compares the log with a bare append + fdatasync writer, in turns, on the same disk.
//!
//! `cargo run --profile ci -p evoke-event-log --example throughput [DIR]`

#![expect(clippy::print_stdout, reason = "what a benchmark is for")]

use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evoke_event_log::{Append, Config, EventLog, Limits, Prepared, Record, SegmentLog, Stream};

const RECORD: usize = 1_024;
const BATCH: usize = 100;
const ROUNDS: usize = 3;
const ROUND_BATCHES: usize = 1_500;
const ROUND_SINGLES: usize = 2_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Time of each write, and of all together.
struct Run {
    each: Vec<Duration>,
    all: Duration,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("evoke-throughput-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let (log, _) = SegmentLog::open(&dir.join("log"), Config::default())?;
    prepare_alone()?;
    for round in 1..=ROUNDS {
        println!("round {round}");
        for in_flight in [1, 8] {
            let bare = bare(&dir, BATCH * RECORD, ROUND_BATCHES, in_flight)?;
            let ours = ours(&log, BATCH, ROUND_BATCHES, in_flight).await?;
            report(&format!("batches of {BATCH}, {in_flight} in flight"), BATCH, &bare, &ours);
        }
        let bare = bare(&dir, RECORD, ROUND_SINGLES, 1)?;
        let ours = ours(&log, 1, ROUND_SINGLES, 1).await?;
        report("singles, 1 in flight", 1, &bare, &ours);
    }
    drop(log);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Cost of checking and hashing, on the caller's side.
fn prepare_alone() -> Outcome<()> {
    let limits = Limits::default();
    let started = Instant::now();
    for number in 0..1_000 {
        Prepared::new(batch(BATCH, number), &limits)?;
    }
    let each = started.elapsed() / (1_000 * 100);
    println!("prepare: {each:?} a record of {RECORD} bytes, making it included");
    Ok(())
}

fn batch(count: usize, number: usize) -> Append {
    let mut data = vec![0x5a; RECORD];
    data.splice(..8, number.to_le_bytes());
    let data = Bytes::from(data);
    let record = |_| Record { stream: Stream(20), partition: 0, dedup: None, data: data.clone() };
    Append::intake((0..count).map(record).collect())
}

/// Appends to a file, with one sync for each `in_flight` writes.
fn bare(dir: &Path, bytes: usize, writes: usize, in_flight: usize) -> Outcome<Run> {
    let path = dir.join("bare");
    let mut file = File::create(&path)?;
    let data = vec![0x5a; bytes];
    let (started, mut each) = (Instant::now(), Vec::new());
    for _ in 0..writes / in_flight {
        let began = Instant::now();
        for _ in 0..in_flight {
            file.write_all(&data)?;
        }
        file.sync_data()?;
        each.push(began.elapsed());
    }
    let all = started.elapsed();
    std::fs::remove_file(path)?;
    Ok(Run { each, all })
}

async fn ours(log: &SegmentLog, count: usize, writes: usize, in_flight: usize) -> Outcome<Run> {
    let (started, mut each) = (Instant::now(), Vec::new());
    let mut flying = VecDeque::new();
    for number in 0..writes {
        flying.push_back((Instant::now(), log.submit(batch(count, number))));
        if flying.len() >= in_flight
            && let Some((began, pending)) = flying.pop_front()
        {
            pending.await?;
            each.push(began.elapsed());
        }
    }
    for (began, pending) in flying {
        pending.await?;
        each.push(began.elapsed());
    }
    Ok(Run { each, all: started.elapsed() })
}

fn report(what: &str, records: usize, bare: &Run, ours: &Run) {
    let rate = |run: &Run, writes: usize| {
        let written = u32::try_from(writes * records).unwrap_or(u32::MAX);
        f64::from(written) / run.all.as_secs_f64()
    };
    let writes = ours.each.len();
    let (base, own) = (rate(bare, writes), rate(ours, writes));
    let ratio = own / base;
    let (base_mid, own_mid) = (median(bare), median(ours));
    println!(
        "{what:>28}: bare {base:>9.0}/s, log {own:>9.0}/s, ratio {ratio:.2}; p50 {base_mid:?}, {own_mid:?}"
    );
}

fn median(run: &Run) -> Duration {
    let mut each = run.each.clone();
    each.sort_unstable();
    each.get(each.len() / 2).copied().unwrap_or_default()
}
