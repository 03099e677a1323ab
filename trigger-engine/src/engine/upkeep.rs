//! What goes on beside deliveries: checkpoints as the log grows, and retention.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use evoke_event_log::Retention;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Steps, dispatch::Shared};
use crate::{config::EngineConfig, delivery::DeliveryInput};

/// How often the log's size is looked at.
const PERIOD: Duration = Duration::from_millis(500);

/// Segments that cannot go for their size: the one written to, and the last sealed one.
const KEPT_SEGMENTS: u64 = 2;

/// The task and what it works with.
pub(super) struct Upkeep {
    pub(super) shared: Arc<Shared>,
    pub(super) config: EngineConfig,
    /// Most bytes of sealed segments, beside the settings.
    pub(super) log_bytes: Arc<AtomicU64>,
    pub(super) commands: mpsc::Sender<DeliveryInput>,
}

impl Upkeep {
    /// Writes checkpoints and lets old segments go, until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let mut grown_from = self.shared.log.sizes().bytes;
        let mut steps = Steps::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(PERIOD) => {}
            }
            steps.look(&self.shared.clock);
            self.retain(steps.is_settled(&self.shared.clock)).await;
            let bytes = self.shared.log.sizes().bytes;
            let grown = bytes.abs_diff(grown_from);
            if grown >= self.config.checkpoint_bytes.0 && save(&self.shared).await {
                grown_from = bytes;
            }
        }
    }

    /// What may go now: nothing by an age that the clock may be wrong about, and nothing for the
    /// size where what is alive would only be copied to the log's end.
    fn policy(&self, believes_clock: bool, owed: u64) -> Retention {
        let mut policy = self.config.retention.clone();
        if !believes_clock {
            policy.max_age_ms = None;
        }
        let most = self.log_bytes.load(Ordering::Acquire);
        policy.max_bytes = Some(policy.max_bytes.map_or(most, |set| set.min(most)));
        let sizes = self.shared.log.sizes();
        let segment = sizes.bytes / (sizes.segments as u64).max(1);
        if owed > 0 && sizes.bytes <= owed.saturating_add(segment.saturating_mul(KEPT_SEGMENTS)) {
            policy.max_bytes = None;
        }
        policy
    }

    /// Asks for the oldest segment to go, where the policy and the low-water mark let it.
    async fn retain(&self, believes_clock: bool) {
        let (low_water, carrying, owed) = {
            let core = self.shared.core();
            (core.low_water().clone(), core.is_carrying(), core.owed_bytes())
        };
        if carrying {
            return;
        }
        let now_ms = self.shared.clock.now_ms();
        let policy = self.policy(believes_clock, owed);
        if let Some(segment) = self.shared.log.droppable(&policy, &low_water, now_ms) {
            let carry = DeliveryInput::Carry { segment: segment.id, to: segment.to };
            if self.commands.send(carry).await.is_err() {
                tracing::debug!("deliveries have ended: no segment goes now");
            }
        }
    }
}

/// Saves a checkpoint; whether it is there.
pub(crate) async fn save(shared: &Shared) -> bool {
    let Some(checkpoints) = shared.checkpoints.clone() else { return true };
    let checkpoint = shared.core().checkpoint();
    let saved = tokio::task::spawn_blocking(move || checkpoints.save(&checkpoint)).await;
    match saved {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "no checkpoint: the next start takes longer");
            false
        }
        Err(error) => {
            tracing::error!(%error, "writing a checkpoint panicked");
            false
        }
    }
}
