//! Actions made ready to run, kept so that a call need not read the store.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use evoke_invoker::{Manifest, Network, RunnableAction};
use evoke_schemas::{
    Action, FullName, KeyValues, Package,
    action::{NETWORK_ANNOTATION, PROVIDE_API_KEY},
};
use evoke_store::{Entity, EntityStore, StoreError, Stored};
use serde_json::{Value, json};

use super::arguments::Members;
use crate::metrics::{ActionMeasures, ActionRegistry};

/// An action with its package, ready to run.
#[derive(Debug)]
pub(crate) struct Ready {
    /// What the invoker needs.
    pub(crate) runnable: Arc<RunnableAction>,
    /// Bound arguments: the package's below the action's.
    pub(crate) bound: Members<'static>,
    /// Names that a request may not set: of an action marked `final`, those bound to a value.
    pub(crate) reserved: Vec<String>,
    /// Annotations that each record of it has.
    pub(crate) annotations: KeyValues,
    /// Whether every namespace may call it.
    pub(crate) public: bool,
    /// Whether its kind may not be run any more.
    pub(crate) deprecated: bool,
    /// Where its runs in its own namespace are counted.
    pub(crate) measures: Arc<ActionMeasures>,
}

/// Why an action cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReady {
    /// There is none, or its package is gone.
    #[error("no such action")]
    Missing,
    /// Another kind of entity has the name.
    #[error("not an action")]
    NoAction,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// The actions kept ready.
#[derive(Debug)]
pub(crate) struct ReadyActions {
    kept: RwLock<HashMap<FullName, Arc<Ready>>>,
    most: usize,
    /// Goes up with each change, so that what was read before a change is not kept after it.
    changes: AtomicU64,
    measured: ActionRegistry,
}

impl ReadyActions {
    pub(crate) fn new(most: usize) -> Self {
        let (kept, measured) = (RwLock::default(), ActionRegistry::default());
        Self { kept, most, changes: AtomicU64::new(0), measured }
    }

    /// Numbers of every action that ran.
    pub(crate) fn measured(&self) -> &ActionRegistry {
        &self.measured
    }

    /// The action of that name.
    pub(crate) async fn get(
        &self,
        name: &FullName,
        entities: &dyn EntityStore,
        manifest: &Manifest,
    ) -> Result<Arc<Ready>, NotReady> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(ready) = kept {
            return Ok(ready);
        }
        let before = self.changes.load(Ordering::Acquire);
        let mut ready = read(name, entities, manifest).await?;
        ready.measures = self.measured.of(&name.namespace, name);
        let ready = Arc::new(ready);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if self.changes.load(Ordering::Acquire) == before {
            if kept.len() >= self.most
                && let Some(any) = kept.keys().next().cloned()
            {
                kept.remove(&any);
            }
            kept.insert(name.clone(), Arc::clone(&ready));
        }
        Ok(ready)
    }

    /// Lets go of the action or package of that name; to be called after each change of one.
    pub(crate) fn forget(&self, name: &FullName) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::AcqRel);
        kept.retain(|known, _| {
            let inside =
                known.namespace == name.namespace && known.package.as_ref() == Some(&name.name);
            known != name && !(name.package.is_none() && inside)
        });
    }
}

async fn read(
    name: &FullName,
    entities: &dyn EntityStore,
    manifest: &Manifest,
) -> Result<Ready, NotReady> {
    let package = match &name.package {
        None => None,
        Some(package) => {
            let at = FullName::new(name.namespace.clone(), package.clone());
            match entities.get(&at).await? {
                Some(Stored { value: Entity::Package(package), revision }) => {
                    Some(Stored { value: package, revision })
                }
                Some(_) => return Err(NotReady::NoAction),
                None => return Err(NotReady::Missing),
            }
        }
    };
    match entities.get(name).await? {
        Some(Stored { value: Entity::Action(action), revision }) => {
            // Revisions are never used twice, so the newer one names this pair.
            let package_revision = package.as_ref().map_or(0, |package| package.revision.0);
            let package = package.map(|package| package.value);
            Ok(Ready::new(action, package, revision.0.max(package_revision), manifest))
        }
        Some(_) => Err(NotReady::NoAction),
        None => Err(NotReady::Missing),
    }
}

impl Ready {
    fn new(action: Action, package: Option<Package>, revision: u64, manifest: &Manifest) -> Self {
        let public = package.as_ref().is_some_and(|package| package.publish);
        let mut parameters = package.map(|package| package.parameters).unwrap_or_default();
        parameters.overlay(&action.parameters);
        let r#final = action.annotations.get("final") == Some(&Value::Bool(true));
        let bound = parameters.iter().filter(|(_, entry)| r#final && !entry.value.is_null());
        let no_network = action.annotations.get(NETWORK_ANNOTATION) == Some(&json!("none"));
        let limits = serde_json::to_value(&action.limits).unwrap_or_default();
        Self {
            reserved: bound.map(|(key, _)| key.to_owned()).collect(),
            bound: Members::of(&parameters),
            annotations: KeyValues::from_iter([
                ("path".to_owned(), json!(action.name)),
                ("kind".to_owned(), json!(action.exec.kind)),
                ("limits".to_owned(), limits),
            ]),
            public,
            measures: Arc::default(),
            deprecated: manifest.kind(&action.exec.kind).is_some_and(|(_, kind)| kind.deprecated),
            runnable: Arc::new(RunnableAction {
                name: action.name,
                uid: action.uid,
                revision,
                version: action.version,
                kind: action.exec.kind,
                main: action.exec.main,
                binary: action.exec.binary,
                code: action.exec.code,
                environment: parameters.environment(),
                limits: action.limits,
                network: if no_network { Network::None } else { Network::Egress },
                // OpenWhisk: an action without the annotation, which creation writes, gets the key.
                provide_api_key: action.annotations.get(PROVIDE_API_KEY).is_none()
                    || action.annotations.is_truthy(PROVIDE_API_KEY),
            }),
        }
    }

    /// Whether the request sets a name that it may not.
    pub(crate) fn refuses(&self, request: &Members<'_>) -> bool {
        !self.reserved.is_empty()
            && request.names().any(|name| self.reserved.iter().any(|reserved| reserved == name))
    }
}
