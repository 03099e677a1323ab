//! A log in memory, numbered as a distributed one would be: offsets of each partition on their
//! own, with gaps, and several writers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use evoke_schemas::{LogUid, Position};
use tokio::sync::watch;

use crate::cursor::Cursor;
use crate::event_log::{EventLog, PendingAppend, Watermark};
use crate::feeds::{FEED_REMOVED, FeedPosition, FeedTable};
use crate::limits::Limits;
use crate::prepare;
use crate::read::{
    DedupEntry, DedupPage, DropError, Health, Item, LogSizes, Page, ReadError, ReadLimit,
    Retention, SegmentId, SegmentInfo, StoredRecord,
};
use crate::record::{Append, AppendError, Appended, Class, Record, Stream};

/// Entries of one dedup chunk.
const DEDUP_CHUNK: usize = 10_000;

/// How a [`MemoryLog`] behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Bounds of appends; the queue is never waited for.
    pub limits: Limits,
    /// Offsets skipped before each batch of this writer, in each of its partitions.
    pub gap: u64,
    /// Records of one segment.
    pub segment_records: usize,
    /// Bytes of data it holds; intake is refused above, as on a full disk.
    pub capacity_bytes: u64,
}

/// An [`EventLog`] without a disk: whole, but gone with the process.
///
/// A clone is another handle on the same log; [`MemoryLog::writer`] gives one that numbers in
/// another rhythm.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    options: MemoryOptions,
}

#[derive(Debug)]
struct Shared {
    uid: LogUid,
    state: Mutex<State>,
    end: watch::Sender<Cursor>,
    /// Set by tests that own time; 0 means the system's clock.
    time_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<u64, StoredRecord>,
    next_index: u64,
    /// Offset → index, by partition.
    partitions: BTreeMap<u16, BTreeMap<u64, u64>>,
    next_offsets: BTreeMap<u16, u64>,
    feeds: FeedTable,
    bytes: u64,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), gap: 1, segment_records: 1_000, capacity_bytes: u64::MAX }
    }
}

