//! A disk in memory that carries out the committer's effects, for tests.

use std::collections::BTreeMap;

use crate::commit::{Answer, CommitCore, Effect, Input};
use crate::feeds::FeedTable;
use crate::frame::{Chain, Marker};
use crate::index::SegmentIndex;
use crate::limits::Limits;
use crate::prepare::Prepared;
use crate::read::{Item, ReadLimit, SegmentId};
use crate::record::{Append, AppendError, Record, Stream};
use crate::recovery::{Recovered, recover};
use crate::walk::Walk;

pub(crate) const MARKER: Marker = Marker(*b"testmark");

pub(crate) fn record(text: &str) -> Record {
    let data = bytes::Bytes::copy_from_slice(text.as_bytes());
    Record { stream: Stream(20), partition: 1, dedup: None, data }
}

pub(crate) fn empty() -> Recovered {
    Recovered {
        sealed: Vec::new(),
        active: SegmentIndex::new(SegmentId(0), Chain::START),
        feeds: FeedTable::default(),
        damage: Vec::new(),
        torn: None,
    }
}

/// A committer and its disk. Tokens are numbers that the test chooses.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) core: CommitCore<u32>,
    pub(crate) segment_bytes: u64,
    pub(crate) segments: BTreeMap<SegmentId, Vec<u8>>,
    pub(crate) answers: BTreeMap<u32, Result<Answer, AppendError>>,
    /// What is to be done and was not yet.
    pub(crate) pending: Vec<Effect<u32>>,
    /// Ends that readers were told of.
    pub(crate) durable: Vec<u64>,
    pub(crate) spares_left: u32,
    pub(crate) spare_asked: bool,
    pub(crate) closed: bool,
    pub(crate) now_ms: u64,
}

impl Rig {
    pub(crate) fn new(limits: Limits, segment_bytes: u64) -> Self {
        let core = CommitCore::new(MARKER, limits, segment_bytes, &empty(), true);
        let mut rig = Self::around(core, segment_bytes);
        rig.segments.insert(SegmentId(0), vec![0; usize::try_from(segment_bytes).unwrap()]);
        rig
    }

    fn around(core: CommitCore<u32>, segment_bytes: u64) -> Self {
        Self {
            core,
            segment_bytes,
            segments: BTreeMap::new(),
            answers: BTreeMap::new(),
            pending: Vec::new(),
            durable: Vec::new(),
            spares_left: 100,
            spare_asked: false,
            closed: false,
            now_ms: 1_000,
        }
    }

    /// What a start on this disk finds.
    pub(crate) fn recover(&self) -> Recovered {
        let segments: Vec<_> =
            self.segments.iter().map(|(id, bytes)| (*id, bytes.as_slice())).collect();
        recover(MARKER, &segments).unwrap()
    }

    /// A start on this disk.
    pub(crate) fn reopen(mut self, limits: Limits) -> Self {
        let recovered = self.recover();
        if let Some(torn) = recovered.torn {
            let bytes = self.segments.get_mut(&torn.segment).unwrap();
            bytes[usize::try_from(torn.at).unwrap()..usize::try_from(torn.to).unwrap()].fill(0);
        }
        let core = CommitCore::new(MARKER, limits, self.segment_bytes, &recovered, true);
        let segments = std::mem::take(&mut self.segments);
        Self { segments, ..Self::around(core, self.segment_bytes) }
    }

    /// Sends an input and keeps what is to be done for later.
    pub(crate) fn send(&mut self, input: Input<u32>) {
        let effects = self.core.step(input, self.now_ms);
        for effect in effects {
            match effect {
                Effect::Answer { token, answer } => {
                    let before = self.answers.insert(token, answer);
                    assert_eq!(before, None, "one answer each");
                }
                Effect::Durable(written) => self.durable.push(written.end),
                Effect::MakeSpare => self.spare_asked = true,
                Effect::Closed => self.closed = true,
                io @ (Effect::Roll { .. } | Effect::Write { .. } | Effect::Sync { .. }) => {
                    self.pending.push(io);
                }
            }
        }
    }

    pub(crate) fn submit(&mut self, token: u32, append: Append) {
        let batch = Prepared::new(append, &Limits::default()).unwrap();
        self.send(Input::Submit { token, batch });
    }

    /// Does what is to be done, until there is nothing.
    pub(crate) fn run(&mut self) {
        loop {
            let io = std::mem::take(&mut self.pending);
            let syncs = io.iter().any(|effect| matches!(effect, Effect::Sync { .. }));
            for effect in io {
                self.carry_out(effect);
            }
            if syncs {
                self.send(Input::Synced);
            } else if !self.make_spare() {
                return;
            }
        }
    }

    fn make_spare(&mut self) -> bool {
        if !std::mem::take(&mut self.spare_asked) {
            return false;
        }
        let room = self.spares_left > 0;
        self.spares_left -= u32::from(room);
        self.send(if room { Input::SpareReady } else { Input::SpareFailed });
        true
    }

    fn carry_out(&mut self, effect: Effect<u32>) {
        match effect {
            Effect::Roll { sealed, sealed_bytes, next } => {
                assert!(self.segments.contains_key(&sealed));
                assert!(sealed_bytes <= self.segment_bytes);
                let blank = vec![0; usize::try_from(self.segment_bytes).unwrap()];
                assert!(self.segments.insert(next, blank).is_none(), "each segment begins once");
            }
            Effect::Write { segment, at, bytes } => {
                let at = usize::try_from(at).unwrap();
                let file = self.segments.get_mut(&segment).unwrap();
                file[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            Effect::Sync { segment } => assert!(self.segments.contains_key(&segment)),
            other => panic!("{other:?} is not for the disk"),
        }
    }

    /// Texts of all records on the disk, by number, as a start finds them.
    pub(crate) fn texts(&self) -> BTreeMap<u64, String> {
        let text = |item: Item| match item {
            Item::Record(record) => {
                let text = String::from_utf8_lossy(&record.data).into_owned();
                Some((record.position.offset, text))
            }
            Item::Unreadable(_) | Item::Lost(_) | Item::Erased(_) => None,
        };
        self.items().into_iter().filter_map(text).collect()
    }

    /// What readers get after a start on this disk.
    pub(crate) fn items(&self) -> Vec<Item> {
        let recovered = self.recover();
        let ids = recovered.sealed.iter().chain([&recovered.active.summary]);
        let mut items = Vec::new();
        for summary in ids {
            let limit = ReadLimit { items: usize::MAX, bytes: usize::MAX };
            let mut walk = Walk::new(MARKER, summary.id, None, 0, limit);
            let end = usize::try_from(summary.bytes).unwrap();
            let bytes = &self.segments[&summary.id][..end];
            let start = usize::try_from(walk.at()).unwrap().min(end);
            assert_eq!(walk.window(&bytes[start..], true), None);
            items.extend(walk.finish(summary.end).0);
        }
        items
    }
}
