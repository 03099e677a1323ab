//! The way from a call or a delivery to an activation: resolve, merge, place, run, record.

mod arguments;
mod deliver;
mod places;
mod ready;
mod record;
#[cfg(test)]
mod tests;
mod traces;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use evoke_feeds::Clock;
use evoke_invoker::{Manifest, Run, RunEnd};
use evoke_schemas::{
    Activation, ActivationId, EntityUid, FullName, Namespace, NamespaceLimits, Secret,
    trace::{Tracer, now_ns},
};
use evoke_store::{ActivationStore, EntityStore, Identities, Identity, Revision};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

pub(crate) use self::{
    arguments::Members,
    ready::{NotReady, Ready},
};
use self::{
    arguments::merge,
    places::Places,
    ready::ReadyActions,
    record::Whose,
    traces::{RunFacts, RunTrace},
};
use crate::{config::Config, metrics::ActionRegistry, runner::Runners};

/// What invocations stand on.
#[derive(Clone)]
pub struct InvocationParts {
    /// Where actions and packages are.
    pub entities: Arc<dyn EntityStore>,
    /// Where records go.
    pub activations: Arc<dyn ActivationStore>,
    /// Whose keys functions may get.
    pub identities: Arc<dyn Identities>,
    /// The kinds there are.
    pub manifest: Arc<Manifest>,
    /// Who runs.
    pub runners: Arc<Runners>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Runs actions for callers and for the engine.
pub struct Invocations {
    parts: InvocationParts,
    ready: ReadyActions,
    blocking: Arc<Semaphore>,
    max_blocking: usize,
    /// Runs under way by namespace.
    places: Arc<Places>,
    /// Caps of namespaces that have none of their own.
    limits: NamespaceLimits,
    under_way: TaskTracker,
    tracer: OnceLock<Tracer>,
}

/// One blocking call.
#[derive(Debug)]
pub(crate) struct Call {
    /// The request's object as text; already checked.
    pub(crate) payload: Bytes,
    /// `__OW_TRANSACTION_ID`.
    pub(crate) request_id: String,
    /// W3C trace context.
    pub(crate) traceparent: Option<String>,
}

/// A blocking call under way.
#[derive(Debug)]
pub(crate) struct UnderWay {
    pub(crate) id: ActivationId,
    /// The record, when the run has ended.
    pub(crate) end: oneshot::Receiver<Arc<Activation>>,
}

/// Why a call was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallRefused {
    /// It sets a parameter that it may not.
    #[error("Request defines parameters that are not allowed (e.g., reserved properties).")]
    Reserved,
    /// Too many of all namespaces are under way.
    #[error("Too many concurrent requests in flight (count: {count}, allowed: {allowed}).")]
    TooMany {
        /// How many.
        count: usize,
        /// The bound.
        allowed: usize,
    },
    /// The namespace has no sandbox left for it.
    #[error("Too many concurrent requests in flight (count: {count}, allowed: {allowed}).")]
    NoSandbox {
        /// Runs of the namespace, under way and about to be.
        count: u64,
        /// The namespace's cap.
        allowed: u64,
    },
}

