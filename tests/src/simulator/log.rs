//! The log's shell in a world: the committer core and the recovery core on the fake disk.
//!
//! It does what a shell may do and nothing more: carries effects out in their order, one at a
//! time, and hands back what happened. Between any two of them the process can die.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use evoke_event_log::commit::{Answer, CommitCore, Effect, Input, Written};
use evoke_event_log::frame::{Chain, Frame, Header, Marker};
use evoke_event_log::recovery::{Recovered, recover};
use evoke_event_log::retention::droppable;
use evoke_event_log::segment::SEGMENT_HEADER_LEN;
use evoke_event_log::{
    AppendError, Cursor, FeedPosition, Item, Limits, Prepared, Retention, SegmentId, SegmentInfo,
    StoredRecord, Summary,
};

use super::crash::Moment;
use super::disk::{Disk, File, Full};
use super::env::{Died, Env, Failing};
use super::tally::Group;

const SPARE: &str = "spare";

/// What a log is opened with.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Marker of its frames.
    pub marker: Marker,
    /// Length of a segment. Unit: bytes.
    pub segment_bytes: usize,
    /// Bounds of appends.
    pub limits: Limits,
}

/// The log of a running process.
#[derive(Debug)]
pub struct Log<T> {
    core: CommitCore<T>,
    settings: LogSettings,
    /// Effects not carried out yet, in order.
    todo: VecDeque<Effect<T>>,
    segments: Vec<Segment>,
    /// Durable records, in order.
    items: VecDeque<(u64, Item)>,
    end: u64,
    feeds: BTreeMap<u128, FeedPosition>,
}

/// A segment file.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Number of its first record.
    pub id: SegmentId,
    /// Its file.
    pub file: File,
    /// Latest time in it, unix milliseconds.
    pub last_ms: u64,
    /// Bytes used.
    pub bytes: u64,
}

/// What a carried-out effect means to those outside.
#[derive(Debug)]
pub enum Happened<T> {
    /// Nothing that anybody waits for.
    Nothing,
    /// More is durable: read on.
    Durable,
    /// A caller has its answer.
    Answered(T, Result<Answer, AppendError>),
    /// Everything is written.
    Closed,
}

// === impl Log ===

impl<T> Log<T> {
    /// Opens what a crash left, or begins a log.
    ///
    /// # Errors
    /// [`Died`].
    pub fn open(settings: LogSettings, env: &mut Env) -> Result<Self, Died> {
        env.comes_to(Moment::Starting)?;
        let spare = check_spare(&settings, &mut env.disk);
        let files = files(&settings, env)?;
        let bytes: Vec<_> = files.iter().map(|(id, file)| (*id, env.disk.read(*file))).collect();
        let recovered = recover(settings.marker, &bytes);
        let Some(recovered) = recovered else { unreachable!("there is a segment") };
        let mut log = Self::recovered(settings, (&recovered, spare), &files);
        for (_, file) in &files {
            let image = env.disk.read(*file);
            log.take_frames(image, SEGMENT_HEADER_LEN, recovered.active.summary.end);
        }
        for damage in &recovered.damage {
            env.oracle.accuse(format!("the log is damaged: {damage:?}"));
        }
        if let Some(torn) = recovered.torn {
            env.count(Group::Log, "torn tail zeroed");
            let zeros = vec![0; (torn.to - torn.at) as usize];
            let file = files[files.len() - 1].1;
            let Ok(()) = env.disk.write(file, torn.at as usize, &zeros) else { return Err(Died) };
        }
        env.comes_to(Moment::Starting)?;
        // The page cache of a process that was killed is not safe yet.
        for (_, file) in &files {
            env.disk.sync(*file);
        }
        env.disk.sync_names();
        Ok(log)
    }

