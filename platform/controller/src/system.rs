//! The packages of `/whisk.system` that the hub itself serves: native actions and feed actions.
//!
//! They are entities like any other, laid over the store ([`overlay`]), and run like any other,
//! by a runner of their own ([`runner`]): so rules, calls, records and listings need not know.

mod catalog;
mod lifecycle;
mod overlay;
mod runner;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

use evoke_feeds::{Clock, FeedAction, NativeAction, PackageCard};
use evoke_schemas::FullName;
use evoke_store::{Entity, EntityStore};
use tokio::sync::Semaphore;

use self::overlay::Overlay;
use crate::hub::Hub;

/// Most native actions that run at once; more wait.
const MAX_RUNNING: usize = 256;

/// What an action of the hub's own does.
#[derive(Clone, Debug)]
enum Does {
    /// Its work.
    Work(Arc<dyn NativeAction>),
    /// The life cycle of feeds.
    Feeds(Arc<dyn FeedAction>),
}

/// The hub's own packages, and who runs their actions.
pub struct System {
    entities: BTreeMap<FullName, Entity>,
    does: BTreeMap<FullName, Does>,
    running: Semaphore,
    clock: Arc<dyn Clock>,
    hub: OnceLock<Weak<Hub>>,
}

impl System {
    /// Of these packages and what is in them; what is in no package of these is left out.
    #[must_use]
    pub fn new(
        packages: &[PackageCard],
        feeds: Vec<Arc<dyn FeedAction>>,
        actions: Vec<Arc<dyn NativeAction>>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (entities, does) = catalog::catalog(packages, feeds, actions, clock.now_ms());
        let (running, hub) = (Semaphore::new(MAX_RUNNING), OnceLock::new());
        Arc::new(Self { entities, does, running, clock, hub })
    }

    /// The entities of a store with the hub's own over them.
    #[must_use]
    pub fn over(self: &Arc<Self>, store: Arc<dyn EntityStore>) -> Arc<dyn EntityStore> {
        Arc::new(Overlay::new(Arc::clone(self), store))
    }

    /// From now on feed actions change the feeds of this hub.
    pub(crate) fn serve(&self, hub: &Arc<Hub>) {
        if self.hub.set(Arc::downgrade(hub)).is_err() {
            tracing::error!("feed actions serve a hub already");
        }
    }
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("System").field("actions", &self.does.len()).finish_non_exhaustive()
    }
}
