//! Making namespaces: through the running hub's control socket, or in the store where none runs.

use std::{io, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use evoke_schemas::{Namespace, NamespaceOverrides};
use evoke_store::{Identities, StoreError};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

use crate::{
    directory::{Directory, DirectoryError},
    limits::{self, Keeper},
    stores::{OpenError, open_entities},
};

/// Longest line on the control socket. Unit: bytes.
const MAX_LINE: u64 = 4_096;
/// Name of the socket below the data directory, which only its owner may enter.
const SOCKET: &str = "control.sock";

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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Asked {
    /// Make a namespace.
    AddKey {
        /// Its name.
        namespace: String,
    },
    /// Change the caps of a namespace.
    Limits(limits::Change),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Answered {
    /// `uuid:key`.
    Key(String),
    /// What is set for the namespace.
    Limits(NamespaceOverrides),
    /// Why not.
    Refused(String),
}

/// Makes the namespace and returns its key as `uuid:key`.
///
/// # Errors
/// [`KeyError`] says what to do.
pub(crate) async fn add(directory: &Directory, namespace: &str) -> Result<String, KeyError> {
    let asked = Asked::AddKey { namespace: namespace.to_owned() };
    match ask_running(directory, &asked).await? {
        Some(Answered::Key(key)) => Ok(key),
        Some(Answered::Refused(reason)) => Err(KeyError::Refused(reason)),
        Some(Answered::Limits(_)) => Err(KeyError::Refused("no key was told".to_owned())),
        None => {
            let (_entities, identities) = open_entities(directory)?;
            make(&identities, namespace).await
        }
    }
}

/// What the hub that runs on the directory answers; none where none runs.
///
/// # Errors
/// [`KeyError::Socket`].
pub(crate) async fn ask_running(
    directory: &Directory,
    asked: &Asked,
) -> Result<Option<Answered>, KeyError> {
    let Ok(mut stream) = UnixStream::connect(directory.join(SOCKET)).await else {
        return Ok(None);
    };
    let mut line = serde_json::to_string(asked).map_err(io::Error::other)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut line).await?;
    Ok(Some(serde_json::from_str(&line).map_err(io::Error::other)?))
}

async fn make(identities: &dyn Identities, name: &str) -> Result<String, KeyError> {
    let namespace = Namespace::new(name).map_err(|error| KeyError::Name(name.to_owned(), error))?;
    match identities.create(&namespace).await {
        Ok(identity) => Ok(identity.credential().reveal().to_owned()),
        Err(StoreError::Conflict(_)) => Err(KeyError::Exists(name.to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The running hub's end of the control socket.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Binds it; the data directory's lock says that no other hub has it.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn bind(directory: &Directory) -> io::Result<Self> {
        let path = directory.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers one caller after the other until `stop`.
    pub(crate) async fn serve(self, keeper: Arc<dyn Keeper>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let answered = match accepted {
                Ok((stream, _)) => answer(stream, keeper.as_ref()).await,
                Err(error) => Err(error),
            };
            if let Err(error) = answered {
                tracing::warn!(%error, "the control socket failed a caller");
            }
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "no control socket to remove");
        }
    }
}

async fn answer(stream: UnixStream, keeper: &dyn Keeper) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_LINE)).read_line(&mut line).await?;
    let answered = match serde_json::from_str(&line) {
        Ok(Asked::AddKey { namespace }) => match make(keeper.identities(), &namespace).await {
            Ok(key) => Answered::Key(key),
            Err(error) => Answered::Refused(error.to_string()),
        },
        Ok(Asked::Limits(change)) => match limits::apply(keeper, change).await {
            Ok(own) => Answered::Limits(own),
            Err(error) => Answered::Refused(error.to_string()),
        },
        Err(error) => Answered::Refused(error.to_string()),
    };
    let text = serde_json::to_string(&answered).map_err(io::Error::other)?;
    writer.write_all(text.as_bytes()).await?;
    writer.write_all(b"\n").await
}
