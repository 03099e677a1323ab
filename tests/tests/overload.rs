//! Ten times more than the hub can do: it goes on doing all that it can, within its bounds, and who
//! asks for little is not kept waiting by who asks for much.
//!
//! 12 s of each overload; with EVOKE_FULL=1, 60 s. What is compared is of the same run.

use std::{collections::BTreeMap, time::Duration};

use evoke_tests::{
    e2e::{
        caller::Caller,
        entities::{call, node, trigger},
        place::Place,
    },
    fault::{
        client::{Call, Client},
        error::FaultError,
        hub::Hub,
        load::{Answers, load},
    },
};
use serde_json::{Value, json};
use tokio::time::Instant;

type Done = Result<(), FaultError>;

/// An action of 100 ms.
const SLOW: &str = "function main() {
  return new Promise((done) => setTimeout(() => done({}), 100));
}";
/// Runs at once of the namespace that floods: so many actions of 100 ms can be done, and no more.
const SANDBOXES: u32 = 8;
/// Bytes that it may leave undelivered: some seconds of work.
const UNDELIVERED: &str = "512KB";
/// How much more is asked for than can be done.
const TOO_MUCH: f64 = 10.0;
/// Length of what is compared with.
const MEASURED: Duration = Duration::from_secs(5);
/// Begin of each measurement that is left out: sandboxes start, connections are made.
const WARM: Duration = Duration::from_secs(1);
/// Parts of a measurement, of which the middle one counts: the machine has other work.
const STRETCH: Duration = Duration::from_secs(2);
/// Connections that flood.
const CONNECTIONS: u32 = 96;
/// Most memory of the hub.
const MEMORY: u64 = 384 << 20;

fn lasts() -> Duration {
    let full = std::env::var_os("EVOKE_FULL").is_some();
    Duration::from_secs(if full { 60 } else { 12 })
}

/// A hub with a namespace that floods, and a quiet one.
struct Stage {
    place: Place,
    hub: Hub,
    flood: Caller,
    quiet: Caller,
}

async fn stage() -> Result<Stage, FaultError> {
    let mut place = Place::new()?;
    place.launch.environment.push(("EVOKE_LOG", "warn".into()));
    let (hub, flood) = place.start().await?;
    let made = place.run(&["key", "add", "quiet", "--data", "DATA"]).await?;
    let quiet = place.caller_with(&String::from_utf8_lossy(&made.stdout));
    let sandboxes = SANDBOXES.to_string();
    let caps = ["--sandboxes", sandboxes.as_str(), "--undelivered", UNDELIVERED];
    let words = [&["key", "limits", "guest"], caps.as_slice(), &["--data", "DATA"]].concat();
    let set = place.run(&words).await?;
    assert!(set.status.success(), "{set:?}");
    for caller in [&flood, &quiet] {
        node(caller, "slow", SLOW).await?;
        trigger(caller, "t", &json!({}), &["slow"], &Value::Null).await?;
        assert_eq!(call(caller, "slow", &json!({})).await?.status, 200);
    }
    Ok(Stage { place, hub, flood, quiet })
}

fn client(caller: &Caller) -> impl Fn() -> Client + use<> {
    let caller = caller.clone();
    move || Client::new(caller.address, caller.authorization.clone().unwrap_or_default())
}

fn post(path: &str) -> Call {
    Call {
        method: "POST",
        path: format!("/api/v1/namespaces/_/{path}"),
        headers: Vec::new(),
        body: Some(json!({})),
    }
}

impl Stage {
    /// The flood at a rate.
    async fn floods(
        &self,
        path: &str,
        connections: u32,
        per_second: f64,
        lasts: Duration,
    ) -> Result<Answers, FaultError> {
        load(client(&self.flood), &post(path), connections, per_second, lasts).await
    }

    /// The quiet namespace asks five times a second.
    async fn asks(&self, lasts: Duration) -> Result<Answers, FaultError> {
        let path = post("actions/slow?blocking=true");
        load(client(&self.quiet), &path, 1, 5.0, lasts).await
    }

    /// Runs of the flooding namespace that have ended.
    async fn runs(&self) -> Result<f64, FaultError> {
        let count = self.flood.get("activations?name=slow&count=true").await?;
        Ok(count.pointer("/activations").and_then(Value::as_f64).unwrap_or_default())
    }

    /// Runs a second while that goes on, its begin left out.
    async fn runs_during<T>(
        &self,
        what: impl Future<Output = Result<T, FaultError>>,
        lasts: Duration,
    ) -> Result<(f64, T), FaultError> {
        let counted = async {
            tokio::time::sleep(WARM).await;
            let (begun, before) = (Instant::now(), self.runs().await?);
            tokio::time::sleep(lasts.saturating_sub(WARM)).await;
            Ok::<_, FaultError>((self.runs().await? - before) / begun.elapsed().as_secs_f64())
        };
        let (rate, done) = tokio::try_join!(counted, what)?;
        Ok((rate, done))
    }
}

