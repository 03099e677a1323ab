//! `evoke backup` and `evoke restore`: a data directory copied whole, also while its hub runs.
//!
//! A backup is a list of entries, each with its checksum: the segments of the log up to what was
//! durable when it began, the records of the stores as they were right after, code, keys. As the
//! log comes first, every entity that an event of it needs is there, and a run whose outcome is not
//! in the copy is made again.

mod archive;
mod restore;
mod source;
mod target;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

pub(crate) use source::Source;

use crate::{
    args,
    control::{self, Answered, Asked},
    directory::Directory,
};
use archive::Manifest;

type Done = Result<ExitCode, Box<dyn std::error::Error>>;

/// A backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// Nothing is overwritten.
    #[error("{0} exists already: name a new file or folder")]
    Exists(String),
    /// A file cannot be used.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried, such as "write /backup/a".
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// What is read is no backup.
    #[error("{0} is no backup of evoke: {1}")]
    NoBackup(String, String),
    /// A newer program made it.
    #[error(
        "the backup was made by evoke {program}, whose format {found} this one does not know: restore it with that one"
    )]
    Newer {
        /// The program.
        program: String,
        /// Its format.
        found: u32,
    },
    /// It broke off.
    #[error("the backup is not whole: {0}")]
    Cut(String),
    /// It was changed.
    #[error("the backup is damaged: {0} is not what it was when the backup was made")]
    Damaged(String),
    /// The running hub refused.
    #[error("the hub refuses: {0}")]
    Refused(String),
    /// The directory to restore into has something in it.
    #[error("{0} is not empty: restore into a directory that is empty or not there")]
    NotEmpty(String),
    /// A store failed.
    #[error("a store failed: {0}")]
    Store(#[from] evoke_store::StoreError),
    /// The log of the backup cannot be used.
    #[error("the log of the backup cannot be used: {0}")]
    Log(#[from] evoke_event_log::OpenError),
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] crate::directory::DirectoryError),
}

impl BackupError {
    /// Keeps what was tried.
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Copies the directory; says what was copied.
///
/// # Errors
/// What could not be read or written; nothing is left then.
pub(crate) fn take(told: &args::Backup) -> Done {
    let directory = Directory::find(&told.data)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let draft = target::Draft::new(&told.to)?;
    let stream = runtime.block_on(async {
        let Some(stream) = control::connect(&directory).await else {
            return source::offline(&directory).await;
        };
        let asked = control::ask(stream, &Asked::Backup).await;
        let asked = asked.map_err(BackupError::io("speak to the running hub"))?;
        match asked {
            (Answered::Copy, stream) => {
                stream.into_std().map_err(BackupError::io("speak to the running hub"))
            }
            (Answered::Refused(reason), _) => Err(BackupError::Refused(reason)),
            (Answered::Key(_) | Answered::Names(_) | Answered::Limits(_), _) => {
                Err(BackupError::Refused("it answers something else".into()))
            }
        }
    })?;
    stream.set_nonblocking(false)?;
    let manifest = draft.fill(stream)?;
    writeln!(io::stdout(), "{}", summary(&manifest, &told.to.display().to_string()))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a directory of a backup; says what is in it.
///
/// # Errors
/// What is wrong with the backup or the directory.
pub(crate) fn restore(told: &args::Restore) -> Done {
    let restored = restore::restore(&told.from, &told.data)?;
    let to = told.data.display().to_string();
    writeln!(io::stdout(), "{}", summary(&restored.manifest, &to))?;
    for damage in &restored.damage {
        writeln!(io::stderr(), "evoke restore: as the log was when it was copied: {damage}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(manifest: &Manifest, place: &str) -> String {
    let bytes: u64 = manifest.entries.iter().map(|entry| entry.bytes).sum();
    let (next, files) = (manifest.log.next, manifest.entries.len());
    format!("{place}: the log up to record {next}, {files} entries, {} MB", bytes.div_ceil(1 << 20))
}
