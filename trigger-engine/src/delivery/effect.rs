//! What happens to deliveries, and what they want done.

use std::sync::Arc;

use bytes::Bytes;
use evoke_event_log::{Append, Cursor, Item, SegmentId};
use evoke_schemas::{ActivationId, EntityName, EntityUid, Namespace, Position, Rule};

use crate::{
    ingest::Cap,
    invoker::Verdict,
    record::{DeliveryId, HalfRecords, ReplayRecord, StoredEvent},
};

/// Names a command until it is answered.
pub type Ticket = u64;

/// What happens to deliveries.
#[derive(Debug)]
pub enum DeliveryInput {
    /// The log was read on, from [`super::Deliveries::loaded`] to `next`; durable items only.
    Loaded {
        /// What was read, in the log's order.
        items: Vec<Item>,
        /// Where to read on.
        next: Cursor,
    },
    /// An attempt has ended, and its sandbox works for it no more. Its activation is staged.
    AttemptEnded {
        /// The delivery.
        id: DeliveryId,
        /// Whose success or failure it is.
        verdict: Verdict,
    },
    /// The same, of a function that failed with an event which stands for several records.
    BatchFailed {
        /// The delivery.
        id: DeliveryId,
        /// Why it failed.
        reason: String,
        /// The event's halves.
        halves: Box<HalfRecords>,
    },
    /// An attempt could not be made, because the event could not be read.
    Unreadable {
        /// The delivery.
        id: DeliveryId,
        /// Where it was looked for.
        home: Position,
    },
    /// An attempt could not be made, because somebody erased the event.
    Erased {
        /// The delivery.
        id: DeliveryId,
    },
    /// Somebody erases an event: what is to be delivered of it is not, except what runs just now.
    Erase {
        /// Where the event stands.
        position: Position,
        /// To answer.
        ticket: Ticket,
    },
    /// What [`DeliveryEffect::Flush`] asked for is done.
    Flushed,
    /// What [`DeliveryEffect::Append`] asked for is durable.
    Durable {
        /// Where each record stands.
        positions: Vec<Position>,
    },
    /// The log had no room for the append; it comes again.
    AppendRefused,
    /// A rule was made or changed.
    RuleChanged(Arc<Rule>),
    /// A rule was deleted.
    RuleRemoved {
        /// Its namespace.
        namespace: Namespace,
        /// Which.
        uid: EntityUid,
    },
    /// So many attempts may be under way; 0 begins no more.
    Capacity(usize),
    /// What one namespace may have under way and owe; `None` is as for all.
    Bounds {
        /// Which.
        namespace: Namespace,
        /// Its bounds.
        bounds: Option<NamespaceBounds>,
    },
    /// Time has passed.
    Tick,
    /// The machine's clock was set.
    ClockStepped {
        /// By so much. Unit: milliseconds.
        by_ms: i64,
        /// After the last event accepted before.
        end: Cursor,
    },
    /// Deliver a dead letter again.
    Revive {
        /// Which.
        id: DeliveryId,
        /// To answer.
        ticket: Ticket,
    },
    /// Let a dead letter go.
    Discard {
        /// Which.
        id: DeliveryId,
        /// To answer.
        ticket: Ticket,
    },
    /// A dead letter's trigger was fired, or needs not be.
    Announced {
        /// The dead letter.
        id: DeliveryId,
    },
    /// Deliver a range of the log to one rule.
    CreateReplay {
        /// The replay.
        replay: Box<ReplayRecord>,
        /// To answer.
        ticket: Ticket,
    },
    /// Stop a replay.
    CancelReplay {
        /// Which.
        uid: EntityUid,
        /// To answer.
        ticket: Ticket,
    },
    /// What [`DeliveryEffect::ReadRange`] asked for.
    RangeRead(RangeRead),
    /// A segment is to go: carry what is alive out of it, then say so.
    Carry {
        /// Which.
        segment: SegmentId,
        /// After its last record.
        to: Cursor,
    },
    /// What [`DeliveryEffect::ReadHome`] asked for; `None` where it cannot be read.
    CarryRead {
        /// The delivery.
        id: DeliveryId,
        /// The event's record.
        data: Option<Bytes>,
    },
}