    fn recovered(
        settings: LogSettings,
        (recovered, spare): (&Recovered, bool),
        files: &[(SegmentId, File)],
    ) -> Self {
        let (marker, limits) = (settings.marker, settings.limits.clone());
        let core = CommitCore::new(marker, limits, settings.segment_bytes as u64, recovered, spare);
        let summaries = recovered.sealed.iter().chain([&recovered.active.summary]);
        let segments = files.iter().zip(summaries).map(|((id, file), summary)| Segment {
            id: *id,
            file: *file,
            last_ms: summary.last_ms,
            bytes: summary.bytes,
        });
        Self {
            core,
            settings,
            todo: VecDeque::new(),
            segments: segments.collect(),
            items: VecDeque::new(),
            end: recovered.active.summary.end,
            feeds: recovered.feeds.iter().map(|(feed, at)| (feed, at.clone())).collect(),
        }
    }

    /// Hands a batch to the committer.
    pub fn submit(&mut self, token: T, batch: Prepared, now_ms: u64) {
        self.input(Input::Submit { token, batch }, now_ms);
    }

    /// Hands anything to the committer.
    pub fn input(&mut self, input: Input<T>, now_ms: u64) {
        let effects = self.core.step(input, now_ms);
        self.todo.extend(effects);
    }

    /// When the committer wants to be woken, unix milliseconds.
    #[must_use]
    pub fn wake_ms(&self) -> Option<u64> {
        self.core.wake_ms()
    }

    /// Whether an effect waits to be carried out.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Whether the next effect is one that the disk must do.
    #[must_use]
    pub fn waits_for_disk(&self) -> bool {
        matches!(
            self.todo.front(),
            Some(
                Effect::Roll { .. }
                    | Effect::Write { .. }
                    | Effect::Sync { .. }
                    | Effect::MakeSpare
            )
        )
    }

    /// Carries the next effect out.
    ///
    /// # Errors
    /// [`Died`].
    pub fn carry_out(&mut self, env: &mut Env) -> Result<Happened<T>, Died> {
        let Some(effect) = self.todo.front() else { return Ok(Happened::Nothing) };
        match effect {
            Effect::Roll { .. } => env.comes_to(Moment::BeforeRoll)?,
            Effect::Write { .. } => env.comes_to(Moment::BeforeWrite)?,
            Effect::Sync { .. } => env.comes_to(Moment::BeforeSync)?,
            Effect::Durable(_) => env.comes_to(Moment::AfterSync)?,
            Effect::Answer { .. } | Effect::MakeSpare | Effect::Closed => {}
        }
        let Some(effect) = self.todo.pop_front() else { return Ok(Happened::Nothing) };
        env.count(Group::Log, name(&effect));
        let failing = match effect {
            Effect::Roll { .. } | Effect::Write { .. } => Some(Failing::Write),
            Effect::Sync { .. } => Some(Failing::Sync),
            _ => None,
        };
        if failing.is_some() && failing == env.fails {
            env.fails = None;
            self.fail(&effect, env);
            return Ok(Happened::Nothing);
        }
        self.obey(effect, env)
    }

    fn obey(&mut self, effect: Effect<T>, env: &mut Env) -> Result<Happened<T>, Died> {
        let now_ms = env.wall_ms();
        match effect {
            Effect::Roll { next, .. } => {
                env.say(format_args!("log: roll to {}", next.0));
                self.roll(next, &mut env.disk);
                env.comes_to(Moment::AfterRoll)?;
            }
            Effect::Write { segment, at, bytes } => {
                env.say(format_args!("log: write {} bytes to {} at {at}", bytes.len(), segment.0));
                let file = self.file(segment);
                let Ok(()) = env.disk.write(file, at as usize, &bytes) else {
                    unreachable!("a segment is as long as it will be from the start")
                };
                env.witness.saw(file, at as usize, &bytes);
            }
            Effect::Sync { segment } => {
                env.say(format_args!("log: sync {}", segment.0));
                env.disk.sync(self.file(segment));
                self.input(Input::Synced, now_ms);
            }
            Effect::Durable(written) => {
                self.durable(&written, now_ms);
                return Ok(Happened::Durable);
            }
            Effect::Answer { token, answer } => return Ok(Happened::Answered(token, answer)),
            Effect::MakeSpare => {
                let made = self.make_spare(&mut env.disk);
                env.say(format_args!("log: spare segment: {made:?}"));
                let input = if made.is_ok() { Input::SpareReady } else { Input::SpareFailed };
                if made.is_err() {
                    env.count(Group::Fault, "no room for a spare segment");
                }
                self.input(input, now_ms);
            }
            Effect::Closed => return Ok(Happened::Closed),
        }
        Ok(Happened::Nothing)
    }

