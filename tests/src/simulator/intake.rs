//! The shell of ingest in a world: batches of clients, of feeds and of the hub itself.

use std::rc::Rc;

use evoke_event_log::commit::Answer;
use evoke_event_log::{AppendError, DedupEntry, Item, Prepared};
use evoke_trigger_engine::config::IngestConfig;
use evoke_trigger_engine::ingest::{self, Batch, FeedMark, Ingest, IngestEffect, IngestInput};
use evoke_trigger_engine::record::{DeliveryId, StoredEvent};
use evoke_trigger_engine::{Accepted, Incoming, IngestError, Target};

use super::clients;
use super::crash::Moment;
use super::env::{Env, Happening, Inner, LOG, Lives};
use super::feeding::Sender;
use super::log::Log;
use super::plan::shared;
use super::process::{Process, Ticket};
use super::tally::Group;
use super::witness::Token;

/// Window of ids: long enough that no step of the clock cuts it short. Unit: milliseconds.
const DEDUP_WINDOW_MS: u64 = 1_000 * 3_600_000;

/// For whom a batch is.
#[derive(Clone, Debug)]
pub(super) enum Waiter {
    /// A client's post, with what it carries.
    Post(usize, Vec<Token>),
    /// A feed.
    Feed(Sender),
    /// The hub itself, which tells of a dead letter.
    Announcement(DeliveryId),
}

/// Ingest as it is at start: the entities there are, the ids that the log holds.
pub(super) fn open(log: &Log<Ticket>, env: &Env) -> Ingest {
    let config = IngestConfig { dedup_window_ms: DEDUP_WINDOW_MS, ..IngestConfig::default() };
    let mut ingest = Ingest::new(config, LOG);
    for trigger in env.entities.triggers() {
        ingest.index.put_trigger(trigger.clone());
    }
    for rule in env.entities.rules() {
        ingest.index.put_rule(shared(rule));
    }
    let entry = |item: Item| {
        let record = item.record()?;
        let (position, time_ms) = (record.position, record.time_ms);
        record.dedup.map(|hash| DedupEntry { hash, position, time_ms })
    };
    let items = log.read(&log.begin(), usize::MAX);
    let entries: Vec<_> = items.into_iter().filter_map(entry).collect();
    ingest.remember(&entries);
    ingest
}

impl Process {
    /// A client's post arrives.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub fn post(&mut self, post: usize, env: &mut Env) -> Lives {
        let plan = Rc::clone(&env.plan);
        let Some((tokens, events)) = env.clients.send(&plan, post) else { return Ok(()) };
        env.say(format_args!("post {post}: {} events", events.len()));
        self.submit(Waiter::Post(post, tokens), events, None, env)?;
        self.pump(env)
    }

    /// Hands a batch to ingest.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn submit(
        &mut self,
        waiter: Waiter,
        events: Vec<Incoming>,
        feed: Option<FeedMark>,
        env: &mut Env,
    ) -> Lives {
        self.batches += 1;
        let token = self.batches;
        self.waiters.insert(token, waiter);
        let events = events.into_iter().map(ingest::Prepared::new).collect();
        self.ingest(IngestInput::Submit { token, batch: Batch { events, feed } }, env)
    }

    /// Tells the core of ingest what happened, and carries out what follows.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn ingest(&mut self, input: IngestInput, env: &mut Env) -> Lives {
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
                    match_anew(&append.records, env);
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

    /// The log has answered an append of ingest.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn ingest_answered(
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

    fn answer(
        &mut self,
        token: ingest::Token,
        answer: Result<Vec<Accepted>, IngestError>,
        env: &mut Env,
    ) -> Lives {
        match self.waiters.remove(&token) {
            None => Ok(()),
            Some(Waiter::Post(post, tokens)) => self.post_answered(post, tokens, answer, env),
            Some(Waiter::Feed(sender)) => self.fed(sender, answer.as_ref().err(), env),
            Some(Waiter::Announcement(id)) => {
                self.announce_answered(id, answer.as_ref().err(), env);
                Ok(())
            }
        }
    }

    fn post_answered(
        &mut self,
        post: usize,
        tokens: Vec<Token>,
        answer: Result<Vec<Accepted>, IngestError>,
        env: &mut Env,
    ) -> Lives {
        env.comes_to(Moment::BeforeAnswer)?;
        let accepted = match answer {
            Ok(accepted) => accepted,
            Err(error) => {
                env.say(format_args!("answer to post {post}: {error}"));
                env.count(Group::Load, "refused");
                let most_ms = env.clients.refused(post);
                let in_ms = env.chance.within(most_ms / 2, most_ms);
                env.soon(in_ms, Happening::Post(post));
                return Ok(());
            }
        };
        env.say(format_args!("answer to post {post}: accepted"));
        let sent = env.clients.acknowledged(post);
        for token in &tokens {
            let Env { oracle, disk, witness, .. } = env;
            oracle.acknowledged(*token, disk, witness);
        }
        if sent != tokens || accepted.len() != tokens.len() {
            env.oracle.accuse(format!("post {post} got the answer of another"));
        }
        for (token, accepted) in tokens.into_iter().zip(&accepted) {
            let kind = if accepted.duplicate { "duplicate" } else { "acknowledged" };
            env.count(Group::Load, kind);
            env.oracle.told(token, accepted);
        }
        env.comes_to(Moment::AfterAnswer)
    }
}

/// The oracle's own match of each event that goes to the log now.
fn match_anew(records: &[evoke_event_log::Record], env: &mut Env) {
    for record in records {
        let Ok(stored) = StoredEvent::decode(record.data.clone()) else { continue };
        if !clients::is_theirs(&stored.event) {
            continue;
        }
        let Some(token) = Token::find(&record.data) else { continue };
        let rules = match &stored.target {
            Target::Trigger(trigger) => env.entities.active(&stored.namespace, trigger),
            Target::Hub | Target::Action(_) => Vec::new(),
        };
        env.oracle.matched(token, rules);
    }
}
