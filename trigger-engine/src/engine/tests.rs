//! The whole engine on a log in memory: fire, run, record, outcome; start again; stop.

mod feeds;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use evoke_event_log::{EventLog, MemoryLog, MemoryOptions};
use evoke_schemas::{
    Activation, ActivationId, ActivationResponse, ActivationStatus, KeyValues, LogUid, SemVer,
};
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::{
    activations::ActivationSinkError,
    delivery::{CommandError, DeliveryState},
    fixture,
    incoming::Target,
    invoker::{Attempt, AttemptEnd, Verdict},
    record::{DeliveryId, Outcome, OutcomeRecord, stream},
};

/// Records of activations, staged and flushed.
#[derive(Debug, Default)]
struct Records {
    staged: Mutex<Vec<ActivationId>>,
    durable: Mutex<Vec<ActivationId>>,
}

/// An invoker whose verdicts are written down beforehand; success where none is.
#[derive(Debug)]
struct Scripted {
    verdicts: Mutex<VecDeque<Verdict>>,
    /// Attempts as they begin.
    begun: mpsc::Sender<Attempt>,
    /// Each attempt ends with one of these.
    room: Semaphore,
}

struct Bench {
    log: MemoryLog,
    records: Arc<Records>,
    invoker: Arc<Scripted>,
    begun: mpsc::Receiver<Attempt>,
    checkpoints: tempfile::TempDir,
    now_ms: Arc<AtomicU64>,
}

#[async_trait]
impl ActivationSink for Records {
    async fn stage(&self, activation: Activation) -> Result<(), ActivationSinkError> {
        self.staged.lock().unwrap().push(activation.activation_id);
        Ok(())
    }

    async fn flush(&self) -> Result<(), ActivationSinkError> {
        let staged = std::mem::take(&mut *self.staged.lock().unwrap());
        self.durable.lock().unwrap().extend(staged);
        Ok(())
    }

    async fn erase(
        &self,
        _namespace: &Namespace,
        ids: &[ActivationId],
    ) -> Result<usize, ActivationSinkError> {
        self.flush().await?;
        let mut durable = self.durable.lock().unwrap();
        let before = durable.len();
        durable.retain(|id| !ids.contains(id));
        Ok(before - durable.len())
    }
}

#[async_trait]
impl ActionInvoker for Scripted {
    async fn invoke(&self, attempt: Attempt) -> AttemptEnd {
        let activation = activation(&attempt);
        self.begun.send(attempt).await.unwrap();
        self.room.acquire().await.unwrap().forget();
        let verdict = self.verdicts.lock().unwrap().pop_front().unwrap_or(Verdict::Success);
        AttemptEnd { verdict, activation: Some(activation) }
    }
}

fn activation(attempt: &Attempt) -> Activation {
    let nothing = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
    Activation {
        namespace: attempt.namespace.clone(),
        name: attempt.action.name.clone(),
        version: SemVer::FIRST,
        subject: "guest".to_owned(),
        activation_id: attempt.activation_id,
        start: 1,
        end: Some(2),
        duration: Some(1),
        cause: None,
        response: ActivationResponse::new(ActivationStatus::Success, nothing, None),
        logs: Vec::new(),
        annotations: KeyValues::default(),
        publish: false,
    }
}

impl Bench {
    fn new(room: usize) -> Self {
        let (sender, begun) = mpsc::channel(64);
        let invoker =
            Scripted { verdicts: Mutex::default(), begun: sender, room: Semaphore::new(room) };
        Self {
            log: MemoryLog::new(LogUid([4; 16]), MemoryOptions::default()),
            records: Arc::default(),
            invoker: Arc::new(invoker),
            begun,
            checkpoints: tempfile::tempdir().unwrap(),
            now_ms: Arc::new(AtomicU64::new(1_000_000)),
        }
    }

    /// An engine on this log, delivering.
    async fn engine(&self, change: impl FnOnce(&mut evoke_schemas::DeliveryPolicy)) -> Engine {
        let now_ms = Arc::clone(&self.now_ms);
        let parts = EngineParts {
            log: Arc::new(self.log.clone()),
            activations: Arc::clone(&self.records) as Arc<dyn ActivationSink>,
            clock: Clock::of(move || now_ms.load(Ordering::SeqCst)),
            checkpoints: Some(self.folder()),
        };
        let mut config = EngineConfig::default();
        config.ingest.dedup_entries = 1_000;
        let engine = Engine::open(parts, config).await.unwrap();
        engine.put_trigger(fixture::trigger(1, "t", None));
        let rule = fixture::policy(fixture::rule(2, "r", (1, "t")), change);
        engine.put_rule(Arc::unwrap_or_clone(rule));
        engine.start(Arc::clone(&self.invoker) as Arc<dyn ActionInvoker>).unwrap();
        engine
    }

    fn folder(&self) -> PathBuf {
        self.checkpoints.path().join("checkpoints")
    }

    /// Outcomes in the log, once there are so many.
    async fn outcomes(&self, count: usize) -> Vec<OutcomeRecord> {
        let limit = ReadLimit { items: 1_000, bytes: 1 << 20 };
        loop {
            let end = self.log.end();
            let page = self.log.read(&self.log.begin(), limit).await.unwrap();
            let records = page.items.iter().filter_map(evoke_event_log::Item::record);
            let outcomes: Vec<OutcomeRecord> = records
                .filter(|record| record.stream == stream::OUTCOME)
                .map(|record| OutcomeRecord::decode(record.data.clone()).unwrap())
                .collect();
            if outcomes.len() >= count {
                return outcomes;
            }
            self.log.watch().past(&end).await.unwrap();
        }
    }
}

