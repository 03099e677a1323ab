//! The file that says which log a directory holds, and in which format.

use std::fs;
use std::io;

use evoke_schemas::LogUid;
use serde::{Deserialize, Serialize};

use crate::frame::Marker;
use crate::segment_log::files::Dir;
use crate::segment_log::open::OpenError;

pub(super) const NAME: &str = "log.json";
/// The format this program writes and reads.
const FORMAT: u32 = 1;

/// Which log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: LogUid,
    pub(crate) marker: Marker,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    /// New at creation and at restore.
    uid: uuid::Uuid,
    /// Shared by all frames: it stays at restore.
    marker: u64,
}

// === impl Identity ===

impl Identity {
    /// Reads the identity; `None` if the directory has none.
    pub(crate) fn read(dir: &Dir) -> Result<Option<Self>, OpenError> {
        let text = match fs::read_to_string(dir.path(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|source| OpenError::Identity { source })?;
        let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if format != u64::from(FORMAT) {
            return Err(OpenError::Format { found: format, known: FORMAT });
        }
        let file: File =
            serde_json::from_value(value).map_err(|source| OpenError::Identity { source })?;
        let (uid, marker) = (LogUid(file.uid.into_bytes()), Marker(file.marker.to_le_bytes()));
        Ok(Some(Self { uid, marker }))
    }

    /// Makes a new log of the directory.
    pub(crate) fn create(dir: &Dir) -> Result<Self, OpenError> {
        Self::renew(dir, Marker(uuid::Uuid::new_v4().as_u64_pair().0.to_le_bytes()))
    }

    /// Makes another log of a directory whose frames have this marker.
    pub(super) fn renew(dir: &Dir, marker: Marker) -> Result<Self, OpenError> {
        let uid = uuid::Uuid::new_v4();
        let file = File { format: FORMAT, uid, marker: u64::from_le_bytes(marker.0) };
        let text =
            serde_json::to_vec_pretty(&file).map_err(|source| OpenError::Identity { source })?;
        dir.replace(NAME, &text)?;
        Ok(Self { uid: LogUid(uid.into_bytes()), marker })
    }
}
