//! The port to whoever runs feeds.

use async_trait::async_trait;
use evoke_feeds::{FeedStatus, Supervisor, WhenEnded};
use evoke_schemas::{EntityUid, Feed};
use serde_json::{Map, Value};

use crate::rest::ApiError;

/// Runs the feeds that are wanted.
#[async_trait]
pub trait FeedControl: Send + Sync {
    /// Whether a feed of this provider and these parameters can be made.
    ///
    /// # Errors
    /// [`FeedRefused::Parameters`] says everything that is wrong.
    fn check(&self, provider: &str, parameters: &Map<String, Value>) -> Result<(), FeedRefused>;

    /// Makes the feed as it is wanted now.
    ///
    /// # Errors
    /// [`FeedRefused::Closed`].
    async fn apply(&self, feed: Feed) -> Result<(), FeedRefused>;

    /// Returns when this generation's place in the source is durable, or it is plain that this
    /// must wait.
    async fn settled(&self, uid: EntityUid, generation: u64);

    /// Ends the feed; nothing of it comes after.
    ///
    /// # Errors
    /// [`FeedRefused::Closed`].
    async fn remove(&self, uid: EntityUid) -> Result<(), FeedRefused>;

    /// What becomes of the feed's trigger once its source has ended.
    fn when_ended(&self, feed: &Feed) -> WhenEnded;

    /// Waits until a source has ended for good, since the last call. For one caller.
    async fn an_ending(&self);

    /// What it is doing.
    fn status(&self, uid: EntityUid) -> Option<FeedStatus>;
}

/// Why a feed is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedRefused {
    /// What the user must change.
    #[error("{0}")]
    Parameters(String),
    /// Feeds are shutting down.
    #[error("the feeds are shutting down")]
    Closed,
}

#[async_trait]
impl FeedControl for Supervisor {
    fn check(&self, provider: &str, parameters: &Map<String, Value>) -> Result<(), FeedRefused> {
        Self::check(self, provider, parameters)
            .map_err(|error| FeedRefused::Parameters(error.to_string()))
    }

    async fn apply(&self, feed: Feed) -> Result<(), FeedRefused> {
        Self::apply(self, feed).await.map_err(|_closed| FeedRefused::Closed)
    }

    async fn settled(&self, uid: EntityUid, generation: u64) {
        Self::settled(self, uid, generation).await;
    }

    async fn remove(&self, uid: EntityUid) -> Result<(), FeedRefused> {
        Self::remove(self, uid).await.map_err(|_closed| FeedRefused::Closed)
    }

    fn when_ended(&self, feed: &Feed) -> WhenEnded {
        Self::when_ended(self, feed)
    }

    async fn an_ending(&self) {
        Self::an_ending(self).await;
    }

    fn status(&self, uid: EntityUid) -> Option<FeedStatus> {
        Self::status(self, uid)
    }
}

impl From<FeedRefused> for ApiError {
    fn from(refused: FeedRefused) -> Self {
        match refused {
            FeedRefused::Parameters(_) => Self::Bad(refused.to_string()),
            FeedRefused::Closed => Self::Unavailable(refused.to_string()),
        }
    }
}
