//! The first bytes of a segment file: whose it is, where it begins and what came before.

use crate::frame::{Chain, Fields, Marker};
use crate::read::SegmentId;

/// Bytes before the first frame.
pub const SEGMENT_HEADER_LEN: usize = 76;

const MAGIC: [u8; 8] = *b"EvokeSeg";
const VERSION: u32 = 1;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Marker of the log.
    pub marker: Marker,
    /// Number of its first record.
    pub id: SegmentId,
    /// When it was begun, unix milliseconds.
    pub created_ms: u64,
    /// Chain before its first frame.
    pub chain: Chain,
}

// === impl SegmentHeader ===

impl SegmentHeader {
    /// Appends the header to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.marker.0);
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&self.chain.0);
        out.extend_from_slice(&[0; 4]);
        let crc = out.get(start..).map_or(0, crc32c::crc32c);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// The header at the start of `bytes`, if it is sound.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (bytes, _) = bytes.split_first_chunk::<SEGMENT_HEADER_LEN>()?;
        let (checked, crc) = bytes.split_last_chunk::<4>()?;
        let mut fields = Fields(checked);
        if fields.array() != MAGIC || fields.u32() != VERSION {
            return None;
        }
        if crc32c::crc32c(checked) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (marker, id) = (Marker(fields.array()), SegmentId(fields.u64()));
        let (created_ms, chain) = (fields.u64(), Chain(fields.array()));
        Some(Self { marker, id, created_ms, chain })
    }
}

impl SegmentId {
    /// Name of the segment's file.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:020}.seg", self.0)
    }

    /// Name of the segment's sidecar.
    #[must_use]
    pub fn sidecar_name(self) -> String {
        format!("{:020}.idx", self.0)
    }

    /// The segment that a file name stands for.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 20)?;
        digits.parse().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_no_flipped_bit_passes() {
        let header = SegmentHeader {
            marker: Marker(*b"12345678"),
            id: SegmentId(77),
            created_ms: 5,
            chain: Chain([3; 32]),
        };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        assert_eq!(bytes.len(), SEGMENT_HEADER_LEN);
        assert_eq!(SegmentHeader::read(&bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::read(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn names_are_ids() {
        let id = SegmentId(1_234);
        assert_eq!(id.file_name(), "00000000000000001234.seg");
        assert_eq!(SegmentId::from_file_name(&id.file_name()), Some(id));
        for other in ["1234.seg", "00000000000000001234.idx", "spare", ".seg"] {
            assert_eq!(SegmentId::from_file_name(other), None);
        }
    }
}
