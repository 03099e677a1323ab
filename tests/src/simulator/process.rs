//! The process of one life: the cores, and the thin shell between them and the world.
//!
//! The shell of ingest is in `intake`, that of delivery in `dispatch`, checkpoints and retention in
//! `upkeep`. What a step leaves to do at once is done before the step ends ([`Process::pump`]);
//! what takes time is asked of the world.

use std::collections::{BTreeMap, VecDeque};

use evoke_event_log::commit::Input as LogInput;
use evoke_event_log::frame::Marker;
use evoke_event_log::{Item, Limits, SegmentId};
use evoke_schemas::{EntityName, Namespace, Position};
use evoke_trigger_engine::delivery::{Deliveries, DeliveryInput, Start};
use evoke_trigger_engine::ingest::{self, Ingest, IngestInput};
use evoke_trigger_engine::record::{DeliveryId, HeldRecord, Home, StoredEvent, stream};

use super::commands::Command;
use super::env::{Died, Env, Happening, Inner, Lives};
use super::feed::Fed;
use super::intake::Waiter;
use super::log::{Happened, Log, LogSettings};
use super::runs::Runs;
use super::upkeep::Writing;

/// Who waits for the log.
#[derive(Clone, Copy, Debug)]
pub enum Ticket {
    /// A batch of ingest.
    Ingest(ingest::Token),
    /// Records of progress.
    Progress,
    /// A segment that is to go.
    Drop,
    /// The position of a deleted feed, which is to go.
    Forget(usize),
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    pub(super) life: u32,
    pub(super) log: Log<Ticket>,
    pub(super) limits: Limits,
    pub(super) ingest: Ingest,
    /// Batches under way: for whom.
    pub(super) waiters: BTreeMap<ingest::Token, Waiter>,
    pub(super) batches: ingest::Token,
    /// Feeds, by number of their lives.
    pub(super) feeds: BTreeMap<usize, Fed>,
    /// Tasks of feeds that were started.
    pub(super) tasks: u64,
    pub(super) deliveries: Deliveries,
    /// What the delivery core is to be told, in order.
    pub(super) inputs: VecDeque<DeliveryInput>,
    pub(super) runs: Runs,
    /// Attempts whose event is being read.
    pub(super) fetching: BTreeMap<u64, Start>,
    pub(super) fetches: u64,
    pub(super) reading: bool,
    /// A checkpoint on its way to the disk.
    pub(super) writing: Option<Writing>,
    /// Number before which nothing is open in the newest checkpoint.
    pub(super) checkpointed: u64,
    /// A segment that goes as soon as a checkpoint covers it.
    pub(super) dropping: Option<SegmentId>,
    /// Dead letters that the hub is telling of.
    pub(super) telling: BTreeMap<DeliveryId, (Namespace, EntityName)>,
    /// Commands that have no answer yet.
    pub(super) commands: BTreeMap<u64, Command>,
    pub(super) tickets: u64,
    disk_busy: bool,
    wake_at: Option<u64>,
}

// === impl Process ===

impl Process {
    /// Starts on what the disk holds.
    ///
    /// # Errors
    /// [`Died`].
    pub fn start(life: u32, env: &mut Env) -> Result<Self, Died> {
        // A bound that a batch of a client never meets, and a group does.
        let batch_bytes = env.plan.segment_bytes / 2;
        let limits = Limits { batch_bytes, group_bytes: batch_bytes, ..Limits::default() };
        let settings = LogSettings {
            marker: Marker(*b"simulatd"),
            segment_bytes: env.plan.segment_bytes,
            limits: limits.clone(),
        };
        let log = Log::open(settings, env)?;
        let (seen, end) = (env.oracle.seen(), log.end());
        if seen > end.next_in(0) {
            env.oracle.accuse(format!("the log ends at {end} and had {seen} durable records"));
        }
        for item in log.read(&super::log::cursor(seen), usize::MAX) {
            if let Item::Record(record) = item {
                env.oracle.durable(&record, &env.store);
            }
        }
        let ingest = super::intake::open(&log, env);
        let (deliveries, effects, checkpointed) = super::upkeep::recover(&log, env);
        let mut process = Self {
            life,
            log,
            limits,
            ingest,
            waiters: BTreeMap::new(),
            batches: 0,
            feeds: BTreeMap::new(),
            tasks: 0,
            deliveries,
            inputs: VecDeque::new(),
            runs: Runs::new(life, env),
            fetching: BTreeMap::new(),
            fetches: 0,
            reading: false,
            writing: None,
            checkpointed,
            dropping: None,
            telling: BTreeMap::new(),
            commands: BTreeMap::new(),
            tickets: 0,
            disk_busy: false,
            wake_at: None,
        };
        process.begin(effects, env)?;
        let living: Vec<_> = env.sources.living().map(|(life, _)| life).collect();
        for life in living {
            process.feed_wanted(life, env);
        }
        process.pump(env)?;
        Ok(process)
    }

