//! Reads from the disk, for readers that do not keep up.

use std::io;
use std::sync::Arc;

use crate::index::{Block, SegmentIndex, seek};
use crate::read::{Item, ReadLimit, SegmentId};
use crate::segment_log::Shared;
use crate::segment_log::files::read_windows;
use crate::segment_log::view::{Place, PlaceIndex};
use crate::walk::Walk;

/// Fewest bytes read at a time.
const READ_CHUNK: usize = 128 << 10;

/// Items from the record numbered `number` on, out of the segment it is in, and the number to
/// read on with.
pub(crate) fn read(
    shared: &Shared,
    place: &Place,
    number: u64,
    limit: ReadLimit,
) -> io::Result<(Vec<Item>, u64)> {
    let from = match place.index {
        PlaceIndex::At(block) => Some(block),
        PlaceIndex::Ask => seek(&blocks(shared, place.segment)?, number),
    };
    let marker = shared.identity.marker;
    let mut walk = Walk::new(marker, place.segment, from, number, limit);
    match shared.dir.open_segment(place.segment) {
        Ok(file) => read_windows(&file, (walk.at(), place.bytes), READ_CHUNK, |window, last| {
            let more = walk.window(window, last)?;
            Some((walk.at(), more))
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let begin = shared.view().begin();
            if begin > number {
                // Retention took it since the caller looked.
                return Ok((Vec::new(), begin));
            }
        }
        Err(error) => return Err(error),
    }
    Ok(walk.finish(place.end))
}

/// The sparse index of a sealed segment: kept, from its sidecar, or made anew.
pub(crate) fn blocks(shared: &Shared, id: SegmentId) -> io::Result<Arc<[Block]>> {
    if let Some(blocks) = shared.view().blocks(id) {
        return Ok(blocks);
    }
    let blocks: Arc<[Block]> = match shared.dir.read_blocks(id)? {
        Some(blocks) => blocks.into(),
        None => index(shared, id)?.blocks.into(),
    };
    shared.view().keep(id, Arc::clone(&blocks));
    Ok(blocks)
}

/// The whole index of a sealed segment, from its sidecar or made anew.
pub(crate) fn index(shared: &Shared, id: SegmentId) -> io::Result<SegmentIndex> {
    match shared.dir.read_sidecar(id)? {
        Some(index) => Ok(index),
        None => Ok(shared.dir.scan(shared.identity.marker, id, None, false)?.index),
    }
}
