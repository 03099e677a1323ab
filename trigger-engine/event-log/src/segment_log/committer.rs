//! The thread that carries out what the committer's core decides.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::commit::{Answer, CommitCore, Effect, Input, SPARE_RETRY_MS, admit};
use crate::cursor::Cursor;
use crate::limits::Limits;
use crate::prepare::Prepared;
use crate::record::{AppendError, Appended};
use crate::segment_log::Shared;
use crate::segment_log::housekeeper::{Housekeeper, Job};

/// Longest sleep without anything to do.
const IDLE: Duration = Duration::from_secs(60);

/// A waiting caller.
#[derive(Debug)]
pub(crate) enum Token {
    Append(oneshot::Sender<Result<Appended, AppendError>>),
    Done(oneshot::Sender<Result<(), AppendError>>),
}

/// Inputs on their way to the committer, bounded as its queue is.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<InboxState>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct InboxState {
    inputs: Vec<Input<Token>>,
    /// Bytes of batches in `inputs`.
    bytes: usize,
    /// Bytes of batches that wait in the core.
    waiting: usize,
    /// The committer waits for inputs: who brings one rings. A bell costs a system call, heard or
    /// not, so nobody rings while it works.
    asleep: bool,
    closed: bool,
}

/// The committer thread's own.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) core: CommitCore<Token>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: File,
    pub(crate) housekeeper: Housekeeper,
}

// === impl Inbox ===

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a batch over, if there is room for it; whether there was.
    pub(crate) fn submit(
        &self,
        batch: Prepared,
        limits: &Limits,
        token: oneshot::Sender<Result<Appended, AppendError>>,
    ) -> bool {
        let bytes = batch.frame_len();
        let mut state = self.lock();
        let queued = state.bytes + state.waiting;
        let admitted = match state.closed {
            true => Err(AppendError::Closed),
            false => admit(queued, bytes, batch.class, limits),
        };
        if let Err(error) = admitted {
            drop(state);
            tell(token, Err(error));
            return false;
        }
        state.bytes += bytes;
        self.put(state, Input::Submit { token: Token::Append(token), batch });
        true
    }

    /// Hands anything else over; `false` if the committer has stopped.
    pub(crate) fn send(&self, input: Input<Token>) -> bool {
        let state = self.lock();
        let open = !state.closed;
        if open {
            self.put(state, input);
        }
        open
    }

    fn put(&self, mut state: MutexGuard<'_, InboxState>, input: Input<Token>) {
        state.inputs.push(input);
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.bell.notify_one();
        }
    }

    /// Bytes on their way and waiting.
    pub(crate) fn queued(&self) -> usize {
        let state = self.lock();
        state.bytes + state.waiting
    }

    /// Everything there; waits for something if `wait` says how long.
    fn take(&self, waiting: usize, wait: Option<Duration>) -> Vec<Input<Token>> {
        let mut state = self.lock();
        state.waiting = waiting;
        if let Some(wait) = wait {
            state.asleep = state.inputs.is_empty();
            let waited = self.bell.wait_timeout_while(state, wait, |state| state.inputs.is_empty());
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
        }
        // Until the core has them they count as waiting there.
        state.waiting += std::mem::take(&mut state.bytes);
        std::mem::take(&mut state.inputs)
    }

    /// Takes nothing more; gives what came in since.
    fn close(&self) -> Vec<Input<Token>> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.inputs)
    }
}

// === impl Committer ===

impl Committer {
    /// Runs until the log is closed.
    pub(crate) fn run(mut self) {
        let mut effects = self.core.step(Input::Tick, self.shared.now_ms());
        loop {
            // Before the answers: who is refused finds the reason.
            self.publish();
            let (outcome, closed) = self.perform(effects);
            if closed {
                break;
            }
            let wait = outcome.is_none().then(|| self.idle_time());
            let mut inputs = self.shared.inbox.take(self.core.waiting_bytes(), wait);
            if inputs.is_empty() && outcome.is_none() {
                inputs.push(Input::Tick);
            }
            inputs.extend(outcome);
            effects = self.core.step_all(inputs, self.shared.now_ms());
        }
        for input in self.shared.inbox.close() {
            if let Input::Submit { token, .. }
            | Input::Carry { token, .. }
            | Input::Close { token } = input
            {
                token.tell(Err(AppendError::Closed));
            }
        }
    }

