//! The committer's decisions: who gets in, what is written together, when it is acknowledged.
//!
//! ```text
//!            Submit            ┌──────────── in flight ────────────┐
//!   batch ──────────▶ waiting ─┤ [Roll] Write Sync ──▶ (the disk)  │
//!             │                └───────────────┬───────────────────┘
//!             ▼                     Synced     │     Failed
//!          Refuse            Durable, Ack ◀────┴────▶ Refuse all, now and ever
//! ```
//!
//! One group is in flight at a time; what arrives meanwhile is written with the next. Guards are
//! checked when a batch's turn comes, against everything before it in the log. The spare segment
//! is the reserve: without one, intake is refused and progress goes on into the last segment.

mod group;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use evoke_schemas::Position;

use crate::feeds::{FeedPosition, FeedTable};
use crate::frame::{Chain, Marker};
use crate::limits::Limits;
use crate::prepare::Prepared;
use crate::read::{Item, SegmentId};
use crate::record::{AppendError, Appended, Class};
use crate::recovery::Recovered;
use crate::tail::TailFrame;

/// How long a failed attempt to make a spare segment waits for the next one.
pub const SPARE_RETRY_MS: u64 = 500;

/// The committer's state. `T` names a waiting caller.
#[derive(Debug)]
pub struct CommitCore<T> {
    marker: Marker,
    limits: Limits,
    segment_bytes: u64,
    place: Place,
    spare: Spare,
    feeds: FeedTable,
    waiting: VecDeque<Waiting<T>>,
    waiting_bytes: usize,
    flight: Option<Flight<T>>,
    state: State,
}

/// Where the next frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    segment: SegmentId,
    at: u64,
    next: u64,
    chain: Chain,
    /// Whether the last frame is a mark.
    marked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spare {
    Ready,
    /// Being made; `scarce` if the attempt before failed.
    Making {
        scarce: bool,
    },
    Missing {
        retry_ms: u64,
        scarce: bool,
    },
}

#[derive(Debug)]
enum Waiting<T> {
    Batch {
        token: T,
        batch: Prepared,
    },
    /// Feed positions below `until` are to be appended again.
    Carry {
        token: T,
        until: u64,
    },
    Mark {
        token: T,
    },
}

/// What was handed to the disk.
#[derive(Debug)]
struct Flight<T> {
    acks: Vec<(T, Answer)>,
    written: Written,
}

/// Whether the core takes more.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closing,
    Closed,
    Failed(Arc<str>),
}

/// What happened.
#[derive(Debug)]
pub enum Input<T> {
    /// A caller wants a batch appended.
    Submit {
        /// Comes back with the answer.
        token: T,
        /// The batch.
        batch: Prepared,
    },
    /// All of the last step's [`Effect::Roll`], [`Effect::Write`] and [`Effect::Sync`] are done.
    Synced,
    /// One of them failed; those after it were not tried.
    Failed(Arc<str>),
    /// The spare segment is there, durable in its directory.
    SpareReady,
    /// There is no room for a spare segment.
    SpareFailed,
    /// The segment that ends before number `until` is about to be removed: what must outlive it
    /// is appended again.
    Carry {
        /// Comes back with the answer.
        token: T,
        /// First number that stays.
        until: u64,
    },
    /// Room may have come back on disk.
    Freed,
    /// The last input: everything waiting is written, then a mark.
    Close {
        /// Comes back with the answer.
        token: T,
    },
    /// Time passed, as [`CommitCore::wake_ms`] asked.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Effect<T> {
    /// The spare segment becomes the active one: give it the name, make the name durable.
    Roll {
        /// The segment that is sealed by this.
        sealed: SegmentId,
        /// Bytes used of it.
        sealed_bytes: u64,
        /// The new active segment.
        next: SegmentId,
    },
    /// Write bytes into the active segment.
    Write {
        /// Which.
        segment: SegmentId,
        /// Where.
        at: u64,
        /// What.
        bytes: Bytes,
    },
    /// Make the active segment's writes durable; then answer [`Input::Synced`].
    Sync {
        /// Which.
        segment: SegmentId,
    },
    /// Readers may see what was written.
    Durable(Written),
    /// Tell a caller.
    Answer {
        /// Who.
        token: T,
        /// What.
        answer: Result<Answer, AppendError>,
    },
    /// Make a spare segment, then answer [`Input::SpareReady`] or [`Input::SpareFailed`].
    MakeSpare,
    /// Everything is written: stop.
    Closed,
}

/// What a caller is told once its request is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A batch's positions.
    Appended(Appended),
    /// A carry or the closing mark.
    Done,
}

