//! The newest durable frames, in memory, so that readers that keep up never touch the disk.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::commit::Written;
use crate::erase::Erasure;
use crate::frame::{Entry, Frame, Header, Marker};
use crate::read::{Erased, Item, ReadLimit, StoredRecord};
use crate::recovery::unreadable;

/// Frames of the end of the log, bounded by their bytes.
#[derive(Debug)]
pub(crate) struct Tail {
    frames: VecDeque<TailFrame>,
    bytes: usize,
    limit: usize,
}

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct TailFrame {
    header: Header,
    bytes: Bytes,
    /// Bytes of the buffer that `bytes` is a part of.
    shared: usize,
}

// === impl Tail ===

impl Tail {
    /// Holds at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, limit }
    }

    pub(crate) fn push(&mut self, frame: TailFrame) {
        self.bytes += frame.bytes.len();
        self.frames.push_back(frame);
        while self.bytes > self.limit {
            let Some(oldest) = self.frames.pop_front() else { return };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// Forgets every frame up to the record numbered `number`: its data is not to be seen again.
    pub(crate) fn forget(&mut self, number: u64) {
        while self.frames.front().is_some_and(|frame| frame.header.base <= number) {
            if let Some(oldest) = self.frames.pop_front() {
                self.bytes -= oldest.bytes.len();
            }
        }
    }

    /// Frames from the record numbered `number` on, enough for `limit`; `None` if that record is
    /// not in memory.
    pub(crate) fn from(&self, number: u64, limit: ReadLimit) -> Option<Vec<TailFrame>> {
        let after = self.frames.partition_point(|frame| frame.header.end() <= number);
        if self.frames.get(after)?.header.base > number {
            return None;
        }
        let (mut frames, mut records, mut bytes) = (Vec::new(), 0, 0);
        for frame in self.frames.range(after..) {
            frames.push(frame.clone());
            let skipped = number.saturating_sub(frame.header.base);
            records += frame.header.end() - frame.header.base - skipped;
            bytes += frame.bytes.len();
            if records >= limit.items as u64 || bytes >= limit.bytes {
                break;
            }
        }
        Some(frames)
    }
}

// === impl TailFrame ===

impl TailFrame {
    /// The frames of a group that became durable, each with the byte of the segment it is at.
    pub(crate) fn split(written: &Written, marker: Marker) -> Vec<(u64, Self)> {
        let mut frames = Vec::new();
        let mut at = written.frames_at;
        while let Some(header) = Header::read(marker, written.bytes.get(at..).unwrap_or_default()) {
            let end = at + header.frame_len();
            let bytes = written.bytes.slice(at..end.min(written.bytes.len()));
            let shared = written.bytes.len();
            frames.push((written.at + at as u64, Self { header, bytes, shared }));
            at = end;
        }
        frames
    }

    pub(crate) fn frame(&self) -> Option<Frame<'_>> {
        Frame::read(self.header, &self.bytes)
    }

    /// The items of this frame from the record numbered `number` on.
    pub(crate) fn items(&self, number: u64) -> Vec<Item> {
        let Some(frame) = self.frame() else { return Vec::new() };
        let share = |range: Range<usize>| {
            // A reader that holds on to one record is not to hold its whole group in memory.
            let large = range.len() > self.shared / 2;
            let data = self.bytes.slice(range);
            if large { data } else { Bytes::copy_from_slice(&data) }
        };
        let entries = frame.entries().filter(|entry| entry.position.offset >= number);
        entries.map(|entry| item(&entry, self.header.time_ms, share)).collect()
    }
}

/// What is still known of a record whose data was erased.
fn erased(entry: &Entry<'_>, time_ms: u64, erasure: Erasure) -> Erased {
    let (stream, len) = (entry.head.stream, entry.head.len);
    Erased { position: entry.position, stream, time_ms, len, erasure }
}

/// What readers get of an entry; `share` gives the data's bytes by where they are in the frame.
pub(crate) fn item(
    entry: &Entry<'_>,
    time_ms: u64,
    share: impl FnOnce(Range<usize>) -> Bytes,
) -> Item {
    if !entry.head.matches(entry.data) {
        return match Erasure::read(entry.data) {
            Some(erasure) => Item::Erased(erased(entry, time_ms, erasure)),
            None => Item::Unreadable(unreadable(entry, time_ms)),
        };
    }
    Item::Record(StoredRecord {
        position: entry.position,
        stream: entry.head.stream,
        time_ms,
        dedup: entry.head.dedup,
        data: share(entry.range.clone()),
    })
}
