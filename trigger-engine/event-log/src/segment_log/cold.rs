//! Reads from the disk, for readers that do not keep up.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::frame::Marker;
use crate::index::SegmentIndex;
use crate::read::{Item, Lost, ReadLimit, SegmentId};
use crate::scan::{Found, Scanner};
use crate::segment::SEGMENT_HEADER_LEN;
use crate::segment_log::Shared;
use crate::segment_log::files::read_windows;
use crate::segment_log::view::{Place, PlaceIndex};
use crate::tail::item;

/// Fewest bytes read at a time.
const READ_CHUNK: usize = 128 << 10;

/// A walk through one segment that gathers items.
#[derive(Debug)]
struct Walk {
    segment: SegmentId,
    limit: ReadLimit,
    items: Vec<Item>,
    bytes: usize,
    /// Next number to give.
    next: u64,
    full: bool,
}

/// Items from the record numbered `number` on, out of the segment it is in, and the number to
/// read on with.
pub(crate) fn read(
    shared: &Shared,
    place: &Place,
    number: u64,
    limit: ReadLimit,
) -> io::Result<(Vec<Item>, u64)> {
    let (at, base) = match place.index {
        PlaceIndex::At(at, base) => (at, base),
        PlaceIndex::Ask => index(shared, place.segment)?
            .seek(number)
            .map_or((SEGMENT_HEADER_LEN as u64, place.segment.0), |block| (block.at, block.base)),
    };
    let mut walk = Walk {
        segment: place.segment,
        limit,
        items: Vec::new(),
        bytes: 0,
        next: number,
        full: false,
    };
    match shared.dir.open_segment(place.segment) {
        Ok(file) => walk.run(&file, shared.identity.marker, (at, base), place.bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let begin = shared.view().begin();
            if begin > number {
                // Retention took it since the caller looked.
                return Ok((Vec::new(), begin));
            }
        }
        Err(error) => return Err(error),
    }
    if !walk.full {
        walk.lose(place.end, place.bytes);
    }
    Ok((walk.items, walk.next))
}

/// The index of a sealed segment: kept, from its sidecar, or made anew.
pub(crate) fn index(shared: &Shared, id: SegmentId) -> io::Result<Arc<SegmentIndex>> {
    if let Some(index) = shared.view().index(id) {
        return Ok(index);
    }
    let index = match shared.dir.read_sidecar(id)? {
        Some(index) => index,
        None => shared.dir.scan(shared.identity.marker, id, None, false)?.index,
    };
    let index = Arc::new(index);
    shared.view().keep(Arc::clone(&index));
    Ok(index)
}

// === impl Walk ===

impl Walk {
    fn run(
        &mut self,
        file: &File,
        marker: Marker,
        (at, base): (u64, u64),
        end: u64,
    ) -> io::Result<()> {
        let mut scanner = Scanner::new(marker, at, base);
        read_windows(file, (at, end), READ_CHUNK, |window, last| {
            let mut rest = window;
            while !self.full {
                let from = scanner.at();
                match scanner.next(rest, last) {
                    Found::More(more) => return Some((scanner.at(), more)),
                    Found::End(_) => return None,
                    Found::Gap(_) => {}
                    Found::Broken { at, header } => self.lose(header.end(), at),
                    Found::Frame { at, frame } => {
                        self.lose(frame.header.base, at);
                        for entry in frame.entries() {
                            if entry.position.offset >= self.next && self.room(entry.data.len()) {
                                let data = |_| Bytes::copy_from_slice(entry.data);
                                self.items.push(item(&entry, frame.header.time_ms, data));
                                self.next = entry.position.offset + 1;
                            }
                        }
                    }
                }
                let used = usize::try_from(scanner.at() - from).unwrap_or(usize::MAX);
                rest = rest.get(used..).unwrap_or_default();
            }
            None
        })
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
