//! The handle to the running engine: accepts events, knows the rules, answers questions.

mod checkpoints;
mod clock;
mod counts;
mod dispatch;
mod erasing;
mod intake;
mod questions;
mod sink;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use evoke_event_log::{EventLog, Health, ReadError, ReadLimit};
use evoke_schemas::{EntityName, EntityUid, Namespace, Rule, Trigger, trace::Tracer};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    accepted::Accepted,
    activations::ActivationSink,
    config::EngineConfig,
    delivery::{Deliveries, DeliveryEffect, DeliveryInput, NamespaceBounds},
    incoming::Incoming,
    ingest::{Cap, Ingest, IngestError},
    invoker::ActionInvoker,
};
use checkpoints::Checkpoints;
use dispatch::{DispatchParts, Driver, Shared, Tickets};
use intake::Intake;

pub use clock::{Clock, Steps};
pub use counts::{EngineCounts, IntakeCounts, REFUSALS, WAYS, Way};
pub use erasing::{EraseEventError, ErasedEvent};
pub use questions::{EventFilter, PlacedEvent, QuestionError};

/// What the engine stands on.
#[derive(Clone, Debug)]
pub struct EngineParts {
    /// Where everything durable goes.
    pub log: Arc<dyn EventLog>,
    /// Where the records of activations go.
    pub activations: Arc<dyn ActivationSink>,
    /// The time.
    pub clock: Clock,
    /// Folder of checkpoints; without one, each start reads the whole log.
    pub checkpoints: Option<PathBuf>,
}

/// The engine; clones are the same engine.
#[derive(Clone, Debug)]
pub struct Engine {
    intake: Arc<Intake>,
    parts: EngineParts,
    config: EngineConfig,
    checkpoints: Option<Checkpoints>,
    /// What was recovered, until deliveries begin.
    recovered: Arc<Mutex<Option<Recovered>>>,
    /// Bounds of single namespaces, until deliveries begin.
    bounds: Arc<Mutex<Vec<(Namespace, NamespaceBounds)>>>,
    /// Most bytes of sealed segments, beside the settings.
    log_bytes: Arc<AtomicU64>,
    running: Arc<OnceLock<Running>>,
}

/// Deliveries as they were recovered, and what they want done.
#[derive(Debug)]
struct Recovered {
    core: Deliveries,
    effects: Vec<DeliveryEffect>,
}

