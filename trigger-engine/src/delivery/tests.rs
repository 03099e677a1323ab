//! Tables of the core of delivery: what happens, and what it wants done.

mod aside;
mod cases;
mod clock;
mod crashes;
mod erase;
mod marks;
mod outages;
mod parts;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use evoke_event_log::{Append, Cursor, Item, StoredRecord};
use evoke_schemas::{LogUid, Position, Rule, event::Attribute};

use super::*;
use crate::{
    config::DeliveryConfig,
    fixture,
    incoming::{Origin, Target},
    invoker::Verdict,
    record::{
        DeliveryId, EventParts, HeldRecord, Home, Outcome, OutcomeRecord, StoredRule,
        StoredTrigger, stream,
    },
};

const LOG: LogUid = LogUid([3; 16]);

/// A core, a log of one number space, and a shell that does at once what it is asked.
pub(super) struct World {
    pub(super) core: Deliveries,
    pub(super) config: DeliveryConfig,
    pub(super) log: Vec<StoredRecord>,
    pub(super) now_ms: u64,
    pub(super) inputs: VecDeque<DeliveryInput>,
    pub(super) started: Vec<Start>,
    pub(super) running: BTreeSet<DeliveryId>,
    /// Effects that are only noted.
    pub(super) noted: Vec<DeliveryEffect>,
    /// Appends are kept here instead of being made.
    pub(super) held: Option<Vec<Append>>,
    /// The log has no room for progress.
    pub(super) full: bool,
}

pub(super) fn at(offset: u64) -> Position {
    Position { partition: 0, offset }
}

pub(super) fn cursor(next: usize) -> Cursor {
    next.to_string().parse().unwrap()
}

pub(super) fn live(offset: u64, rule: u8) -> DeliveryId {
    DeliveryId::live(at(offset), fixture::uid(rule))
}

pub(super) fn failed() -> Verdict {
    Verdict::FunctionFailed { reason: "boom".to_owned() }
}

pub(super) fn evicted() -> Verdict {
    Verdict::PlatformFailed { reason: "evicted".to_owned(), retry_after_ms: None }
}

/// The rule of that number, on trigger `t`.
pub(super) fn rule(
    number: u8,
    change: impl FnOnce(&mut evoke_schemas::DeliveryPolicy),
) -> Arc<Rule> {
    fixture::policy(fixture::rule(number, &format!("r{number}"), (9, "t")), change)
}

/// An event's record that matched these rules.
pub(super) fn event(key: &str, rules: &[u8]) -> Bytes {
    let mut incoming = fixture::incoming(Target::Trigger(fixture::name("t")), key);
    let text = Attribute::Text(key.to_owned());
    incoming.event.extensions.insert("partitionkey".to_owned(), text);
    let stored = |number: &u8| StoredRule {
        uid: fixture::uid(*number),
        name: fixture::name(&format!("r{number}")),
        action: rule(*number, |_| ()).action.clone(),
        active: true,
    };
    let trigger = StoredTrigger {
        name: fixture::name("t"),
        uid: fixture::uid(9),
        version: evoke_schemas::SemVer::FIRST,
        rules: rules.iter().map(stored).collect(),
    };
    encode(&incoming, &trigger, rules.len())
}

fn encode(incoming: &crate::Incoming, trigger: &StoredTrigger, deliveries: usize) -> Bytes {
    let mut writer = crate::record::Writer::default();
    crate::record::write_trigger(&mut writer, trigger);
    let trigger = writer.finish();
    EventParts {
        namespace: &incoming.namespace,
        target: &incoming.target,
        origin: Origin::CloudEvent,
        subject: "guest",
        event: &incoming.event,
        headers: None,
        triggers: &[&trigger],
        deliveries,
    }
    .encode()
}

impl World {
    pub(super) fn new(change: impl FnOnce(&mut DeliveryConfig)) -> Self {
        let mut config = DeliveryConfig::default();
        change(&mut config);
        let core = Deliveries::new(config.clone(), LOG, cursor(0));
        Self {
            core,
            config,
            log: Vec::new(),
            now_ms: 1_000,
            inputs: VecDeque::from([DeliveryInput::Capacity(usize::MAX)]),
            started: Vec::new(),
            running: BTreeSet::new(),
            noted: Vec::new(),
            held: None,
            full: false,
        }
    }

    pub(super) fn with_rules(rules: impl IntoIterator<Item = Arc<Rule>>) -> Self {
        let mut world = Self::new(|_| ());
        for rule in rules {
            world.tell(DeliveryInput::RuleChanged(rule));
        }
        world
    }

    pub(super) fn write(&mut self, of: evoke_event_log::Stream, data: Bytes) -> u64 {
        let offset = self.log.len() as u64;
        let (position, time_ms) = (at(offset), self.now_ms);
        self.log.push(StoredRecord { position, stream: of, time_ms, dedup: None, data });
        offset
    }

    /// Accepts an event and loads the log.
    pub(super) fn accept(&mut self, key: &str, rules: &[u8]) -> u64 {
        let offset = self.write(stream::EVENT, event(key, rules));
        self.load();
        offset
    }

