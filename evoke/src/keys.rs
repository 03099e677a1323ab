//! Namespaces and their keys: through the running hub's control socket, or in the store where none runs.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use evoke_schemas::Namespace;
use evoke_store::{Identities, StoreError};

use crate::{
    args::Key,
    control::{self, Answered, Asked},
    directory::{Directory, DirectoryError},
    limits,
    stores::{DEFAULT_NAMESPACE, OpenError, open_entities, reseal},
};

/// A namespace could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// Not a name.
    #[error("`{0}`: {1}")]
    Name(String, evoke_schemas::NameError),
    /// There is none.
    #[error("namespace `{0}` does not exist; `evoke key add {0}` makes it")]
    Missing(String),
    /// Caps out of their bounds.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Caps(Vec<evoke_schemas::namespace_limits::CapError>),
    /// It is there.
    #[error("namespace `{0}` exists already")]
    Exists(String),
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stores cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The running hub could not be spoken to.
    #[error("the running hub does not answer on its control socket: {0}")]
    Socket(#[from] io::Error),
    /// The running hub refused.
    #[error("{0}")]
    Refused(String),
}

/// `evoke key …`: does it and prints what came of it.
///
/// # Errors
/// What could not be done, and what to do.
pub(crate) fn run(told: &Key) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let open = |data: &Path| Directory::open(data);
    let shown = runtime.block_on(async {
        Ok::<_, KeyError>(match told {
            Key::Add { namespace, data } => add(&open(data)?, namespace).await?,
            Key::Rotate { namespace, data } => rotate(&open(data)?, namespace).await?,
            Key::Reseal { to, data, from } => reseal(data, from.as_deref(), to)?,
            Key::List { data } => list(&open(data)?).await?.join("\n"),
            Key::Limits(told) => limits::change(&open(&told.data)?, told).await?,
        })
    });
    match shown {
        Ok(shown) => writeln!(io::stdout(), "{shown}")?,
        // The directory's errors have exit codes of their own.
        Err(KeyError::Directory(error)) => return Err(error.into()),
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the namespace and returns its key as `uuid:key`.
///
/// # Errors
/// [`KeyError`] says what to do.
async fn add(directory: &Directory, namespace: &str) -> Result<String, KeyError> {
    let asked = Asked::AddKey { namespace: namespace.to_owned() };
    match ask_running(directory, &asked).await? {
        Some(Answered::Key(key)) => Ok(key),
        Some(_) => Err(other_answer()),
        None => {
            let _claim = directory.claim()?;
            let (_entities, identities) = open_entities(directory)?;
            make(&identities, namespace).await
        }
    }
}

/// Gives the namespace another key and returns it as `uuid:key`. That of the default namespace stands
/// in the credentials file then.
///
/// # Errors
/// [`KeyError`] says what to do.
async fn rotate(directory: &Directory, namespace: &str) -> Result<String, KeyError> {
    let asked = Asked::RotateKey { namespace: namespace.to_owned() };
    let key = match ask_running(directory, &asked).await? {
        Some(Answered::Key(key)) => key,
        Some(_) => return Err(other_answer()),
        None => {
            let _claim = directory.claim()?;
            let (_entities, identities) = open_entities(directory)?;
            replace(&identities, namespace).await?
        }
    };
    if namespace == DEFAULT_NAMESPACE {
        directory.keep_credentials(&key)?;
    }
    Ok(key)
}

/// The names of all namespaces, in their order.
///
/// # Errors
/// [`KeyError`] says what to do.
async fn list(directory: &Directory) -> Result<Vec<String>, KeyError> {
    match ask_running(directory, &Asked::ListKeys).await? {
        Some(Answered::Names(names)) => Ok(names),
        Some(_) => Err(other_answer()),
        None => {
            let _claim = directory.claim()?;
            let (_entities, identities) = open_entities(directory)?;
            names(&identities).await
        }
    }
}

/// What the hub that runs on the directory answers; none where none runs.
async fn ask_running(directory: &Directory, asked: &Asked) -> Result<Option<Answered>, KeyError> {
    let Some(stream) = control::connect(directory).await else { return Ok(None) };
    match control::ask(stream, asked).await?.0 {
        Answered::Refused(reason) => Err(KeyError::Refused(reason)),
        answered => Ok(Some(answered)),
    }
}

fn other_answer() -> KeyError {
    io::Error::other("it answers something else").into()
}

/// Makes it in the store.
pub(crate) async fn make(identities: &dyn Identities, name: &str) -> Result<String, KeyError> {
    let namespace = Namespace::new(name).map_err(|error| KeyError::Name(name.to_owned(), error))?;
    match identities.create(&namespace).await {
        Ok(identity) => Ok(identity.credential().reveal().to_owned()),
        Err(StoreError::Conflict(_)) => Err(KeyError::Exists(name.to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// Replaces the key in the store.
pub(crate) async fn replace(identities: &dyn Identities, name: &str) -> Result<String, KeyError> {
    let namespace = Namespace::new(name).map_err(|error| KeyError::Name(name.to_owned(), error))?;
    let identity = identities.rotate(&namespace).await?;
    let identity = identity.ok_or_else(|| KeyError::Missing(name.to_owned()))?;
    Ok(identity.credential().reveal().to_owned())
}

/// The namespaces of the store.
pub(crate) async fn names(identities: &dyn Identities) -> Result<Vec<String>, KeyError> {
    let all = identities.all().await?;
    let mut names: Vec<_> = all.iter().map(|one| one.namespace.to_string()).collect();
    names.dedup();
    Ok(names)
}