/// Deliveries under way.
#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    commands: mpsc::Sender<DeliveryInput>,
    tickets: Tickets,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// The engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log did not give what it holds.
    #[error("reading the event log failed")]
    Read(#[from] ReadError),
    /// The folder of checkpoints cannot be used.
    #[error("reading the checkpoints failed")]
    Checkpoints(#[from] std::io::Error),
    /// Deliveries were begun already.
    #[error("deliveries were begun already")]
    Started,
}

impl Engine {
    /// Opens the engine on a log: rebuilds what it must remember. Nothing is delivered yet.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(parts: EngineParts, config: EngineConfig) -> Result<Self, OpenError> {
        let mut core = Ingest::new(config.ingest.clone(), parts.log.uids());
        remember(&mut core, &*parts.log, &config, &parts.clock).await?;
        let checkpoints = parts.checkpoints.as_deref().map(Checkpoints::open).transpose()?;
        let recovered = recover(&*parts.log, &config, checkpoints.as_ref()).await?;
        let intake = Intake::new(core, Arc::clone(&parts.log), parts.clock.clone());
        Ok(Self {
            intake: Arc::new(intake),
            parts,
            config,
            checkpoints,
            recovered: Arc::new(Mutex::new(Some(recovered))),
            bounds: Arc::default(),
            log_bytes: Arc::new(AtomicU64::new(u64::MAX)),
            running: Arc::new(OnceLock::new()),
        })
    }

    /// Begins to deliver. The rules must have been put before; call it inside a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError::Started`].
    pub fn start(&self, invoker: Arc<dyn ActionInvoker>) -> Result<(), OpenError> {
        let recovered = self.recovered.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Recovered { mut core, mut effects } = recovered.ok_or(OpenError::Started)?;
        let bounds =
            std::mem::take(&mut *self.bounds.lock().unwrap_or_else(PoisonError::into_inner));
        for (namespace, own) in bounds {
            let bounds = DeliveryInput::Bounds { namespace, bounds: Some(own) };
            core.step(bounds, self.parts.clock.now_ms(), &mut effects);
        }
        let rules = self.intake.with(|ingest| ingest.index.rules());
        core.resume(rules, self.parts.clock.now_ms(), &mut effects);
        let shared = Shared::new(
            DispatchParts {
                log: Arc::clone(&self.parts.log),
                activations: Arc::clone(&self.parts.activations),
                invoker,
                clock: self.parts.clock.clone(),
                intake: Arc::clone(&self.intake),
                checkpoints: self.checkpoints.clone(),
            },
            core,
        );
        let tickets = Tickets::default();
        let stop = CancellationToken::new();
        let (driver, commands) = Driver::new(Arc::clone(&shared), tickets.clone(), effects);
        let upkeep = upkeep::Upkeep {
            shared: Arc::clone(&shared),
            config: self.config.clone(),
            log_bytes: Arc::clone(&self.log_bytes),
            commands: commands.clone(),
        };
        let upkeep = upkeep.keep(stop.clone());
        let tasks = Mutex::new(vec![tokio::spawn(driver.run(stop.clone())), tokio::spawn(upkeep)]);
        let running = Running { shared, commands, tickets, stop, tasks };
        self.running.set(running).map_err(|_second| OpenError::Started)
    }

    /// Returns with the cause when the engine cannot go on: its log or its records failed. Then
    /// the program must end; the next start recovers.
    pub async fn failed(&self) -> Arc<str> {
        let deliveries = async {
            match self.running.get() {
                Some(running) => running.shared.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            cause = self.parts.log.failed() => cause,
            cause = deliveries => cause,
        }
    }

    /// Begins no more attempts, and returns when those under way have ended and what they came to
    /// is durable.
    pub async fn shutdown(&self) {
        let Some(running) = self.running.get() else { return };
        running.stop.cancel();
        let tasks =
            std::mem::take(&mut *running.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the engine panicked");
            }
        }
        self.intake.drained().await;
        upkeep::save(&running.shared).await;
    }

    /// Tells deliveries of a change, once they have begun.
    fn tell(&self, input: DeliveryInput) {
        if let Some(running) = self.running.get() {
            running.shared.change(input);
        }
    }

    /// Takes no event of anybody while that is full; `None` opens again what this closed.
    pub fn set_shut(&self, cap: Option<Cap>) {
        self.intake.set_shut(cap);
    }

    /// What is full, where no event is taken of anybody.
    #[must_use]
    pub fn shut(&self) -> Option<Cap> {
        self.intake.with(|ingest| ingest.shut())
    }

    /// Whether the log has room on disk for new events.
    #[must_use]
    pub fn log_has_room(&self) -> bool {
        !matches!(self.parts.log.health(), Health::Full)
    }

    /// Lets sealed segments go beyond that total, where the settings would keep more.
    pub fn set_log_bytes(&self, most: u64) {
        self.log_bytes.store(most, Ordering::Release);
    }

    /// Gives a namespace bounds of its own, in force with the next delivery.
    pub fn set_bounds(&self, namespace: Namespace, own: NamespaceBounds) {
        match self.running.get() {
            Some(running) => {
                running.shared.change(DeliveryInput::Bounds { namespace, bounds: Some(own) });
            }
            None => {
                let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
                bounds.push((namespace, own));
            }
        }
    }

    /// Puts a trigger into the index, in the place of the one of its name. Events accepted after
    /// this call see it.
    pub fn put_trigger(&self, trigger: Trigger) {
        self.intake.with(|ingest| ingest.index.put_trigger(trigger));
    }

    /// Takes a trigger out of the index.
    pub fn remove_trigger(&self, namespace: &Namespace, name: &EntityName) {
        self.intake.with(|ingest| ingest.index.remove_trigger(namespace, name));
    }

    /// Puts a rule into the index, in the place of the one of its name. Events accepted after
    /// this call see it; attempts made after it follow it.
    pub fn put_rule(&self, rule: Rule) {
        let rule = Arc::new(rule);
        // Deliveries first: an event that matches the rule must find it there.
        self.tell(DeliveryInput::RuleChanged(Arc::clone(&rule)));
        let (namespace, uid) = (rule.namespace.clone(), rule.uid);
        let former = self.intake.with(|ingest| {
            let former = ingest.index.rule(&namespace, &rule.name).map(|former| former.uid);
            ingest.index.put_rule(rule);
            former
        });
        if let Some(former) = former.filter(|former| *former != uid) {
            self.rule_gone(namespace, former);
        }
    }

    fn rule_gone(&self, namespace: Namespace, uid: EntityUid) {
        self.tell(DeliveryInput::RuleRemoved { namespace, uid });
    }

    /// Takes a rule out: what was not dispatched ends with the outcome "rule deleted".
    pub fn remove_rule(&self, namespace: &Namespace, name: &EntityName) {
        let gone = self.intake.with(|ingest| ingest.index.remove_rule(namespace, name));
        if let Some(rule) = gone {
            self.rule_gone(namespace.clone(), rule.uid);
        }
    }

    /// From now on spans of acceptance and delivery go to this tracer; to be called once, before
    /// anything is accepted.
    pub fn trace_with(&self, tracer: Tracer) {
        self.intake.trace_with(tracer);
    }

    /// Accepts a batch, all of it or nothing; returns when it is durable. One answer an event, in
    /// order. Dropping the future takes nothing back.
    ///
    /// # Errors
    /// See [`IngestError`]; except after [`IngestError::Unavailable`] nothing of it is kept.
    pub async fn ingest(&self, events: Vec<Incoming>) -> Result<Vec<Accepted>, IngestError> {
        self.intake.ingest(events, None).await
    }
}