// === impl MemoryLog ===

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(uid: LogUid, options: MemoryOptions) -> Self {
        let shared = Shared {
            uid,
            state: Mutex::default(),
            end: watch::Sender::new(Cursor::partitions(BTreeMap::new())),
            time_ms: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), options }
    }

    /// Another writer of the same log, which skips `gap` offsets before each of its batches.
    #[must_use]
    pub fn writer(&self, gap: u64) -> Self {
        let options = MemoryOptions { gap, ..self.options.clone() };
        Self { shared: Arc::clone(&self.shared), options }
    }

    /// Stops the log's clock at `time_ms`; 0 lets the system's clock rule again.
    pub fn set_time(&self, time_ms: u64) {
        self.shared.time_ms.store(time_ms, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        match self.shared.time_ms.load(Ordering::Relaxed) {
            0 => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            fixed => fixed,
        }
    }

    fn take(&self, append: Append) -> Result<Appended, AppendError> {
        prepare::check(&append, &self.options.limits)?;
        let time_ms = self.now_ms();
        let mut state = self.state();
        if let Some(guard) = &append.guard {
            state.feeds.check(guard)?;
        }
        if append.class == Class::Intake && state.bytes >= self.options.capacity_bytes {
            return Err(AppendError::Full);
        }
        let positions = state.push(append.records, self.options.gap, time_ms);
        self.shared.end.send_replace(state.end());
        Ok(Appended { positions, time_ms })
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn uid(&self) -> LogUid {
        self.shared.uid
    }

    fn submit(&self, append: Append) -> PendingAppend {
        PendingAppend::ready(self.take(append))
    }

    async fn read(&self, cursor: &Cursor, limit: ReadLimit) -> Result<Page, ReadError> {
        Ok(self.state().read(cursor, limit))
    }

    async fn get(&self, position: Position) -> Result<Option<Item>, ReadError> {
        Ok(self.state().get(position).cloned().map(Item::Record))
    }

    async fn seek_time(&self, time_ms: u64) -> Result<Cursor, ReadError> {
        let state = self.state();
        let from = state.records.iter().find(|(_, record)| record.time_ms >= time_ms);
        let index = from.map_or(state.next_index, |(index, _)| *index);
        Ok(state.cursor_before(index))
    }

    fn begin(&self) -> Cursor {
        let state = self.state();
        state.cursor_before(state.first_index())
    }

    fn end(&self) -> Cursor {
        self.state().end()
    }

    fn watch(&self) -> Watermark {
        Watermark::new(self.shared.end.subscribe())
    }

    async fn feed_position(&self, feed: u128) -> Result<Option<FeedPosition>, ReadError> {
        Ok(self.state().feeds.get(feed).cloned())
    }

    async fn dedup_entries(&self, from: &Cursor) -> Result<DedupPage, ReadError> {
        let limit = ReadLimit { items: DEDUP_CHUNK, bytes: usize::MAX };
        let page = self.state().read(from, limit);
        let more = page.items.len() == DEDUP_CHUNK;
        let entry = |item: &Item| {
            let record = item.record()?;
            let (position, time_ms) = (record.position, record.time_ms);
            Some(DedupEntry { hash: record.dedup?, position, time_ms })
        };
        let entries = page.items.iter().filter_map(entry).collect();
        Ok(DedupPage { entries, next: more.then_some(page.next) })
    }

    fn droppable(
        &self,
        policy: &Retention,
        low_water: &Cursor,
        now_ms: u64,
    ) -> Option<SegmentInfo> {
        let state = self.state();
        let info = state.oldest_segment(self.options.segment_records)?;
        let old = policy.max_age_ms.is_some_and(|age| now_ms.saturating_sub(info.last_ms) > age);
        let large = policy.max_bytes.is_some_and(|bytes| state.bytes > bytes);
        ((old || large) && low_water.covers(&info.to)).then_some(info)
    }

    async fn drop_segment(&self, id: SegmentId) -> Result<(), DropError> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let oldest = state.oldest_segment(self.options.segment_records);
        if oldest.is_none_or(|oldest| oldest.id != id) {
            return Err(DropError::NotOldest(id));
        }
        let until = id.0 + self.options.segment_records as u64;
        state.carry_feeds(until, self.options.gap, now_ms);
        state.forget(until);
        self.shared.end.send_replace(state.end());
        Ok(())
    }

    fn sizes(&self) -> LogSizes {
        let state = self.state();
        let held = state.next_index - state.first_index();
        LogSizes {
            segments: usize::try_from(held).unwrap_or(usize::MAX)
                / self.options.segment_records.max(1)
                + 1,
            bytes: state.bytes,
            queued: 0,
            oldest_ms: state.records.values().next().map(|record| record.time_ms),
        }
    }

    fn health(&self) -> Health {
        match self.state().bytes < self.options.capacity_bytes {
            true => Health::Good,
            false => Health::Full,
        }
    }

    async fn failed(&self) -> Arc<str> {
        std::future::pending().await
    }
}

// === impl State ===

impl State {
    fn push(&mut self, records: Vec<Record>, gap: u64, time_ms: u64) -> Vec<Position> {
        let mut skipped = BTreeMap::new();
        let mut positions = Vec::with_capacity(records.len());
        for record in records {
            let next = self.next_offsets.entry(record.partition).or_default();
            *next += skipped.insert(record.partition, ()).map_or(gap, |()| 0);
            let position = Position { partition: record.partition, offset: *next };
            *next += 1;
            if record.stream == Stream::FEED_POSITION {
                self.feeds.learn(position, &record.data);
            }
            self.partitions
                .entry(record.partition)
                .or_default()
                .insert(position.offset, self.next_index);
            self.bytes += record.data.len() as u64;
            let Record { stream, dedup, data, .. } = record;
            self.records
                .insert(self.next_index, StoredRecord { position, stream, time_ms, dedup, data });
            self.next_index += 1;
            positions.push(position);
        }
        positions
    }

