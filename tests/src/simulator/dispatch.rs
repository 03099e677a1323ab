//! The shell of delivery in a world: carries the core's effects out and tells it what happened.

use std::sync::Arc;

use evoke_event_log::commit::Answer;
use evoke_event_log::{Append, AppendError, Prepared};
use evoke_invoker::pool::WarmKey;
use evoke_schemas::{Data, Position};
use evoke_trigger_engine::Verdict;
use evoke_trigger_engine::delivery::{DeliveryEffect, DeliveryInput, Start};
use evoke_trigger_engine::ingest::IngestInput;
use evoke_trigger_engine::record::{DeliveryId, StoredEvent};

use super::bounds::PAGE;
use super::clients;
use super::crash::Moment;
use super::env::{Env, Happening, Inner, LOG, Lives};
use super::process::{Process, Ticket};
use super::runs::{Asked, Ended};
use super::store::{Flush, Kept};
use super::tally::Group;
use super::witness::Token;

impl Process {
    /// Takes one thing that happened to deliveries, and carries out what follows.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn deliver(&mut self, input: DeliveryInput, env: &mut Env) -> Lives {
        let name = input_name(&input);
        env.count(Group::Delivery, name);
        if let DeliveryInput::Loaded { next, .. } = &input {
            env.oracle.loads(next.next_in(0));
        }
        let mut effects = Vec::new();
        self.deliveries.step(input, env.wall_ms(), &mut effects);
        for effect in effects {
            env.count(Group::Delivery, effect_name(&effect));
            self.carry_out(effect, env)?;
        }
        self.check_bounds(name, env);
        Ok(())
    }

    pub(super) fn carry_out(&mut self, effect: DeliveryEffect, env: &mut Env) -> Lives {
        match effect {
            DeliveryEffect::Start(start) => self.start_attempt(*start, env),
            DeliveryEffect::RecordTriggers { position, event, .. } => {
                record_triggers(position, &event, env);
                Ok(())
            }
            DeliveryEffect::Flush => {
                env.comes_to(Moment::BeforeFlush)?;
                let flush = env.store.begin_flush();
                let in_ms = env.chance.weighted(&[(6, 0), (3, 1), (1, 20)]);
                env.soon(in_ms, Happening::Within(self.life, Inner::Flushed(flush)));
                Ok(())
            }
            DeliveryEffect::Append(append) => {
                self.append_progress(append, env);
                Ok(())
            }
            DeliveryEffect::Announce { id, namespace, trigger } => {
                self.announce(id, namespace, trigger, env)
            }
            DeliveryEffect::ReadRange { replay, limit } => {
                self.read_range(&replay, limit, env);
                Ok(())
            }
            DeliveryEffect::ReadHome { id, home } => {
                let data = self.event_bytes(home);
                self.inputs.push_back(DeliveryInput::CarryRead { id, data });
                Ok(())
            }
            DeliveryEffect::DropSegment(segment) => self.drop_segment(segment, env),
            DeliveryEffect::CloseIntake { namespace, cap } => {
                self.ingest(IngestInput::Close { namespace, cap }, env)
            }
            DeliveryEffect::OpenIntake { namespace } => {
                self.ingest(IngestInput::Open { namespace }, env)
            }
            DeliveryEffect::Answer { ticket, answer } => {
                self.command_answered(ticket, answer, env);
                Ok(())
            }
        }
    }

    fn start_attempt(&mut self, start: Start, env: &mut Env) -> Lives {
        env.oracle.chosen(start.id);
        if start.body.is_none() {
            let number = self.fetches;
            self.fetches += 1;
            self.fetching.insert(number, start);
            let in_ms = env.chance.below(4);
            env.soon(in_ms, Happening::Within(self.life, Inner::Fetched(number)));
            return Ok(());
        }
        self.begin_attempt(start, env)
    }

    /// An event that was not at hand is read, or is not there.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn fetched(&mut self, number: u64, env: &mut Env) -> Lives {
        let Some(mut start) = self.fetching.remove(&number) else { return Ok(()) };
        match self.event_at(start.home) {
            Some(event) => {
                start.body = Some(Arc::new(event));
                self.begin_attempt(start, env)
            }
            None => {
                self.inputs.push_back(DeliveryInput::Unreadable { id: start.id, home: start.home });
                Ok(())
            }
        }
    }

    fn begin_attempt(&mut self, start: Start, env: &mut Env) -> Lives {
        let id = start.id;
        let body = start.body.as_deref();
        let token = body.and_then(token_of);
        let namespace = body.map(|event| event.namespace.clone());
        let namespace = namespace.unwrap_or_else(|| super::plan::namespace("nobody"));
        let revision = env.entities.revision(id.rule);
        let key = WarmKey { namespace, action: id.rule, revision };
        let ended = self.runs.begin(Asked { id, activation: start.activation_id, token, key }, env);
        self.ended(ended, env);
        env.comes_to(Moment::DuringRun)
    }

    /// Attempts ended: their records are staged, then the core is told.
    pub(super) fn ended(&mut self, ended: Vec<Ended>, env: &mut Env) {
        for Ended { id, activation, token, verdict, ran, .. } in ended {
            if ran && !matches!(verdict, Verdict::PlatformFailed { .. }) {
                let success = matches!(verdict, Verdict::Success);
                env.oracle.staged(activation, token, id.rule);
                env.store.stage(activation, Kept { token, rule: id.rule, success });
            }
            self.inputs.push_back(DeliveryInput::AttemptEnded { id, verdict });
        }
    }

    /// The store has made durable what a flush asked for.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn flushed(&mut self, flush: Flush, env: &mut Env) -> Lives {
        env.store.end_flush(flush);
        env.say(format_args!("flushed"));
        env.comes_to(Moment::AfterFlush)?;
        self.inputs.push_back(DeliveryInput::Flushed);
        Ok(())
    }

    fn append_progress(&mut self, append: Append, env: &mut Env) {
        match Prepared::new(append, &self.limits) {
            Ok(batch) => self.log.submit(Ticket::Progress, batch, env.wall_ms()),
            Err(error) => env.oracle.accuse(format!("progress is malformed: {error}")),
        }
    }

    /// The log has answered an append of progress.
    pub(super) fn progress_answered(&mut self, answer: Result<Answer, AppendError>, env: &mut Env) {
        match &answer {
            Ok(Answer::Appended(appended)) => {
                let positions = appended.positions.clone();
                self.inputs.push_back(DeliveryInput::Durable { positions });
            }
            Err(AppendError::Busy { .. } | AppendError::Full) => {
                self.inputs.push_back(DeliveryInput::AppendRefused);
            }
            Err(AppendError::Failed { .. } | AppendError::Closed) => {}
            Ok(Answer::Done) | Err(_) => {
                env.oracle.accuse(format!("progress is answered with {answer:?}"));
            }
        }
    }

    /// Reads on in the log, if the core wants more and there is more.
    pub(super) fn read_on(&mut self, env: &mut Env) {
        self.reading = false;
        let from = self.deliveries.loaded().clone();
        let items = self.log.read(&from, env.chance.within(1, PAGE) as usize);
        let mut next = from;
        items.iter().for_each(|item| item.pass(&mut next));
        if self.log.read(&next, 1).is_empty() {
            next = self.log.end();
        }
        self.inputs.push_back(DeliveryInput::Loaded { items, next });
    }
}

