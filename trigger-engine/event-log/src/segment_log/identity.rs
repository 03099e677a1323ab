//! The file that says which log a directory holds, and in which format.

use std::fs;
use std::io;

use evoke_schemas::{LogUid, LogUids};
use serde::{Deserialize, Serialize};

use crate::frame::Marker;
use crate::segment_log::files::Dir;
use crate::segment_log::open::OpenError;

pub(super) const NAME: &str = "log.json";
/// The format this program writes and reads.
const FORMAT: u32 = 1;

/// Which log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uids: LogUids,
    pub(crate) marker: Marker,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    /// New at creation and at restore.
    uid: uuid::Uuid,
    /// Shared by all frames: it stays at restore.
    marker: u64,
    /// The uids before restores, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<Former>,
}

/// The uid of records before that number.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Former {
    uid: uuid::Uuid,
    before: u64,
}

// === impl Identity ===

impl Identity {
    /// Reads the identity; `None` if the directory has none.
    pub(crate) fn read(dir: &Dir) -> Result<Option<Self>, OpenError> {
        Ok(File::read(dir)?.map(|file| file.identity()))
    }

    /// Makes a new log of the directory.
    pub(crate) fn create(dir: &Dir) -> Result<Self, OpenError> {
        let marker = uuid::Uuid::new_v4().as_u64_pair().0;
        let uid = uuid::Uuid::new_v4();
        File { format: FORMAT, uid, marker, former: Vec::new() }.write(dir)
    }

    /// Gives the log of the directory a new uid from the record `next` on.
    pub(super) fn renew(dir: &Dir, next: u64) -> Result<Self, OpenError> {
        let mut file = File::read(dir)?.ok_or(OpenError::NoIdentity)?;
        let uid = std::mem::replace(&mut file.uid, uuid::Uuid::new_v4());
        file.former.push(Former { uid, before: next });
        file.write(dir)
    }
}

// === impl File ===

impl File {
    fn read(dir: &Dir) -> Result<Option<Self>, OpenError> {
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
        serde_json::from_value(value).map(Some).map_err(|source| OpenError::Identity { source })
    }

    fn write(self, dir: &Dir) -> Result<Identity, OpenError> {
        let text =
            serde_json::to_vec_pretty(&self).map_err(|source| OpenError::Identity { source })?;
        dir.replace(NAME, &text)?;
        Ok(self.identity())
    }

    fn identity(self) -> Identity {
        let uid = |uid: uuid::Uuid| LogUid(uid.into_bytes());
        let former = self.former.into_iter().map(|former| (former.before, uid(former.uid)));
        Identity {
            uids: LogUids::new(uid(self.uid), former),
            marker: Marker(self.marker.to_le_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use evoke_schemas::Position;

    use super::*;

    #[test]
    fn each_restore_gives_a_new_uid_to_what_comes_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        let first = Identity::create(&dir).unwrap();
        let second = Identity::renew(&dir, 10).unwrap();
        let third = Identity::renew(&dir, 20).unwrap();
        assert_eq!(Identity::read(&dir).unwrap(), Some(third.clone()));
        assert!(first.marker == second.marker && second.marker == third.marker);
        let at = |offset| third.uids.at(Position { partition: 0, offset });
        assert_eq!([at(0), at(9)], [first.uids.newest(); 2]);
        assert_eq!([at(10), at(19)], [second.uids.newest(); 2]);
        assert_eq!(at(20), third.uids.newest());
        assert_ne!(at(10), at(20));
        assert_ne!(at(9), at(10));
    }
}
