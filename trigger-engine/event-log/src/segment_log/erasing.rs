//! Erasing data in segments: named in a file first, so that a crash in the middle is completed.
//!
//! ```text
//! erasing.json (what is to go) ── the commit ──▶ record of ERASED ──▶ data overwritten ──▶ file gone
//! ```
//!
//! A start that finds the file overwrites again, before anything is read, and says it again.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;

use evoke_schemas::Position;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::erase::{EraseError, Erasure};
use crate::event_log::EventLog as _;
use crate::frame::Marker;
use crate::prepare::Prepared;
use crate::read::{ReadError, SegmentId};
use crate::record::AppendError;
use crate::scan::{Found, Scanner};
use crate::segment::SEGMENT_HEADER_LEN;
use crate::segment_log::files::{Dir, read_windows};
use crate::segment_log::{SegmentLog, Shared};

const NAME: &str = "erasing.json";
/// Bytes read of a segment at a time.
const CHUNK: usize = 1 << 20;
/// Most positions of one erasure, so that its record is within a record's bound.
pub(crate) const MOST: usize = 100_000;

/// What is to be erased.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Erasing {
    erasure: Erasure,
    positions: Vec<Position>,
}

impl Erasing {
    /// What a crash left to be completed.
    pub(crate) fn left(dir: &Dir) -> io::Result<Option<Self>> {
        match std::fs::read(dir.path(NAME)) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes it certain; nothing else may be left.
    fn begin(self, dir: &Dir) -> io::Result<Self> {
        dir.replace(NAME, &serde_json::to_vec(&self).map_err(io::Error::other)?)?;
        Ok(self)
    }

    /// It is done.
    pub(crate) fn forget(dir: &Dir) -> io::Result<()> {
        dir.remove(NAME)?;
        dir.sync()
    }

    /// Overwrites what is to go, in whichever segments it is; durable when this returns.
    pub(crate) fn overwrite(&self, dir: &Dir, marker: Marker) -> io::Result<()> {
        let segments = dir.segments()?;
        let mut left: BTreeSet<u64> = self.positions.iter().map(|at| at.offset).collect();
        while let Some(newest) = left.last().copied() {
            let after = segments.partition_point(|id| id.0 <= newest);
            let Some(id) = after.checked_sub(1).and_then(|index| segments.get(index)) else {
                // Retention took the rest.
                return Ok(());
            };
            let here = left.split_off(&id.0);
            overwrite_in(dir, marker, *id, &here, &self.erasure)?;
        }
        Ok(())
    }

    /// The batch that says so.
    pub(crate) fn append(&self) -> crate::record::Append {
        self.erasure.append(&self.positions)
    }
}

fn overwrite_in(
    dir: &Dir,
    marker: Marker,
    id: SegmentId,
    offsets: &BTreeSet<u64>,
    erasure: &Erasure,
) -> io::Result<()> {
    let file = dir.open_active(id)?;
    let end = file.metadata()?.len();
    let mut scanner = Scanner::new(marker, SEGMENT_HEADER_LEN as u64, id.0);
    let mut places: Vec<(u64, usize)> = Vec::new();
    read_windows(&file, (scanner.at(), end), CHUNK, |window, last| {
        let mut rest = window;
        loop {
            let from = scanner.at();
            match scanner.next(rest, last) {
                Found::More(more) => return Some((scanner.at(), more)),
                Found::End(_) => return None,
                Found::Gap(_) | Found::Broken { .. } => {}
                Found::Frame { at, frame } => {
                    let named = frame.entries().filter(|it| offsets.contains(&it.position.offset));
                    places.extend(named.map(|it| (at + it.range.start as u64, it.data.len())));
                }
            }
            let used = usize::try_from(scanner.at() - from).unwrap_or(usize::MAX);
            rest = rest.get(used..).unwrap_or_default();
        }
    })?;
    for (at, len) in places {
        file.write_all_at(&erasure.stone(len), at)?;
    }
    file.sync_data()
}

/// Says again what the start has overwritten again; a thread waits until that is durable, and lets
/// others erase and drop from then on.
pub(super) fn complete(shared: Arc<Shared>, erasing: &Erasing) -> io::Result<JoinHandle<()>> {
    let batch = Prepared::unchecked(erasing.append());
    let (token, answer) = oneshot::channel();
    shared.inbox.submit(batch, &shared.config.limits, token);
    std::thread::Builder::new().name("log-eraser".to_owned()).spawn(move || {
        let said = answer.blocking_recv().is_ok_and(|said| said.is_ok());
        if said && let Err(error) = Erasing::forget(&shared.dir) {
            tracing::warn!(%error, "an erasure is completed again at the next start");
        }
        shared.dropping.add_permits(1);
    })
}

impl SegmentLog {
    /// See [`crate::EventLog::erase`].
    pub(super) async fn erase_data(
        &self,
        positions: &[Position],
        erasure: &Erasure,
    ) -> Result<(), EraseError> {
        // No segment goes meanwhile, and one erasure comes after the other.
        let Ok(_one) = self.shared.dropping.acquire().await else {
            return Err(AppendError::Closed.into());
        };
        // One that failed half way has its file still, and goes first.
        let left = self.cold(|shared| Erasing::left(&shared.dir)).await.map_err(refused)?;
        if let Some(left) = left {
            self.append(left.append()).await?;
            self.take_out(left).await?;
        }
        for part in positions.chunks(MOST) {
            let erasing = Erasing { erasure: erasure.clone(), positions: part.to_vec() };
            self.erase_part(erasing).await?;
        }
        Ok(())
    }

    async fn erase_part(&self, erasing: Erasing) -> Result<(), EraseError> {
        let begun = self.cold(move |shared| erasing.begin(&shared.dir)).await;
        let erasing = begun.map_err(refused)?;
        if let Err(error) = self.append(erasing.append()).await {
            // Not said, so not done: whether it is said may be open after a failed sync only, and
            // then the next start completes it.
            if !matches!(error, AppendError::Failed { .. }) {
                self.cold(|shared| Erasing::forget(&shared.dir)).await.map_err(refused)?;
            }
            return Err(error.into());
        }
        self.take_out(erasing).await
    }

    /// Overwrites what was said to be erased; then nothing is left to be completed.
    async fn take_out(&self, erasing: Erasing) -> Result<(), EraseError> {
        let newest = erasing.positions.iter().map(|at| at.offset).max();
        self.cold(move |shared| {
            erasing.overwrite(&shared.dir, shared.identity.marker)?;
            if let Some(newest) = newest {
                shared.view().tail.forget(newest);
            }
            Erasing::forget(&shared.dir)
        })
        .await
        .map_err(refused)
    }
}

fn refused(error: ReadError) -> EraseError {
    match error {
        ReadError::Io(error) => error.into(),
        ReadError::Closed => AppendError::Closed.into(),
    }
}