/// The records of the triggers that an event fired.
fn record_triggers(position: Position, event: &StoredEvent, env: &mut Env) {
    let Some(token) = token_of(event).or_else(|| env.oracle.token_at(position)) else { return };
    for trigger in event.triggers.iter().filter(|it| it.rules.iter().any(|rule| rule.active)) {
        let id = DeliveryId::live(position, trigger.uid).activation_id(LOG);
        env.store.stage(id, Kept { token, rule: trigger.uid, success: true });
    }
}

/// The token in an event's data.
fn token_of(event: &StoredEvent) -> Option<Token> {
    if !clients::is_theirs(&event.event) {
        return None;
    }
    match &event.event.data {
        Data::Json(bytes) => Token::find(bytes),
        Data::None | Data::Text(_) | Data::Binary(_) => None,
    }
}

fn input_name(input: &DeliveryInput) -> &'static str {
    match input {
        DeliveryInput::Loaded { .. } => "loaded",
        DeliveryInput::AttemptEnded { verdict, .. } => match verdict {
            Verdict::Success => "attempt ended: success",
            Verdict::FunctionFailed { .. } => "attempt ended: function failed",
            Verdict::PlatformFailed { .. } => "attempt ended: platform failed",
            Verdict::ActionMissing => "attempt ended: action missing",
        },
        DeliveryInput::BatchFailed { .. } => "batch failed",
        DeliveryInput::Unreadable { .. } => "unreadable",
        DeliveryInput::Erased { .. } => "erased",
        DeliveryInput::Erase { .. } => "erase",
        DeliveryInput::Flushed => "flushed",
        DeliveryInput::Durable { .. } => "durable",
        DeliveryInput::AppendRefused => "append refused",
        DeliveryInput::RuleChanged(_) => "rule changed",
        DeliveryInput::RuleRemoved { .. } => "rule removed",
        DeliveryInput::Capacity(_) => "capacity",
        DeliveryInput::Bounds { .. } => "bounds",
        DeliveryInput::ClockStepped { .. } => "clock stepped",
        DeliveryInput::Tick => "tick",
        DeliveryInput::Revive { .. } => "revive",
        DeliveryInput::Discard { .. } => "discard",
        DeliveryInput::Announced { .. } => "announced",
        DeliveryInput::CreateReplay { .. } => "create replay",
        DeliveryInput::CancelReplay { .. } => "cancel replay",
        DeliveryInput::RangeRead(_) => "range read",
        DeliveryInput::Carry { .. } => "carry",
        DeliveryInput::CarryRead { .. } => "carry read",
    }
}

fn effect_name(effect: &DeliveryEffect) -> &'static str {
    match effect {
        DeliveryEffect::Start(start) if start.attempt > 1 => "start: again",
        DeliveryEffect::Start(start) if start.body.is_none() => "start: event to be read",
        DeliveryEffect::Start(_) => "start: first",
        DeliveryEffect::RecordTriggers { .. } => "record triggers",
        DeliveryEffect::Flush => "flush",
        DeliveryEffect::Append(_) => "append",
        DeliveryEffect::Announce { .. } => "announce",
        DeliveryEffect::ReadRange { .. } => "read range",
        DeliveryEffect::ReadHome { .. } => "read home",
        DeliveryEffect::DropSegment(_) => "drop segment",
        DeliveryEffect::CloseIntake { .. } => "close intake",
        DeliveryEffect::OpenIntake { .. } => "open intake",
        DeliveryEffect::Answer { answer: Ok(()), .. } => "answer: done",
        DeliveryEffect::Answer { answer: Err(_), .. } => "answer: refused",
    }
}
