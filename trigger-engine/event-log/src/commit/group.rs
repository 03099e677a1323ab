//! Gathers what waits into one group of frames.

use crate::commit::{
    Answer, CommitCore, Effect, Flight, Place, Spare, State, Waiting, Written, positions,
};
use crate::feeds::{self, FEED_REMOVED, FeedPosition};
use crate::frame::{HEAD_LEN, HEADER_LEN, Header, Kind, Numbers};
use crate::prepare::Prepared;
use crate::read::SegmentId;
use crate::record::{Append, AppendError, Appended, Class, Record, Stream};
use crate::segment::{SEGMENT_HEADER_LEN, SegmentHeader};

/// Frames chosen to be written together.
struct Group<T> {
    pieces: Vec<Piece>,
    acks: Vec<(T, Answer)>,
    /// Bytes of the frames.
    bytes: usize,
    /// Number after the last record.
    next: u64,
    time_ms: u64,
    feeds: Vec<(u128, FeedPosition)>,
    removed: Vec<u128>,
}

enum Piece {
    Batch(Prepared),
    Mark,
}

/// Where a frame can go.
enum Room {
    Here,
    /// Into a segment that is begun by this group.
    NextSegment,
    /// Into a later group.
    Later,
    /// Nowhere, until there is room on disk.
    Nowhere,
}

// === impl CommitCore ===

impl<T> CommitCore<T> {
    pub(super) fn begin_group(&mut self, now_ms: u64, effects: &mut Vec<Effect<T>>) {
        if self.flight.is_some() {
            return;
        }
        let mut group = Group::new(self.place.next, now_ms);
        while let Some(request) = self.waiting.pop_front() {
            self.waiting_bytes -= request.bytes();
            if let Some(request) = self.choose(request, &mut group, effects) {
                self.waiting_bytes += request.bytes();
                self.waiting.push_front(request);
                break;
            }
        }
        if group.pieces.is_empty() {
            let done = |(token, answer)| Effect::Answer { token, answer: Ok(answer) };
            effects.extend(group.acks.into_iter().map(done));
            return;
        }
        self.write(group, effects);
    }

    /// Takes a request into the group, answers it, or gives it back for a later group.
    fn choose(
        &mut self,
        request: Waiting<T>,
        group: &mut Group<T>,
        effects: &mut Vec<Effect<T>>,
    ) -> Option<Waiting<T>> {
        match request {
            Waiting::Batch { token, batch } => self.choose_batch(token, batch, group, effects),
            Waiting::Carry { token, until } => self.choose_carry(token, until, group, effects),
            Waiting::Mark { token } => {
                let needed = self.place.at > 0 && !(self.place.marked && group.pieces.is_empty());
                match self.room(group, HEADER_LEN) {
                    Room::Here if needed => group.add(Piece::Mark, HEADER_LEN, 0),
                    Room::Later if !group.pieces.is_empty() => {
                        return Some(Waiting::Mark { token });
                    }
                    // A mark only helps to read damage: no segment is begun for it.
                    Room::Here | Room::NextSegment | Room::Later | Room::Nowhere => {}
                }
                group.acks.push((token, Answer::Done));
                None
            }
        }
    }

    fn choose_batch(
        &mut self,
        token: T,
        batch: Prepared,
        group: &mut Group<T>,
        effects: &mut Vec<Effect<T>>,
    ) -> Option<Waiting<T>> {
        if let Err(error) = self.check(&batch) {
            effects.push(Effect::Answer { token, answer: Err(error) });
            return None;
        }
        let len = batch.frame_len();
        match self.room(group, len) {
            Room::Here => {}
            Room::NextSegment => self.roll(effects),
            Room::Later => return Some(Waiting::Batch { token, batch }),
            Room::Nowhere => {
                effects.push(Effect::Answer { token, answer: Err(AppendError::Full) });
                return None;
            }
        }
        let positions = positions(&batch, group.next);
        if let Some((index, data)) = batch.feed_position()
            && let Some(position) = positions.get(index)
        {
            self.feeds.learn(*position, data);
            group.learned(&self.feeds, data);
        }
        group.add(Piece::Batch(batch), len, positions.len());
        group.acks.push((token, Answer::Appended(Appended { positions, time_ms: group.time_ms })));
        None
    }

    /// Appends again what feeds would lose, at most one batch at a time.
    fn choose_carry(
        &mut self,
        token: T,
        until: u64,
        group: &mut Group<T>,
        effects: &mut Vec<Effect<T>>,
    ) -> Option<Waiting<T>> {
        let (carried, more) = self.carried(until);
        if !carried.is_empty() {
            let records = carried.iter().map(|(_, record)| record.clone()).collect();
            let batch = Prepared::unchecked(Append::progress(records));
            let len = batch.frame_len();
            match self.room(group, len) {
                Room::Here => {}
                Room::NextSegment => self.roll(effects),
                Room::Later => return Some(Waiting::Carry { token, until }),
                Room::Nowhere => {
                    effects.push(Effect::Answer { token, answer: Err(AppendError::Full) });
                    return None;
                }
            }
            let positions = positions(&batch, group.next);
            for ((_, record), position) in carried.iter().zip(&positions) {
                self.feeds.learn(*position, &record.data);
                group.learned(&self.feeds, &record.data);
            }
            group.add(Piece::Batch(batch), len, positions.len());
        }
        if more {
            return Some(Waiting::Carry { token, until });
        }
        let gone = |(feed, at): (u128, &FeedPosition)| {
            (at.position.offset < until && at.at.generation == FEED_REMOVED).then_some(feed)
        };
        let gone: Vec<u128> = self.feeds.iter().filter_map(gone).collect();
        for feed in gone {
            self.feeds.remove(feed);
            group.removed.push(feed);
        }
        group.acks.push((token, Answer::Done));
        None
    }

