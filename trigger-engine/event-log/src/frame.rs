//! The frame: one batch on disk, as header, heads and data.
//!
//! ```text
//! header  0  magic "EvLg"       4  version u8   5  kind u8   6  zero u16
//!         8  marker of the log  16 records u32  20 data bytes u32
//!        24  base u64          32  group u64    40 time ms u64
//!        48  chain (32)        80  crc of the heads   84 crc of the header
//! head    0  stream u16         2  partition u16        4  zero u32
//!         8  data bytes u32    12  crc of the data      16 dedup u64
//!        24  blake3 of the data, its first 16 bytes
//! data       of all records, one after the other
//! ```
//!
//! Numbers are little endian, checksums CRC32C. The chain is blake3 over the chain before, the
//! header's first 48 bytes and the heads; the data is outside, so that it can be erased. `group`
//! is the base of the first frame that was written together with this one: all before it was
//! durable by then. The marker is random for each log, so that data that looks like a frame is
//! never taken for one.

use std::num::NonZeroU64;
use std::ops::Range;

use bytes::BufMut as _;
use evoke_schemas::Position;

use crate::record::Stream;

/// Bytes of a header.
pub const HEADER_LEN: usize = 88;
/// Bytes of a head.
pub const HEAD_LEN: usize = 40;

const MAGIC: [u8; 4] = *b"EvLg";
const VERSION: u8 = 1;
const CHAINED: usize = 48;
const CHECKED: usize = 84;

/// Random bytes that all frames of one log share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker(pub [u8; 8]);

/// Tamper evidence: a frame's chain vouches for all heads before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chain(pub [u8; 32]);

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Holds records.
    Records,
    /// Holds none: says that all before it was durable.
    Mark,
}

/// What the committer gives a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Number of the first record.
    pub base: u64,
    /// Base of the first frame written together with this one.
    pub group: u64,
    /// When the batch was taken, unix milliseconds.
    pub time_ms: u64,
}

/// The fields of a frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// Records.
    pub count: u32,
    /// Bytes of data.
    pub data_len: u32,
    /// Number of the first record.
    pub base: u64,
    /// Base of the first frame written together with this one.
    pub group: u64,
    /// When the batch was taken, unix milliseconds.
    pub time_ms: u64,
    /// Vouches for this frame's heads and all before.
    pub chain: Chain,
    heads_crc: u32,
}

/// What is said about one record outside its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Kind of the record.
    pub stream: Stream,
    /// Logical partition.
    pub partition: u16,
    /// Bytes of data.
    pub len: u32,
    /// CRC32C of the data.
    pub crc: u32,
    /// Hash of the record's identity.
    pub dedup: Option<NonZeroU64>,
    /// First half of the data's blake3.
    pub hash: [u8; 16],
}

/// A frame whose header and heads are sound; its data may not be.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The header.
    pub header: Header,
    heads: &'a [u8],
    data: &'a [u8],
}

/// One record inside a frame.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Where it stands.
    pub position: Position,
    /// Its head.
    pub head: Head,
    /// Its data, unchecked.
    pub data: &'a [u8],
    /// Where in the frame's bytes the data lies.
    pub range: Range<usize>,
}

// === impl Chain ===

impl Chain {
    /// Before the first frame.
    pub const START: Self = Self([0; 32]);

    /// The chain after a frame with this header and these heads.
    fn then(self, header: &[u8], heads: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(header).update(heads);
        Self(*hasher.finalize().as_bytes())
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", blake3::Hash::from_bytes(self.0))
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain({self})")
    }
}

// === impl Head ===

