//! A batch made ready by its caller: checked and hashed, so that the committer only copies.

use bytes::Bytes;

use crate::feeds;
use crate::frame::{Chain, HEAD_LEN, HEADER_LEN, Head, Header, Kind, Marker, Numbers};
use crate::limits::Limits;
use crate::record::{Append, Class, Guard, Malformed, Record, Stream};

/// A batch whose bounds are checked and whose heads are computed.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(crate) heads: Vec<u8>,
    pub(crate) records: Vec<Record>,
    pub(crate) guard: Option<Guard>,
    pub(crate) class: Class,
    data_len: u32,
}

// === impl Prepared ===

impl Prepared {
    /// Checks and hashes a batch: what takes time, done where the caller is.
    ///
    /// # Errors
    /// The bound or rule it breaks.
    pub fn new(append: Append, limits: &Limits) -> Result<Self, Malformed> {
        check(&append, limits)?;
        Ok(Self::unchecked(append))
    }

    pub(crate) fn unchecked(append: Append) -> Self {
        let Append { records, guard, class } = append;
        let mut heads = Vec::with_capacity(records.len() * HEAD_LEN);
        let mut data_len = 0;
        for record in &records {
            let Record { stream, partition, dedup, data } = record;
            let head = Head::of(*stream, *partition, *dedup, data);
            data_len += head.len;
            head.write(&mut heads);
        }
        Self { heads, records, guard, class, data_len }
    }

    /// Bytes of the frame it becomes.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        HEADER_LEN + self.heads.len() + self.data_len as usize
    }

    /// What it was prepared from.
    #[must_use]
    pub fn into_append(self) -> Append {
        Append { records: self.records, guard: self.guard, class: self.class }
    }

    /// Data of the feed position in the batch, with the index of its record.
    pub(crate) fn feed_position(&self) -> Option<(usize, &Bytes)> {
        let mut records = self.records.iter().enumerate();
        let found = records.find(|(_, record)| record.stream == Stream::FEED_POSITION);
        found.map(|(index, record)| (index, &record.data))
    }

    /// Writes the frame; gives the chain after it.
    pub(crate) fn write(
        &self,
        marker: Marker,
        numbers: Numbers,
        before: Chain,
        out: &mut Vec<u8>,
    ) -> Chain {
        let header = Header::new(Kind::Records, &self.heads, self.data_len, numbers);
        out.reserve(self.frame_len());
        let chain = header.write(marker, before, &self.heads, out);
        for record in &self.records {
            out.extend_from_slice(&record.data);
        }
        chain
    }
}

/// Checks a batch against the bounds and rules of every log.
///
/// # Errors
/// The first one it breaks.
pub(crate) fn check(append: &Append, limits: &Limits) -> Result<(), Malformed> {
    let count = append.records.len();
    if count == 0 {
        return Err(Malformed::Empty);
    }
    if count > limits.batch_records {
        return Err(Malformed::TooMany { count, limit: limits.batch_records });
    }
    let mut total = HEADER_LEN + count * HEAD_LEN;
    for (index, record) in append.records.iter().enumerate() {
        let (bytes, limit) = (record.data.len(), limits.record_bytes);
        if bytes > limit {
            return Err(Malformed::RecordTooLarge { index, bytes, limit });
        }
        total = total.saturating_add(bytes);
    }
    if total > limits.batch_bytes || u32::try_from(total).is_err() {
        return Err(Malformed::BatchTooLarge { bytes: total, limit: limits.batch_bytes });
    }
    feeds::check_shape(append)
}
