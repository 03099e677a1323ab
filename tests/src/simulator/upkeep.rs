//! Upkeep in a world: recovery, checkpoints, retention, replays of ranges, dead letters told of.

use evoke_event_log::commit::{Answer, Input as LogInput};
use evoke_event_log::{AppendError, Item, Retention, SegmentId};
use evoke_schemas::{EntityName, Namespace};
use evoke_trigger_engine::IngestError;
use evoke_trigger_engine::delivery::{
    Deliveries, DeliveryEffect, DeliveryInput, RangeMatch, RangeRead, announcement, key_of,
    qualifies,
};
use evoke_trigger_engine::record::{DeliveryId, ReplayRecord, StoredEvent, stream};

use super::bounds;
use super::crash::Moment;
use super::disk::File;
use super::env::{Env, Happening, Inner, LOG, Lives};
use super::intake::Waiter;
use super::log::Log;
use super::plan::shared;
use super::process::{Process, Ticket};
use super::tally::Group;

const CHECKPOINT: &str = "checkpoint";
const HALF_WRITTEN: &str = "checkpoint.tmp";
/// Items of a replay's range that are read at once.
const RANGE_ITEMS: usize = 60;

/// A checkpoint on its way to the disk.
#[derive(Debug)]
pub(super) struct Writing {
    file: File,
    /// Number before which nothing is open in it.
    low_water: u64,
}

/// Deliveries as they are at start: the newest checkpoint, then the records behind it.
pub(super) fn recover(log: &Log<Ticket>, env: &mut Env) -> (Deliveries, Vec<DeliveryEffect>, u64) {
    let mut effects = Vec::new();
    let file = env.disk.open(CHECKPOINT);
    let bytes = file.map(|file| bytes::Bytes::copy_from_slice(env.disk.read(file)));
    let restored =
        bytes.map(|bytes| Deliveries::restore(bounds::delivery(), LOG, &bytes, &mut effects));
    let mut deliveries = match restored {
        Some(Ok(deliveries)) => {
            env.count(Group::Delivery, "checkpoint restored");
            deliveries
        }
        Some(Err(error)) => {
            env.oracle.accuse(format!("the checkpoint is broken: {error}"));
            Deliveries::new(bounds::delivery(), LOG, log.begin())
        }
        None => Deliveries::new(bounds::delivery(), LOG, log.begin()),
    };
    let low_water = deliveries.low_water().next_in(0);
    env.say(format_args!("recovery from {}, low water {low_water}", deliveries.applied()));
    loop {
        let mut next = deliveries.applied().clone();
        let items = log.read(&next, bounds::PAGE as usize);
        items.iter().for_each(|item| item.pass(&mut next));
        if items.is_empty() {
            break;
        }
        deliveries.recover(items, next, &mut effects);
    }
    let rules: Vec<_> = env.entities.rules().map(shared).collect();
    deliveries.resume(rules, env.wall_ms(), &mut effects);
    (deliveries, effects, low_water)
}