/// Bounds of one namespace's deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceBounds {
    /// Attempts under way at once.
    pub running: usize,
    /// Bytes neither done nor dead that close its intake.
    pub undelivered: u64,
}

/// What deliveries want done.
#[derive(Debug)]
pub enum DeliveryEffect {
    /// Make an attempt, and answer with [`DeliveryInput::AttemptEnded`].
    Start(Box<Start>),
    /// Stage the records of the triggers that an event fired.
    RecordTriggers {
        /// Where the event stands.
        position: Position,
        /// The event.
        event: Arc<StoredEvent>,
        /// When it was accepted, unix milliseconds.
        accepted_ms: u64,
    },
    /// Make durable every activation staged so far; answer with [`DeliveryInput::Flushed`].
    Flush,
    /// Append; answer with [`DeliveryInput::Durable`] or [`DeliveryInput::AppendRefused`].
    Append(Append),
    /// Fire a rule's dead-letter trigger; answer with [`DeliveryInput::Announced`].
    Announce {
        /// The dead letter.
        id: DeliveryId,
        /// Its namespace.
        namespace: Namespace,
        /// The trigger.
        trigger: EntityName,
    },
    /// Read on in a replay's range; answer with [`DeliveryInput::RangeRead`].
    ReadRange {
        /// The replay.
        replay: Box<ReplayRecord>,
        /// Most matches to give.
        limit: usize,
    },
    /// Read the event's record at `home`; answer with [`DeliveryInput::CarryRead`].
    ReadHome {
        /// The delivery.
        id: DeliveryId,
        /// Where its event is.
        home: Position,
    },
    /// Nothing alive is in the segment any more: drop it.
    DropSegment(SegmentId),
    /// The namespace owes too much: take nothing more in.
    CloseIntake {
        /// Which.
        namespace: Namespace,
        /// The bound.
        cap: Cap,
    },
    /// The namespace may take events again.
    OpenIntake {
        /// Which.
        namespace: Namespace,
    },
    /// A command is done and durable, or refused.
    Answer {
        /// Which.
        ticket: Ticket,
        /// How it went.
        answer: Result<(), CommandError>,
    },
}

/// One attempt to make.
#[derive(Debug)]
pub struct Start {
    /// The delivery.
    pub id: DeliveryId,
    /// Id of its activation.
    pub activation_id: ActivationId,
    /// The rule as it is now; `None` for an accepted invocation.
    pub rule: Option<Arc<Rule>>,
    /// The event, where it is at hand.
    pub body: Option<Arc<StoredEvent>>,
    /// Where to read the event otherwise.
    pub home: Position,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When the event was accepted, unix milliseconds.
    pub accepted_ms: u64,
}

/// A stretch of a replay's range.
#[derive(Debug)]
pub struct RangeRead {
    /// The replay.
    pub replay: EntityUid,
    /// Events in it that the rule is to get.
    pub matches: Vec<RangeMatch>,
    /// Where to read on.
    pub next: Cursor,
    /// Whether the range is at its end.
    pub ended: bool,
}

/// An event that a replay delivers.
#[derive(Clone, Copy, Debug)]
pub struct RangeMatch {
    /// Where it stands.
    pub position: Position,
    /// When it was accepted, unix milliseconds.
    pub accepted_ms: u64,
    /// Size of its record. Unit: bytes.
    pub size: u32,
    /// Hash of its `partitionkey`, by [`super::key_of`].
    pub key: u64,
}

/// A command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such dead letter or replay.
    #[error("there is none of that id")]
    NotFound,
    /// It is being replayed or discarded already, or has ended.
    #[error("it is no longer in a state to do this")]
    Conflict,
}
