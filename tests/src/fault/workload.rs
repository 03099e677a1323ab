//! Events in and records out: sets up the rules, posts until acknowledged, collects what came of it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    client::{Call, Client},
    error::FaultError,
    hub::Launch,
    verdict::{DeadLetter, Evidence, Record, Rule, payload},
};

/// All that the test makes lies below.
const ROOT: &str = "/api/v1/namespaces/_";
const TRIGGER: &str = "fault";
/// Largest page the API gives.
const PAGE: usize = 200;
/// Events come in bursts, so many a second: a backlog is there to be lost.
const BURSTS: usize = 4;
/// Answers kept that must not be; one is enough to fail.
const MAX_ANSWERS: usize = 20;

const NODE: &str = r"
const { createHash } = require('crypto');
function main({ payload, salt }) {
  const hash = createHash('sha256').update(payload + salt).digest('hex');
  return { hash, pid: process.pid, id: process.env.__OW_EVENT_ID };
}";

const PYTHON: &str = r"
import hashlib, os
def main(args):
    text = (args['payload'] + args['salt']).encode()
    return {'hash': hashlib.sha256(text).hexdigest(), 'pid': os.getpid(), 'id': os.environ.get('__OW_EVENT_ID')}
";

/// The rules of the test: one to a Node.js action, one to a Python action, each with a salt of its own.
#[must_use]
pub fn rules(seed: u64) -> Vec<Rule> {
    ["node", "python"]
        .map(|kind| Rule {
            name: format!("{kind}-rule"),
            action: format!("{kind}-hash"),
            salt: format!("salt {seed} of {kind}"),
        })
        .into()
}

/// Makes actions, trigger and rules. Idempotent.
///
/// # Errors
/// An answer other than 200, or none.
pub async fn set_up(client: &mut Client, rules: &[Rule]) -> Result<(), FaultError> {
    let codes = [("nodejs:default", NODE), ("python:default", PYTHON)];
    let put = |kind: &str, name: &str, body| {
        Call::put(format!("{ROOT}/{kind}/{name}?overwrite=true"), body)
    };
    for (rule, (kind, code)) in rules.iter().zip(codes) {
        let action = json!({
            "exec": {"kind": kind, "code": code},
            "parameters": [{"key": "salt", "value": rule.salt}],
        });
        client.done(&put("actions", &rule.action, action)).await?;
    }
    client.done(&put("triggers", TRIGGER, json!({}))).await?;
    for rule in rules {
        let body =
            json!({"trigger": format!("/_/{TRIGGER}"), "action": format!("/_/{}", rule.action)});
        client.done(&put("rules", &rule.name, body)).await?;
    }
    Ok(())
}

/// How the events are posted.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many.
    pub events: usize,
    /// Over so many connections.
    pub connections: usize,
    /// At most so many a second.
    pub per_second: usize,
    /// In the ids.
    pub seed: u64,
}

/// Posts in the background until each event is acknowledged.
#[derive(Debug)]
pub struct Posting {
    shared: Arc<Shared>,
    posters: JoinSet<Result<(), FaultError>>,
    progress: watch::Receiver<usize>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    start: Instant,
    next: AtomicUsize,
    progress: watch::Sender<usize>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    sent: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    answers: Vec<String>,
}

impl Posting {
    /// Begins.
    ///
    /// # Errors
    /// No credentials.
    pub fn start(load: Load, launch: &Launch) -> Result<Self, FaultError> {
        let (sender, progress) = watch::channel(0);
        let shared = Arc::new(Shared {
            load,
            start: Instant::now(),
            next: AtomicUsize::new(0),
            progress: sender,
            known: Mutex::default(),
        });
        let mut posters = JoinSet::new();
        for _ in 0..load.connections {
            let client = launch.client()?;
            posters.spawn(Arc::clone(&shared).post_all(client));
        }
        Ok(Self { shared, posters, progress })
    }

    /// Waits until so many are acknowledged, or all are posted.
    ///
    /// # Errors
    /// A poster could not go on.
    pub async fn acknowledged(&mut self, count: usize) -> Result<(), FaultError> {
        let mut progress = self.progress.clone();
        loop {
            tokio::select! {
                biased;
                reached = progress.wait_for(|done| *done >= count) => {
                    drop(reached);
                    return Ok(());
                }
                poster = self.posters.join_next() => match poster {
                    Some(done) => done.map_err(std::io::Error::from)??,
                    None => return Ok(()),
                },
            }
        }
    }

    /// What was sent and acknowledged so far.
    pub async fn evidence(&self, rules: &[Rule]) -> Evidence {
        let known = self.shared.known.lock().await;
        Evidence {
            sent: known.sent.clone(),
            acknowledged: known.acknowledged.clone(),
            answers: known.answers.clone(),
            rules: rules.to_vec(),
            ..Evidence::default()
        }
    }
}

