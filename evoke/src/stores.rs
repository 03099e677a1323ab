//! The embedded stores of one data directory.

use std::sync::Arc;

use evoke_schemas::Namespace;
use evoke_store::{
    CodeStore, EmbeddedActivations, EmbeddedEntities, EmbeddedIdentities, Identities as _, Reserve,
    Seal, SealError, StoreError, open_code_store,
};

use crate::directory::{Directory, DirectoryError};

/// Namespace that a first start makes.
pub(crate) const DEFAULT_NAMESPACE: &str = "guest";

/// Everything that is kept beside the event log.
pub(crate) struct Stores {
    /// Entities and feeds.
    pub(crate) entities: Arc<EmbeddedEntities>,
    /// Keys of namespaces.
    pub(crate) identities: Arc<EmbeddedIdentities>,
    /// Activation records.
    pub(crate) activations: Arc<EmbeddedActivations>,
    /// Room on disk for what was accepted; none where nothing is.
    pub(crate) reserve: Option<Arc<Reserve>>,
    /// Code by hash.
    pub(crate) code: Arc<dyn CodeStore>,
}

/// The stores cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// A store cannot be used; another hub may have it.
    #[error("cannot open the {what}: {source} (does another hub run on this directory?)")]
    Store {
        /// Which.
        what: &'static str,
        /// Why.
        source: StoreError,
    },
    /// The key of secrets cannot be had.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// There is no such code store.
    #[error("there is no code store `{0}`")]
    NoCodeStore(String),
    /// The default namespace's name is no name.
    #[error(transparent)]
    Name(#[from] evoke_schemas::NameError),
}

impl Stores {
    /// Opens all of them, and makes the default namespace at the first start.
    ///
    /// # Errors
    /// Names the store.
    pub(crate) async fn open(
        directory: &Directory,
        code_store: &str,
        dev_keys: bool,
        reserve: Option<Arc<Reserve>>,
    ) -> Result<Self, OpenError> {
        let (entities, identities) = open_entities_with(directory, reserve.as_ref())?;
        make_default_namespace(&identities, directory).await?;
        let identities = if dev_keys { identities.with_development_keys() } else { identities };
        let failed = |what| move |source| OpenError::Store { what, source };
        let path = directory.join("activations.redb");
        let activations = match &reserve {
            Some(reserve) => EmbeddedActivations::open_with(&path, reserve),
            None => EmbeddedActivations::open(&path),
        };
        let activations = activations.map_err(failed("activation store"))?;
        let code = open_code_store(code_store, &directory.join("code"))
            .ok_or_else(|| OpenError::NoCodeStore(code_store.to_owned()))?
            .map_err(failed("code store"))?;
        Ok(Self {
            entities: Arc::new(entities),
            identities: Arc::new(identities),
            activations: Arc::new(activations),
            code,
            reserve,
        })
    }
}

/// The credentials file is written last, so that after a crash before it the next start writes it.
async fn make_default_namespace(
    identities: &EmbeddedIdentities,
    directory: &Directory,
) -> Result<(), OpenError> {
    if directory.credentials()?.is_some() {
        return Ok(());
    }
    let failed = |source| OpenError::Store { what: "identities", source };
    let name = Namespace::new(DEFAULT_NAMESPACE)?;
    let identity = match identities.owner(&name).await.map_err(failed)? {
        Some(identity) => identity,
        None => identities.create(&name).await.map_err(failed)?,
    };
    Ok(directory.keep_credentials(identity.credential().reveal())?)
}

/// Opens entities and identities, which share a file, where no hub runs.
///
/// # Errors
/// Names the store.
pub(crate) fn open_entities(
    directory: &Directory,
) -> Result<(EmbeddedEntities, EmbeddedIdentities), OpenError> {
    open_entities_with(directory, None)
}

fn open_entities_with(
    directory: &Directory,
    reserve: Option<&Arc<Reserve>>,
) -> Result<(EmbeddedEntities, EmbeddedIdentities), OpenError> {
    let failed = |what| move |source| OpenError::Store { what, source };
    let (seal, made) = Seal::from_file(&directory.join("secrets.key"))?;
    if made {
        tracing::warn!(
            "secrets are encrypted with a key that lies beside them in the data directory"
        );
    }
    let path = directory.join("entities.redb");
    let entities = match reserve {
        Some(reserve) => EmbeddedEntities::open_with(&path, seal, reserve),
        None => EmbeddedEntities::open(&path, seal),
    };
    let entities = entities.map_err(failed("entity store"))?;
    let identities = EmbeddedIdentities::open(&entities).map_err(failed("identities"))?;
    Ok((entities, identities))
}
