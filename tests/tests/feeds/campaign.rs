//! The course of a test: records flow, the hub and the source die again and again, all arrives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use evoke_tests::{
    e2e::{
        caller::Caller,
        entities::{ECHO, node, trigger},
        place::Place,
        wait::until,
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

pub(crate) type Done = Result<(), FaultError>;

/// Longest wait for what was produced to arrive, of the full run.
const ARRIVES_WITHIN: Duration = Duration::from_secs(300);
/// How long a feed is watched for a batch that is under way before the hub is killed anyhow.
const WATCHED: Duration = Duration::from_secs(5);
/// Longest list that is asked for.
const PAGE: usize = 200;
/// Trigger of every feed here.
pub(crate) const TRIGGER: &str = "changed";

/// How much dies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    pub(crate) records: usize,
    /// Kills of the hub.
    pub(crate) kills: usize,
    /// Restarts of the source.
    pub(crate) restarts: usize,
    /// Least kills that must fall between the fetch of a batch and its acknowledgement.
    pub(crate) between: usize,
}

/// A source with its numbered records.
pub(crate) trait Subject {
    /// What the feeds are made of: name and body.
    fn feeds(&self) -> Vec<(String, Value)>;

    /// Produces everything, counting what is there for good.
    async fn produce(self: Arc<Self>, records: usize, produced: Arc<AtomicUsize>) -> Done;

    /// Ends the source and starts it again with what it had.
    async fn restart(&self) -> Done;

    /// Looks at all events of the trigger (the newest first) and all records of the action.
    fn check(&self, records: usize, events: &[Value], activations: &[Value]);
}

impl Course {
    /// The small one, or with `EVOKE_FULL` the one of SPECIFICATION.md.
    pub(crate) fn of(small: Self, full: Self) -> Self {
        if std::env::var_os("EVOKE_FULL").is_some() { full } else { small }
    }
}

/// Runs the course. A subject without a process of its own has no restarts.
pub(crate) async fn run<S: Subject>(place: &mut Place, subject: Arc<S>, course: Course) -> Done {
    place.launch.environment.push(("EVOKE_LOG", "warn,evoke_feeds::pump=trace".into()));
    let (mut hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, TRIGGER, &json!({}), &["echo"], &Value::Null).await?;
    for (name, feed) in subject.feeds() {
        let made = caller.put(&format!("feeds/{name}"), &feed).await?;
        assert_eq!(made.pointer("/status/pinned"), Some(&json!(true)), "{made}");
        assert!(!made.to_string().contains("secret"), "{made}");
    }
    let produced = Arc::<AtomicUsize>::default();
    let producing = Arc::clone(&subject).produce(course.records, Arc::clone(&produced));
    let dying = async {
        let deaths = course.kills + course.restarts;
        let mut between = 0;
        for death in 1..=deaths {
            when(&produced, course.records * death / (deaths + 1)).await?;
            if course.restarts > 0 && death % (deaths / course.restarts) == 0 {
                subject.restart().await?;
                continue;
            }
            let from = place.log().len();
            watch(place, from).await;
            hub.kill().await?;
            between += usize::from(under_way(place.log().get(from..).unwrap_or_default()));
            hub = place.launch.start()?;
            hub.ready().await?;
        }
        Ok::<_, FaultError>((hub, between))
    };
    let ((), (hub, between)) = tokio::try_join!(producing, dying)?;
    arrived(&caller, course.records).await?;
    let events = all(&caller, &format!("events?trigger={TRIGGER}")).await?;
    subject.check(course.records, &events, &all(&caller, "activations?docs=true&name=echo").await?);
    assert!(
        between >= course.between,
        "{between} of {} kills fell between fetch and acknowledgement: {} are too few",
        course.kills,
        course.between
    );
    hub.stop().await
}

async fn when(produced: &AtomicUsize, count: usize) -> Done {
    until("records to be produced", ARRIVES_WITHIN, async || {
        let now = produced.load(Ordering::SeqCst);
        Ok(if now >= count { Ok(()) } else { Err(format!("{now} of {count}")) })
    })
    .await
}

async fn arrived(caller: &Caller, records: usize) -> Done {
    until("an activation for each record", ARRIVES_WITHIN, async || {
        let count = caller.get("activations?count=true&name=echo").await?;
        let count = count.get("activations").and_then(Value::as_u64).unwrap_or_default();
        Ok(if count >= records as u64 { Ok(()) } else { Err(format!("{count} of {records}")) })
    })
    .await
}

/// Returns as soon as a batch is under way, so that a kill right now falls into its midst.
async fn watch(place: &Place, from: usize) {
    let start = Instant::now();
    while start.elapsed() < WATCHED {
        if under_way(place.log().get(from..).unwrap_or_default()) {
            return;
        }
        sleep(Duration::from_micros(200)).await;
    }
}

/// Whether the log ends with a feed's batch that was fetched and not acknowledged.
fn under_way(log: &str) -> bool {
    let mut open = std::collections::BTreeMap::<String, usize>::new();
    for line in log.lines().filter(|line| line.contains("feed batch")) {
        let word = |key: &str| {
            line.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or_default().to_owned()
        };
        let batches = open.entry(word("feed=")).or_default();
        *batches = match word("stage=").as_str() {
            "\"opened\"" => 0,
            "\"fetched\"" => *batches + 1,
            "\"acknowledged\"" => batches.saturating_sub(1),
            _ => *batches,
        };
    }
    open.values().any(|batches| *batches > 0)
}

/// Everything of a list, page after page; nothing may be added to it meanwhile.
async fn all(caller: &Caller, path: &str) -> Result<Vec<Value>, FaultError> {
    let mut found = Vec::new();
    loop {
        let page = caller.get(&format!("{path}&limit={PAGE}&skip={}", found.len())).await?;
        let Value::Array(page) = page else { panic!("no list: {page}") };
        let last = page.len() < PAGE;
        found.extend(page);
        if last {
            return Ok(found);
        }
    }
}

/// What a feed says while its source is away, and that it mends by itself.
pub(crate) async fn unplug(
    caller: &Caller,
    feed: &str,
    away: impl AsyncFnOnce() -> Done,
    back: impl AsyncFnOnce() -> Done,
) -> Result<(Value, Value), FaultError> {
    let state = |is_wanted: fn(&str) -> bool| {
        until("the feed's state", Duration::from_secs(30), async move || {
            let shown = caller.get(&format!("feeds/{feed}")).await?;
            let state = evoke_tests::e2e::entities::text(&shown, "/status/state");
            Ok(if is_wanted(&state) { Ok(shown) } else { Err(shown.to_string()) })
        })
    };
    state(|state| state == "running").await?;
    away().await?;
    let gone = state(|state| state != "running").await?;
    back().await?;
    Ok((gone, state(|state| state == "running").await?))
}
