//! Who may do what: keys of namespaces.

#[cfg(test)]
mod conformance;
mod embedded;

use std::sync::Arc;

use async_trait::async_trait;
use evoke_schemas::{Namespace, NamespaceOverrides, Secret};

pub use embedded::EmbeddedIdentities;
pub(crate) use embedded::IDENTITIES;

use crate::StoreError;

/// A subject with its namespace and the key that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub subject: String,
    /// The one namespace that the key opens.
    pub namespace: Namespace,
    /// Public half of the credential.
    pub uuid: String,
    /// Secret half, 64 characters.
    pub key: Secret,
}

/// Length of the secret half of a credential. Source: spec 1.2.
pub const KEY_LENGTH: usize = 64;

/// Keeps identities.
#[async_trait]
pub trait Identities: Send + Sync {
    /// Whose credential that is. Compares in constant time.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn authenticate(
        &self,
        uuid: &str,
        key: &str,
    ) -> Result<Option<Arc<Identity>>, StoreError>;

    /// The identity that owns a namespace, for what runs in its name.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn owner(&self, namespace: &Namespace) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Makes a namespace with a random key, durably.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the namespace exists.
    async fn create(&self, namespace: &Namespace) -> Result<Arc<Identity>, StoreError>;

    /// Gives a namespace another key, durably; its uuid stays, the former key opens nothing from
    /// then on. None where there is no such namespace.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn rotate(&self, namespace: &Namespace) -> Result<Option<Arc<Identity>>, StoreError>;

    /// Every identity, by namespace.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn all(&self) -> Result<Vec<Arc<Identity>>, StoreError>;

    /// The caps that are set for a namespace alone.
    fn overrides(&self, namespace: &Namespace) -> NamespaceOverrides;

    /// Every namespace that has caps of its own.
    fn all_overrides(&self) -> Vec<(Namespace, NamespaceOverrides)>;

    /// Sets the caps of a namespace, durably; none where nothing is set.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn set_overrides(
        &self,
        namespace: &Namespace,
        own: NamespaceOverrides,
    ) -> Result<(), StoreError>;
}

// === impl Identity ===

impl Identity {
    /// The credential as clients send it: `uuid:key`.
    #[must_use]
    pub fn credential(&self) -> Secret {
        Secret::new(format!("{}:{}", self.uuid, self.key.reveal()))
    }
}
