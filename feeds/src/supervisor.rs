//! The shell around the lifecycle: one task per feed, started, drained, aborted and started again.

mod driver;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use evoke_schemas::{EntityUid, Feed};
use serde_json::{Map, Value};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    provider::WhenEnded,
    registry::{ParametersError, Registry},
    report::StatusCell,
    sink::EventSink,
    status::{FeedState, FeedStatus},
};

/// Wishes that may wait for the driver; who wishes more waits.
const COMMANDS: usize = 64;

/// Statuses of all feeds, by identity.
type Statuses = Arc<Mutex<HashMap<EntityUid, StatusCell>>>;

/// Runs the feeds that are wanted.
///
/// On cancel a task drains, then is aborted after 10 s; on error it is started again after
/// 200 ms, doubling to 10 s. At most one task of a feed runs here at a time, and what a task of
/// a former owner still sends is refused by the sink's guard.
#[derive(Debug)]
pub struct Supervisor {
    registry: Arc<Registry>,
    commands: mpsc::Sender<Command>,
    statuses: Statuses,
    stop: CancellationToken,
    /// Told of each source that has ended for good.
    endings: Arc<Notify>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// The supervisor has been shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the feeds are shutting down")]
pub struct SupervisorClosed;

#[derive(Debug)]
enum Command {
    Apply { feed: Box<Feed>, settled: oneshot::Sender<()> },
    Remove { uid: EntityUid, settled: oneshot::Sender<()> },
}

impl Supervisor {
    /// A supervisor without feeds. Call it inside a tokio runtime.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        sink: Arc<dyn EventSink>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let statuses = Statuses::default();
        let stop = CancellationToken::new();
        let endings = Arc::new(Notify::new());
        let driver = driver::Driver::new(
            driver::Parts {
                registry: Arc::clone(&registry),
                sink,
                clock,
                endings: Arc::clone(&endings),
            },
            Arc::clone(&statuses),
            stop.clone(),
        );
        let driver = Mutex::new(Some(tokio::spawn(driver.run(inbox))));
        Arc::new(Self { registry, commands, statuses, stop, endings, driver })
    }

    /// Whether a feed of this provider and these parameters can be made.
    ///
    /// # Errors
    /// [`ParametersError`] names every mistake, for the user.
    pub fn check(
        &self,
        provider: &str,
        parameters: &Map<String, Value>,
    ) -> Result<(), ParametersError> {
        self.registry.check(provider, parameters)
    }

    /// What becomes of the feed's trigger once its source has ended.
    #[must_use]
    pub fn when_ended(&self, feed: &Feed) -> WhenEnded {
        self.registry.when_ended(&feed.provider, &feed.parameters)
    }

    /// Waits until a source has ended for good, since the last call. For one caller.
    pub async fn an_ending(&self) {
        self.endings.notified().await;
    }

    /// Makes the feed as it is wanted: CREATE, UPDATE, PAUSE and UNPAUSE. A generation that is
    /// not newer than the last one is ignored. Returns when no task of an earlier generation runs
    /// any more (10 s at most).
    ///
    /// # Errors
    /// [`SupervisorClosed`].
    pub async fn apply(&self, feed: Feed) -> Result<(), SupervisorClosed> {
        self.ask(|settled| Command::Apply { feed: Box::new(feed), settled }).await
    }

    /// Waits until this generation's place in the source is durable, or it is plain that this
    /// must wait: it rests, or somebody must change something first.
    pub async fn settled(&self, uid: EntityUid, generation: u64) {
        if let Some(cell) = self.cell(uid) {
            let can_wait = |state| !matches!(state, FeedState::Connecting | FeedState::Running);
            cell.until(|status| {
                status.generation > generation
                    || status.generation == generation && (status.pinned || can_wait(status.state))
            })
            .await;
        }
    }

    /// Waits until the feed is in this state; at once where there is no such feed.
    pub async fn enters(&self, uid: EntityUid, state: FeedState) {
        if let Some(cell) = self.cell(uid) {
            cell.until(|status| status.state == state).await;
        }
    }

    /// Removes the feed: DELETE. Returns when its task has ended (10 s at most): nothing of it
    /// comes after. Its position is let go in the background.
    ///
    /// Take it out of the store first, so that a crash in between does not bring it back.
    ///
    /// # Errors
    /// [`SupervisorClosed`].
    pub async fn remove(&self, uid: EntityUid) -> Result<(), SupervisorClosed> {
        self.ask(|settled| Command::Remove { uid, settled }).await
    }

    /// What the feed is doing: READ.
    #[must_use]
    pub fn status(&self, uid: EntityUid) -> Option<FeedStatus> {
        self.cell(uid).map(|cell| cell.get())
    }

    fn cell(&self, uid: EntityUid) -> Option<StatusCell> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).get(&uid).cloned()
    }

    /// Ends every task: drains, then aborts after 10 s. Calling it twice is fine.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(driver) = driver
            && let Err(error) = driver.await
        {
            tracing::error!(%error, "the feeds' driver failed");
        }
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<()>) -> Command,
    ) -> Result<(), SupervisorClosed> {
        let (settled, done) = oneshot::channel();
        let sent = self.commands.send(command(settled)).await;
        sent.map_err(|_returned| SupervisorClosed)?;
        done.await.map_err(|_dropped| SupervisorClosed)
    }
}

#[cfg(test)]
mod tests;