    /// Records that say again what the feeds below `until` are at, and whether that is not all.
    fn carried(&self, until: u64) -> (Vec<(u128, Record)>, bool) {
        let (mut carried, mut bytes) = (Vec::new(), HEADER_LEN);
        for (feed, at) in self.feeds.iter() {
            if at.position.offset >= until || at.at.generation == FEED_REMOVED {
                continue;
            }
            let data = at.encode(feed);
            bytes += HEAD_LEN + data.len();
            let full =
                bytes > self.limits.batch_bytes || carried.len() == self.limits.batch_records;
            if full && !carried.is_empty() {
                return (carried, true);
            }
            let (stream, partition) = (Stream::FEED_POSITION, at.position.partition);
            carried.push((feed, Record { stream, partition, dedup: None, data }));
        }
        (carried, false)
    }

    fn check(&self, batch: &Prepared) -> Result<(), AppendError> {
        if batch.class == Class::Intake && self.is_full() {
            return Err(AppendError::Full);
        }
        batch.guard.as_ref().map_or(Ok(()), |guard| self.feeds.check(guard))
    }

    fn room(&self, group: &Group<T>, len: usize) -> Room {
        let first = group.pieces.is_empty();
        if !first && group.bytes + len > self.limits.group_bytes {
            return Room::Later;
        }
        let header_len = if self.place.at == 0 { SEGMENT_HEADER_LEN } else { 0 };
        if self.place.at + (header_len + group.bytes + len) as u64 <= self.segment_bytes {
            return Room::Here;
        }
        match self.spare {
            _ if !first => Room::Later,
            // A segment is named by its first record, so one without records cannot be sealed.
            Spare::Ready if self.place.next > self.place.segment.0 => Room::NextSegment,
            Spare::Making { .. } => Room::Later,
            Spare::Missing { .. } | Spare::Ready => Room::Nowhere,
        }
    }

    fn roll(&mut self, effects: &mut Vec<Effect<T>>) {
        let Place { segment: sealed, at: sealed_bytes, next, chain, .. } = self.place;
        let segment = SegmentId(next);
        self.place = Place { segment, at: 0, next, chain, marked: false };
        self.spare = Spare::Making { scarce: false };
        effects.push(Effect::Roll { sealed, sealed_bytes, next: segment });
        if self.state == State::Open {
            effects.push(Effect::MakeSpare);
        } else {
            self.spare = Spare::Missing { retry_ms: 0, scarce: false };
        }
    }

    fn write(&mut self, group: Group<T>, effects: &mut Vec<Effect<T>>) {
        let Place { segment, at, next: base, chain, .. } = self.place;
        let header_len = if at == 0 { SEGMENT_HEADER_LEN } else { 0 };
        let mut bytes = Vec::with_capacity(header_len + group.bytes);
        if at == 0 {
            let header = SegmentHeader {
                marker: self.marker,
                id: segment,
                created_ms: group.time_ms,
                chain,
            };
            header.write(&mut bytes);
        }
        let frames_at = bytes.len();
        let mut place = self.place;
        for piece in &group.pieces {
            let numbers = Numbers { base: place.next, group: base, time_ms: group.time_ms };
            place.marked = matches!(piece, Piece::Mark);
            match piece {
                Piece::Batch(batch) => {
                    place.chain = batch.write(self.marker, numbers, place.chain, &mut bytes);
                    place.next += batch.records.len() as u64;
                }
                Piece::Mark => {
                    let header = Header::new(Kind::Mark, &[], 0, numbers);
                    place.chain = header.write(self.marker, place.chain, &[], &mut bytes);
                }
            }
        }
        place.at += bytes.len() as u64;
        self.place = place;
        let bytes = bytes::Bytes::from(bytes);
        effects.push(Effect::Write { segment, at, bytes: bytes.clone() });
        effects.push(Effect::Sync { segment });
        let (feeds, removed, end) = (group.feeds, group.removed, place.next);
        let written = Written { segment, at, bytes, frames_at, end, feeds, removed, chain };
        self.flight = Some(Flight { acks: group.acks, written });
    }
}

// === impl Group ===

impl<T> Group<T> {
    fn new(next: u64, time_ms: u64) -> Self {
        let (pieces, acks, feeds, removed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { pieces, acks, bytes: 0, next, time_ms, feeds, removed }
    }

    fn add(&mut self, piece: Piece, bytes: usize, records: usize) {
        self.pieces.push(piece);
        self.bytes += bytes;
        self.next += records as u64;
    }

    /// Notes the newest position of the feed that `data` speaks of.
    fn learned(&mut self, table: &feeds::FeedTable, data: &[u8]) {
        if let Some((feed, ..)) = feeds::decode(data)
            && let Some(position) = table.get(feed)
        {
            self.feeds.push((feed, position.clone()));
        }
    }
}
