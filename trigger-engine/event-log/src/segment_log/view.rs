//! What readers see of the log: durable records only, in memory or by where they are on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::commit::Written;
use crate::feeds::FeedTable;
use crate::frame::Marker;
use crate::index::{Block, SegmentIndex, Summary, seek};
use crate::read::SegmentId;
use crate::tail::{Tail, TailFrame};

/// Sealed segments whose sparse index is kept in memory, some 24 KiB each.
const BLOCKS_KEPT: usize = 256;

/// State that the committer writes and readers look at under one lock.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) marker: Marker,
    /// Oldest first.
    pub(crate) sealed: VecDeque<Summary>,
    pub(crate) active: SegmentIndex,
    pub(crate) feeds: FeedTable,
    pub(crate) tail: Tail,
    pub(crate) full: bool,
    blocks: VecDeque<(SegmentId, Arc<[Block]>)>,
}

/// Where on disk a record is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) segment: SegmentId,
    /// Number after the last record there; where the next segment begins if it is sealed.
    pub(crate) end: u64,
    /// Byte after the last durable frame.
    pub(crate) bytes: u64,
    pub(crate) index: PlaceIndex,
}

/// Where to begin to read in a segment.
#[derive(Clone, Debug)]
pub(crate) enum PlaceIndex {
    /// At a frame.
    At(Block),
    /// The segment's index tells.
    Ask,
}

// === impl View ===

impl View {
    pub(crate) fn new(
        marker: Marker,
        sealed: Vec<Summary>,
        active: SegmentIndex,
        feeds: FeedTable,
        tail: Tail,
    ) -> Self {
        let sealed = sealed.into();
        Self { marker, sealed, active, feeds, tail, full: false, blocks: VecDeque::new() }
    }

    /// Number after the last durable record.
    pub(crate) fn end(&self) -> u64 {
        self.active.summary.end
    }

    /// Number of the oldest record kept.
    pub(crate) fn begin(&self) -> u64 {
        self.sealed.front().map_or(self.active.summary.id.0, |oldest| oldest.id.0)
    }

    /// Takes a group that became durable; gives the index of the segment that this sealed.
    pub(crate) fn durable(&mut self, written: &Written) -> Option<Arc<SegmentIndex>> {
        let sealed = (written.segment != self.active.summary.id).then(|| {
            let begun = SegmentIndex::new(written.segment, written.chain);
            let sealed = Arc::new(std::mem::replace(&mut self.active, begun));
            self.sealed.push_back(sealed.summary);
            self.keep(sealed.summary.id, sealed.blocks.as_slice().into());
            sealed
        });
        for (at, frame) in TailFrame::split(written, self.marker) {
            if let Some(frame) = frame.frame() {
                self.active.push(at, &frame);
            }
            self.tail.push(frame);
        }
        for (feed, position) in &written.feeds {
            self.feeds.insert(*feed, position.clone());
        }
        for feed in &written.removed {
            self.feeds.remove(*feed);
        }
        sealed
    }

    /// Where the record numbered `number` is, or would be.
    pub(crate) fn place(&self, number: u64) -> Option<Place> {
        if number >= self.end() {
            return None;
        }
        let active = &self.active.summary;
        if number >= active.id.0 {
            let place = seek(&self.active.blocks, number);
            let index = place.map_or(PlaceIndex::Ask, PlaceIndex::At);
            return Some(Place { segment: active.id, end: active.end, bytes: active.bytes, index });
        }
        let after = self.sealed.partition_point(|summary| summary.id.0 <= number);
        let summary = self.sealed.get(after.checked_sub(1)?)?;
        let end = self.sealed.get(after).map_or(active.id.0, |next| next.id.0);
        let index = PlaceIndex::Ask;
        Some(Place { segment: summary.id, end, bytes: summary.bytes, index })
    }

    /// The sparse index of a sealed segment, if it is in memory.
    pub(crate) fn blocks(&self, id: SegmentId) -> Option<Arc<[Block]>> {
        let found = self.blocks.iter().find(|(segment, _)| *segment == id);
        found.map(|(_, blocks)| Arc::clone(blocks))
    }

    /// Keeps a sparse index; the one kept longest goes.
    pub(crate) fn keep(&mut self, id: SegmentId, blocks: Arc<[Block]>) {
        self.blocks.retain(|(kept, _)| *kept != id);
        self.blocks.push_back((id, blocks));
        if self.blocks.len() > BLOCKS_KEPT {
            self.blocks.pop_front();
        }
    }

    /// The oldest sealed segment and the number after its last record.
    pub(crate) fn oldest(&self) -> Option<(SegmentId, u64)> {
        let next = self.sealed.get(1).map_or(self.active.summary.id.0, |next| next.id.0);
        self.sealed.front().map(|oldest| (oldest.id, next))
    }

    /// Forgets the oldest sealed segment.
    pub(crate) fn drop_oldest(&mut self) {
        if let Some(oldest) = self.sealed.pop_front() {
            self.blocks.retain(|(kept, _)| *kept != oldest.id);
        }
    }
}