fn fired(id: &str) -> Vec<Incoming> {
    vec![fixture::incoming(Target::Trigger(fixture::name("t")), id)]
}

#[tokio::test]
async fn an_event_is_run_recorded_and_done_in_this_order() {
    let mut bench = Bench::new(0);
    let engine = bench.engine(|_| ()).await;
    let accepted = engine.ingest(fired("a")).await.unwrap().remove(0);
    let attempt = bench.begun.recv().await.unwrap();
    let promised = accepted.triggers[0].rules[0].activation_id;
    assert_eq!(Some(attempt.activation_id), promised, "the id was answered before it ran");
    assert_eq!((attempt.attempt, attempt.rule), (1, Some(fixture::name("r"))));
    assert!(bench.records.durable.lock().unwrap().is_empty());
    bench.invoker.room.add_permits(1);
    let outcomes = bench.outcomes(1).await;
    assert_eq!(outcomes[0].outcome, Outcome::Success);
    let durable = bench.records.durable.lock().unwrap().clone();
    let trigger = accepted.triggers[0].activation_id.unwrap();
    assert_eq!(durable, [trigger, attempt.activation_id], "both were there before the outcome");
    engine.shutdown().await;
}

#[tokio::test]
async fn a_retry_begins_when_its_time_has_come() {
    let mut bench = Bench::new(64);
    let failed = Verdict::FunctionFailed { reason: "boom".to_owned() };
    bench.invoker.verdicts.lock().unwrap().push_back(failed);
    let engine = bench.engine(|policy| policy.attempts = 2).await;
    let accepted = engine.ingest(fired("a")).await.unwrap().remove(0);
    assert_eq!(bench.begun.recv().await.unwrap().attempt, 1);
    let id = DeliveryId::live(accepted.position, fixture::uid(2));
    let waits = || engine.delivery(id).map(|it| it.state);
    while !matches!(waits(), Some(DeliveryState::Waiting(_))) {
        tokio::task::yield_now().await;
    }
    bench.now_ms.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(bench.begun.recv().await.unwrap().attempt, 2);
    let outcomes = bench.outcomes(1).await;
    assert_eq!((outcomes[0].outcome, outcomes[0].attempts), (Outcome::Success, 2));
    engine.shutdown().await;
}

#[tokio::test]
async fn a_stop_waits_for_what_runs_and_begins_nothing_more() {
    let mut bench = Bench::new(0);
    let engine = bench.engine(|policy| policy.concurrency = 1).await;
    engine.ingest(fired("a")).await.unwrap();
    engine.ingest(fired("b")).await.unwrap();
    bench.begun.recv().await.unwrap();
    let stopping = tokio::spawn({
        let engine = engine.clone();
        async move { engine.shutdown().await }
    });
    tokio::task::yield_now().await;
    assert!(!stopping.is_finished());
    bench.invoker.room.add_permits(64);
    stopping.await.unwrap();
    assert_eq!(bench.outcomes(1).await.len(), 1);
    assert!(bench.begun.try_recv().is_err(), "the second was not begun");
    assert_eq!(std::fs::read_dir(bench.folder()).unwrap().count(), 1, "a checkpoint was written");
}

#[tokio::test]
async fn a_new_start_goes_on_where_the_former_ended() {
    for with_checkpoint in [true, false] {
        let mut bench = Bench::new(1);
        let engine = bench.engine(|policy| policy.concurrency = 1).await;
        let ids: Vec<_> = [engine.ingest(fired("a")).await, engine.ingest(fired("b")).await]
            .into_iter()
            .map(|answer| answer.unwrap().remove(0).position)
            .collect();
        bench.begun.recv().await.unwrap();
        bench.outcomes(1).await;
        bench.begun.recv().await.unwrap();
        bench.invoker.room.add_permits(1);
        engine.shutdown().await;
        engine.ingest(fired("c")).await.unwrap();
        if !with_checkpoint {
            std::fs::remove_dir_all(bench.folder()).unwrap();
        }
        bench.invoker.room.add_permits(8);
        let engine = bench.engine(|_| ()).await;
        let third = bench.begun.recv().await.unwrap();
        assert!(!ids.contains(&third.position), "it was done already");
        assert_eq!(bench.outcomes(3).await.len(), 3);
        let again = engine.ingest(fired("a")).await.unwrap().remove(0);
        assert_eq!((again.duplicate, again.position), (true, ids[0]), "ids are remembered");
        engine.shutdown().await;
        assert!(bench.begun.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_delivered_again() {
    let mut bench = Bench::new(64);
    let failed = Verdict::FunctionFailed { reason: "boom".to_owned() };
    bench.invoker.verdicts.lock().unwrap().push_back(failed);
    let engine = bench.engine(|_| ()).await;
    let accepted = engine.ingest(fired("a")).await.unwrap().remove(0);
    bench.begun.recv().await.unwrap();
    let id = DeliveryId::live(accepted.position, fixture::uid(2));
    while engine.delivery(id).is_none_or(|it| it.state == DeliveryState::UnderWay) {
        tokio::task::yield_now().await;
    }
    engine.revive(id).await.unwrap();
    assert_eq!(bench.begun.recv().await.unwrap().attempt, 2);
    let outcomes = bench.outcomes(1).await;
    assert_eq!((outcomes[0].id, outcomes[0].outcome), (id, Outcome::Success));
    assert!(matches!(engine.revive(id).await, Err(QuestionError::Refused(CommandError::NotFound))));
    engine.shutdown().await;
}