    fn get(&self, position: Position) -> Option<&StoredRecord> {
        let index = self.partitions.get(&position.partition)?.get(&position.offset)?;
        self.records.get(index)
    }

    fn read(&self, cursor: &Cursor, limit: ReadLimit) -> Page {
        let first = |(partition, offsets): (&u16, &BTreeMap<u64, u64>)| {
            offsets.range(cursor.next_in(*partition)..).next().map(|(_, index)| *index)
        };
        let from = self.partitions.iter().filter_map(first).min().unwrap_or(self.next_index);
        let mut page = Page { items: Vec::new(), next: self.as_partitions(cursor) };
        let mut bytes = 0;
        for record in self.records.range(from..).map(|(_, record)| record) {
            if cursor.is_past(record.position) {
                continue;
            }
            bytes += record.data.len();
            let over = page.items.len() >= limit.items || bytes > limit.bytes;
            if over && !page.items.is_empty() {
                break;
            }
            page.next.advance(record.position);
            page.items.push(Item::Record(record.clone()));
        }
        page
    }

    fn as_partitions(&self, cursor: &Cursor) -> Cursor {
        let known =
            self.partitions.keys().map(|partition| (*partition, cursor.next_in(*partition)));
        Cursor::partitions(known.filter(|(_, next)| *next > 0).collect())
    }

    fn first_index(&self) -> u64 {
        self.records.keys().next().copied().unwrap_or(self.next_index)
    }

    fn end(&self) -> Cursor {
        let next = self.next_offsets.iter().map(|(partition, next)| (*partition, *next));
        Cursor::partitions(next.collect())
    }

    fn cursor_before(&self, index: u64) -> Cursor {
        let mut marks: BTreeMap<u16, u64> = self.next_offsets.clone();
        for record in self.records.range(index..).rev().map(|(_, record)| record) {
            marks.insert(record.position.partition, record.position.offset);
        }
        Cursor::partitions(marks)
    }

    fn oldest_segment(&self, segment_records: usize) -> Option<SegmentInfo> {
        let first = self.first_index();
        let until = first + segment_records as u64;
        if until >= self.next_index {
            return None;
        }
        let range = self.records.range(first..until).map(|(_, record)| record);
        Some(SegmentInfo {
            id: SegmentId(first),
            from: self.cursor_before(first),
            to: self.cursor_before(until),
            bytes: range.clone().map(|record| record.data.len() as u64).sum(),
            last_ms: range.map(|record| record.time_ms).max().unwrap_or(0),
        })
    }

    fn carry_feeds(&mut self, until: u64, gap: u64, now_ms: u64) {
        let leaving = |feed: &FeedPosition| {
            let index = self.partitions.get(&feed.position.partition);
            index.and_then(|index| index.get(&feed.position.offset)).is_some_and(|i| *i < until)
        };
        let leaving: Vec<(u128, FeedPosition)> = self
            .feeds
            .iter()
            .filter(|(_, feed)| leaving(feed))
            .map(|(id, feed)| (id, feed.clone()))
            .collect();
        for (feed, position) in leaving {
            if position.at.generation == FEED_REMOVED {
                self.feeds.remove(feed);
                continue;
            }
            let data = position.encode(feed);
            let partition = position.position.partition;
            let record = Record { stream: Stream::FEED_POSITION, partition, dedup: None, data };
            self.push(vec![record], gap, now_ms);
        }
    }

    fn forget(&mut self, until: u64) {
        let kept = self.records.split_off(&until);
        for record in std::mem::replace(&mut self.records, kept).into_values() {
            self.bytes -= record.data.len() as u64;
            if let Some(offsets) = self.partitions.get_mut(&record.position.partition) {
                offsets.remove(&record.position.offset);
            }
        }
    }
}
