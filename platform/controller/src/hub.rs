//! What the API stands on, wired once.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use evoke_feeds::Clock;
use evoke_invoker::Manifest;
use evoke_schemas::{Namespace, NamespaceLimits, NamespaceOverrides};
use evoke_store::{ActivationStore, CodeStore, EntityStore, FeedStore, Identities, StoreError};
use evoke_trigger_engine::{Engine, NamespaceBounds};
use tokio::sync::Semaphore;

use crate::{
    config::Config,
    feed_control::FeedControl,
    handshakes::Handshakes,
    history::History,
    invocations::Invocations,
    metrics::{Host, HostFacts, HttpMeasures},
    rest::{
        ApiError,
        body::{BodyRoom, Bounds},
    },
    system::System,
    webhooks::Webhooks,
};

/// Everything that answers to requests.
pub struct HubParts {
    /// Settings.
    pub config: Config,
    /// Entities.
    pub entities: Arc<dyn EntityStore>,
    /// What is wanted of feeds.
    pub feeds: Arc<dyn FeedStore>,
    /// Activation records.
    pub activations: Arc<dyn ActivationStore>,
    /// Code.
    pub code: Arc<dyn CodeStore>,
    /// Who may do what.
    pub identities: Arc<dyn Identities>,
    /// The kinds there are.
    pub manifest: Arc<Manifest>,
    /// Where events go.
    pub engine: Engine,
    /// Who runs actions.
    pub invocations: Arc<Invocations>,
    /// The hub's own packages.
    pub system: Arc<System>,
    /// Who runs feeds.
    pub feed_control: Arc<dyn FeedControl>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What `GET /api/v1` shows as the build.
    pub build: String,
}

/// The hub as handlers see it.
pub struct Hub {
    pub(crate) parts: HubParts,
    pub(crate) webhooks: Webhooks,
    /// Memory for bodies of requests.
    bodies: BodyRoom,
    pub(crate) handshakes: Handshakes,
    /// Changes of entities take turns, so that the store and what is built from it agree.
    pub(crate) turn: Semaphore,
    /// Answers given so far.
    pub(crate) http: Arc<HttpMeasures>,
    ready: AtomicBool,
    history: OnceLock<Arc<dyn History>>,
    host: OnceLock<Arc<dyn Host>>,
}

/// What was loaded at start, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Triggers.
    pub triggers: usize,
    /// Rules.
    pub rules: usize,
}

impl Hub {
    /// A hub over its parts; knows no trigger and no rule before [`Hub::load`].
    #[must_use]
    pub fn new(parts: HubParts) -> Arc<Self> {
        let system = Arc::clone(&parts.system);
        let bodies = BodyRoom::new(parts.config.max_request_memory);
        let hub = Arc::new(Self {
            parts,
            webhooks: Webhooks::default(),
            bodies,
            handshakes: Handshakes::default(),
            turn: Semaphore::new(1),
            http: Arc::default(),
            ready: AtomicBool::new(false),
            history: OnceLock::new(),
            host: OnceLock::new(),
        });
        system.serve(&hub);
        hub
    }

    /// Tells the engine of every trigger and rule of the store. To be called once, before the
    /// engine delivers and the API answers.
    ///
    /// # Errors
    /// [`StoreError`]: the hub must not start without its rules.
    pub async fn load(&self) -> Result<Loaded, StoreError> {
        use evoke_store::{Collection, Entity};
        for (namespace, _) in self.parts.identities.all_overrides() {
            self.bind(namespace);
        }
        let mut loaded = Loaded { triggers: 0, rules: 0 };
        for collection in [Collection::Triggers, Collection::Rules] {
            for entity in self.parts.entities.all(collection).await? {
                match entity {
                    Entity::Trigger(trigger) => {
                        loaded.triggers += 1;
                        self.webhooks.put(&trigger);
                        self.parts.engine.put_trigger(trigger);
                    }
                    Entity::Rule(rule) => {
                        loaded.rules += 1;
                        self.parts.engine.put_rule(rule);
                    }
                    Entity::Action(_) | Entity::Package(_) => {}
                }
            }
        }
        Ok(loaded)
    }
}

impl Hub {
    /// Who may do what.
    #[must_use]
    pub fn identities(&self) -> &dyn Identities {
        &*self.parts.identities
    }

    /// The caps of a namespace.
    #[must_use]
    pub fn limits(&self, namespace: &Namespace) -> NamespaceLimits {
        self.parts.config.namespace.with(&self.parts.identities.overrides(namespace))
    }

    /// Whether actions of a namespace may be of this kind.
    pub(crate) fn allows_kind(&self, namespace: &Namespace, kind: &str) -> bool {
        self.parts.identities.overrides(namespace).allows(kind)
    }

    /// Most bytes of one event or invocation of a namespace.
    pub(crate) fn payload_bytes(&self, namespace: &Namespace) -> usize {
        usize::try_from(self.limits(namespace).payload).unwrap_or(usize::MAX)
    }

    /// Memory for large bodies.
    pub(crate) fn bodies(&self) -> &BodyRoom {
        &self.bodies
    }

    /// How a body of at most so many bytes is read.
    pub(crate) fn bounds(&self, most: usize) -> Bounds<'_> {
        Bounds { most, within: self.parts.config.body_within(), room: &self.bodies }
    }

    /// Whether the hub takes anything new.
    ///
    /// # Errors
    /// [`ApiError::TooMany`] names what is full.
    pub(crate) fn check_open(&self) -> Result<(), ApiError> {
        self.parts.engine.shut().map_or(Ok(()), |cap| Err(ApiError::full(cap)))
    }

    /// Sets the caps of one namespace, durably and from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_overrides(
        &self,
        namespace: &Namespace,
        own: NamespaceOverrides,
    ) -> Result<(), StoreError> {
        self.parts.identities.set_overrides(namespace, own).await?;
        self.bind(namespace.clone());
        Ok(())
    }

    /// Tells the engine the caps of a namespace.
    fn bind(&self, namespace: Namespace) {
        let limits = self.limits(&namespace);
        let running = usize::try_from(limits.deliveries()).unwrap_or(usize::MAX);
        let bounds = NamespaceBounds { running, undelivered: limits.undelivered };
        self.parts.engine.set_bounds(namespace, bounds);
    }

    /// From now on questions about what became of events are answered by `history`.
    pub fn answer_from(&self, history: Arc<dyn History>) {
        if self.history.set(history).is_err() {
            tracing::error!("somebody answers about events already");
        }
    }

    /// From now on metrics tell of the program itself, as `host` knows it.
    pub fn measure_host(&self, host: Arc<dyn Host>) {
        if self.host.set(host).is_err() {
            tracing::error!("somebody tells of the program already");
        }
    }

    /// What the program knows of itself.
    pub(crate) async fn host_facts(&self) -> Option<HostFacts> {
        let host = Arc::clone(self.host.get()?);
        // It reads files: where nobody waits.
        tokio::task::spawn_blocking(move || host.facts()).await.ok()
    }

    /// Who answers about what became of events.
    pub(crate) fn history(&self) -> Result<&dyn History, ApiError> {
        let history = self.history.get().map(|history| &**history);
        history.ok_or_else(|| ApiError::Unavailable("The hub is starting.".to_owned()))
    }

    /// From now on `/readyz` says yes.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// From now on `/readyz` says no, while requests are answered on.
    pub fn set_ending(&self) {
        self.ready.store(false, Ordering::Release);
    }

    /// Whether the hub takes work.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for HubParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubParts").field("config", &self.config).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("config", &self.parts.config).finish_non_exhaustive()
    }
}