/// Most items and bytes of one page of recovery.
const RECOVERY_PAGE: ReadLimit = ReadLimit { items: 16_384, bytes: 8 << 20 };

/// The newest checkpoint that can be read, and what the log says of progress behind it.
async fn recover(
    log: &dyn EventLog,
    config: &EngineConfig,
    checkpoints: Option<&Checkpoints>,
) -> Result<Recovered, OpenError> {
    let mut effects = Vec::new();
    let kept = checkpoints.map(Checkpoints::load).transpose()?.unwrap_or_default();
    let mut restored = None;
    for checkpoint in &kept {
        match Deliveries::restore(config.delivery.clone(), log.uids(), checkpoint, &mut effects) {
            // Outcomes that it does not know may have gone with a segment, or events that it means
            // to load; what is alive was carried, so that the whole log tells more.
            Ok(core)
                if !core.applied().covers(&log.begin())
                    || !core.low_water().covers(&log.begin()) =>
            {
                effects.clear();
                tracing::warn!("a checkpoint is older than the log");
            }
            Ok(core) => {
                restored = Some(core);
                break;
            }
            Err(error) => {
                effects.clear();
                tracing::warn!(%error, "a checkpoint cannot be used");
            }
        }
    }
    let begin = || Deliveries::new(config.delivery.clone(), log.uids(), log.begin());
    let mut core = restored.unwrap_or_else(begin);
    let end = log.end();
    while !core.applied().covers(&end) {
        let page = log.read(core.applied(), RECOVERY_PAGE).await?;
        let stuck = page.next == *core.applied();
        core.recover(page.items, page.next, &mut effects);
        if stuck {
            break;
        }
    }
    Ok(Recovered { core, effects })
}

async fn remember(
    core: &mut Ingest,
    log: &dyn EventLog,
    config: &EngineConfig,
    clock: &Clock,
) -> Result<(), ReadError> {
    let from_ms = clock.now_ms().saturating_sub(config.ingest.dedup_window_ms);
    let mut from = Some(log.seek_time(from_ms).await?);
    while let Some(cursor) = from {
        let page = log.dedup_entries(&cursor).await?;
        core.remember(&page.entries);
        from = page.next;
    }
    Ok(())
}