/// Everybody got an answer: a good one, or 429 with one of the caps.
fn only_refused_for(answers: &Answers, caps: &[&str]) {
    let allowed = |(status, cap): &(u16, String)| *status == 429 && caps.contains(&cap.as_str());
    let wrong: BTreeMap<_, _> = answers.others.iter().filter(|(what, _)| !allowed(what)).collect();
    assert!(wrong.is_empty() && answers.unanswered == 0, "{wrong:?}, {}", answers.unanswered);
    assert!(!answers.others.is_empty(), "nothing was too much");
}

/// The middle one, so that a stretch in which the machine had other work decides nothing.
fn middle(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    assert!(!of.is_empty(), "nothing was answered");
    of.get(of.len() / 2).copied().unwrap_or_default()
}

/// What overload is compared by.
struct Measured {
    /// Completed a second at capacity, and under the flood.
    done: (f64, f64),
    /// Answers of the flooding namespace at capacity, and under the flood.
    flooding: (Answers, Answers),
    /// Answers of the quiet namespace alone, and beside the flood.
    quiet: (Answers, Answers),
}

#[expect(clippy::print_stdout, reason = "what was measured is for people to read")]
fn judge(what: &str, measured: &Measured, memory: u64) {
    let of = |answers: &Answers, quantile| middle(answers.quantiles(quantile, STRETCH));
    let Measured { done: (peak, done), flooding, quiet } = measured;
    let (p99_at_capacity, p99) = (of(&flooding.0, 0.99), of(&flooding.1, 0.99));
    let (p50_alone, p50) = (of(&quiet.0, 0.5), of(&quiet.1, 0.5));
    println!("{what}: {done:.1}/s of {peak:.1}/s, p99 {p99:?} of {p99_at_capacity:?}");
    println!("quiet p50 {p50:?} of {p50_alone:?}; {} MB", memory >> 20);
    assert!(*done >= 0.9 * peak, "{done} of {peak} a second");
    assert!(p99 <= 2 * p99_at_capacity, "{p99:?} of {p99_at_capacity:?}");
    assert!(p50 <= p50_alone.mul_f64(1.5), "{p50:?} of {p50_alone:?}");
    assert!(quiet.1.others.is_empty() && quiet.1.unanswered == 0, "{:?}", quiet.1.others);
    assert!(memory < MEMORY, "{} MB", memory >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_ten_times_the_capacity() -> Done {
    let stage = stage().await?;
    let path = "actions/slow?blocking=true";
    // As many connections as sandboxes, each asking again at once: what can be done at most.
    let most = f64::from(SANDBOXES) * 10.0;
    let alone = stage.asks(MEASURED).await?;
    let capacity = stage.floods(path, SANDBOXES, most * 1.5, MEASURED).await?;
    let peak = capacity.rate(WARM, MEASURED);
    let lasts = lasts();
    let flood = stage.floods(path, CONNECTIONS, peak * TOO_MUCH, lasts);
    let (flood, quiet) = tokio::try_join!(flood, stage.asks(lasts))?;
    only_refused_for(&flood, &["sandboxes"]);
    let done = (peak, flood.rate(WARM, lasts));
    let measured = Measured { done, flooding: (capacity, flood), quiet: (alone, quiet) };
    judge("calls", &measured, stage.hub.memory()?.1);
    stage.place.end(stage.hub).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fires_at_ten_times_the_capacity() -> Done {
    let stage = stage().await?;
    // Somewhat more than can be done: sandboxes never idle, and few fires wait.
    let most = f64::from(SANDBOXES) * 10.0;
    let alone = stage.asks(MEASURED).await?;
    let at_capacity = stage.floods("triggers/t", SANDBOXES, most * 1.1, MEASURED);
    let (peak, capacity) = stage.runs_during(at_capacity, MEASURED).await?;
    let lasts = lasts();
    let both = async {
        let flood = stage.floods("triggers/t", CONNECTIONS, peak * TOO_MUCH, lasts);
        tokio::try_join!(flood, stage.asks(lasts))
    };
    let (done, (flood, quiet)) = stage.runs_during(both, lasts).await?;
    only_refused_for(&flood, &["undelivered"]);
    let done = (peak, done);
    let measured = Measured { done, flooding: (capacity, flood), quiet: (alone, quiet) };
    judge("fires", &measured, stage.hub.memory()?.1);
    stage.place.end(stage.hub).await
}
