//! What a backup is taken of: the open stores of one data directory.

use std::{
    fs, io,
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use evoke_event_log::{LogCopy, SegmentLog};
use evoke_store::{ActivationStore as _, EmbeddedActivations, EmbeddedEntities, Snapshot};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    BackupError,
    archive::{LogPart, Writer},
};
use crate::{directory::Directory, stores::Stores};

/// Longest time that the one who takes the backup may not read.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// Files of the data directory that are copied as they are, where they are there.
pub(super) const FILES: &[&str] = &["secrets.key", "seal-key-file", "credentials"];
/// Folder of the log, and of code, in the data directory and in the backup.
const LOG: &str = "log";
const CODE: &str = "code";

/// The open stores.
#[derive(Debug)]
pub(crate) struct Source {
    directory: Directory,
    log: Arc<SegmentLog>,
    entities: Arc<EmbeddedEntities>,
    activations: Arc<EmbeddedActivations>,
    one: Semaphore,
}

/// One moment of all of them.
struct Moment {
    begun_ms: u64,
    directory: Directory,
    log: LogCopy,
    entities: Snapshot,
    activations: Snapshot,
    code: Vec<PathBuf>,
}

impl Source {
    /// A backup of these can be taken.
    pub(crate) fn new(directory: &Directory, log: Arc<SegmentLog>, stores: &Stores) -> Self {
        Self {
            directory: directory.clone(),
            log,
            entities: Arc::clone(&stores.entities),
            activations: Arc::clone(&stores.activations),
            one: Semaphore::new(1),
        }
    }

    /// Writes a backup to the stream, one at a time; breaks off at `stop`.
    ///
    /// # Errors
    /// Nobody reads it.
    pub(crate) async fn send(&self, to: UnixStream, stop: CancellationToken) -> io::Result<()> {
        let _one = self.one.acquire().await.map_err(io::Error::other)?;
        to.set_nonblocking(false)?;
        to.set_write_timeout(Some(READ_WITHIN))?;
        let moment = self.moment().await;
        let out = UntilStopped { to: io::BufWriter::with_capacity(1 << 20, to), stop };
        let written = tokio::task::spawn_blocking(move || write(moment, out)).await;
        written.map_err(io::Error::other)?
    }

    /// The log first: what it has of events needs no entity that comes later.
    async fn moment(&self) -> Result<Moment, BackupError> {
        let log = self.log.copy().map_err(BackupError::io("open the log"))?;
        self.activations.flush().await?;
        let (entities, activations) = (self.entities.snapshot()?, self.activations.snapshot()?);
        let folder = self.directory.join(CODE);
        let code = files_below(&folder).map_err(BackupError::io("list the code"))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Moment {
            begun_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            directory: self.directory.clone(),
            log,
            entities,
            activations,
            code,
        })
    }
}

/// The backup of a directory on which no hub runs: opened here as a hub would, and sent the same.
pub(super) async fn offline(directory: &Directory) -> Result<UnixStream, BackupError> {
    let claim = directory.claim()?;
    let path = directory.join(LOG);
    let opened = tokio::task::spawn_blocking(move || {
        SegmentLog::open(&path, evoke_event_log::Config::default())
    });
    let (log, _) = opened.await.map_err(|error| BackupError::Refused(error.to_string()))??;
    let stores = Stores::open(directory, crate::args::CODE_STORE, false, None, None).await;
    let stores = stores.map_err(|error| BackupError::Refused(error.to_string()))?;
    let source = Source::new(directory, Arc::new(log), &stores);
    let (ours, theirs) = UnixStream::pair().map_err(BackupError::io("make a pair of sockets"))?;
    tokio::spawn(async move {
        let _held = claim;
        if let Err(error) = source.send(theirs, CancellationToken::new()).await {
            tracing::debug!(%error, "nobody reads the backup");
        }
    });
    Ok(ours)
}

/// All entries, or why there are not all.
fn write(moment: Result<Moment, BackupError>, out: impl Write) -> io::Result<()> {
    let begun_ms = moment.as_ref().map_or(0, |moment| moment.begun_ms);
    let mut writer = Writer::new(out, begun_ms)?;
    match moment.and_then(|moment| entries(moment, &mut writer)) {
        Ok(log) => writer.finish(log),
        Err(error) => {
            tracing::error!(%error, "a backup broke off");
            writer.fail(&error.to_string())
        }
    }
}

fn entries(moment: Moment, writer: &mut Writer<impl Write>) -> Result<LogPart, BackupError> {
    let copying = |name: &str| BackupError::io(format!("copy {name}"));
    for name in FILES {
        match fs::read(moment.directory.join(name)) {
            Ok(text) => {
                let entry = writer.entry(&format!("data/{name}"), text.len() as u64, &*text);
                entry.map_err(copying(name))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(copying(name)(error)),
        }
    }
    records("entities", &moment.entities, writer)?;
    for path in &moment.code {
        let name = path.strip_prefix(moment.directory.path()).unwrap_or(path).display().to_string();
        let file = fs::File::open(path).map_err(copying(&name))?;
        let bytes = file.metadata().map_err(copying(&name))?.len();
        writer.entry(&format!("data/{name}"), bytes, file).map_err(copying(&name))?;
    }
    let (name, content) = &moment.log.identity;
    let entry = writer.entry(&format!("data/{LOG}/{name}"), content.len() as u64, &**content);
    entry.map_err(copying(name))?;
    for segment in moment.log.segments {
        let name = format!("data/{LOG}/{}", segment.name);
        writer.entry(&name, segment.bytes, segment.file).map_err(copying(&name))?;
    }
    records("activations", &moment.activations, writer)?;
    Ok(LogPart { uid: moment.log.uid.to_string(), next: moment.log.next })
}

/// A store's records, chunk by chunk.
fn records(
    store: &str,
    snapshot: &Snapshot,
    writer: &mut Writer<impl Write>,
) -> Result<(), BackupError> {
    let mut number = 0_u64;
    snapshot.chunks(|chunk| {
        number += 1;
        writer.entry(&format!("records/{store}/{number:08}"), chunk.len() as u64, chunk)
    })?;
    Ok(())
}

/// Files of the folder's folders, without what is only being written.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for inner in fs::read_dir(folder)? {
        for file in fs::read_dir(inner?.path())? {
            let path = file?.path();
            if path.extension().is_none() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Fails once the hub is to end.
struct UntilStopped<W> {
    to: W,
    stop: CancellationToken,
}

impl<W: Write> Write for UntilStopped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("the hub ends"));
        }
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