impl Shared {
    async fn post_all(self: Arc<Self>, mut client: Client) -> Result<(), FaultError> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.load.events {
                return Ok(());
            }
            let burst = number / (self.load.per_second / BURSTS).max(1);
            let due = Duration::from_secs(1).mul_f64(burst as f64 / BURSTS as f64);
            sleep_until(self.start + due).await;
            let event = format!("fault-{}-{number}", self.load.seed);
            self.known.lock().await.sent.insert(event.clone());
            let answer = client.insist(&fire(&event)).await?;
            let mut known = self.known.lock().await;
            if answer.status == 202 {
                known.acknowledged.insert(event);
            } else if known.answers.len() < MAX_ANSWERS {
                let body = String::from_utf8_lossy(&answer.body);
                known
                    .answers
                    .push(format!("the post of {event} was answered {} {body}", answer.status));
            }
            drop(known);
            self.progress.send_modify(|done| *done += 1);
        }
    }
}

/// A CloudEvent in binary mode.
fn fire(event: &str) -> Call {
    let headers = [
        ("ce-id", event),
        ("ce-source", "/fault"),
        ("ce-type", "test.fault"),
        ("ce-specversion", "1.0"),
    ];
    Call {
        method: "POST",
        path: format!("{ROOT}/triggers/{TRIGGER}"),
        headers: headers.map(|(name, value)| (name, value.to_owned())).into(),
        body: Some(json!({"payload": payload(event)})),
    }
}

/// How many records and dead letters there are.
///
/// # Errors
/// No answer.
pub async fn count(client: &mut Client, rules: &[Rule]) -> Result<usize, FaultError> {
    let mut sum = dead_letters(client, rules).await?.len();
    for rule in rules {
        let answer = client
            .done(&Call::get(format!("{ROOT}/activations?name={}&count=true", rule.action)))
            .await?;
        let count = answer.json().get("activations").and_then(Value::as_u64).unwrap_or_default();
        sum += usize::try_from(count).unwrap_or(usize::MAX);
    }
    Ok(sum)
}

/// Adds all records and dead letters to what is known.
///
/// # Errors
/// No answer.
pub async fn collect(client: &mut Client, evidence: &mut Evidence) -> Result<(), FaultError> {
    evidence.records.clear();
    for rule in &evidence.rules {
        let path = format!("{ROOT}/activations?name={}&docs=true&", rule.action);
        evidence.records.extend(pages(client, &path).await?.iter().map(record));
    }
    evidence.dead = dead_letters(client, &evidence.rules).await?;
    Ok(())
}

async fn dead_letters(client: &mut Client, rules: &[Rule]) -> Result<Vec<DeadLetter>, FaultError> {
    let all = pages(client, &format!("{ROOT}/deadletters?")).await?;
    Ok(all.iter().map(|item| dead_letter(item, rules)).collect())
}

async fn pages(client: &mut Client, path: &str) -> Result<Vec<Value>, FaultError> {
    let mut all = Vec::new();
    loop {
        let page =
            client.done(&Call::get(format!("{path}limit={PAGE}&skip={}", all.len()))).await?.json();
        let page = page.get("deadletters").unwrap_or(&page).clone();
        let Value::Array(page) = page else {
            return Err(FaultError::Answer {
                method: "GET".into(),
                path: path.into(),
                status: 200,
                body: format!("not a list: {page}"),
            });
        };
        let last = page.len() < PAGE;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn record(item: &Value) -> Record {
    Record {
        activation: text(item, "/activationId").unwrap_or_default(),
        action: text(item, "/name").unwrap_or_default(),
        event: text(item, "/response/result/id"),
        hash: text(item, "/response/result/hash"),
        process: item.pointer("/response/result/pid").and_then(Value::as_u64),
        text: item.to_string(),
    }
}

/// The event's id under `event`, the rule by its name wherever it stands, the reason by its usual names.
fn dead_letter(item: &Value, rules: &[Rule]) -> DeadLetter {
    let event = text(item, "/event/id").or_else(|| text(item, "/eventId")).unwrap_or_default();
    let rule = text(item, "/rule/name").or_else(|| text(item, "/rule")).unwrap_or_default();
    let rule = rules.iter().find(|known| rule.rsplit('/').next() == Some(known.name.as_str()));
    DeadLetter {
        event,
        rule: rule.map(|rule| rule.name.clone()).unwrap_or_default(),
        why: text(item, "/reason").or_else(|| text(item, "/why")),
    }
}