impl Head {
    /// The head of a record with this data.
    pub(crate) fn of(
        stream: Stream,
        partition: u16,
        dedup: Option<NonZeroU64>,
        data: &[u8],
    ) -> Self {
        let hash = *blake3::hash(data).as_bytes().first_chunk().unwrap_or(&[0; 16]);
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self { stream, partition, len, crc: crc32c::crc32c(data), dedup, hash }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; HEAD_LEN];
        let mut fields = bytes.as_mut_slice();
        fields.put_u16_le(self.stream.0);
        fields.put_u16_le(self.partition);
        fields.put_u32_le(0);
        fields.put_u32_le(self.len);
        fields.put_u32_le(self.crc);
        fields.put_u64_le(self.dedup.map_or(0, NonZeroU64::get));
        fields.put_slice(&self.hash);
        out.extend_from_slice(&bytes);
    }

    fn read(bytes: &[u8; HEAD_LEN]) -> Self {
        let mut fields = Fields(bytes);
        let (stream, partition) = (Stream(fields.u16()), fields.u16());
        fields.u32();
        let (len, crc) = (fields.u32(), fields.u32());
        let dedup = NonZeroU64::new(fields.u64());
        Self { stream, partition, len, crc, dedup, hash: fields.array() }
    }

    /// Whether `data` is what was written, by the quick check.
    #[must_use]
    pub fn matches(&self, data: &[u8]) -> bool {
        data.len() == self.len as usize && crc32c::crc32c(data) == self.crc
    }

    /// Whether `data` is what was written, by the check that the chain vouches for.
    #[must_use]
    pub fn matches_hash(&self, data: &[u8]) -> bool {
        blake3::hash(data).as_bytes().starts_with(&self.hash)
    }
}

// === impl Header ===

impl Header {
    /// The header of a frame with these heads.
    pub(crate) fn new(kind: Kind, heads: &[u8], data_len: u32, numbers: Numbers) -> Self {
        let Numbers { base, group, time_ms } = numbers;
        let count = u32::try_from(heads.len() / HEAD_LEN).unwrap_or(u32::MAX);
        let heads_crc = crc32c::crc32c(heads);
        Self { kind, count, data_len, base, group, time_ms, chain: Chain::START, heads_crc }
    }

    /// Links the header to what is before and writes header and heads; gives the new chain.
    pub(crate) fn write(
        mut self,
        marker: Marker,
        before: Chain,
        heads: &[u8],
        out: &mut Vec<u8>,
    ) -> Chain {
        let bytes = self.chained(marker);
        self.chain = before.then(&bytes, heads);
        let start = out.len();
        out.extend_from_slice(&bytes);
        out.extend_from_slice(&self.chain.0);
        out.extend_from_slice(&self.heads_crc.to_le_bytes());
        let crc = out.get(start..).map_or(0, crc32c::crc32c);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(heads);
        self.chain
    }

    fn chained(&self, marker: Marker) -> [u8; CHAINED] {
        let mut bytes = [0; CHAINED];
        let kind = match self.kind {
            Kind::Records => 0,
            Kind::Mark => 1,
        };
        let mut fields = bytes.as_mut_slice();
        fields.put_slice(&MAGIC);
        fields.put_slice(&[VERSION, kind, 0, 0]);
        fields.put_slice(&marker.0);
        fields.put_u32_le(self.count);
        fields.put_u32_le(self.data_len);
        fields.put_u64_le(self.base);
        fields.put_u64_le(self.group);
        fields.put_u64_le(self.time_ms);
        bytes
    }

    /// The header at the start of `bytes`, if a sound one of this log is there.
    #[must_use]
    pub fn read(marker: Marker, bytes: &[u8]) -> Option<Self> {
        let (bytes, _) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let mut fields = Fields(bytes);
        if fields.array() != MAGIC || fields.array() != [VERSION] {
            return None;
        }
        let kind = match fields.array() {
            [0] => Kind::Records,
            [1] => Kind::Mark,
            _ => return None,
        };
        fields.u16();
        if fields.array() != marker.0 || crc32c::crc32c(bytes.get(..CHECKED)?) != crc(bytes) {
            return None;
        }
        let (count, data_len) = (fields.u32(), fields.u32());
        let (base, group, time_ms) = (fields.u64(), fields.u64(), fields.u64());
        let (chain, heads_crc) = (Chain(fields.array()), fields.u32());
        Some(Self { kind, count, data_len, base, group, time_ms, chain, heads_crc })
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        HEADER_LEN + self.heads_len() + self.data_len as usize
    }

    fn heads_len(&self) -> usize {
        self.count as usize * HEAD_LEN
    }

    /// Number after the last record.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base.saturating_add(u64::from(self.count))
    }
}

