//! Making namespaces: through the running hub's control socket, or in the store where none runs.

use std::io;

use evoke_schemas::Namespace;
use evoke_store::{Identities, StoreError};

use crate::{
    control::{self, Answered, Asked},
    directory::{Directory, DirectoryError},
    stores::{OpenError, open_entities},
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

/// Makes the namespace and returns its key as `uuid:key`.
///
/// # Errors
/// [`KeyError`] says what to do.
pub(crate) async fn add(directory: &Directory, namespace: &str) -> Result<String, KeyError> {
    let Some(stream) = control::connect(directory).await else {
        let _claim = directory.claim()?;
        let (_entities, identities) = open_entities(directory)?;
        return make(&identities, namespace).await;
    };
    let asked = Asked::AddKey { namespace: namespace.to_owned() };
    match control::ask(stream, &asked).await?.0 {
        Answered::Key(key) => Ok(key),
        Answered::Refused(reason) => Err(KeyError::Refused(reason)),
        Answered::Copy | Answered::Limits(_) => {
            Err(io::Error::other("it answers something else").into())
        }
    }
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
