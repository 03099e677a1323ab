//! A copy of a log while it is written on: which files, and how far.

use std::fs::File;
use std::io;
use std::path::Path;

use evoke_schemas::LogUid;

use super::SegmentLog;
use crate::read::SegmentId;
use crate::segment_log::files::Dir;
use crate::segment_log::identity::{self, Identity};
use crate::segment_log::open::OpenError;

/// What a copy of a log is made of: everything that was durable at one moment.
#[derive(Debug)]
pub struct LogCopy {
    /// Whose log it is.
    pub uid: LogUid,
    /// Number after the last record of the copy.
    pub next: u64,
    /// Name and content of the file that says whose log it is.
    pub identity: (&'static str, Vec<u8>),
    /// The segments, oldest first.
    pub segments: Vec<SegmentCopy>,
}

/// One segment of a copy. Its file stays readable when retention takes the name away.
#[derive(Debug)]
pub struct SegmentCopy {
    /// Name of the file.
    pub name: String,
    /// The file, at its beginning.
    pub file: File,
    /// How many of its bytes belong to the copy.
    pub bytes: u64,
}

impl SegmentLog {
    /// Opens what is durable now for copying. Appends go on; none waits longer than it takes to
    /// open the files.
    ///
    /// # Errors
    /// A file cannot be opened.
    pub fn copy(&self) -> io::Result<LogCopy> {
        let dir = &self.shared.dir;
        let content = std::fs::read(dir.path(identity::NAME))?;
        let view = self.shared.view();
        let summaries = view.sealed.iter().chain([&view.active.summary]);
        let mut segments = Vec::new();
        for summary in summaries {
            match dir.open_segment(summary.id) {
                Ok(file) => {
                    let name = summary.id.file_name();
                    segments.push(SegmentCopy { name, file, bytes: summary.bytes });
                }
                // Retention removes the oldest one's name just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound && segments.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        let (uid, next) = (self.shared.identity.uids.newest(), view.end());
        Ok(LogCopy { uid, next, identity: (identity::NAME, content), segments })
    }
}

/// Makes a log of its own of the copy in `dir`, which no log has open: from the record `next` on it
/// has a new uid, as the other one may have something else at those positions.
///
/// # Errors
/// The directory holds no log that this program can read.
pub fn restored(dir: &Path, next: u64) -> Result<LogUid, OpenError> {
    let dir = Dir::open_existing(dir)?;
    Ok(Identity::renew(&dir, next)?.uids.newest())
}

/// Whether a file of this name belongs to a copy.
#[must_use]
pub fn is_of_a_copy(name: &str) -> bool {
    name == identity::NAME || SegmentId::from_file_name(name).is_some()
}
