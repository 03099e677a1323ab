//! Checks every byte of a log on disk, for `evoke log verify`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use evoke_schemas::LogUid;
use serde::Serialize;

use crate::frame::Chain;
use crate::index::Summary;
use crate::read::{Lost, SegmentId};
use crate::recovery::{Damage, SegmentFold, Torn};
use crate::segment_log::OpenError;
use crate::segment_log::files::Dir;
use crate::segment_log::identity::Identity;

/// What a check of a whole log found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Whose log it is.
    pub uid: LogUid,
    /// Oldest first.
    pub segments: Vec<SegmentReport>,
    /// The unacknowledged tail that a crash left, or that a running log is just writing.
    pub torn: Option<Torn>,
    /// Number that the next record gets.
    pub next: u64,
    /// Chain after the last frame, as hex: note it elsewhere, and a later check can show that
    /// nothing before it was changed.
    pub chain: String,
}

/// What a check of one segment found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentReport {
    /// Which segment.
    pub id: SegmentId,
    /// Number after its last record.
    pub end: u64,
    /// Bytes used.
    pub bytes: u64,
    /// Everything that is not as it was written.
    pub damage: Vec<Damage>,
    /// Records whose data was erased, with a record that says so.
    pub erased: usize,
    /// State of its sidecar.
    pub sidecar: SidecarState,
}

/// State of a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SidecarState {
    /// It says what the segment says.
    Good,
    /// There is none: the last segment never has one, others get one at the next start.
    Absent,
    /// It says something else than the segment does: remove it, the next start makes it anew.
    Differs,
}

/// Checks the log in `dir`: every checksum, every hash, the chain, the sidecars. Changes nothing,
/// and may run beside the program that writes.
///
/// # Errors
/// The directory holds no log that this program can read.
pub fn verify(dir: &Path) -> Result<VerifyReport, OpenError> {
    let dir = Dir::open_existing(dir)?;
    let identity = Identity::read(&dir)?.ok_or(OpenError::NoIdentity)?;
    let ids = dir.segments()?;
    let mut segments: Vec<SegmentReport> = Vec::with_capacity(ids.len());
    let (mut before, mut torn): (Option<Summary>, _) = (None, None);
    let (mut claimed, mut erased) = (BTreeSet::new(), Vec::with_capacity(ids.len()));
    for (index, id) in ids.iter().enumerate() {
        let chain = before.filter(|before| before.end == id.0).map(|before| before.chain);
        let fold = SegmentFold::new(identity.marker, *id, chain).with_every_hash();
        let last = index + 1 == ids.len();
        let scan = dir.fold(*id, if last { fold.with_torn_tail() } else { fold })?;
        let mut damage = scan.damage;
        if let Some(before) = before.filter(|before| before.end < id.0) {
            let (from, segment, at) = (before.end, before.id, before.bytes);
            damage.insert(0, Damage::Lost(Lost { from, to: id.0, segment, at }));
        }
        let sidecar = match dir.read_sidecar(*id)? {
            Some(kept) if kept == scan.index || !damage.is_empty() => SidecarState::Good,
            None if !dir.path(&id.sidecar_name()).exists() => SidecarState::Absent,
            Some(_) | None => SidecarState::Differs,
        };
        let Summary { end, bytes, .. } = scan.index.summary;
        segments.push(SegmentReport { id: *id, end, bytes, damage, erased: 0, sidecar });
        claimed.extend(scan.claimed);
        erased.push(scan.erased);
        before = Some(scan.index.summary);
        torn = scan.torn;
    }
    for (segment, erased) in segments.iter_mut().zip(erased) {
        let (said, unsaid): (Vec<_>, Vec<_>) =
            erased.into_iter().partition(|position| claimed.contains(position));
        segment.erased = said.len();
        let unsaid = unsaid.into_iter().map(|position| Damage::ErasedUnsaid { position });
        segment.damage.extend(unsaid);
    }
    let (next, chain) = before.map_or((0, Chain::START), |last| (last.end, last.chain));
    let chain = chain.to_string();
    Ok(VerifyReport { uid: identity.uids.newest(), segments, torn, next, chain })
}

// === impl VerifyReport ===

impl VerifyReport {
    /// Whether everything that was acknowledged is there, as it was written.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let good = |segment: &SegmentReport| {
            segment.damage.is_empty() && segment.sidecar != SidecarState::Differs
        };
        self.segments.iter().all(good)
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let begin = self.segments.first().map_or(0, |segment| segment.id.0);
        writeln!(f, "log      {}", self.uid)?;
        writeln!(
            f,
            "records  {begin} to {} in {} segments, {bytes} bytes",
            self.next,
            self.segments.len()
        )?;
        let erased: usize = self.segments.iter().map(|segment| segment.erased).sum();
        if erased > 0 {
            writeln!(f, "erased   {erased} records, as the log says")?;
        }
        for segment in &self.segments {
            for damage in &segment.damage {
                writeln!(f, "damage   {damage}")?;
            }
            if segment.sidecar == SidecarState::Differs {
                let name = segment.id.sidecar_name();
                writeln!(f, "sidecar  {name} differs from its segment")?;
            }
        }
        if let Some(torn) = &self.torn {
            let name = torn.segment.file_name();
            writeln!(
                f,
                "tail     {name} bytes {} to {}: unfinished, not damage",
                torn.at, torn.to
            )?;
        }
        writeln!(f, "chain    {}", self.chain)?;
        write!(f, "{}", if self.is_good() { "good" } else { "damaged" })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(record) => {
                let (position, stream) = (record.position, record.stream.0);
                write!(f, "record {position} of stream {stream}: its data is damaged")
            }
            Self::Lost(Lost { from, to, segment, at }) => {
                let name = segment.file_name();
                write!(f, "records {from} to {}: lost, {name} byte {at}", to.saturating_sub(1))
            }
            Self::SegmentHeader { segment } => {
                write!(f, "{}: its first bytes are damaged, no record is", segment.file_name())
            }
            Self::Stray { segment, at, bytes } => {
                write!(f, "{} byte {at}: {bytes} bytes belong to nothing", segment.file_name())
            }
            Self::ErasedUnsaid { position } => {
                write!(f, "record {position}: its data was erased, and the log does not say so")
            }
            Self::Chain { segment, at, base } => {
                let name = segment.file_name();
                write!(f, "{name} byte {at}: record {base} does not follow the one before it")
            }
        }
    }
}