    /// The disk refuses an effect; those after it are not tried.
    fn fail(&mut self, effect: &Effect<T>, env: &mut Env) {
        let now_ms = env.wall_ms();
        match effect {
            Effect::Sync { segment } => {
                env.count(Group::Fault, "a sync fails");
                let (file, Env { disk, chance, tally, .. }) = (self.file(*segment), env);
                disk.fail_sync(file, chance, tally);
            }
            _write_or_roll => env.count(Group::Fault, "a write fails"),
        }
        self.todo.clear();
        self.input(Input::Failed(Arc::from("the disk said no")), now_ms);
    }

    /// Whether the log takes nothing more until it is opened again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.core.failure().is_some()
    }

    fn file(&self, segment: SegmentId) -> File {
        let found = self.segments.iter().rev().find(|known| known.id == segment);
        found.map_or_else(|| unreachable!("no such segment: {segment:?}"), |known| known.file)
    }

    fn roll(&mut self, next: SegmentId, disk: &mut Disk) {
        let Some(file) = disk.open(SPARE) else { unreachable!("a roll without a spare") };
        disk.rename(SPARE, &next.file_name());
        disk.sync_names();
        self.segments.push(Segment { id: next, file, last_ms: 0, bytes: 0 });
    }

    fn make_spare(&self, disk: &mut Disk) -> Result<(), Full> {
        let file = disk.create(SPARE);
        if let Err(full) = disk.set_len(file, self.settings.segment_bytes) {
            disk.remove(SPARE);
            return Err(full);
        }
        disk.sync(file);
        disk.sync_names();
        Ok(())
    }

    fn durable(&mut self, written: &Written, now_ms: u64) {
        self.take_frames(&written.bytes, written.frames_at, u64::MAX);
        self.end = written.end;
        self.feeds.extend(written.feeds.iter().cloned());
        if let Some(segment) = self.segments.last_mut() {
            segment.last_ms = segment.last_ms.max(now_ms);
            segment.bytes = written.at + written.bytes.len() as u64;
        }
    }

    /// Takes the records of all whole frames from byte `at` on, up to number `end`.
    fn take_frames(&mut self, bytes: &[u8], mut at: usize, end: u64) {
        let marker = self.settings.marker;
        while let Some(rest) = bytes.get(at..)
            && let Some(header) = Header::read(marker, rest)
            && let Some(frame) = Frame::read(header, rest)
        {
            at += header.frame_len();
            for entry in frame.entries().filter(|entry| entry.position.offset < end) {
                let record = StoredRecord {
                    position: entry.position,
                    stream: entry.head.stream,
                    time_ms: header.time_ms,
                    dedup: entry.head.dedup,
                    data: bytes::Bytes::copy_from_slice(entry.data),
                };
                self.items.push_back((entry.position.offset, Item::Record(record)));
            }
        }
    }

    /// The durable records from `cursor` on, at most `most`.
    #[must_use]
    pub fn read(&self, cursor: &Cursor, most: usize) -> Vec<Item> {
        let from = cursor.next_in(0);
        let start = self.items.partition_point(|(number, _)| *number < from);
        self.items.range(start..).take(most).map(|(_, item)| item.clone()).collect()
    }

    /// One durable record.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Item> {
        let at = self.items.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.items.get(at).map(|(_, item)| item)
    }

    /// After the newest durable record.
    #[must_use]
    pub fn end(&self) -> Cursor {
        cursor(self.end)
    }

    /// Before the oldest record kept.
    #[must_use]
    pub fn begin(&self) -> Cursor {
        cursor(self.segments.first().map_or(0, |segment| segment.id.0))
    }

    /// Newest durable position of a feed.
    #[must_use]
    pub fn feed(&self, feed: u128) -> Option<&FeedPosition> {
        self.feeds.get(&feed)
    }

    /// The segments, oldest first; the last one is written on.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The oldest segment, if `policy` and the low-water mark let it go.
    #[must_use]
    pub fn droppable(
        &self,
        policy: &Retention,
        low_water: &Cursor,
        now_ms: u64,
    ) -> Option<SegmentInfo> {
        let (active, sealed) = self.segments.split_last()?;
        let ends = self.segments.iter().skip(1).map(|next| next.id.0);
        let summary = |(segment, end): (&Segment, u64)| Summary {
            id: segment.id,
            end,
            bytes: segment.bytes,
            first_ms: 0,
            last_ms: segment.last_ms,
            chain: Chain::START,
            marked: false,
        };
        let sealed: Vec<_> = sealed.iter().zip(ends).map(summary).collect();
        droppable(&sealed, active.bytes, policy, low_water, now_ms)
    }

    /// Number after the last record of a sealed segment.
    #[must_use]
    pub fn end_of(&self, segment: SegmentId) -> Option<u64> {
        let at = self.segments.iter().position(|known| known.id == segment)?;
        self.segments.get(at + 1).map(|next| next.id.0)
    }

    /// Removes the oldest segment's file; what must outlive it was appended again before.
    pub fn remove_oldest(&mut self, disk: &mut Disk) {
        let gone = self.segments.remove(0);
        disk.remove(&gone.id.file_name());
        disk.sync_names();
        let first = self.segments.first().map_or(u64::MAX, |segment| segment.id.0);
        while self.items.front().is_some_and(|(number, _)| *number < first) {
            self.items.pop_front();
        }
    }
}

