//! Folds one segment's bytes into its index, its damage and its torn tail.

use evoke_schemas::Position;

use crate::erase::{self, Erasure};
use crate::frame::{Chain, Entry, Frame, Header, Marker};
use crate::index::SegmentIndex;
use crate::read::{Lost, SegmentId, Unreadable};
use crate::record::Stream;
use crate::recovery::{Damage, Torn};
use crate::scan::{Found, Gap, Scanner};
use crate::segment::{SEGMENT_HEADER_LEN, SegmentHeader};

/// One segment read from end to end.
#[derive(Clone, Debug)]
pub struct SegmentScan {
    /// What is in it.
    pub index: SegmentIndex,
    /// What is wrong with it.
    pub damage: Vec<Damage>,
    /// Its torn tail, where one was allowed.
    pub torn: Option<Torn>,
    /// Records whose data was erased; looked for with [`SegmentFold::with_every_hash`] only.
    pub erased: Vec<Position>,
    /// Positions of which a record in it says that they are erased; as above.
    pub claimed: Vec<Position>,
}

/// Folds one segment; fed by windows, as the scanner is.
#[derive(Debug)]
pub struct SegmentFold {
    marker: Marker,
    scanner: Scanner,
    state: State,
    torn_tail: bool,
    every_hash: bool,
    index: SegmentIndex,
    /// Chain before the next frame; unknown after a hole.
    chain: Option<Chain>,
    damage: Vec<Damage>,
    /// A gap of which it is not known yet whether records were in it.
    gap: Option<Gap>,
    hole: Option<Hole>,
    /// Byte after the last that is not zero, as far as read.
    dirty_to: u64,
    erased: Vec<Position>,
    claimed: Vec<Position>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Header,
    Frames,
    Done(Option<Torn>),
}

/// Where a torn tail would begin, and what to go back to.
#[derive(Debug)]
struct Hole {
    at: u64,
    number: u64,
    index: SegmentIndex,
    damage: usize,
}

// === impl SegmentFold ===

impl SegmentFold {
    /// Begins with segment `id`; `chain` is the one after the segment before, if it is known.
    #[must_use]
    pub fn new(marker: Marker, id: SegmentId, chain: Option<Chain>) -> Self {
        Self {
            marker,
            scanner: Scanner::new(marker, SEGMENT_HEADER_LEN as u64, id.0),
            state: State::Header,
            torn_tail: false,
            every_hash: false,
            index: SegmentIndex::new(id, chain.unwrap_or(Chain::START)),
            chain,
            damage: Vec::new(),
            gap: None,
            hole: None,
            dirty_to: 0,
            erased: Vec::new(),
            claimed: Vec::new(),
        }
    }

    /// Cuts a torn tail off: for the last segment only, as the others were whole before the next
    /// began.
    #[must_use]
    pub fn with_torn_tail(mut self) -> Self {
        self.torn_tail = true;
        self
    }

    /// Checks each record's hash too, not its quick checksum alone.
    #[must_use]
    pub fn with_every_hash(mut self) -> Self {
        self.every_hash = true;
        self
    }

    /// Where the next window must begin.
    #[must_use]
    pub fn at(&self) -> u64 {
        match self.state {
            State::Header => 0,
            State::Frames | State::Done(_) => self.scanner.at(),
        }
    }

