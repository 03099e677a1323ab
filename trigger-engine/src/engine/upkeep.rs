//! What goes on beside deliveries: checkpoints as the log grows, and retention.

use std::{sync::Arc, time::Duration};

use evoke_event_log::Retention;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Steps, dispatch::Shared};
use crate::{config::EngineConfig, delivery::DeliveryInput};

/// How often the log's size is looked at.
const PERIOD: Duration = Duration::from_millis(500);

/// Writes checkpoints and lets old segments go, until `stop`.
pub(crate) async fn keep(
    shared: Arc<Shared>,
    config: EngineConfig,
    commands: mpsc::Sender<DeliveryInput>,
    stop: CancellationToken,
) {
    let mut grown_from = shared.log.sizes().bytes;
    let mut steps = Steps::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(PERIOD) => {}
        }
        steps.look(&shared.clock);
        let mut policy = config.retention.clone();
        if !steps.is_settled(&shared.clock) {
            policy.max_age_ms = None;
        }
        retain(&shared, &policy, &commands).await;
        let bytes = shared.log.sizes().bytes;
        let grown = bytes.abs_diff(grown_from);
        if grown >= config.checkpoint_bytes.0 && save(&shared).await {
            grown_from = bytes;
        }
    }
}

/// Asks for the oldest segment to go, where the policy and the low-water mark let it.
async fn retain(shared: &Shared, policy: &Retention, commands: &mpsc::Sender<DeliveryInput>) {
    let (low_water, carrying) = {
        let core = shared.core();
        (core.low_water().clone(), core.is_carrying())
    };
    if carrying {
        return;
    }
    let now_ms = shared.clock.now_ms();
    if let Some(segment) = shared.log.droppable(policy, &low_water, now_ms) {
        let carry = DeliveryInput::Carry { segment: segment.id, to: segment.to };
        if commands.send(carry).await.is_err() {
            tracing::debug!("deliveries have ended: no segment goes now");
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
