//! Turns a segment's bytes into what readers get: records, and what is no longer readable.

use bytes::Bytes;

use crate::frame::{Frame, Marker};
use crate::index::Block;
use crate::read::{Item, Lost, ReadLimit, SegmentId};
use crate::scan::{Found, Scanner};
use crate::segment::SEGMENT_HEADER_LEN;
use crate::tail::item;

/// A walk through one segment that gathers items; fed by windows, as the scanner is.
#[derive(Debug)]
pub struct Walk {
    scanner: Scanner,
    segment: SegmentId,
    limit: ReadLimit,
    items: Vec<Item>,
    bytes: usize,
    next: u64,
    full: bool,
}

// === impl Walk ===

impl Walk {
    /// Gathers from the record numbered `number` on; `from` is where the segment's index says to
    /// begin.
    #[must_use]
    pub fn new(
        marker: Marker,
        segment: SegmentId,
        from: Option<Block>,
        number: u64,
        limit: ReadLimit,
    ) -> Self {
        let (at, base) =
            from.map_or((SEGMENT_HEADER_LEN as u64, segment.0), |block| (block.at, block.base));
        let scanner = Scanner::new(marker, at, base);
        let next = number.max(segment.0);
        Self { scanner, segment, limit, items: Vec::new(), bytes: 0, next, full: false }
    }

    /// Where the next window must begin.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.scanner.at()
    }

    /// Takes a window that begins at [`Walk::at`]; `last` says that nothing durable is behind it.
    /// Gives the bytes that the next one must have at least, or `None` if none is needed.
    pub fn window(&mut self, bytes: &[u8], last: bool) -> Option<usize> {
        let mut rest = bytes;
        while !self.full {
            let from = self.scanner.at();
            match self.scanner.next(rest, last) {
                Found::More(more) => return Some(more),
                Found::End(_) => return None,
                Found::Gap(_) => {}
                Found::Broken { at, header } => self.lose(header.end(), at),
                Found::Frame { at, frame } => self.frame(at, &frame),
            }
            let used = usize::try_from(self.scanner.at() - from).unwrap_or(usize::MAX);
            rest = rest.get(used..).unwrap_or_default();
        }
        None
    }

    /// The items and the number to read on with; `end` is the number after the segment's last.
    #[must_use]
    pub fn finish(mut self, end: u64) -> (Vec<Item>, u64) {
        if !self.full {
            self.lose(end, self.scanner.at());
        }
        (self.items, self.next)
    }

    fn frame(&mut self, at: u64, frame: &Frame<'_>) {
        self.lose(frame.header.base, at);
        for entry in frame.entries() {
            if entry.position.offset >= self.next && self.room(entry.data.len()) {
                let data = |_| Bytes::copy_from_slice(entry.data);
                self.items.push(item(&entry, frame.header.time_ms, data));
                self.next = entry.position.offset + 1;
            }
        }
    }

    /// Says that everything from the next number up to `to` is gone.
    fn lose(&mut self, to: u64, at: u64) {
        if to > self.next && self.room(0) {
            let lost = Lost { from: self.next, to, segment: self.segment, at };
            self.items.push(Item::Lost(lost));
            self.next = to;
        }
    }

    /// Whether an item of `bytes` still fits; from the first one that does not, none does.
    fn room(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        let over = self.items.len() >= self.limit.items || self.bytes > self.limit.bytes;
        self.full = self.full || (over && !self.items.is_empty());
        !self.full
    }
}
