//! How deliveries begin again: a checkpoint, then the records of progress behind it.
//!
//! Events are not looked at here: those from the low-water mark on are loaded as ever, and what
//! was recovered says which of their deliveries are done, parked or dead.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use evoke_event_log::{Cursor, Item, StoredRecord};
use evoke_schemas::{EntityUid, LogUids, Occasion, Position, Rule};
use hashbrown::HashMap;

use super::{
    Deliveries, Delivery, DeliveryEffect, State, Turn,
    low_water::LowWater,
    pipeline::Pipeline,
    replays::Replay,
    turns::{RuleKey, Turns},
};
use crate::{
    config::DeliveryConfig,
    record::{
        DecodeError, DeliveryId, HeldRecord, Home, OutcomeRecord, Reader, ReplayRecord, Writer,
        read_cursor, stream,
    },
};

const VERSION: u8 = 1;

impl Deliveries {
    /// Deliveries of a log from its beginning, nothing known.
    #[must_use]
    pub fn new(config: DeliveryConfig, log: impl Into<LogUids>, begin: Cursor) -> Self {
        Self {
            pipeline: Pipeline::new(config.progress_records, config.progress_bytes),
            config,
            log: log.into(),
            table: HashMap::new(),
            turns: Turns::default(),
            due: std::collections::BTreeSet::new(),
            water: LowWater::new(begin.clone()),
            settled: HashMap::new(),
            applied: begin,
            refused_until_ms: 0,
            steps: Vec::new(),
            replays: BTreeMap::new(),
            carry: None,
            dropped: None,
            running: 0,
            running_bytes: 0,
            waiting_bytes: 0,
            unparked: 0,
            capacity: 0,
        }
    }

    /// Where a recovery reads on.
    #[must_use]
    pub fn applied(&self) -> &Cursor {
        &self.applied
    }

    /// Takes what a former life wrote about deliveries, in the log's order.
    pub fn recover(&mut self, items: Vec<Item>, next: Cursor, effects: &mut Vec<DeliveryEffect>) {
        for item in items {
            if let Item::Record(record) = item {
                self.recover_record(record, effects);
            }
        }
        self.applied = next;
    }

    fn recover_record(&mut self, record: StoredRecord, effects: &mut Vec<DeliveryEffect>) {
        let position = record.position;
        match record.stream {
            stream::OUTCOME => {
                if let Ok(outcome) = OutcomeRecord::decode(record.data) {
                    self.recover_outcome(outcome.id, effects);
                }
            }
            stream::PARKED | stream::DEAD => {
                if let Ok(held) = HeldRecord::decode(record.data) {
                    self.recover_held(held, position, effects);
                }
            }
            stream::ANNOUNCED => {
                let id = DeliveryId::read(&mut Reader::new(record.data));
                let delivery = id.ok().and_then(|id| self.table.get_mut(&id));
                if let Some(State::Dead { death, .. }) = delivery.map(|it| &mut it.state) {
                    death.announced = true;
                }
            }
            stream::REPLAY => {
                if let Ok(replay) = ReplayRecord::decode(record.data) {
                    self.recover_replay(replay, position);
                }
            }
            _ => {}
        }
    }

    fn recover_outcome(&mut self, id: DeliveryId, effects: &mut Vec<DeliveryEffect>) {
        self.remove(id, effects);
        if id.occasion == Occasion::Live && !self.water.mark().is_past(id.position) {
            let rules = self.settled.entry(id.position).or_default();
            if !rules.contains(&id.rule) {
                rules.push(id.rule);
            }
        }
    }

    fn recover_held(
        &mut self,
        held: HeldRecord,
        position: Position,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        let id = held.id;
        let above = id.occasion == Occasion::Live && !self.water.mark().is_past(id.position);
        let rule = RuleKey { namespace: self.turns.key(&held.namespace), uid: id.rule };
        if let Some(name) = held.rule {
            self.turns.rule(rule).name.get_or_insert(name);
        }
        let (due_ms, state) = match held.death {
            Some(death) => (0, State::Dead { died_ms: held.at_ms, death }),
            None if above => (held.at_ms, State::Dormant),
            None => (held.at_ms, State::Resting),
        };
        let home = match held.home {
            // A record that was on its way while the event was carried still names the old place.
            Home::At(home) => {
                let carried = self.table.get(&id).map(|former| former.home);
                carried.into_iter().chain([home]).max_by_key(|home| Turn::from(*home))
            }
            Home::Copy(_) => None,
        };
        let delivery = Delivery {
            rule,
            accepted_ms: held.accepted_ms,
            since_ms: held.since_ms,
            attempts: held.attempts,
            key: held.key,
            turn: Turn::from(held.turn.unwrap_or(position)),
            size: held.size,
            home: home.unwrap_or(position),
            record: Some(position),
            told: home,
            entry: None,
            unparked: false,
            body: None,
            due_ms,
            state,
        };
        self.insert(id, delivery, effects);
    }