/// Whether a whole spare segment is there; half of one is removed.
fn check_spare(settings: &LogSettings, disk: &mut Disk) -> bool {
    let len = disk.open(SPARE).map(|file| disk.read(file).len());
    if len.is_some_and(|len| len != settings.segment_bytes) {
        disk.remove(SPARE);
    }
    len == Some(settings.segment_bytes)
}

fn files(settings: &LogSettings, env: &mut Env) -> Result<Vec<(SegmentId, File)>, Died> {
    let disk = &mut env.disk;
    let named = |name| Some((SegmentId::from_file_name(name)?, disk.open(name)?));
    let mut files: Vec<_> = disk.names().filter_map(named).collect();
    if files.is_empty() {
        let file = disk.create(&SegmentId(0).file_name());
        let Ok(()) = disk.set_len(file, settings.segment_bytes) else { return Err(Died) };
        files.push((SegmentId(0), file));
    }
    files.sort_by_key(|(id, _)| *id);
    Ok(files)
}

/// A cursor before record `number`.
#[must_use]
pub fn cursor(number: u64) -> Cursor {
    let text = number.to_string();
    text.parse().unwrap_or_else(|_| unreachable!("a number is a cursor"))
}

fn name<T>(effect: &Effect<T>) -> &'static str {
    match effect {
        Effect::Roll { .. } => "roll",
        Effect::Write { .. } => "write",
        Effect::Sync { .. } => "sync",
        Effect::Durable(_) => "durable",
        Effect::Answer { answer: Ok(Answer::Appended(_)), .. } => "answer: appended",
        Effect::Answer { answer: Ok(Answer::Done), .. } => "answer: done",
        Effect::Answer { answer: Err(error), .. } => match error {
            AppendError::Malformed(_) => "answer: malformed",
            AppendError::GuardMismatch { .. } => "answer: guard mismatch",
            AppendError::Busy { .. } => "answer: busy",
            AppendError::Full => "answer: full",
            AppendError::Failed { .. } => "answer: failed",
            AppendError::Closed => "answer: closed",
        },
        Effect::MakeSpare => "make spare",
        Effect::Closed => "closed",
    }
}