    /// Takes a window that begins at [`SegmentFold::at`]; `last` says that nothing is behind it.
    /// Gives the bytes that the next one must have at least, or `None` at the end.
    pub fn window(&mut self, bytes: &[u8], last: bool) -> Option<usize> {
        let mut rest = bytes;
        if self.state == State::Header {
            if bytes.len() < SEGMENT_HEADER_LEN && !last {
                return Some(SEGMENT_HEADER_LEN);
            }
            self.begin(bytes);
            rest = bytes.get(SEGMENT_HEADER_LEN..).unwrap_or_default();
        }
        loop {
            let from = self.scanner.at();
            match self.scanner.next(rest, last) {
                Found::More(more) => return Some(more),
                Found::Frame { at, frame } => self.frame(at, &frame),
                Found::Broken { at, header } => self.broken(at, &header),
                Found::Gap(gap) => {
                    self.open_hole(gap.at, self.index.summary.end);
                    self.gap = Some(gap);
                    self.chain = None;
                }
                Found::End(gap) => {
                    self.end(gap);
                    return None;
                }
            }
            let used = usize::try_from(self.scanner.at() - from).unwrap_or(usize::MAX);
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// What was found; whole once [`SegmentFold::window`] gave `None`.
    #[must_use]
    pub fn finish(self) -> SegmentScan {
        let torn = match self.state {
            State::Done(torn) => torn,
            State::Header | State::Frames => None,
        };
        let Self { index, damage, erased, claimed, .. } = self;
        SegmentScan { index, damage, torn, erased, claimed }
    }

    fn id(&self) -> SegmentId {
        self.index.summary.id
    }

    fn begin(&mut self, bytes: &[u8]) {
        self.state = State::Frames;
        let bytes = bytes.get(..SEGMENT_HEADER_LEN).unwrap_or(bytes);
        let dirty = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |index| index + 1);
        self.dirty_to = dirty as u64;
        let header = SegmentHeader::read(bytes)
            .filter(|header| header.marker == self.marker && header.id == self.id());
        let Some(header) = header else {
            self.open_hole(0, self.id().0);
            self.damage.push(Damage::SegmentHeader { segment: self.id() });
            self.index.summary.bytes = SEGMENT_HEADER_LEN as u64;
            return;
        };
        self.index.summary.bytes = SEGMENT_HEADER_LEN as u64;
        if self.chain.is_some_and(|chain| chain != header.chain) {
            self.chain_broken(0, self.id().0);
        }
        self.chain = Some(header.chain);
        self.index.summary.chain = header.chain;
    }

    fn frame(&mut self, at: u64, frame: &Frame<'_>) {
        let header = &frame.header;
        self.reach(at, header.base);
        let damaged: Vec<_> = frame.entries().filter(|entry| !self.is_sound(entry)).collect();
        if !damaged.is_empty() {
            self.open_hole(at, header.base);
        }
        for entry in damaged {
            self.damage.push(Damage::Unreadable(unreadable(&entry, header.time_ms)));
        }
        if self.every_hash {
            self.note_erasures(frame);
        }
        if self.chain.is_some_and(|chain| !frame.follows(chain, self.marker)) {
            self.chain_broken(at, header.base);
        }
        self.chain = Some(header.chain);
        self.index.push(at, frame);
        self.written(header);
    }

    fn broken(&mut self, at: u64, header: &Header) {
        self.reach(at, header.base);
        self.open_hole(at, header.base);
        self.lose(at, header.base, header.end());
        self.index.skip(self.scanner.at(), header.end());
        self.written(header);
    }

    /// Accounts for what is missing before byte `at`, where the record numbered `base` is next.
    fn reach(&mut self, at: u64, base: u64) {
        let expected = self.index.summary.end;
        let gap = self.gap.take();
        let from = gap.map_or(at, |gap| gap.at);
        if base > expected {
            self.open_hole(from, expected);
            self.lose(from, expected, base);
            self.index.skip(at, base);
        } else if let Some(gap) = gap {
            self.stray(gap);
        }
    }

    /// Takes the word of a frame's header for what was durable before it.
    fn written(&mut self, header: &Header) {
        self.dirty_to = self.scanner.at();
        if self.hole.as_ref().is_some_and(|hole| hole.number < header.group) {
            self.hole = None;
        }
    }

    fn is_sound(&self, entry: &Entry<'_>) -> bool {
        match entry.head.matches(entry.data) {
            true => !self.every_hash || entry.head.matches_hash(entry.data),
            false => Erasure::read(entry.data).is_some(),
        }
    }

    fn note_erasures(&mut self, frame: &Frame<'_>) {
        for entry in frame.entries() {
            if !entry.head.matches(entry.data) && Erasure::read(entry.data).is_some() {
                self.erased.push(entry.position);
            } else if entry.head.stream == Stream::ERASED {
                self.claimed.extend(erase::claimed(entry.data));
            }
        }
    }

    fn open_hole(&mut self, at: u64, number: u64) {
        if self.torn_tail && self.hole.is_none() {
            let (index, damage) = (self.index.clone(), self.damage.len());
            self.hole = Some(Hole { at, number, index, damage });
        }
    }

    fn end(&mut self, gap: Gap) {
        if !gap.is_blank() {
            self.dirty_to = gap.dirty_to;
        }
        if !self.torn_tail {
            self.state = State::Done(None);
            if !gap.is_blank() {
                self.stray(Gap { to: gap.dirty_to, ..gap });
            }
            return;
        }
        let mut at = gap.at;
        if let Some(hole) = self.hole.take() {
            at = hole.at;
            self.index = hole.index;
            self.damage.truncate(hole.damage);
        }
        if self.index.blocks.is_empty() {
            // Without frames there is nothing to keep, and the segment begins anew.
            at = 0;
            self.index.summary.bytes = 0;
        }
        let (segment, to) = (self.id(), self.dirty_to);
        self.state = State::Done((to > at).then_some(Torn { segment, at, to }));
    }

    fn stray(&mut self, gap: Gap) {
        let (segment, at, bytes) = (self.id(), gap.at, gap.to - gap.at);
        self.damage.push(Damage::Stray { segment, at, bytes });
    }

    fn lose(&mut self, at: u64, from: u64, to: u64) {
        self.chain = None;
        let segment = self.id();
        self.damage.push(Damage::Lost(Lost { from, to, segment, at }));
    }

    fn chain_broken(&mut self, at: u64, base: u64) {
        let segment = self.id();
        self.damage.push(Damage::Chain { segment, at, base });
    }
}

/// What is still known of a record whose data is damaged.
pub(crate) fn unreadable(entry: &Entry<'_>, time_ms: u64) -> Unreadable {
    let head = &entry.head;
    Unreadable {
        position: entry.position,
        stream: head.stream,
        time_ms,
        dedup: head.dedup,
        len: head.len,
    }
}
