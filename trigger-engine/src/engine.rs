//! The handle to the running engine: accepts events, knows the rules, answers questions.

mod intake;

use std::sync::Arc;

use evoke_event_log::{EventLog, ReadError};
use evoke_schemas::{EntityName, Namespace, Rule, Trigger};

use crate::{
    accepted::Accepted,
    activations::ActivationSink,
    config::EngineConfig,
    incoming::Incoming,
    ingest::{Ingest, IngestError},
};
use intake::Intake;

/// What the engine stands on.
#[derive(Clone, Debug)]
pub struct EngineParts {
    /// Where everything durable goes.
    pub log: Arc<dyn EventLog>,
    /// Where the records of activations go.
    pub activations: Arc<dyn ActivationSink>,
    /// The time.
    pub clock: Clock,
}

/// Where the time comes from, unix milliseconds.
#[derive(Clone)]
pub struct Clock(pub Arc<dyn Fn() -> u64 + Send + Sync>);

/// The engine; clones are the same engine.
#[derive(Clone, Debug)]
pub struct Engine {
    intake: Arc<Intake>,
}

/// The engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log did not give what it holds.
    #[error("reading the event log failed")]
    Read(#[from] ReadError),
}

impl Engine {
    /// Opens the engine on a log: rebuilds what it must remember. Nothing is delivered yet.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(parts: EngineParts, config: EngineConfig) -> Result<Self, OpenError> {
        let mut core = Ingest::new(config.ingest.clone(), parts.log.uid());
        remember(&mut core, &*parts.log, &config, &parts.clock).await?;
        Ok(Self { intake: Arc::new(Intake::new(core, parts.log, parts.clock)) })
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
        self.intake.with(|ingest| ingest.index.put_rule(Arc::new(rule)));
    }

    /// Takes a rule out: what was not dispatched ends with the outcome "rule deleted".
    pub fn remove_rule(&self, namespace: &Namespace, name: &EntityName) {
        self.intake.with(|ingest| ingest.index.remove_rule(namespace, name));
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

// === impl Clock ===

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        }))
    }

    /// The time now, unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