    fn idle_time(&self) -> Duration {
        // The clock may be set while this sleeps: never longer than the core meant.
        let longest = Duration::from_millis(SPARE_RETRY_MS);
        let until = |at: u64| Duration::from_millis(at.saturating_sub(self.shared.now_ms()));
        self.core.wake_ms().map_or(IDLE, |at| until(at).clamp(Duration::from_millis(1), longest))
    }

    /// Carries effects out; gives what to answer, and whether it was the last time.
    fn perform(&mut self, effects: Vec<Effect<Token>>) -> (Option<Input<Token>>, bool) {
        let (mut outcome, mut closed) = (None, false);
        for effect in effects {
            match effect {
                Effect::Roll { .. } | Effect::Write { .. } | Effect::Sync { .. } => {
                    if outcome.is_none() {
                        outcome = self.disk(&effect);
                    }
                }
                Effect::Durable(written) => {
                    let (sealed, before) = {
                        let mut view = self.shared.view();
                        let before = view.end();
                        (view.durable(&written), before)
                    };
                    self.shared.measures.records.add(written.end.saturating_sub(before));
                    self.shared.measures.bytes.add(written.bytes.len() as u64);
                    self.shared.end.send_replace(Cursor::sequence(written.end));
                    if let Some(index) = sealed {
                        self.housekeeper.send(Job::Seal(index));
                    }
                }
                Effect::Answer { token, answer } => {
                    match &answer {
                        Ok(Answer::Appended(_)) => self.shared.measures.appends.one(),
                        Err(_) => self.shared.measures.refused.one(),
                        Ok(Answer::Done) => {}
                    }
                    token.tell(answer);
                }
                Effect::MakeSpare => self.housekeeper.send(Job::MakeSpare),
                Effect::Closed => closed = true,
            }
        }
        (outcome, closed)
    }

    /// Carries one effect on the disk out; gives the answer once there is one.
    fn disk(&mut self, effect: &Effect<Token>) -> Option<Input<Token>> {
        let (what, result) = match effect {
            Effect::Roll { next, .. } => ("beginning a segment", self.roll(*next)),
            Effect::Write { at, bytes, .. } => ("write", self.active.write_all_at(bytes, *at)),
            Effect::Sync { .. } => {
                let begun = Instant::now();
                let synced = self.active.sync_data();
                self.shared.measures.syncs.observe(begun.elapsed());
                ("fdatasync", synced)
            }
            Effect::Durable(_) | Effect::Answer { .. } | Effect::MakeSpare | Effect::Closed => {
                return None;
            }
        };
        match result {
            Ok(()) => matches!(effect, Effect::Sync { .. }).then_some(Input::Synced),
            Err(error) => {
                tracing::error!(%error, what, "the event log failed; it accepts nothing more");
                Some(Input::Failed(format!("{what}: {error}").into()))
            }
        }
    }

    fn roll(&mut self, next: crate::read::SegmentId) -> io::Result<()> {
        self.shared.dir.use_spare(next)?;
        self.active = self.shared.dir.open_active(next)?;
        Ok(())
    }

    fn publish(&self) {
        let full = self.core.is_full();
        let mut view = self.shared.view();
        if view.full != full {
            view.full = full;
            tracing::warn!(full, "room on disk for new events");
        }
        drop(view);
        if let Some(cause) = self.core.failure() {
            self.shared.failure.send_if_modified(|known| {
                let first = known.is_none();
                known.get_or_insert_with(|| Arc::clone(cause));
                first
            });
        }
    }
}

// === impl Token ===

impl Token {
    fn tell(self, answer: Result<Answer, AppendError>) {
        match (self, answer) {
            (Self::Append(sender), Ok(Answer::Appended(appended))) => tell(sender, Ok(appended)),
            // A batch is never answered like a carry.
            (Self::Append(sender), Ok(Answer::Done)) => tell(sender, Err(AppendError::Closed)),
            (Self::Append(sender), Err(error)) => tell(sender, Err(error)),
            (Self::Done(sender), answer) => tell(sender, answer.map(|_| ())),
        }
    }
}

fn tell<A>(sender: oneshot::Sender<A>, answer: A) {
    // A caller that went away needs no answer.
    drop(sender.send(answer));
}
