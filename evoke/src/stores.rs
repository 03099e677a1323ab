//! The embedded stores of one data directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use evoke_schemas::Namespace;
use evoke_store::{
    CodeStore, EmbeddedActivations, EmbeddedEntities, EmbeddedIdentities, Identities as _, Reserve,
    Seal, SealError, StoreError, open_code_store,
};

use crate::directory::{Directory, DirectoryError};

/// Key of secrets in the data directory.
const BESIDE: &str = "secrets.key";
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
    #[error("cannot open the {what}: {}", why(.source))]
    Store {
        /// Which.
        what: &'static str,
        /// Why.
        source: StoreError,
    },
    /// The key of secrets cannot be had.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The file of the key cannot be used.
    #[error("cannot use the sealing key {}: {}", .file.display(), source)]
    Key {
        /// The file.
        file: PathBuf,
        /// Why.
        source: SealError,
    },
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

/// The store's error with its cause, which is what its user can do something about.
fn why(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
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
        key: Option<&Path>,
        reserve: Option<Arc<Reserve>>,
    ) -> Result<Self, OpenError> {
        let (entities, identities) = open_sealed(directory, key, reserve.as_ref())?;
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

/// The key that lies in the data directory; made at the first start.
fn beside(directory: &Directory) -> Result<Seal, OpenError> {
    let (seal, _made) = Seal::from_file(&directory.join(BESIDE))?;
    tracing::warn!(
        "secrets are sealed with a key that lies beside them in the data directory; \
         --seal-key-file names one elsewhere"
    );
    Ok(seal)
}

/// The key of now: of the file that is named, of the one that was named last, or beside.
fn seal(directory: &Directory, named: Option<&Path>) -> Result<Seal, OpenError> {
    let file = match named {
        Some(file) => Some(file.to_owned()),
        None => directory.seal_key()?,
    };
    match file {
        Some(file) => {
            Ok(Seal::of_file(&file)
                .map_err(|source| OpenError::Key { file: file.clone(), source })?)
        }
        None => beside(directory),
    }
}

/// Seals everything that is secret with the key of the file `to`, which is made where it is
/// missing. A key that lay in the data directory goes, unless it is the new one.
///
/// # Errors
/// A hub runs, or it names the store or the key.
pub(crate) fn reseal(data: &Path, from: Option<&Path>, to: &Path) -> Result<String, OpenError> {
    let directory = Directory::find(data)?;
    let _claim = directory.claim()?;
    let old = seal(&directory, from)?;
    let (new, _made) = Seal::from_file(to)?;
    let failed = |source| OpenError::Store { what: "entity store", source };
    EmbeddedEntities::reseal(&directory.join("entities.redb"), &old, &new).map_err(failed)?;
    let own = directory.join(BESIDE);
    let to = fs::canonicalize(to).map_err(SealError::Io)?;
    directory.keep_seal_key(&to)?;
    if to != own {
        match fs::remove_file(own) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SealError::Io(error).into());
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(format!("ok: sealed with the key in {}", to.display()))
}

/// Opens entities and identities, which share a file, with the key that the hub last had.
///
/// # Errors
/// Names the store.
pub(crate) fn open_entities(
    directory: &Directory,
) -> Result<(EmbeddedEntities, EmbeddedIdentities), OpenError> {
    open_sealed(directory, None, None)
}

/// Where a key is named, its place is kept for the commands that open the stores without a hub.
fn open_sealed(
    directory: &Directory,
    key: Option<&Path>,
    reserve: Option<&Arc<Reserve>>,
) -> Result<(EmbeddedEntities, EmbeddedIdentities), OpenError> {
    let failed = |what| move |source| OpenError::Store { what, source };
    let (seal, path) = (seal(directory, key)?, directory.join("entities.redb"));
    let entities = match reserve {
        Some(reserve) => EmbeddedEntities::open_with(&path, seal, reserve),
        None => EmbeddedEntities::open(&path, seal),
    };
    let entities = entities.map_err(failed("entity store"))?;
    let identities = EmbeddedIdentities::open(&entities).map_err(failed("identities"))?;
    if let Some(key) = key {
        directory.keep_seal_key(&fs::canonicalize(key).map_err(SealError::Io)?)?;
    }
    Ok((entities, identities))
}