    fn recover_replay(&mut self, record: ReplayRecord, position: Position) {
        let former = self.replays.remove(&record.uid);
        let uid = record.uid;
        let mut replay = Replay::of(record, Some(position));
        replay.outstanding = former.map(|former| former.outstanding).unwrap_or_default();
        if replay.outstanding.is_empty() {
            let of = |id: &&DeliveryId| id.occasion.is_by(uid);
            let live = self.table.iter().filter(|(_, it)| it.state.died_ms().is_none());
            replay.outstanding = live.map(|(id, _)| id).filter(of).copied().collect();
        }
        self.replays.insert(uid, replay);
    }

    /// All progress is known: what waits is put where it belongs. Attempts begin with
    /// [`super::DeliveryInput::Capacity`].
    pub fn resume(
        &mut self,
        rules: impl IntoIterator<Item = Arc<Rule>>,
        now_ms: u64,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        for rule in rules {
            self.rule_changed(rule, now_ms);
        }
        self.shorten_waits(now_ms);
        let mut waiting: Vec<(Turn, DeliveryId)> = Vec::new();
        let mut dead: Vec<DeliveryId> = Vec::new();
        for (id, delivery) in &self.table {
            match &delivery.state {
                State::Resting => waiting.push((delivery.turn, *id)),
                State::Dead { death, .. } if !death.announced => dead.push(*id),
                State::Dormant
                | State::Chained
                | State::Ready
                | State::Running
                | State::Settling
                | State::Dead { .. } => {}
            }
        }
        waiting.sort_unstable();
        dead.sort_unstable();
        for (_, id) in waiting {
            self.schedule(id, now_ms);
        }
        for id in dead {
            self.announce(id, effects);
        }
    }

    /// Everything that a start needs to know of what is before [`Deliveries::applied`].
    #[must_use]
    pub fn checkpoint(&self) -> Bytes {
        let mut writer = Writer::with_capacity(64 + self.table.len() * 160);
        writer.byte(VERSION);
        writer.raw(&self.log.newest().0);
        writer.text(&self.water.mark().to_string());
        writer.text(&self.applied.to_string());
        let mut settled: Vec<_> = self.settled.iter().collect();
        settled.sort_unstable();
        writer.size(settled.len());
        for (position, rules) in settled {
            writer.position(*position);
            writer.size(rules.len());
            for rule in rules {
                writer.raw(&rule.0);
            }
        }
        let mut held: Vec<_> = self.table.iter().filter(|(_, it)| it.record.is_some()).collect();
        held.sort_unstable_by_key(|(id, _)| **id);
        writer.size(held.len());
        for (id, delivery) in held {
            let dead = match &delivery.state {
                State::Dead { died_ms, death } => Some((*died_ms, death.clone())),
                State::Dormant
                | State::Chained
                | State::Ready
                | State::Resting
                | State::Running
                | State::Settling => None,
            };
            if let Some(position) = delivery.record {
                writer.position(position);
            }
            writer.blob(&self.held_record(*id, delivery, delivery.home(), dead).encode());
        }
        let kept: Vec<_> = self.replays.values().filter_map(|it| Some((it.at?, it))).collect();
        writer.size(kept.len());
        for (position, replay) in kept {
            writer.position(position);
            writer.blob(&replay.kept.encode());
        }
        let body = writer.finish();
        let mut whole = Writer::with_capacity(body.len() + 4);
        whole.raw(&crc32c::crc32c(&body).to_le_bytes());
        whole.raw(&body);
        whole.finish()
    }

    /// Deliveries as a checkpoint has them; recovery goes on from [`Deliveries::applied`].
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are damaged, or of another log.
    pub fn restore(
        config: DeliveryConfig,
        log: impl Into<LogUids>,
        checkpoint: &Bytes,
        effects: &mut Vec<DeliveryEffect>,
    ) -> Result<Self, DecodeError> {
        let log = log.into();
        let sum = checkpoint.first_chunk::<4>().copied().map(u32::from_le_bytes);
        let body = checkpoint.slice(checkpoint.len().min(4)..);
        if sum != Some(crc32c::crc32c(&body)) {
            return Err(DecodeError("checkpoint's checksum"));
        }
        let mut reader = Reader::new(body);
        let reader = &mut reader;
        if reader.byte("checkpoint's version")? != VERSION {
            return Err(DecodeError("checkpoint's version"));
        }
        if reader.sixteen("checkpoint's log")? != log.newest().0 {
            return Err(DecodeError("checkpoint's log"));
        }
        let mark = read_cursor(reader)?;
        let applied = read_cursor(reader)?;
        let mut restored = Self::new(config, log, mark);
        for _ in 0..reader.count("settled")? {
            let position = reader.position("settled")?;
            let rules = (0..reader.count("settled rules")?)
                .map(|_| reader.uid("settled rule"))
                .collect::<Result<Vec<EntityUid>, DecodeError>>()?;
            restored.settled.insert(position, rules);
        }
        for _ in 0..reader.count("held")? {
            let position = reader.position("held")?;
            let held = HeldRecord::decode(reader.blob("held")?)?;
            restored.recover_held(held, position, effects);
        }
        for _ in 0..reader.count("replays")? {
            let position = reader.position("replay")?;
            let replay = ReplayRecord::decode(reader.blob("replay")?)?;
            restored.recover_replay(replay, position);
        }
        restored.applied = applied;
        Ok(restored)
    }
}
