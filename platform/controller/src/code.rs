//! The invoker's way to the store of code.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evoke_invoker::{CodeError, CodeSource};
use evoke_schemas::action::CodeRef;
use evoke_store::CodeStore;

/// A store of code as the invoker sees it.
#[derive(Clone)]
pub struct StoredCode(Arc<dyn CodeStore>);

impl StoredCode {
    /// The invoker's code comes from this store.
    #[must_use]
    pub fn new(store: Arc<dyn CodeStore>) -> Self {
        Self(store)
    }
}

#[async_trait]
impl CodeSource for StoredCode {
    async fn load(&self, code: &CodeRef) -> Result<Bytes, CodeError> {
        self.0.get(code).await.map_err(|error| CodeError { source: Box::new(error) })
    }
}

impl std::fmt::Debug for StoredCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredCode")
    }
}
