//! The control socket of a running hub: what the owner of the data directory can ask of it.

use std::{io, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, time::Duration};

use evoke_schemas::NamespaceOverrides;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    backup::Source,
    directory::Directory,
    keys,
    limits::{self, Keeper},
};

/// Longest question on the control socket. Unit: bytes.
const MAX_LINE: u64 = 4_096;
/// Longest answer. Unit: bytes.
const MAX_ANSWER: usize = 16 << 20;
/// Callers at once; more wait.
const MAX_CALLERS: usize = 8;
/// Longest wait for a caller to say what it wants.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// Wait after a refused accept, when the process has no more file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Name of the socket below the data directory, which only its owner may enter.
const SOCKET: &str = "control.sock";

/// What can be asked.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Asked {
    /// A namespace of this name.
    AddKey {
        /// The name.
        namespace: String,
    },
    /// The names of all namespaces.
    ListKeys,
    /// Another key of the namespace of this name.
    RotateKey {
        /// The name.
        namespace: String,
    },
    /// Caps of a namespace, changed.
    Limits(limits::Change),
    /// A copy of everything, sent on the same socket.
    Backup,
}

/// What comes back, in one line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Answered {
    /// The key of the namespace.
    Key(String),
    /// Names of namespaces.
    Names(Vec<String>),
    /// What is set for the namespace.
    Limits(NamespaceOverrides),
    /// The copy follows.
    Copy,
    /// Not done, and why.
    Refused(String),
}

/// What a running hub answers from.
pub(crate) struct Desk {
    /// Where namespaces and their caps are kept.
    pub(crate) keeper: Arc<dyn Keeper>,
    /// What a backup is taken of.
    pub(crate) source: Source,
}

/// The running hub's socket, if one runs on the directory.
pub(crate) async fn connect(directory: &Directory) -> Option<UnixStream> {
    UnixStream::connect(directory.join(SOCKET)).await.ok()
}

/// Asks, and returns the answer with the stream that what follows comes on.
///
/// # Errors
/// Those of the socket.
pub(crate) async fn ask(stream: UnixStream, asked: &Asked) -> io::Result<(Answered, UnixStream)> {
    let mut stream = stream;
    let mut line = serde_json::to_string(asked).map_err(io::Error::other)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    // Byte by byte: what follows the line is not ours.
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte if line.len() < MAX_ANSWER => line.push(byte),
            _ => return Err(io::Error::other("the answer is too long")),
        }
    }
    Ok((serde_json::from_slice(&line).map_err(io::Error::other)?, stream))
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

    /// Answers callers until `stop`; those under way are answered.
    pub(crate) async fn serve(self, desk: Desk, stop: CancellationToken) {
        let (desk, room) = (Arc::new(desk), Arc::new(Semaphore::new(MAX_CALLERS)));
        let mut callers = JoinSet::new();
        loop {
            let next = async {
                let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((self.listener.accept().await?.0, permit))
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_ended) = callers.join_next() => continue,
                accepted = next => accepted,
            };
            let (stream, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "the control socket takes no caller");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let (desk, stop) = (Arc::clone(&desk), stop.clone());
            callers.spawn(async move {
                let _held_while_answered = permit;
                if let Err(error) = answer(stream, &desk, stop).await {
                    tracing::warn!(%error, "the control socket failed a caller");
                }
            });
        }
        while callers.join_next().await.is_some() {}
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "no control socket to remove");
        }
    }
}

async fn answer(stream: UnixStream, desk: &Desk, stop: CancellationToken) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(MAX_LINE));
    let mut line = String::new();
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        asked = tokio::time::timeout(ASKED_WITHIN, reader.read_line(&mut line)) => asked??,
    };
    let answered = decide(&line, desk).await;
    let mut text = serde_json::to_string(&answered).map_err(io::Error::other)?;
    text.push('\n');
    writer.write_all(text.as_bytes()).await?;
    if !matches!(answered, Answered::Copy) {
        return Ok(());
    }
    let stream = reader.into_inner().into_inner().reunite(writer).map_err(io::Error::other)?;
    desk.source.send(stream.into_std()?, stop).await
}

/// Does what the line asks for, but for sending a copy.
async fn decide(line: &str, desk: &Desk) -> Answered {
    let identities = desk.keeper.identities();
    let answered = match serde_json::from_str(line) {
        Ok(Asked::AddKey { namespace }) => {
            keys::make(identities, &namespace).await.map(Answered::Key)
        }
        Ok(Asked::RotateKey { namespace }) => {
            keys::replace(identities, &namespace).await.map(Answered::Key)
        }
        Ok(Asked::ListKeys) => keys::names(identities).await.map(Answered::Names),
        Ok(Asked::Limits(change)) => {
            limits::apply(desk.keeper.as_ref(), change).await.map(Answered::Limits)
        }
        Ok(Asked::Backup) => Ok(Answered::Copy),
        Err(error) => return Answered::Refused(error.to_string()),
    };
    answered.unwrap_or_else(|error| Answered::Refused(error.to_string()))
}