    /// Something happens to the process.
    ///
    /// # Errors
    /// [`Died`].
    pub fn happens(&mut self, what: Inner, env: &mut Env) -> Lives {
        match what {
            Inner::Disk => {
                self.disk_busy = false;
                let happened = self.log.carry_out(env)?;
                self.happened(happened, env)?;
            }
            // One that was set before an earlier one.
            Inner::Wake(at_ms) if self.wake_at != Some(at_ms) => return Ok(()),
            Inner::Wake(_) => {
                self.wake_at = None;
                self.log.input(LogInput::Tick, env.wall_ms());
                self.inputs.push_back(DeliveryInput::Tick);
            }
            Inner::Confirmed(token, position) => {
                let stored = self.event_at(position).map(std::sync::Arc::new);
                self.ingest(IngestInput::Confirmed { token, position, stored }, env)?;
            }
            Inner::Sandbox(fact) => {
                let ended = self.runs.sandbox(fact, env);
                self.ended(ended, env);
            }
            Inner::RunEnds(run) => {
                let ended = self.runs.run_ends(run, env);
                self.ended(ended, env);
            }
            Inner::Feed(life, step) => self.feed_on(life, step, env)?,
            Inner::Announce(id) => self.announce_again(id, env)?,
            Inner::Flushed(flush) => self.flushed(flush, env)?,
            Inner::Fetched(number) => self.fetched(number, env)?,
            Inner::ReadOn => self.read_on(env),
            Inner::Checkpoint(step) => self.checkpoint_step(step, env)?,
        }
        self.pump(env)
    }

    /// Carries out what can be at once, and asks for what takes time.
    ///
    /// # Errors
    /// [`Died`].
    pub(super) fn pump(&mut self, env: &mut Env) -> Lives {
        loop {
            if let Some(input) = self.inputs.pop_front() {
                self.deliver(input, env)?;
            } else if self.log.is_busy() && !self.log.waits_for_disk() {
                let happened = self.log.carry_out(env)?;
                self.happened(happened, env)?;
            } else {
                break;
            }
        }
        if self.log.has_failed() {
            env.say(format_args!("the log is poisoned: the process exits"));
            env.death = Some(super::plan::Death::Killed);
            return Err(Died);
        }
        if self.log.waits_for_disk() && !self.disk_busy {
            self.disk_busy = true;
            let in_ms = env.chance.weighted(&[(60, 0), (30, 1), (9, 4), (1, 300)]);
            env.soon(in_ms, Happening::Within(self.life, Inner::Disk));
        }
        let more = !self.deliveries.loaded().covers(&self.log.end());
        if more && !self.reading && self.deliveries.wants_items() {
            self.reading = true;
            let in_ms = env.chance.weighted(&[(8, 0), (1, 2), (1, 30)]);
            env.soon(in_ms, Happening::Within(self.life, Inner::ReadOn));
        }
        self.set_timer(env);
        Ok(())
    }

    /// Where the process stands, for whoever looks for what it waits for.
    #[must_use]
    pub fn state(&self) -> String {
        let it = &self.deliveries;
        format!(
            "loaded {} of {}, low water {}, {} running, {} unsettled, wake at {:?}, reading {}, {:?}",
            it.loaded(),
            self.log.end(),
            it.low_water(),
            it.running(),
            it.unsettled(),
            it.wake_at(),
            self.reading,
            self.dropping,
        )
    }

    fn set_timer(&mut self, env: &mut Env) {
        let wakes = self.log.wake_ms().into_iter().chain(self.deliveries.wake_at());
        let Some(wall_ms) = wakes.min() else { return };
        let at_ms = env.clock.true_of_wall(wall_ms).max(env.clock.true_ms() + 1);
        if self.wake_at.is_none_or(|set| at_ms < set) {
            self.wake_at = Some(at_ms);
            env.queue.at(at_ms, Happening::Within(self.life, Inner::Wake(at_ms)));
        }
    }

    fn happened(&mut self, happened: Happened<Ticket>, env: &mut Env) -> Lives {
        match happened {
            Happened::Nothing | Happened::Closed => {}
            Happened::Durable => {
                let from = super::log::cursor(env.oracle.seen());
                for item in self.log.read(&from, usize::MAX) {
                    if let Item::Record(record) = item {
                        env.oracle.durable(&record, &env.store);
                    }
                }
            }
            Happened::Answered(Ticket::Ingest(token), answer) => {
                self.ingest_answered(token, answer, env)?;
            }
            Happened::Answered(Ticket::Progress, answer) => self.progress_answered(answer, env),
            Happened::Answered(Ticket::Forget(life), answer) => {
                let done = matches!(
                    answer,
                    Ok(_) | Err(evoke_event_log::AppendError::GuardMismatch { .. })
                );
                self.forgotten(life, done, env);
            }
            Happened::Answered(Ticket::Drop, answer) => self.drop_answered(answer, env)?,
        }
        Ok(())
    }

    /// Bytes of the event that stands at a position, or was copied there.
    pub(super) fn event_bytes(&self, position: Position) -> Option<bytes::Bytes> {
        let record = self.log.get(position.offset)?.record()?;
        match record.stream {
            stream::EVENT | stream::INVOCATION => Some(record.data.clone()),
            stream::PARKED | stream::DEAD => {
                match HeldRecord::decode(record.data.clone()).ok()?.home {
                    Home::Copy(data) => Some(data),
                    Home::At(_) => None,
                }
            }
            _other => None,
        }
    }

    /// The event that stands at a position, or was copied there.
    pub(super) fn event_at(&self, position: Position) -> Option<StoredEvent> {
        StoredEvent::decode(self.event_bytes(position)?).ok()
    }

    /// Where the event of a held delivery stands.
    pub(super) fn home_of(&self, held: &HeldRecord) -> Position {
        match &held.home {
            Home::At(position) => *position,
            Home::Copy(_) => held.id.position,
        }
    }

    /// The index of rules, to be changed with the entities.
    pub fn index(&mut self) -> &mut evoke_trigger_engine::index::RuleIndex {
        &mut self.ingest.index
    }
}