/// A group that became durable.
#[derive(Clone, Debug)]
pub struct Written {
    /// The segment it is in.
    pub segment: SegmentId,
    /// Byte it begins at.
    pub at: u64,
    /// Its bytes; the segment's header too if it is the first group there.
    pub bytes: Bytes,
    /// Byte of `bytes` at which the first frame begins.
    pub frames_at: usize,
    /// Number after its last record.
    pub end: u64,
    /// Feed positions in it, in order.
    pub feeds: Vec<(u128, FeedPosition)>,
    /// Feeds that are no more.
    pub removed: Vec<u128>,
    /// Chain before it.
    pub chain: Chain,
}

/// Whether `len` more bytes may wait where `queued` do already.
///
/// Progress has as much room again as intake, so that new work never keeps accepted work from
/// being finished.
///
/// # Errors
/// [`AppendError::Busy`].
pub fn admit(queued: usize, len: usize, class: Class, limits: &Limits) -> Result<(), AppendError> {
    let limit = match class {
        Class::Intake => limits.queue_bytes,
        Class::Progress => limits.queue_bytes.saturating_mul(2),
    };
    match queued == 0 || queued.saturating_add(len) <= limit {
        true => Ok(()),
        false => Err(AppendError::Busy { queued, limit }),
    }
}

// === impl CommitCore ===

impl<T> CommitCore<T> {
    /// Goes on where `recovered` ends; `spare` says whether a spare segment is there.
    ///
    /// `segment_bytes` is at least twice [`Limits::batch_bytes`]; a shorter one bounds the batch.
    #[must_use]
    pub fn new(
        marker: Marker,
        mut limits: Limits,
        segment_bytes: u64,
        recovered: &Recovered,
        spare: bool,
    ) -> Self {
        let half = usize::try_from(segment_bytes / 2).unwrap_or(usize::MAX);
        limits.batch_bytes = limits.batch_bytes.min(half);
        let summary = &recovered.active.summary;
        let place = Place {
            segment: summary.id,
            at: summary.bytes,
            next: summary.end,
            chain: summary.chain,
            marked: summary.marked,
        };
        Self {
            marker,
            limits,
            segment_bytes,
            place,
            spare: if spare { Spare::Ready } else { Spare::Missing { retry_ms: 0, scarce: false } },
            feeds: recovered.feeds.clone(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            flight: None,
            state: State::Open,
        }
    }

    /// Takes what happened and says what to do.
    pub fn step(&mut self, input: Input<T>, now_ms: u64) -> Vec<Effect<T>> {
        self.step_all([input], now_ms)
    }

    /// Takes several inputs at once, so that all their batches can be of one group.
    pub fn step_all(
        &mut self,
        inputs: impl IntoIterator<Item = Input<T>>,
        now_ms: u64,
    ) -> Vec<Effect<T>> {
        let mut effects = Vec::new();
        for input in inputs {
            self.take(input, now_ms, &mut effects);
        }
        self.want_spare(now_ms, &mut effects);
        self.begin_group(now_ms, &mut effects);
        if self.state == State::Closing && self.flight.is_none() && self.waiting.is_empty() {
            self.state = State::Closed;
            effects.push(Effect::Closed);
        }
        effects
    }

    fn take(&mut self, input: Input<T>, now_ms: u64, effects: &mut Vec<Effect<T>>) {
        match input {
            Input::Submit { token, batch } => self.submit(token, batch, effects),
            Input::Carry { token, until } => {
                self.request(Waiting::Carry { token, until }, effects);
            }
            Input::Close { token } => self.close(token, effects),
            Input::Synced => self.synced(effects),
            Input::Failed(cause) => self.fail(cause, effects),
            Input::SpareReady => self.spare = Spare::Ready,
            Input::SpareFailed => {
                let retry_ms = now_ms.saturating_add(SPARE_RETRY_MS);
                self.spare = Spare::Missing { retry_ms, scarce: true };
            }
            Input::Freed => {
                if let Spare::Missing { retry_ms, .. } = &mut self.spare {
                    *retry_ms = 0;
                }
            }
            Input::Tick => {}
        }
    }

    /// When to send [`Input::Tick`], if nothing else happens before.
    #[must_use]
    pub fn wake_ms(&self) -> Option<u64> {
        match self.spare {
            Spare::Missing { retry_ms, .. } if self.accepts() => Some(retry_ms),
            Spare::Missing { .. } | Spare::Making { .. } | Spare::Ready => None,
        }
    }

    /// Bytes waiting for their turn; what is being written is not among them.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether intake is refused for want of room on disk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.spare, Spare::Missing { scarce: true, .. } | Spare::Making { scarce: true })
    }

