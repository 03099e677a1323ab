//! Opening a log: whose it is, what is in it, what a crash left, and where it goes on.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::frame::Chain;
use crate::index::SegmentIndex;
use crate::read::SegmentId;
use crate::recovery::{Damage, Recovered, Recovery, Torn};
use crate::segment_log::erasing::Erasing;
use crate::segment_log::files::{Dir, write_zeros};
use crate::segment_log::identity::Identity;
use crate::segment_log::{Config, Seams};
use crate::sidecar;

const LOCK: &str = "lock";

/// A log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it: stop that one, or name another directory.
    #[error("the event log in `{}` is in use by another process", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// Another version of the program wrote it.
    #[error("the event log has format {found}, and this program knows {known}")]
    Format {
        /// What the directory says.
        found: u64,
        /// What this program reads and writes.
        known: u32,
    },
    /// Segments without `log.json`: restore it, as without it no record can be told from chance.
    #[error("the directory has segments and no `log.json` that says whose they are")]
    NoIdentity,
    /// `log.json` cannot be read.
    #[error("`log.json` is damaged")]
    Identity {
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// The disk refused.
    #[error("opening the event log failed")]
    Io(#[from] io::Error),
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OpenReport {
    /// Whether the log is new.
    pub created: bool,
    /// Segments found.
    pub segments: usize,
    /// Number that the next record gets.
    pub next: u64,
    /// The unacknowledged tail that a crash left, cut off by now.
    pub torn: Option<Torn>,
    /// What is wrong in the segments that were read: the last one, and those without a sidecar.
    pub damage: Vec<Damage>,
    /// Segments whose sidecar was made anew.
    pub rebuilt: Vec<SegmentId>,
}

/// A log ready to go on.
pub(super) struct Opened {
    pub(super) dir: Dir,
    pub(super) lock: File,
    pub(super) identity: Identity,
    pub(super) recovered: Recovered,
    pub(super) active: File,
    pub(super) spare: bool,
    pub(super) report: OpenReport,
    /// What a crash left to be erased: overwritten by now, to be said.
    pub(super) erasing: Option<Erasing>,
}

/// Opens or creates the log in `path`.
pub(super) fn open(path: &Path, config: &Config, seams: &Seams) -> Result<Opened, OpenError> {
    let dir = Dir::open(path)?;
    let lock = lock(&dir, path)?;
    let mut report = OpenReport::default();
    let mut ids = dir.segments()?;
    dir.sweep(&ids)?;
    let identity = match Identity::read(&dir)? {
        Some(identity) => identity,
        None if ids.is_empty() => Identity::create(&dir)?,
        None => return Err(OpenError::NoIdentity),
    };
    let mut spare = dir.check_spare(config.segment_bytes)?;
    if ids.is_empty() {
        report.created = true;
        if !spare {
            // Zeros can wait for the next one: a first start is to be quick.
            dir.make_spare(config.segment_bytes, false, |file, len| (seams.allocate)(file, len))?;
        }
        dir.use_spare(SegmentId(0))?;
        spare = false;
        ids.push(SegmentId(0));
    }
    // First of all: data that is half overwritten would pass for damage.
    let erasing = Erasing::left(&dir)?;
    if let Some(erasing) = &erasing {
        erasing.overwrite(&dir, identity.marker)?;
    }
    let recovered = recover(&dir, &identity, &ids, &mut report)?;
    let active = dir.open_active(recovered.active.summary.id)?;
    if let Some(torn) = recovered.torn {
        write_zeros(&active, torn.at, torn.to)?;
    }
    let len = active.metadata()?.len();
    if len < config.segment_bytes {
        (seams.allocate)(&active, config.segment_bytes)?;
    }
    if !report.created {
        // What a killed process wrote and did not sync is about to be shown to readers; and the
        // active segment's name may be a rename that it did not live to sync.
        active.sync_all()?;
        dir.sync()?;
    }
    report.segments = ids.len();
    report.next = recovered.active.summary.end;
    report.torn = recovered.torn;
    report.damage.clone_from(&recovered.damage);
    Ok(Opened { dir, lock, identity, recovered, active, spare, report, erasing })
}

fn lock(dir: &Dir, path: &Path) -> Result<File, OpenError> {
    let file = File::create(dir.path(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn recover(
    dir: &Dir,
    identity: &Identity,
    ids: &[SegmentId],
    report: &mut OpenReport,
) -> Result<Recovered, OpenError> {
    let mut recovery = Recovery::default();
    let Some((last, sealed)) = ids.split_last() else {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    };
    for id in sealed {
        if let Some(index) = kept(dir, *id)? {
            recovery.sealed(index.summary, &index.feeds);
            continue;
        }
        let scan = dir.scan(identity.marker, *id, recovery.chain(*id), false)?;
        // A damaged segment is read again at the next start: its damage is to be said each time.
        if scan.damage.is_empty() {
            dir.replace(&id.sidecar_name(), &sidecar::encode(&scan.index))?;
            report.rebuilt.push(*id);
        }
        recovery.scanned(scan);
    }
    // A sidecar of the last segment would be one that was unsealed: never written, never trusted.
    dir.remove(&last.sidecar_name())?;
    let scan = dir.scan(identity.marker, *last, recovery.chain(*last), true)?;
    Ok(recovery.finish(scan))
}

/// Bounds and feeds of a sealed segment from its sidecar, if they check.
fn kept(dir: &Dir, id: SegmentId) -> io::Result<Option<SegmentIndex>> {
    let segment = dir.open_segment(id)?.metadata()?.len();
    let Some((summary, feeds)) = dir.read_bounds(id)? else { return Ok(None) };
    Ok((segment >= summary.bytes).then(|| {
        let mut index = SegmentIndex::new(id, Chain::START);
        (index.summary, index.feeds) = (summary, feeds);
        index
    }))
}
