//! Rows about running functions: fires completed, warm and cold calls, many actions.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    client::{Connection, Load, MakeRequest, load, request},
    hub::{Control, Folder, Hub},
    stats::{median, ms, percentile},
    table::Row,
};

/// Rounds of control and hub, in turn.
const ROUNDS: usize = 5;
/// Length of one load.
const LENGTH: Duration = Duration::from_secs(2);
/// Length of the run of fires.
const FIRES: Duration = Duration::from_secs(60);
/// Longest wait for what was accepted to be completed.
const DRAIN: Duration = Duration::from_secs(120);
/// Calls of each action before they are timed: until then the interpreters compile.
const WARM_UPS: usize = 200;
/// Runners passed over and runners called between two timed calls.
const FAR: usize = 7;
const EACH: usize = 3;
/// Actions that are called in turn.
const MANY: usize = 100;

/// A hub with the no-op action and one that sleeps for 100 ms.
async fn prepared(program: &Path, folder: &Path) -> io::Result<Hub> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let hub = Hub::start(program, &data, &[]).await?;
    hub.node_action("noop", "function main() { return {} }").await?;
    let sleeper = "const main = () => new Promise(done => setTimeout(() => done({}), 100))";
    hub.node_action("sleeper", sleeper).await?;
    Ok(hub)
}

/// The rows of calls that wait for their answer.
///
/// # Errors
/// Those of the processes and sockets.
pub async fn calls(program: &Path, parent: &Path) -> io::Result<Vec<Row>> {
    let folder = Folder::new(parent, "calls")?;
    let hub = prepared(program, &folder.0).await?;
    let mut rows = vec![
        warm_one(&hub).await?,
        warm_many(&hub, &folder.0).await?,
        sleepers(&hub).await?,
        hundred(&hub, &folder.0).await?,
    ];
    rows.extend(cold(&hub, &folder.0).await?);
    Ok(rows)
}

/// The rows of deliveries.
///
/// # Errors
/// Those of the processes and sockets.
pub async fn deliveries(program: &Path, parent: &Path) -> io::Result<Vec<Row>> {
    let folder = Folder::new(parent, "deliveries")?;
    let hub = prepared(program, &folder.0).await?;
    Ok(vec![readable(&hub, &folder.0).await?, fires(&hub).await?])
}

fn invoke(hub: &Hub, action: &str) -> MakeRequest {
    let path = format!("/api/v1/namespaces/_/actions/{action}?blocking=true");
    let bytes = request("POST", &path, &hub.headers, b"{}");
    Arc::new(move |_, _| bytes.clone())
}

fn all_good(load: Load) -> io::Result<Load> {
    match &load.first_bad {
        None => Ok(load),
        Some(bad) => Err(io::Error::other(format!("{} calls failed: {bad}", load.bad))),
    }
}

async fn warm_one(hub: &Hub) -> io::Result<Row> {
    load(hub.address, 1, Duration::from_millis(500), 200, invoke(hub, "noop")).await?;
    let mut one = all_good(load(hub.address, 1, LENGTH, 200, invoke(hub, "noop")).await?)?;
    let p50 = ms(percentile(&mut one.times, 0.5));
    let p99 = ms(percentile(&mut one.times, 0.99));
    Ok(Row {
        what: "warm blocking invoke over REST, one connection",
        target: "p50 <= 1 ms on a quiet machine",
        measured: format!("p50 {p50:.2} ms, p99 {p99:.2} ms"),
        control: "none".to_owned(),
        score: 1.0 / p50,
    })
}

async fn warm_many(hub: &Hub, folder: &Path) -> io::Result<Row> {
    let control = Control::start("runners", folder)?;
    let bare: MakeRequest = Arc::new(|_, _| request("POST", "/", "", b"{}"));
    load(hub.address, 32, LENGTH, 200, invoke(hub, "noop")).await?;
    let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let control = load(control.address, 32, LENGTH, 200, Arc::clone(&bare)).await?.rate();
        let hub = all_good(load(hub.address, 32, LENGTH, 200, invoke(hub, "noop")).await?)?.rate();
        ours.push(hub);
        theirs.push(control);
        ratios.push(hub / control);
    }
    let (rate, ratio) = (median(&ours), median(&ratios));
    Ok(Row {
        what: "warm invokes, no-op Node, 32 connections",
        target: ">= 5,000/s and >= 60 % of bare hyper awaiting the same runners",
        measured: format!("{rate:.0}/s, {:.0} % of the control", ratio * 100.0),
        control: format!("{:.0}/s", median(&theirs)),
        score: (rate / 5_000.0).min(ratio / 0.6),
    })
}

async fn sleepers(hub: &Hub) -> io::Result<Row> {
    load(hub.address, 32, LENGTH, 200, invoke(hub, "sleeper")).await?;
    let mut rates = vec![];
    for _ in 0..ROUNDS {
        rates.push(
            all_good(load(hub.address, 32, LENGTH, 200, invoke(hub, "sleeper")).await?)?.rate(),
        );
    }
    let rate = median(&rates);
    Ok(Row {
        what: "warm invokes with 100 ms of sleep in the action, 32 connections",
        target: ">= 250/s",
        measured: format!("{rate:.0}/s"),
        control: "320/s is the most that 32 connections can".to_owned(),
        score: rate / 250.0,
    })
}