    /// Why nothing is accepted any more.
    #[must_use]
    pub fn failure(&self) -> Option<&Arc<str>> {
        match &self.state {
            State::Failed(cause) => Some(cause),
            State::Open | State::Closing | State::Closed => None,
        }
    }

    fn accepts(&self) -> bool {
        self.state == State::Open
    }

    fn refusal(&self) -> Option<AppendError> {
        match &self.state {
            State::Open => None,
            State::Closing | State::Closed => Some(AppendError::Closed),
            State::Failed(cause) => Some(AppendError::Failed { cause: Arc::clone(cause) }),
        }
    }

    fn submit(&mut self, token: T, batch: Prepared, effects: &mut Vec<Effect<T>>) {
        let (bytes, limit) = (batch.frame_len(), self.limits.batch_bytes);
        let admitted = match bytes > limit {
            true => Err(crate::record::Malformed::BatchTooLarge { bytes, limit }.into()),
            false => admit(self.waiting_bytes, bytes, batch.class, &self.limits),
        };
        match admitted {
            Ok(()) => self.request(Waiting::Batch { token, batch }, effects),
            Err(error) => effects.push(Effect::Answer { token, answer: Err(error) }),
        }
    }

    fn request(&mut self, request: Waiting<T>, effects: &mut Vec<Effect<T>>) {
        if let Some(error) = self.refusal() {
            effects.push(Effect::Answer { token: request.into_token(), answer: Err(error) });
            return;
        }
        self.waiting_bytes += request.bytes();
        self.waiting.push_back(request);
    }

    fn close(&mut self, token: T, effects: &mut Vec<Effect<T>>) {
        self.request(Waiting::Mark { token }, effects);
        match self.state {
            State::Open => self.state = State::Closing,
            State::Closing | State::Closed => {}
            State::Failed(_) => effects.push(Effect::Closed),
        }
    }

    fn synced(&mut self, effects: &mut Vec<Effect<T>>) {
        let Some(flight) = self.flight.take() else { return };
        effects.push(Effect::Durable(flight.written));
        for (token, answer) in flight.acks {
            effects.push(Effect::Answer { token, answer: Ok(answer) });
        }
    }

    /// A write or sync that failed may have lost what an earlier one wrote: nothing more is
    /// trusted, nothing is tried again.
    fn fail(&mut self, cause: Arc<str>, effects: &mut Vec<Effect<T>>) {
        let flying = self.flight.take().map(|flight| flight.acks).unwrap_or_default();
        let flying = flying.into_iter().map(|(token, _)| token);
        let waiting = self.waiting.drain(..).map(Waiting::into_token);
        for token in flying.chain(waiting) {
            let error = AppendError::Failed { cause: Arc::clone(&cause) };
            effects.push(Effect::Answer { token, answer: Err(error) });
        }
        self.waiting_bytes = 0;
        if self.state == State::Closing {
            effects.push(Effect::Closed);
        }
        self.state = State::Failed(cause);
    }

    fn want_spare(&mut self, now_ms: u64, effects: &mut Vec<Effect<T>>) {
        match self.spare {
            Spare::Missing { retry_ms, scarce } if due(retry_ms, now_ms) && self.accepts() => {
                self.spare = Spare::Making { scarce };
                effects.push(Effect::MakeSpare);
            }
            Spare::Missing { .. } | Spare::Making { .. } | Spare::Ready => {}
        }
    }
}

// === impl Written ===

impl Written {
    /// What readers get of it.
    #[must_use]
    pub fn items(&self, marker: Marker) -> Vec<Item> {
        let frames = TailFrame::split(self, marker);
        frames.iter().flat_map(|(_, frame)| frame.items(0)).collect()
    }
}

// === impl Waiting ===

impl<T> Waiting<T> {
    fn into_token(self) -> T {
        match self {
            Self::Batch { token, .. } | Self::Carry { token, .. } | Self::Mark { token } => token,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Batch { batch, .. } => batch.frame_len(),
            Self::Carry { .. } | Self::Mark { .. } => 0,
        }
    }
}

/// Whether to try for a spare again; a clock that was set back delays nothing.
fn due(retry_ms: u64, now_ms: u64) -> bool {
    retry_ms <= now_ms || retry_ms > now_ms.saturating_add(SPARE_RETRY_MS)
}

/// Positions of a batch's records, numbered from `base` on.
fn positions(batch: &Prepared, base: u64) -> Vec<Position> {
    let numbered = batch.records.iter().zip(base..);
    numbered.map(|(record, offset)| Position { partition: record.partition, offset }).collect()
}

#[cfg(test)]
mod tests;
