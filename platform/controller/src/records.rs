//! The engine's way to the store of activations.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_schemas::{Activation, ActivationId, Namespace};
use evoke_store::ActivationStore;
use evoke_trigger_engine::{ActivationSink, ActivationSinkError};

/// A store of activations as the engine sees it.
#[derive(Clone)]
pub struct Records(Arc<dyn ActivationStore>);

impl Records {
    /// The engine's records go to this store.
    #[must_use]
    pub fn new(store: Arc<dyn ActivationStore>) -> Self {
        Self(store)
    }
}

#[async_trait]
impl ActivationSink for Records {
    async fn stage(&self, activation: Activation) -> Result<(), ActivationSinkError> {
        self.0.stage(&activation).await.map_err(|error| ActivationSinkError(Box::new(error)))
    }

    async fn flush(&self) -> Result<(), ActivationSinkError> {
        self.0.flush().await.map_err(|error| ActivationSinkError(Box::new(error)))
    }

    async fn erase(
        &self,
        namespace: &Namespace,
        ids: &[ActivationId],
    ) -> Result<usize, ActivationSinkError> {
        let erased = self.0.erase(namespace, ids).await;
        erased.map_err(|error| ActivationSinkError(Box::new(error)))
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Records")
    }
}