/// From the firing of a trigger to its action's record, beside its parts alone.
async fn readable(hub: &Hub, folder: &Path) -> io::Result<Row> {
    hub.trigger_to("seen", "noop").await?;
    let writer = Control::start("append", folder)?;
    let mut bare = Connection::open(writer.address).await?;
    let mut connection = Connection::open(hub.address).await?;
    let (mut whole, mut write, mut warm) = (vec![], vec![], vec![]);
    let fire = request("POST", "/api/v1/namespaces/_/triggers/seen", &hub.headers, b"{}");
    let call = invoke(hub, "noop")(0, 0);
    for _ in 0..300 {
        let begin = Instant::now();
        bare.send(&request("POST", "/", "", &[b'x'; 300])).await?;
        write.push(begin.elapsed());
        let begin = Instant::now();
        connection.send(&call).await?;
        warm.push(begin.elapsed());
        let begin = Instant::now();
        let fired = connection.send(&fire).await?;
        let fired = member(&fired.body, "/activationId")?;
        let trigger = until_readable(hub, &mut connection, &fired).await?;
        let entry = member(&trigger, "/logs/0")?;
        let action = member(entry.as_bytes(), "/activationId")?;
        until_readable(hub, &mut connection, &action).await?;
        whole.push(begin.elapsed());
    }
    let whole = ms(percentile(&mut whole, 0.5));
    let (write, warm) = (ms(percentile(&mut write, 0.5)), ms(percentile(&mut warm, 0.5)));
    Ok(Row {
        what: "fire to activation record readable",
        target: "p50 <= 1.5 x (durable write + warm call)",
        measured: format!("p50 {whole:.2} ms"),
        control: format!("durable write {write:.2} ms + warm call {warm:.2} ms"),
        score: 1.5 * (write + warm) / whole,
    })
}

/// Asks for a record until it is there; its text.
async fn until_readable(hub: &Hub, connection: &mut Connection, id: &str) -> io::Result<Vec<u8>> {
    let begin = Instant::now();
    let path = format!("/api/v1/namespaces/_/activations/{id}");
    let get = request("GET", &path, &hub.headers, b"");
    loop {
        let answer = connection.send(&get).await?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        if begin.elapsed() > Duration::from_secs(10) {
            return Err(io::Error::other(format!("the record {id} did not come")));
        }
    }
}

/// The text at a JSON pointer.
fn member(json: &[u8], pointer: &str) -> io::Result<String> {
    let value: Value = serde_json::from_slice(json).map_err(io::Error::other)?;
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| io::Error::other(format!("no {pointer} in {value}")))
}

