//! The port to the store of activations.

use async_trait::async_trait;
use evoke_schemas::{Activation, ActivationId, Namespace};

/// Keeps activation records.
#[async_trait]
pub trait ActivationSink: Send + Sync + std::fmt::Debug {
    /// Takes a record, readable when this returns; one of the same id is replaced. May wait while
    /// too much is staged.
    ///
    /// # Errors
    /// [`ActivationSinkError`]: the engine stops, and recovers at the next start.
    async fn stage(&self, activation: Activation) -> Result<(), ActivationSinkError>;

    /// Waits until everything staged before this call is durable.
    ///
    /// # Errors
    /// [`ActivationSinkError`]: the engine stops, and recovers at the next start.
    async fn flush(&self) -> Result<(), ActivationSinkError>;

    /// Takes records away for ever, durably, with every trace of them; none of them may be on its
    /// way. Gives how many there were.
    ///
    /// # Errors
    /// [`ActivationSinkError`]: they may still be there.
    async fn erase(
        &self,
        namespace: &Namespace,
        ids: &[ActivationId],
    ) -> Result<usize, ActivationSinkError>;
}

/// Records could not be stored.
#[derive(Debug, thiserror::Error)]
#[error("activation records could not be stored")]
pub struct ActivationSinkError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