fn crc(header: &[u8; HEADER_LEN]) -> u32 {
    header.last_chunk().map_or(0, |crc| u32::from_le_bytes(*crc))
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// The frame of `header`, which stands at the start of `bytes`; `None` if `bytes` does not
    /// hold all of it or the heads are damaged.
    #[must_use]
    pub fn read(header: Header, bytes: &'a [u8]) -> Option<Self> {
        let (_, rest) = bytes.get(..header.frame_len())?.split_at_checked(HEADER_LEN)?;
        let (heads, data) = rest.split_at_checked(header.heads_len())?;
        let frame = Self { header, heads, data };
        let lens: u64 = frame.heads().map(|head| u64::from(head.len)).sum();
        let sound = crc32c::crc32c(heads) == header.heads_crc && lens == data.len() as u64;
        sound.then_some(frame)
    }

    /// The heads, in order.
    pub fn heads(&self) -> impl Iterator<Item = Head> + 'a {
        self.heads.as_chunks::<HEAD_LEN>().0.iter().map(Head::read)
    }

    /// The records, in order; their data is unchecked.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + 'a {
        let (mut offset, mut at) = (self.header.base, 0);
        let (data, before) = (self.data, HEADER_LEN + self.heads.len());
        self.heads().map(move |head| {
            let range = at..at + head.len as usize;
            at = range.end;
            let position = Position { partition: head.partition, offset };
            offset += 1;
            let data = data.get(range.clone()).unwrap_or_default();
            Entry { position, head, data, range: before + range.start..before + range.end }
        })
    }

    /// Whether this frame's chain follows `before`.
    #[must_use]
    pub fn follows(&self, before: Chain, marker: Marker) -> bool {
        before.then(&self.header.chained(marker), self.heads) == self.header.chain
    }
}

/// Reads little-endian fields one after the other; past the end they are zero.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => {
                self.0 = &[];
                [0; N]
            }
        }
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prepare::Prepared;
    use crate::record::{Append, Record};

    const MARKER: Marker = Marker(*b"testmark");

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let record = (
            16..u16::MAX,
            any::<u16>(),
            any::<u64>(),
            proptest::collection::vec(any::<u8>(), 0..200),
        );
        let record = record.prop_map(|(stream, partition, dedup, data)| Record {
            stream: Stream(stream),
            partition,
            dedup: NonZeroU64::new(dedup),
            data: data.into(),
        });
        proptest::collection::vec(record, 1..20)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in records(), base in 0..u64::MAX / 2, time in any::<u64>()) {
            let prepared = Prepared::new(Append::intake(records.clone()), &crate::Limits::default());
            let prepared = prepared.unwrap();
            let before = Chain([9; 32]);
            let mut bytes = b"junk before".to_vec();
            let chain = prepared.write(MARKER, Numbers { base, group: base, time_ms: time }, before, &mut bytes);
            let bytes = &bytes[11..];
            let header = Header::read(MARKER, bytes).unwrap();
            prop_assert_eq!(header.frame_len(), bytes.len());
            prop_assert_eq!((header.base, header.time_ms, header.chain), (base, time, chain));
            let frame = Frame::read(header, bytes).unwrap();
            prop_assert!(frame.follows(before, MARKER) && !frame.follows(Chain::START, MARKER));
            let mut count = 0;
            for (entry, record) in frame.entries().zip(&records) {
                prop_assert_eq!(entry.position.offset, base + count);
                prop_assert_eq!(entry.position.partition, record.partition);
                prop_assert_eq!((entry.head.stream, entry.head.dedup), (record.stream, record.dedup));
                prop_assert_eq!(entry.data, &record.data[..]);
                prop_assert_eq!(&bytes[entry.range.clone()], &record.data[..]);
                prop_assert!(entry.head.matches(entry.data) && entry.head.matches_hash(entry.data));
                count += 1;
            }
            prop_assert_eq!(count, records.len() as u64);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Header::read(MARKER, &bytes).is_none());
        }
    }

    #[test]
    fn a_frame_of_another_log_is_none_of_ours() {
        let record = Record { stream: Stream(20), partition: 0, dedup: None, data: "x".into() };
        let prepared = Prepared::new(Append::intake(vec![record]), &crate::Limits::default());
        let mut bytes = Vec::new();
        prepared.unwrap().write(Marker(*b"other..."), Numbers::default(), Chain::START, &mut bytes);
        assert_eq!(Header::read(MARKER, &bytes), None);
    }
}