    pub(super) fn load(&mut self) {
        let from = usize::try_from(self.core.loaded().next_in(0)).unwrap();
        let items = self.log[from..].iter().cloned().map(Item::Record).collect();
        self.tell(DeliveryInput::Loaded { items, next: cursor(self.log.len()) });
    }

    pub(super) fn tell(&mut self, input: DeliveryInput) {
        self.inputs.push_back(input);
        self.pump();
    }

    pub(super) fn pump(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let mut effects = Vec::new();
            self.core.step(input, self.now_ms, &mut effects);
            for effect in effects {
                self.carry_out(effect);
            }
        }
    }

    fn carry_out(&mut self, effect: DeliveryEffect) {
        match effect {
            DeliveryEffect::Start(start) => {
                assert!(self.running.insert(start.id), "it runs already");
                self.started.push(*start);
            }
            DeliveryEffect::Flush => self.inputs.push_back(DeliveryInput::Flushed),
            DeliveryEffect::Append(append) => match &mut self.held {
                Some(held) => held.push(append),
                None => self.append(append),
            },
            DeliveryEffect::ReadHome { id, home } => {
                let data = self.event_at(home);
                self.inputs.push_back(DeliveryInput::CarryRead { id, data });
            }
            other => self.noted.push(other),
        }
    }

    pub(super) fn append(&mut self, append: Append) {
        if self.full {
            self.inputs.push_back(DeliveryInput::AppendRefused);
            return;
        }
        let records = append.records.into_iter();
        let positions = records.map(|record| at(self.write(record.stream, record.data))).collect();
        self.inputs.push_back(DeliveryInput::Durable { positions });
    }

    /// Makes the appends that were kept, and what follows.
    pub(super) fn let_go(&mut self) {
        for append in self.held.take().unwrap() {
            self.append(append);
        }
        self.pump();
    }

    pub(super) fn event_at(&self, home: Position) -> Option<Bytes> {
        let record = &self.log[usize::try_from(home.offset).unwrap()];
        if record.stream == stream::EVENT {
            return Some(record.data.clone());
        }
        match HeldRecord::decode(record.data.clone()).unwrap().home {
            Home::Copy(data) => Some(data),
            Home::At(_) => None,
        }
    }

    pub(super) fn end(&mut self, id: DeliveryId, verdict: Verdict) {
        assert!(self.running.remove(&id), "{id:?} does not run");
        self.tell(DeliveryInput::AttemptEnded { id, verdict });
    }

    /// Lets time pass to `now_ms`.
    pub(super) fn at_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.tell(DeliveryInput::Tick);
    }

    pub(super) fn outcomes(&self) -> Vec<(DeliveryId, Outcome)> {
        let of = self.log.iter().filter(|record| record.stream == stream::OUTCOME);
        of.map(|record| OutcomeRecord::decode(record.data.clone()).unwrap())
            .map(|record| (record.id, record.outcome))
            .collect()
    }

    pub(super) fn held_of(&self, of: evoke_event_log::Stream) -> Vec<HeldRecord> {
        let of = self.log.iter().filter(|record| record.stream == of);
        of.map(|record| HeldRecord::decode(record.data.clone()).unwrap()).collect()
    }

    /// Starts of one delivery so far.
    pub(super) fn starts(&self, id: DeliveryId) -> usize {
        self.started.iter().filter(|start| start.id == id).count()
    }

    pub(super) fn answers(&self) -> Vec<Result<(), CommandError>> {
        let answer = |effect: &DeliveryEffect| match effect {
            DeliveryEffect::Answer { answer, .. } => Some(*answer),
            _ => None,
        };
        self.noted.iter().filter_map(answer).collect()
    }

    /// Everything counted must be nothing again.
    pub(super) fn assert_settled(&self) {
        let core = &self.core;
        let counts = (core.running, core.running_bytes, core.waiting_bytes, core.unparked);
        assert_eq!(counts, (0, 0, 0, 0), "running, its bytes, waiting bytes, unparked");
        assert_eq!(core.pipeline.len(), 0);
        let backlog = core.backlog(&fixture::namespace("guest"));
        assert_eq!((backlog.bytes, backlog.running), (0, 0));
        assert!(core.due.is_empty());
    }

    /// The program ends here and begins again from `checkpoint` and the log.
    pub(super) fn restart(&mut self, checkpoint: Option<&Bytes>, rules: &[Arc<Rule>]) {
        let mut effects = Vec::new();
        let mut core = match checkpoint {
            Some(bytes) => {
                Deliveries::restore(self.config.clone(), LOG, bytes, &mut effects).unwrap()
            }
            None => Deliveries::new(self.config.clone(), LOG, cursor(0)),
        };
        let from = usize::try_from(core.applied().next_in(0)).unwrap();
        let items = self.log[from..].iter().cloned().map(Item::Record).collect();
        core.recover(items, cursor(self.log.len()), &mut effects);
        core.resume(rules.iter().cloned(), self.now_ms, &mut effects);
        self.core = core;
        self.running.clear();
        self.inputs.clear();
        self.held = None;
        for effect in effects {
            self.carry_out(effect);
        }
        self.tell(DeliveryInput::Capacity(usize::MAX));
        self.load();
    }
}