impl Invocations {
    /// Invocations over their parts.
    #[must_use]
    pub fn new(parts: InvocationParts, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            parts,
            ready: ReadyActions::new(config.cached_actions),
            blocking: Arc::new(Semaphore::new(config.max_blocking)),
            max_blocking: config.max_blocking,
            places: Arc::default(),
            limits: config.namespace,
            under_way: TaskTracker::new(),
            tracer: OnceLock::new(),
        })
    }

    /// Numbers of every action that ran.
    pub(crate) fn measured(&self) -> &ActionRegistry {
        self.ready.measured()
    }

    /// How the invoker stands.
    pub(crate) fn invoker_counts(&self) -> Option<evoke_invoker::InvokerCounts> {
        self.parts.runners.counts()
    }

    /// From now on spans of runs go to this tracer; to be called once, before anything runs.
    pub fn trace_with(&self, tracer: Tracer) {
        if self.tracer.set(tracer).is_err() {
            tracing::error!("invocations have a tracer already");
        }
    }

    fn tracer(&self) -> &Tracer {
        static NONE: std::sync::LazyLock<Tracer> = std::sync::LazyLock::new(Tracer::default);
        self.tracer.get().unwrap_or_else(|| &NONE)
    }

    /// Runs; counts and traces how it ended.
    async fn run(&self, ready: &Ready, run: Run, trace: &RunTrace) -> RunEnd {
        let measures = match run.namespace == run.action.name.namespace {
            true => Arc::clone(&ready.measures),
            false => self.measured().of(&run.namespace, &run.action.name),
        };
        let facts = self.tracer().is_on().then(|| (RunFacts::of(&run), now_ns()));
        let end = self.parts.runners.run(run).await;
        if let Some((facts, asked_ns)) = facts {
            trace.end(asked_ns, &facts, &end);
        }
        let took = Duration::from_millis(end.end_ms.saturating_sub(end.start_ms));
        measures.ended(end.outcome.status(), took);
        end
    }

    /// Waits for the blocking calls under way; none may be taken any more.
    pub async fn drained(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// The action of that name, ready to run.
    pub(crate) async fn ready(&self, name: &FullName) -> Result<Arc<Ready>, NotReady> {
        self.ready.get(name, &*self.parts.entities, &self.parts.manifest).await
    }

    /// To be called after each change of an action or package.
    pub(crate) fn forget(&self, name: &FullName) {
        self.ready.forget(name);
    }

    /// To be called after each change of an action, or of its package: sandboxes of other
    /// revisions are of no use.
    pub(crate) fn retire(&self, action: EntityUid, current: Option<Revision>) {
        self.parts.runners.retire(action, current.map(|current| current.0));
    }

    /// Starts a call that goes on when nobody waits for it any more.
    pub(crate) fn call(
        self: &Arc<Self>,
        caller: &Identity,
        ready: Arc<Ready>,
        call: Call,
    ) -> Result<UnderWay, CallRefused> {
        let arguments = request_arguments(&ready, call.payload)?;
        let permit = Arc::clone(&self.blocking).try_acquire_owned();
        let permit = permit.map_err(|_full| CallRefused::TooMany {
            count: self.under_way.len(),
            allowed: self.max_blocking,
        })?;
        let place = Places::try_take(
            &self.places,
            &caller.namespace,
            self.sandboxes_of(&caller.namespace),
        )?;
        let id = ActivationId::fresh();
        let trace = RunTrace::of_call(self.tracer(), id, call.traceparent);
        let whose = Whose {
            id,
            namespace: caller.namespace.clone(),
            subject: caller.subject.clone(),
            trace: trace.shown(),
        };
        let run = Run {
            activation_id: id,
            namespace: caller.namespace.clone(),
            action: Arc::clone(&ready.runnable),
            arguments,
            transaction_id: call.request_id,
            event_id: None,
            traceparent: Some(trace.traceparent()),
            api_key: ready.runnable.provide_api_key.then(|| caller.credential()),
            longest_wait: None,
        };
        let (sender, end) = oneshot::channel();
        let this = Arc::clone(self);
        self.under_way.spawn(async move {
            let run_end = this.run(&ready, run, &trace).await;
            let record = Arc::new(record::of_run(whose, &ready, run_end));
            // Readable before the caller knows of it; durable soon, which no answer waits for.
            if let Err(error) = this.parts.activations.stage(&record).await {
                tracing::error!(activation = %id, %error, "an activation record is lost");
            }
            drop((permit, place));
            if sender.send(record).is_err() {
                tracing::debug!(activation = %id, "nobody waits any more");
            }
        });
        Ok(UnderWay { id, end })
    }

    /// Runs of a namespace under way.
    pub(crate) fn sandboxes_used(&self, namespace: &Namespace) -> u64 {
        self.places.taken(namespace)
    }

    /// Most runs of a namespace at once.
    fn sandboxes_of(&self, namespace: &Namespace) -> u64 {
        self.limits.with(&self.parts.identities.overrides(namespace)).sandboxes
    }

    /// The key of who owns the namespace, where the action gets it.
    async fn api_key(&self, ready: &Ready, namespace: &Namespace) -> Option<Secret> {
        if !ready.runnable.provide_api_key {
            return None;
        }
        match self.parts.identities.owner(namespace).await {
            Ok(owner) => owner.map(|owner| owner.credential()),
            Err(error) => {
                tracing::error!(%error, "no key for a function");
                None
            }
        }
    }
}

/// A request's object above what is bound.
fn request_arguments(ready: &Ready, payload: Bytes) -> Result<Bytes, CallRefused> {
    if ready.bound.is_empty() && ready.reserved.is_empty() {
        return Ok(payload);
    }
    let request = Members::parse(&payload).unwrap_or_default();
    if ready.refuses(&request) {
        return Err(CallRefused::Reserved);
    }
    Ok(merge(&[ready.bound.borrowed(), request]))
}

impl std::fmt::Debug for InvocationParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvocationParts").field("runners", &self.runners).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Invocations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invocations")
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}
