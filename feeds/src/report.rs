//! How a feed is doing: the status that its task and its source write and others read.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use crate::status::{FeedState, FeedStatus};

/// A feed's status, shared by those who write it and those who read it.
#[derive(Clone, Debug)]
pub(crate) struct StatusCell(Arc<watch::Sender<FeedStatus>>);

/// A source's word on how it is doing, at any time and from any of its tasks.
#[derive(Clone, Debug)]
pub struct Report(StatusCell);

// === impl StatusCell ===

impl StatusCell {
    pub(crate) fn new(status: FeedStatus) -> Self {
        Self(Arc::new(watch::Sender::new(status)))
    }

    pub(crate) fn get(&self) -> FeedStatus {
        self.0.borrow().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut FeedStatus)) {
        self.0.send_modify(change);
    }

    pub(crate) fn enter(&self, state: FeedState) {
        self.change(|status| {
            status.state = state;
            status.reason = None;
            status.next_try = None;
        });
    }

    /// Waits until the status is so.
    pub(crate) async fn until(&self, is_so: impl FnMut(&FeedStatus) -> bool) {
        // The sender lives in `self`: it cannot be gone.
        let _there = self.0.subscribe().wait_for(is_so).await.is_ok();
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn new(cell: StatusCell) -> Self {
        Self(cell)
    }

    /// A report that nobody reads, for a source on its own.
    #[must_use]
    pub fn unread() -> Self {
        Self(StatusCell::new(FeedStatus::new(FeedState::Connecting, 0)))
    }

    /// The source is being reached.
    pub fn connecting(&self) {
        self.0.enter(FeedState::Connecting);
    }

    /// The source is read: what comes there comes here.
    pub fn running(&self) {
        self.0.enter(FeedState::Running);
    }

    /// Something outside must change before the source can be read; it is tried all the while.
    pub fn waiting(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.0.change(|status| {
            status.state = FeedState::Waiting;
            status.last_error = Some(reason.clone());
            status.reason = Some(reason);
            status.next_try = None;
        });
    }

    /// How far the source is ahead, in the provider's own terms.
    pub fn lag(&self, lag: Value) {
        self.0.change(|status| status.lag = Some(lag));
    }
}
