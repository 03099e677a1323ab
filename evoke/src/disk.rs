//! The disk under the data directory: the reserve, the budget, and who is let in while they last.

mod budget;
mod usage;

use std::{path::PathBuf, sync::Arc, time::Duration};

use evoke_store::{EmbeddedActivations, Reserve};
use evoke_trigger_engine::{Cap, Engine};
use tokio_util::sync::CancellationToken;

use self::{
    budget::{Budget, Decision, State},
    usage::Usage,
};
use crate::{config::Settings, directory::Directory, parts::Parts};

/// Name of the reserve's file.
pub(crate) const RESERVE: &str = "reserve";
/// Room that is kept for what was accepted; the log keeps as much for itself.
pub(crate) const RESERVE_BYTES: u64 = 64 << 20;
/// How often it is looked whether there is room.
const LOOK: Duration = Duration::from_millis(250);
/// Every so many looks, files are counted.
const COUNT_EVERY: u32 = 4;

/// The task and what it looks at.
pub(crate) struct Watch {
    engine: Engine,
    activations: Arc<EmbeddedActivations>,
    reserve: Option<Arc<Reserve>>,
    path: PathBuf,
    budget: Budget,
}

/// The watch over a hub's disk.
pub(crate) fn watch(parts: &Parts, settings: &Settings, directory: &Directory) -> Watch {
    Watch {
        engine: parts.engine.clone(),
        activations: Arc::clone(&parts.stores.activations),
        reserve: parts.stores.reserve.clone(),
        path: directory.path().to_owned(),
        budget: Budget { total: settings.disk_budget, log: settings.log_bytes },
    }
}

impl Watch {
    /// Looks until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (mut looks, mut state) = (0_u32, State::default());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let has_room = self.has_room().await && self.engine.log_has_room();
            if looks % COUNT_EVERY == 0 {
                self.count(&mut state).await;
            }
            looks = looks.wrapping_add(1);
            let full = if has_room { state.full() } else { Some(Cap::Disk) };
            if full != self.engine.shut() {
                match full {
                    Some(cap) => {
                        tracing::warn!(cap = cap.name(), "nothing new is taken: {cap} is full")
                    }
                    None => tracing::info!("events are taken again"),
                }
                self.engine.set_shut(full);
            }
        }
    }

    /// Whether the reserve is whole, once it is filled again where that can be.
    async fn has_room(&self) -> bool {
        let Some(reserve) = self.reserve.clone().filter(|reserve| !reserve.is_whole()) else {
            return true;
        };
        match tokio::task::spawn_blocking(move || reserve.refill()).await {
            Ok(Ok(whole)) => whole,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the reserve cannot be filled");
                false
            }
            Err(error) => {
                tracing::error!(%error, "filling the reserve panicked");
                false
            }
        }
    }

    /// Counts what is used, and lets go what the budget has no room for.
    async fn count(&self, state: &mut State) {
        let (path, free) = (self.path.clone(), self.activations.free_bytes());
        let counted = tokio::task::spawn_blocking(move || Usage::of(&path, free)).await;
        let usage = match counted {
            Ok(Ok(usage)) => usage,
            Ok(Err(error)) => return tracing::warn!(%error, "the data directory cannot be counted"),
            Err(error) => return tracing::error!(%error, "counting the data directory panicked"),
        };
        let Decision { log_bytes, drop_records } = state.step(&self.budget, &usage);
        self.engine.set_log_bytes(log_bytes);
        if drop_records {
            match self.activations.drop_oldest().await {
                Ok(dropped) => tracing::debug!(dropped, "records go for the disk budget"),
                Err(error) => tracing::warn!(%error, "old activation records stay"),
            }
        }
    }
}
