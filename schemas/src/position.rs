//! Where a record stands in the event log.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Identity of one log, new at creation and at restore (decision 14).
///
/// Part of every activation id, so that two logs never derive the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogUid(pub [u8; 16]);

/// The uids that a log has had. It gets a new one at each restore; what was accepted before keeps
/// the one that it was accepted with, and so its activation ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogUids {
    newest: LogUid,
    /// Oldest first, each with the offset before which it holds.
    former: Arc<[(u64, LogUid)]>,
}

/// Place of one record: ordered within its partition only, with gaps.
///
/// The text form is `partition:offset`. Do not compute with offsets: another log may number
/// otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Logical partition, chosen by key; the number of partitions never changes under keys.
    pub partition: u16,
    /// Place inside the partition.
    pub offset: u64,
}

/// A position's text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position `{0}` is not of the form `partition:offset`")]
pub struct PositionError(pub String);

// === impl LogUid ===

impl fmt::Debug for LogUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogUid({self})")
    }
}

impl fmt::Display for LogUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex_text::write(&self.0, f)
    }
}

// === impl LogUids ===

impl LogUids {
    /// The newest, and former ones, oldest first, each with the offset before which it holds.
    #[must_use]
    pub fn new(newest: LogUid, former: impl IntoIterator<Item = (u64, LogUid)>) -> Self {
        Self { newest, former: former.into_iter().collect() }
    }

    /// Of what is accepted from now on.
    #[must_use]
    pub fn newest(&self) -> LogUid {
        self.newest
    }

    /// Of what stands at `position`.
    #[must_use]
    pub fn at(&self, position: Position) -> LogUid {
        let then = self.former.iter().find(|(before, _)| position.offset < *before);
        then.map_or(self.newest, |(_, uid)| *uid)
    }
}

impl From<LogUid> for LogUids {
    fn from(newest: LogUid) -> Self {
        Self { newest, former: Arc::default() }
    }
}

// === impl Position ===

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl std::str::FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || PositionError(text.to_owned());
        let (partition, offset) = text.split_once(':').ok_or_else(malformed)?;
        match (partition.parse(), offset.parse()) {
            (Ok(partition), Ok(offset)) => Ok(Self { partition, offset }),
            _ => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_its_text() {
        let position = Position { partition: 3, offset: 41 };
        assert_eq!("3:41".parse(), Ok(position));
        assert_eq!(position.to_string(), "3:41");
        for bad in ["", "3", "3:", ":41", "3:-1", "70000:1"] {
            assert_eq!(bad.parse::<Position>(), Err(PositionError(bad.to_owned())));
        }
    }
}