impl Process {
    /// Carries out what recovery left to do, and lets attempts begin.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn begin(&mut self, effects: Vec<DeliveryEffect>, env: &mut Env) -> Lives {
        for effect in effects {
            self.carry_out(effect, env)?;
        }
        self.inputs.push_back(DeliveryInput::Capacity(bounds::RUNNING));
        Ok(())
    }

    /// The shell sees that the clock was set.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn clock_stepped(&mut self, by_ms: i64, env: &mut Env) -> Lives {
        let end = self.log.end();
        self.inputs.push_back(DeliveryInput::ClockStepped { by_ms, end });
        self.pump(env)
    }

    /// Compares what the core holds with what it may.
    pub(super) fn check_bounds(&mut self, after: &str, env: &mut Env) {
        env.oracle.low_water(self.deliveries.low_water().next_in(0));
        let (running, unsettled) = (self.deliveries.running(), self.deliveries.unsettled());
        if running > bounds::RUNNING || unsettled > bounds::MOST_UNSETTLED {
            env.oracle.accuse(format!(
                "out of bounds after `{after}`: {running} running, {unsettled} unsettled"
            ));
        }
    }

    // --- checkpoints

    /// Begins to write a checkpoint, unless one is being written.
    pub(super) fn begin_checkpoint(&mut self, env: &mut Env) {
        if self.writing.is_some() {
            return;
        }
        env.disk.remove(HALF_WRITTEN);
        let bytes = self.deliveries.checkpoint();
        let file = env.disk.create(HALF_WRITTEN);
        if env.disk.write(file, 0, &bytes).is_err() {
            env.disk.remove(HALF_WRITTEN);
            return;
        }
        let low_water = self.deliveries.low_water().next_in(0);
        env.say(format_args!("checkpoint of {} bytes, low water {low_water}", bytes.len()));
        self.writing = Some(Writing { file, low_water });
        env.soon(1, Happening::Within(self.life, Inner::Checkpoint(0)));
    }

    /// The next step of a checkpoint: sync, name, sync the name.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn checkpoint_step(&mut self, step: u8, env: &mut Env) -> Lives {
        env.comes_to(Moment::DuringCheckpoint)?;
        let Some(writing) = &self.writing else { return Ok(()) };
        match step {
            0 => env.disk.sync(writing.file),
            1 => env.disk.rename(HALF_WRITTEN, CHECKPOINT),
            _last => {
                env.disk.sync_names();
                self.checkpointed = writing.low_water;
                self.writing = None;
                env.count(Group::Delivery, "checkpoint written");
                return self.drop_when_covered(env);
            }
        }
        env.soon(1, Happening::Within(self.life, Inner::Checkpoint(step + 1)));
        Ok(())
    }

    // --- retention

    /// Looks for a segment to drop, by size and as if the log's room were short.
    pub(super) fn retain(&mut self, env: &mut Env) {
        if self.deliveries.is_carrying() || self.dropping.is_some() {
            return;
        }
        let policy = Retention { max_age_ms: None, max_bytes: Some(1) };
        let low_water = self.deliveries.low_water();
        if let Some(info) = self.log.droppable(&policy, low_water, env.wall_ms()) {
            env.say(format_args!("retention: segment {} may go", info.id.0));
            self.inputs.push_back(DeliveryInput::Carry { segment: info.id, to: info.to });
        }
    }

    /// Nothing alive is in a segment: it goes, once a checkpoint covers what it says.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn drop_segment(&mut self, segment: SegmentId, env: &mut Env) -> Lives {
        self.dropping = Some(segment);
        env.oracle.goes(self.log.end_of(segment).unwrap_or_default());
        self.drop_when_covered(env)
    }

    fn drop_when_covered(&mut self, env: &mut Env) -> Lives {
        let Some(end) = self.dropping.and_then(|segment| self.log.end_of(segment)) else {
            return Ok(());
        };
        if self.checkpointed < end {
            self.begin_checkpoint(env);
            return Ok(());
        }
        let token = Ticket::Drop;
        self.log.input(LogInput::Carry { token, until: end }, env.wall_ms());
        Ok(())
    }

    /// What feeds need of the segment stands behind it now: the file goes.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn drop_answered(
        &mut self,
        answer: Result<Answer, AppendError>,
        env: &mut Env,
    ) -> Lives {
        let Some(segment) = self.dropping.take() else { return Ok(()) };
        if answer.is_err() {
            return Ok(());
        }
        env.comes_to(Moment::BeforeDrop)?;
        env.say(format_args!("retention: segment {} is removed", segment.0));
        env.count(Group::Log, "segment removed");
        self.log.remove_oldest(&mut env.disk);
        let begin = self.log.begin().next_in(0);
        let Env { oracle, disk, witness, .. } = env;
        oracle.dropped(begin, disk, witness);
        env.comes_to(Moment::AfterDrop)
    }

    // --- replays of ranges

    /// Reads on in a replay's range.
    pub(super) fn read_range(&mut self, replay: &ReplayRecord, limit: usize, env: &Env) {
        let rule = env.entities.rule_of(replay.rule_uid);
        let trigger = rule.map(|rule| rule.trigger.name.clone());
        let (mut matches, mut next) = (Vec::new(), replay.next.clone());
        let mut ended = trigger.is_none();
        for item in self.log.read(&replay.next, RANGE_ITEMS) {
            if matches.len() == limit {
                break;
            }
            if item.position().is_some_and(|position| replay.to.is_past(position)) {
                let found = trigger.as_ref().and_then(|name| matching(&item, replay, name));
                matches.extend(found);
                item.pass(&mut next);
            } else {
                ended = true;
                break;
            }
        }
        ended |= next.covers(&replay.to) || self.log.read(&next, 1).is_empty();
        let range = RangeRead { replay: replay.uid, matches, next, ended };
        self.inputs.push_back(DeliveryInput::RangeRead(range));
    }

    // --- dead letters told of

    /// Fires a rule's dead-letter trigger.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn announce(
        &mut self,
        id: DeliveryId,
        namespace: Namespace,
        trigger: EntityName,
        env: &mut Env,
    ) -> Lives {
        let Some(letter) = self.deliveries.dead_letter(id) else { return Ok(()) };
        let event = self.event_at(self.home_of(&letter.held));
        let activation = id.activation_id(LOG);
        match announcement(namespace.clone(), trigger.clone(), activation, &letter, event.as_ref())
        {
            Some(incoming) => {
                self.telling.insert(id, (namespace, trigger));
                self.submit(Waiter::Announcement(id), vec![incoming], None, env)
            }
            None => {
                env.count(Group::Load, "dead letter about too many others");
                self.inputs.push_back(DeliveryInput::Announced { id });
                Ok(())
            }
        }
    }

    /// Tries again to tell of a dead letter.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn announce_again(&mut self, id: DeliveryId, env: &mut Env) -> Lives {
        match self.telling.remove(&id) {
            Some((namespace, trigger)) => self.announce(id, namespace, trigger, env),
            None => Ok(()),
        }
    }

    /// The hub's own event is in the log, or was refused.
    pub(super) fn announce_answered(
        &mut self,
        id: DeliveryId,
        refused: Option<&IngestError>,
        env: &mut Env,
    ) {
        match refused {
            None | Some(IngestError::TriggerMissing(_)) => {
                env.count(Group::Load, "dead letter told of");
                self.telling.remove(&id);
                self.inputs.push_back(DeliveryInput::Announced { id });
            }
            Some(_full_or_closed) => {
                let in_ms = env.chance.within(1_000, 60_000);
                env.soon(in_ms, Happening::Within(self.life, Inner::Announce(id)));
            }
        }
    }
}

/// The event of an item, if the replay delivers it.
fn matching(item: &Item, replay: &ReplayRecord, trigger: &EntityName) -> Option<RangeMatch> {
    let record = item.record().filter(|record| record.stream == stream::EVENT)?;
    let within = (replay.from_ms..replay.to_ms).contains(&record.time_ms);
    let event = StoredEvent::decode(record.data.clone()).ok()?;
    (within && qualifies(&event, replay, trigger)).then(|| RangeMatch {
        position: record.position,
        accepted_ms: record.time_ms,
        size: record.data.len() as u32,
        key: key_of(&event.event),
    })
}
