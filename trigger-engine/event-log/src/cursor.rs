//! A place between records to read on from: opaque, ordered by each log in its own way.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use evoke_schemas::Position;
use serde::{Deserialize, Serialize};

/// Where to read on: everything before it was read, whatever the log's partitions are.
///
/// Text and JSON form are one string. A cursor is good for the log that gave it; the first one
/// comes from [`crate::EventLog::begin`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(Marks);

/// A cursor's text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cursor `{0}` is neither a number nor a list of `partition:offset`")]
pub struct CursorError(pub String);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Marks {
    /// One number space over all partitions.
    Sequence(u64),
    /// Next offset to read of each partition; a partition not named is at its start.
    Partitions(BTreeMap<u16, u64>),
}

// === impl Cursor ===

impl Cursor {
    pub(crate) fn sequence(next: u64) -> Self {
        Self(Marks::Sequence(next))
    }

    pub(crate) fn partitions(marks: BTreeMap<u16, u64>) -> Self {
        Self(Marks::Partitions(marks))
    }

    /// The next number to read, for a log with one number space.
    pub(crate) fn as_sequence(&self) -> u64 {
        match &self.0 {
            Marks::Sequence(next) => *next,
            Marks::Partitions(marks) => marks.values().copied().min().unwrap_or(0),
        }
    }

    /// The next offset to read of `partition`.
    #[must_use]
    pub fn next_in(&self, partition: u16) -> u64 {
        match &self.0 {
            Marks::Sequence(next) => *next,
            Marks::Partitions(marks) => marks.get(&partition).copied().unwrap_or(0),
        }
    }

    /// Whether the record at `position` lies before this cursor.
    #[must_use]
    pub fn is_past(&self, position: Position) -> bool {
        position.offset < self.next_in(position.partition)
    }

    /// Whether nothing that lies before `other` is still to read here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match &other.0 {
            Marks::Sequence(next) => match &self.0 {
                Marks::Sequence(own) => own >= next,
                Marks::Partitions(_) => *next == 0,
            },
            Marks::Partitions(marks) => {
                marks.iter().all(|(partition, next)| self.next_in(*partition) >= *next)
            }
        }
    }

    /// How many numbers lie between this place and `other`, which is further on; gaps count too.
    #[must_use]
    pub fn distance(&self, other: &Self) -> u64 {
        match &other.0 {
            Marks::Sequence(next) => next.saturating_sub(self.as_sequence()),
            Marks::Partitions(marks) => {
                let of =
                    |(partition, next): (&u16, &u64)| next.saturating_sub(self.next_in(*partition));
                marks.iter().map(of).sum()
            }
        }
    }

    /// Moves past the record at `position`; what lies past it already stays.
    pub fn advance(&mut self, position: Position) {
        let next = position.offset.saturating_add(1);
        match &mut self.0 {
            Marks::Sequence(own) => *own = next.max(*own),
            Marks::Partitions(marks) => {
                let own = marks.entry(position.partition).or_default();
                *own = next.max(*own);
            }
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Marks::Sequence(next) => write!(f, "{next}"),
            Marks::Partitions(marks) if marks.is_empty() => f.write_str("-"),
            Marks::Partitions(marks) => {
                for (index, (partition, next)) in marks.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{partition}:{next}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({self})")
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(next) = text.parse() {
            return Ok(Self(Marks::Sequence(next)));
        }
        if text == "-" {
            return Ok(Self(Marks::Partitions(BTreeMap::new())));
        }
        let mark = |part: &str| {
            let (partition, next) = part.split_once(':')?;
            Some((partition.parse().ok()?, next.parse().ok()?))
        };
        let marks: Option<BTreeMap<u16, u64>> = text.split(',').map(mark).collect();
        marks
            .map(|marks| Self(Marks::Partitions(marks)))
            .ok_or_else(|| CursorError(text.to_owned()))
    }
}

impl TryFrom<String> for Cursor {
    type Error = CursorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_its_text() {
        let mut several = Cursor::partitions(BTreeMap::new());
        assert_eq!(several.to_string().parse(), Ok(several.clone()));
        several.advance(Position { partition: 3, offset: 9 });
        several.advance(Position { partition: 1, offset: 4 });
        assert_eq!(several.to_string(), "1:5,3:10");
        for cursor in [several, Cursor::sequence(0), Cursor::sequence(77)] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
            let json = serde_json::to_string(&cursor).unwrap();
            assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), cursor);
        }
        for bad in ["", "x", "1:", "1:2,", "70000:1"] {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorError(bad.to_owned())));
        }
    }

    #[test]
    fn advance_never_goes_back_and_covers_is_per_partition() {
        let mut cursor = Cursor::partitions(BTreeMap::new());
        cursor.advance(Position { partition: 1, offset: 4 });
        cursor.advance(Position { partition: 1, offset: 2 });
        assert!(cursor.is_past(Position { partition: 1, offset: 4 }));
        assert!(!cursor.is_past(Position { partition: 1, offset: 5 }));
        assert!(!cursor.is_past(Position { partition: 0, offset: 0 }));
        let mut further = cursor.clone();
        further.advance(Position { partition: 0, offset: 0 });
        assert!(further.covers(&cursor) && !cursor.covers(&further));
        assert_eq!((cursor.distance(&further), further.distance(&cursor)), (1, 0));
        assert_eq!(Cursor::sequence(5).distance(&Cursor::sequence(9)), 4);
        assert!(cursor.covers(&Cursor::partitions(BTreeMap::new())));
        assert!(Cursor::sequence(5).covers(&Cursor::sequence(5)));
        assert!(!Cursor::sequence(5).covers(&Cursor::sequence(6)));
    }
}
