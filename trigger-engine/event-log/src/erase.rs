//! Erased data: what stands in its place, and what the log says of the erasure.
//!
//! ```text
//! in place of the data   magic "EvErased", crc of the rest u32, time ms u64, bytes of the note u16,
//!                        the note, as much as there is room for, zeros; of short data the magic, again
//!                        and again
//! record of ERASED       time ms u64, bytes of the note u16, the note,
//!                        each position: partition u16, offset u64
//! ```
//!
//! Zeros are never a stone: a tail that was torn off is zeros too. Of data shorter than the magic, a stone
//! cannot be told from damage; no record of an event is that short.
//!
//! The chain vouches for heads only, so that it holds after an erasure; that somebody erased a
//! record, and when, is vouched for by the record that says so.

use bytes::Bytes;
use evoke_schemas::Position;
use serde::{Deserialize, Serialize};

use crate::frame::Fields;
use crate::record::{Append, Class, Record, Stream};

const MAGIC: [u8; 8] = *b"EvErased";
/// Bytes of a stone before its note.
const HEAD_LEN: usize = 22;
/// Longest note kept. Unit: bytes.
pub const MAX_NOTE: usize = 1_024;

/// When and by whom data was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Unix milliseconds; 0 where the data was too short to hold it.
    pub time_ms: u64,
    /// Who, opaque to the log; cut where the data was short.
    pub note: String,
}

/// Data was not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// This log cannot take anything back.
    #[error("this log cannot erase")]
    Unsupported,
    /// The record that says so could not be appended; nothing is erased.
    #[error("the erasure could not be recorded")]
    Append(#[from] crate::record::AppendError),
    /// The disk refused; the next start completes what was begun.
    #[error("erasing failed; the next start completes it")]
    Io(#[from] std::io::Error),
}

impl Erasure {
    /// What stands in the place of `len` bytes.
    #[must_use]
    pub fn stone(&self, len: usize) -> Vec<u8> {
        if len < HEAD_LEN {
            return MAGIC.into_iter().cycle().take(len).collect();
        }
        let mut stone = vec![0; len];
        let end = self.note.floor_char_boundary(MAX_NOTE.min(len - HEAD_LEN));
        let note = self.note.as_bytes().get(..end).unwrap_or_default();
        let size = u16::try_from(note.len()).unwrap_or(u16::MAX);
        let body = self.time_ms.to_le_bytes().into_iter().chain(size.to_le_bytes());
        let body = body.chain(note.iter().copied());
        for (to, from) in stone.iter_mut().skip(12).zip(body) {
            *to = from;
        }
        let crc = stone.get(12..).map_or(0, crc32c::crc32c);
        for (to, from) in stone.iter_mut().zip(MAGIC.into_iter().chain(crc.to_le_bytes())) {
            *to = from;
        }
        stone
    }

    /// The erasure that stands in the place of data; none where it is something else.
    #[must_use]
    pub fn read(data: &[u8]) -> Option<Self> {
        if data.len() < HEAD_LEN {
            let is_stone =
                data.len() >= MAGIC.len() && data.iter().eq(MAGIC.iter().cycle().take(data.len()));
            return is_stone.then(Self::default);
        }
        let mut fields = Fields(data);
        if fields.array() != MAGIC || fields.u32() != crc32c::crc32c(fields.0) {
            return None;
        }
        let (time_ms, size) = (fields.u64(), usize::from(fields.u16()));
        let note = std::str::from_utf8(fields.0.get(..size)?).ok()?;
        Some(Self { time_ms, note: note.to_owned() })
    }

    /// The batch that says of these positions that they are erased.
    pub(crate) fn append(&self, positions: &[Position]) -> Append {
        let mut data = Vec::from(self.time_ms.to_le_bytes());
        let end = self.note.floor_char_boundary(MAX_NOTE);
        let note = self.note.as_bytes().get(..end).unwrap_or_default();
        data.extend(u16::try_from(note.len()).unwrap_or(u16::MAX).to_le_bytes());
        data.extend_from_slice(note);
        for position in positions {
            data.extend(position.partition.to_le_bytes());
            data.extend(position.offset.to_le_bytes());
        }
        let (stream, partition, dedup) = (Stream::ERASED, 0, None);
        let record = Record { stream, partition, dedup, data: Bytes::from(data) };
        Append { records: vec![record], guard: None, class: Class::Progress }
    }
}

/// The positions that a record of [`Stream::ERASED`] speaks of.
#[must_use]
pub(crate) fn claimed(data: &[u8]) -> Vec<Position> {
    let mut fields = Fields(data);
    fields.u64();
    let note = usize::from(fields.u16());
    let places = fields.0.get(note..).unwrap_or_default().as_chunks::<10>().0;
    let place = |place: &[u8; 10]| {
        let mut fields = Fields(place);
        Position { partition: fields.u16(), offset: fields.u64() }
    };
    places.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stone_of_any_length_is_read_and_nothing_else_is() {
        let erasure = Erasure { time_ms: 77, note: "guest é".to_owned() };
        for len in MAGIC.len()..80 {
            let stone = erasure.stone(len);
            let read = Erasure::read(&stone).unwrap();
            assert!(erasure.note.starts_with(&read.note), "{len}");
            assert_eq!(read == erasure, len >= HEAD_LEN + 8, "{len}: {read:?}");
            assert_eq!((stone.len(), Erasure::read(&vec![7; len])), (len, None));
        }
        let mut stone = erasure.stone(60);
        for bit in 0..stone.len() * 8 {
            stone[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Erasure::read(&stone), None, "bit {bit}");
            stone[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..80 {
            assert_eq!(Erasure::read(&vec![0; len]), None, "zeros are a torn tail, or damage");
        }
        for len in 0..MAGIC.len() {
            assert_eq!(Erasure::read(&erasure.stone(len)), None, "too short to tell from damage");
        }
    }

    #[test]
    fn the_record_names_every_position() {
        let at = |offset| Position { partition: 3, offset };
        let places = vec![at(1), at(u64::MAX)];
        let append = Erasure { time_ms: 5, note: "n".repeat(5_000) }.append(&places);
        assert_eq!(claimed(&append.records[0].data), places);
    }
}
