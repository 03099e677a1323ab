//! The process of one life: the cores, and the thin shell between them and the world.

use std::collections::BTreeMap;

use evoke_event_log::commit::Answer;
use evoke_event_log::frame::Marker;
use evoke_event_log::{AppendError, DedupEntry, Item, Limits, Prepared};
use evoke_schemas::Position;
use evoke_trigger_engine::config::IngestConfig;
use evoke_trigger_engine::ingest::{self, Batch, Ingest, IngestEffect, IngestInput};
use evoke_trigger_engine::record::{HeldRecord, Home, StoredEvent, stream};
use evoke_trigger_engine::{Accepted, Target};

use super::crash::Moment;
use super::env::{Died, Env, Happening, Inner, LOG, Lives};
use super::feed::{FEED, Feed};
use super::log::{Happened, Log, LogSettings};
use super::plan::shared;
use super::runs::{Ended, Runs};
use super::tally::Group;
use super::witness::Token;

/// Window of ids: long enough that no step of the clock cuts it short. Unit: milliseconds.
const DEDUP_WINDOW_MS: u64 = 1_000 * 3_600_000;

/// Who waits for an append.
#[derive(Clone, Copy, Debug)]
pub enum Ticket {
    /// A batch of ingest.
    Ingest(ingest::Token),
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    life: u32,
    log: Log<Ticket>,
    limits: Limits,
    ingest: Ingest,
    /// Posts under way: which, and the tokens of their events.
    posts: BTreeMap<ingest::Token, (usize, Vec<Token>)>,
    /// Batches of the feed under way; whether it is one that must be refused.
    feeding: BTreeMap<ingest::Token, bool>,
    feed: Feed,
    batches: ingest::Token,
    runs: Runs,
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
        let limits = Limits::default();
        let settings = LogSettings {
            marker: Marker(*b"simulatd"),
            segment_bytes: env.plan.segment_bytes,
            limits: limits.clone(),
        };
        let log = Log::open(settings, env)?;
        let config = IngestConfig { dedup_window_ms: DEDUP_WINDOW_MS, ..IngestConfig::default() };
        let mut ingest = Ingest::new(config, LOG);
        for trigger in env.entities.triggers() {
            ingest.index.put_trigger(trigger.clone());
        }
        for rule in env.entities.rules() {
            ingest.index.put_rule(shared(rule));
        }
        let feed = Feed::from(log.feed(FEED));
        env.soon(50, Happening::Within(life, Inner::Feed));
        let mut process = Self {
            life,
            log,
            limits,
            ingest,
            posts: BTreeMap::new(),
            feeding: BTreeMap::new(),
            feed,
            batches: 0,
            runs: Runs::new(life, env),
            disk_busy: false,
            wake_at: None,
        };
        process.remember(env);
        process.pump(env)?;
        Ok(process)
    }

    /// Rebuilds the window of ids, and shows the oracle what is durable.
    fn remember(&mut self, env: &mut Env) {
        let mut entries = Vec::new();
        for item in self.log.read(&self.log.begin(), usize::MAX) {
            let Item::Record(record) = item else { continue };
            let (position, time_ms) = (record.position, record.time_ms);
            entries.extend(record.dedup.map(|hash| DedupEntry { hash, position, time_ms }));
            env.oracle.durable(&record, &env.store);
        }
        self.ingest.remember(&entries);
    }

    /// A client's post arrives.
    ///
    /// # Errors
    /// [`Died`].
    pub fn post(&mut self, post: usize, env: &mut Env) -> Lives {
        let plan = std::rc::Rc::clone(&env.plan);
        let Some((tokens, events)) = env.clients.send(&plan, post) else { return Ok(()) };
        self.batches += 1;
        let token = self.batches;
        env.say(format_args!("post {post}: {} events as batch {token}", events.len()));
        self.posts.insert(token, (post, tokens));
        let events = events.into_iter().map(ingest::Prepared::new).collect();
        self.ingest(IngestInput::Submit { token, batch: Batch { events, feed: None } }, env)?;
        self.pump(env)
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
            Inner::Wake => {
                self.wake_at = None;
                let now_ms = env.wall_ms();
                self.log.input(evoke_event_log::commit::Input::Tick, now_ms);
            }
            Inner::Confirmed(token, position) => {
                let stored = self.event_at(position).map(std::sync::Arc::new);
                self.ingest(IngestInput::Confirmed { token, position, stored }, env)?;
            }
            Inner::Feed => self.feed_on(env)?,
            Inner::Sandbox(fact) => {
                let ended = self.runs.sandbox(fact, env);
                self.ended(ended, env)?;
            }
            Inner::RunEnds(run) => {
                let ended = self.runs.run_ends(run, env);
                self.ended(ended, env)?;
            }
            Inner::Flushed(_) | Inner::Fetched(_) | Inner::CheckpointStep | Inner::ReadOn => {}
        }
        self.pump(env)
    }

    fn ingest(&mut self, input: IngestInput, env: &mut Env) -> Lives {
        let mut effects = Vec::new();
        self.ingest.step(input, env.wall_ms(), &mut effects);
        for effect in effects {
            match effect {
                IngestEffect::Confirm { token, position } => {
                    env.count(Group::Load, "duplicate looked up");
                    let in_ms = env.chance.below(3);
                    let what = Inner::Confirmed(token, position);
                    env.soon(in_ms, Happening::Within(self.life, what));
                }
                IngestEffect::Append { token, append } => {
                    self.match_anew(&append.records, env);
                    match Prepared::new(append, &self.limits) {
                        Ok(batch) => {
                            self.log.submit(Ticket::Ingest(token), batch, env.wall_ms());
                        }
                        Err(error) => {
                            env.oracle.accuse(format!("a batch is malformed: {error}"));
                        }
                    }
                }
                IngestEffect::Answer { token, answer } => self.answer(token, answer, env)?,
            }
        }
        Ok(())
    }

    /// The oracle's own match of each event that goes to the log now.
    fn match_anew(&self, records: &[evoke_event_log::Record], env: &mut Env) {
        for record in records {
            let Ok(stored) = StoredEvent::decode(record.data.clone()) else { continue };
            let Some(token) = Token::find(&record.data) else { continue };
            let rules = match &stored.target {
                Target::Trigger(trigger) => env.entities.active(&stored.namespace, trigger),
                Target::Hub | Target::Action(_) => Vec::new(),
            };
            env.oracle.matched(token, rules);
        }
    }

    /// The feed sends its next batch, and now and then an earlier task wakes up late.
    fn feed_on(&mut self, env: &mut Env) -> Lives {
        if self.feed.is_done(&env.plan) {
            env.fed = true;
            return Ok(());
        }
        let plan = std::rc::Rc::clone(&env.plan);
        let late = match env.chance.percent(30) {
            true => self.feed.late_batch(&plan),
            false => None,
        };
        let is_late = late.is_some();
        let (events, mark) = late.unwrap_or_else(|| self.feed.batch(&plan, &mut env.chance));
        self.batches += 1;
        let token = self.batches;
        env.say(format_args!("feed sends {} events as batch {token}: {mark:?}", events.len()));
        self.feeding.insert(token, is_late);
        let events = events.into_iter().map(ingest::Prepared::new).collect();
        self.ingest(IngestInput::Submit { token, batch: Batch { events, feed: Some(mark) } }, env)
    }

    fn fed(&mut self, is_late: bool, refused: Option<&ingest::IngestError>, env: &mut Env) {
        match (is_late, refused) {
            (false, None) => {
                env.count(Group::Load, "fed");
                self.feed.acknowledged();
            }
            (true, Some(ingest::IngestError::Superseded { .. })) => {
                env.count(Group::Load, "late feed task refused");
            }
            (true, None) => env.oracle.accuse("a late feed task is let in".to_owned()),
            (false, Some(ingest::IngestError::Superseded { .. })) => {
                env.oracle.accuse("the feed is superseded by nobody".to_owned());
            }
            (_, Some(_busy_or_closed)) => env.count(Group::Load, "feed refused"),
        }
        let in_ms = env.chance.within(1, env.plan.load_ms / 20);
        env.soon(in_ms, Happening::Within(self.life, Inner::Feed));
    }

    fn answer(
        &mut self,
        token: ingest::Token,
        answer: Result<Vec<Accepted>, ingest::IngestError>,
        env: &mut Env,
    ) -> Lives {
        if let Some(late) = self.feeding.remove(&token) {
            self.fed(late, answer.as_ref().err(), env);
            return Ok(());
        }
        let Some((post, tokens)) = self.posts.remove(&token) else { return Ok(()) };
        env.comes_to(Moment::BeforeAnswer)?;
        match answer {
            Ok(accepted) => {
                env.say(format_args!("answer to post {post}: accepted"));
                let told = env.clients.acknowledged(post);
                if told != tokens || accepted.len() != tokens.len() {
                    env.oracle.accuse(format!("post {post} got the answer of another"));
                }
                for (token, accepted) in tokens.into_iter().zip(&accepted) {
                    let kind = if accepted.duplicate { "duplicate" } else { "acknowledged" };
                    env.count(Group::Load, kind);
                    let Env { oracle, disk, witness, .. } = env;
                    oracle.told(token, accepted, disk, witness);
                }
                env.comes_to(Moment::AfterAnswer)?;
            }
            Err(error) => {
                env.say(format_args!("answer to post {post}: {error}"));
                env.count(Group::Load, "refused");
                env.clients.refused(post);
                let in_ms = env.chance.within(100, 3_000);
                env.soon(in_ms, Happening::Post(post));
            }
        }
        Ok(())
    }

    /// Carries out what can be at once, and asks for what takes time.
    fn pump(&mut self, env: &mut Env) -> Lives {
        while self.log.is_busy() && !self.log.waits_for_disk() {
            let happened = self.log.carry_out(env)?;
            self.happened(happened, env)?;
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
        self.set_timer(env);
        Ok(())
    }

    fn set_timer(&mut self, env: &mut Env) {
        let Some(wall_ms) = self.log.wake_ms() else { return };
        let at_ms = env.clock.true_of_wall(wall_ms).max(env.clock.true_ms() + 1);
        if self.wake_at.is_none_or(|set| at_ms < set) {
            self.wake_at = Some(at_ms);
            env.queue.at(at_ms, Happening::Within(self.life, Inner::Wake));
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
        }
        Ok(())
    }

    fn ended(&mut self, ended: Vec<Ended>, env: &mut Env) -> Lives {
        let _ = (ended, env);
        Ok(())
    }

    fn ingest_answered(
        &mut self,
        token: ingest::Token,
        answer: Result<Answer, AppendError>,
        env: &mut Env,
    ) -> Lives {
        match answer {
            Ok(Answer::Appended(appended)) => {
                self.ingest(IngestInput::Synced { token, appended }, env)
            }
            Ok(Answer::Done) => Ok(()),
            Err(error) => self.ingest(IngestInput::Refused { token, error }, env),
        }
    }

    /// The event that stands at a position, or was copied there.
    fn event_at(&self, position: Position) -> Option<StoredEvent> {
        let record = self.log.get(position.offset)?.record()?;
        let data = match record.stream {
            stream::EVENT | stream::INVOCATION => record.data.clone(),
            stream::PARKED | stream::DEAD => {
                match HeldRecord::decode(record.data.clone()).ok()?.home {
                    Home::Copy(data) => data,
                    Home::At(_) => return None,
                }
            }
            _other => return None,
        };
        StoredEvent::decode(data).ok()
    }

    /// The index of rules, to be changed with the entities.
    pub fn index(&mut self) -> &mut evoke_trigger_engine::index::RuleIndex {
        &mut self.ingest.index
    }
}