async fn fires(hub: &Hub) -> io::Result<Row> {
    hub.node_action("counted", "function main() { return {} }").await?;
    hub.trigger_to("counting", "counted").await?;
    let bytes =
        request("POST", "/api/v1/namespaces/_/triggers/counting", &hub.headers, b"{\"a\":1}");
    let make: MakeRequest = Arc::new(move |_, _| bytes.clone());
    let begin = Instant::now();
    let accepted = load(hub.address, 32, FIRES, 202, make).await?;
    let done_at_end = hub.count("counted").await?;
    let mut done = done_at_end;
    while usize::try_from(done).is_ok_and(|done| done < accepted.good) {
        if begin.elapsed() > FIRES + DRAIN {
            return Err(io::Error::other(format!("{done} of {} completed", accepted.good)));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        done = hub.count("counted").await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of fires")]
    let (rate, backlog) =
        (done as f64 / begin.elapsed().as_secs_f64(), accepted.good as f64 - done_at_end as f64);
    Ok(Row {
        what: "fires really completed, 32 connections, one rule, no-op Node, 60 s",
        target: ">= 3,000/s, backlog flat, none lost",
        measured: format!(
            "{rate:.0}/s, {} accepted, {done} completed, {backlog:.0} under way at the end",
            accepted.good
        ),
        control: format!("{} refused with 429", accepted.bad),
        score: rate / 3_000.0,
    })
}

/// A hundred warm actions in turn, beside one: no initialisation, hardly more time added to that
/// of bare runners called in the same way.
async fn hundred(hub: &Hub, folder: &Path) -> io::Result<Row> {
    for n in 0..MANY {
        hub.node_action(&format!("many{n}"), "function main() { return {} }").await?;
    }
    let control = Control::start("turns", folder)?;
    let calls: Vec<_> = (0..MANY).map(|n| invoke(hub, &format!("many{n}"))(0, 0)).collect();
    let raw: Vec<_> =
        (0..MANY).map(|n| request("POST", "/", "", n.to_string().as_bytes())).collect();
    let mut between = Between::new(control.address, &raw).await?;
    let (mut hub_turns, mut hub_one) = in_turn(hub.address, &calls, &mut between).await?;
    let (mut bare_turns, mut bare_one) = in_turn(control.address, &raw, &mut between).await?;
    let initialised = hub_turns.initialised;
    let (many, one) = (hub_turns.p50(), hub_one.p50());
    let (bare_many, bare_one) = (bare_turns.p50(), bare_one.p50());
    let (added, added_one) = (many - bare_many, one - bare_one);
    Ok(Row {
        what: "100 different warm actions in turn",
        target: "no initialisation among them; added time <= 1.3 x that at one",
        measured: format!(
            "p50 {many:.3} ms, added {added:.3} ms (at one {added_one:.3} ms), {initialised} initialisations"
        ),
        control: format!("bare runners: in turn {bare_many:.3} ms, one {bare_one:.3} ms"),
        score: if initialised == 0 { 1.3 * added_one / added.max(0.001) } else { 0.0 },
    })
}

/// Each of the calls in turn, and the first alone, ten times over.
async fn in_turn(
    address: std::net::SocketAddr,
    calls: &[Vec<u8>],
    between: &mut Between<'_>,
) -> io::Result<(Timed, Timed)> {
    let mut connection = Connection::open(address).await?;
    let mut warm_up = Timed::default();
    for _ in 0..WARM_UPS {
        for call in calls {
            warm_up.send(&mut connection, call).await?;
        }
    }
    let (mut turns, mut one) = (Timed::default(), Timed::default());
    for _ in 0..10 {
        for call in calls {
            between.call().await?;
            turns.send(&mut connection, call).await?;
        }
        for call in std::iter::repeat_n(calls.first(), MANY).flatten() {
            between.call().await?;
            one.send(&mut connection, call).await?;
        }
    }
    Ok((turns, one))
}

/// Calls of bare runners before each timed one. A hundred interpreters do not fit into the
/// processor's caches: without these the calls of one would be timed with all of their code in
/// reach, those in turn with none, and the row would show the caches, not the hub.
#[derive(Debug)]
struct Between<'a> {
    connection: Connection,
    calls: std::iter::Cycle<std::slice::Iter<'a, Vec<u8>>>,
}

impl<'a> Between<'a> {
    async fn new(address: std::net::SocketAddr, calls: &'a [Vec<u8>]) -> io::Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection, calls: calls.iter().cycle() })
    }

    async fn call(&mut self) -> io::Result<()> {
        for call in self.calls.by_ref().skip(FAR).take(EACH) {
            self.connection.send(call).await?;
        }
        Ok(())
    }
}

/// Times of calls, and how many of them had to initialise.
#[derive(Debug, Default)]
struct Timed {
    times: Vec<Duration>,
    initialised: usize,
}

impl Timed {
    async fn send(&mut self, connection: &mut Connection, call: &[u8]) -> io::Result<()> {
        let begin = Instant::now();
        let answer = connection.send(call).await?;
        self.times.push(begin.elapsed());
        if answer.status != 200 {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(io::Error::other(format!("{} {text}", answer.status)));
        }
        self.initialised += usize::from(String::from_utf8_lossy(&answer.body).contains("initTime"));
        Ok(())
    }

    fn p50(&mut self) -> f64 {
        ms(percentile(&mut self.times, 0.5))
    }
}

async fn cold(hub: &Hub, folder: &Path) -> io::Result<Vec<Row>> {
    let control = Control::start("cold", folder)?;
    let mut bare = Connection::open(control.address).await?;
    let mut connection = Connection::open(hub.address).await?;
    let (mut theirs, mut ours, mut prewarmed) = (vec![], vec![], vec![]);
    for n in 0..20 {
        let begin = Instant::now();
        bare.send(&request("POST", "/", "", b"{}")).await?;
        theirs.push(begin.elapsed());
        for (limit, times) in [(512, &mut ours), (256, &mut prewarmed)] {
            let name = format!("cold{limit}-{n}");
            let code = "function main() { return {} }";
            let body = json!({"exec": {"kind": "nodejs:default", "code": code}, "limits": {"memory": limit}});
            hub.must("PUT", &format!("/api/v1/namespaces/_/actions/{name}"), &body).await?;
            let call = invoke(hub, &name)(0, 0);
            tokio::time::sleep(Duration::from_millis(700)).await;
            let begin = Instant::now();
            connection.send(&call).await?;
            times.push(begin.elapsed());
        }
    }
    let p50 = |times: &mut Vec<Duration>| ms(percentile(times, 0.5));
    let (bare, cold, warm) = (p50(&mut theirs), p50(&mut ours), p50(&mut prewarmed));
    Ok(vec![
        Row {
            what: "cold start",
            target: "control (same interpreter and launcher, no sandbox) + 10 ms",
            measured: format!("p50 {cold:.1} ms"),
            control: format!("{bare:.1} ms"),
            score: (bare + 10.0) / cold,
        },
        Row {
            what: "prewarmed start",
            target: "<= 10 ms",
            measured: format!("p50 {warm:.1} ms"),
            control: "none".to_owned(),
            score: 10.0 / warm,
        },
    ])
}
