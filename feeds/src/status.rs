//! What a feed is doing, as people are shown it.

use serde::Serialize;
use serde_json::Value;

/// Where a feed stands.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeedStatus {
    /// In one word.
    pub state: FeedState,
    /// Why it is in that state, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Generation of the configuration at work.
    pub generation: u64,
    /// Where the source stands, as its provider shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Value>,
    /// How far the source is ahead, as its provider tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<Value>,
    /// Whether this generation's place in the source is durable.
    pub pinned: bool,
    /// When the hub last took events from it. Unit: epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event: Option<u64>,
    /// Events taken from it since the program started, for metrics.
    #[serde(skip)]
    pub events: u64,
    /// The newest error, kept after recovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it is tried again. Unit: epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<u64>,
}

/// A feed's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeedState {
    /// The source is being opened, or is tried again at `nextTry`.
    Connecting,
    /// Events are read.
    Running,
    /// It rests because it was told to.
    Paused,
    /// Something must change first: the hub has no room, the trigger or something in the source
    /// is missing. It goes on by itself when that is mended.
    Waiting,
    /// It rests until its configuration changes.
    Failed,
    /// The source has ended: nothing will come any more.
    Finished,
}

impl FeedStatus {
    /// The status of a feed that has done nothing yet.
    #[must_use]
    pub fn new(state: FeedState, generation: u64) -> Self {
        Self {
            state,
            reason: None,
            generation,
            position: None,
            lag: None,
            pinned: false,
            last_event: None,
            events: 0,
            last_error: None,
            next_try: None,
        }
    }
}
