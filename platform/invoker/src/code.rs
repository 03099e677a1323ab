//! The port through which the invoker gets an action's code.

use async_trait::async_trait;
use bytes::Bytes;
use evoke_schemas::action::CodeRef;

/// Where code comes from.
#[async_trait]
pub trait CodeSource: Send + Sync {
    /// The code as it was sent: text, or base64 of an archive.
    ///
    /// # Errors
    /// [`CodeError`]; the run is a platform failure then.
    async fn load(&self, code: &CodeRef) -> Result<Bytes, CodeError>;
}

/// The code could not be had.
#[derive(Debug, thiserror::Error)]
#[error("the code is not there or cannot be read")]
pub struct CodeError {
    /// What the store said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
