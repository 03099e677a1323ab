//! The one task that wakes every alarm of the hub: the shell around [`Scheduler`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use evoke_feeds::Clock;
use tokio::{sync::Notify, task::JoinHandle};

use super::{
    schedule::{Mark, Next, Schedule},
    scheduler::{AlarmId, Scheduler},
};

/// How long the clock is not looked at: a step of it is noticed within this.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Most alarms that are woken at a time, before others may use the scheduler again.
const WOKEN_AT_ONCE: usize = 1_000;

/// Wakes alarms. All of one timer go by one clock: that of whoever came first.
///
/// Its task runs while there are alarms and ends with the last.
#[derive(Debug, Default)]
pub(super) struct Timer(Arc<Shared>);

/// An open alarm's place in the timer; dropped, it is let go.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    id: AlarmId,
    clock: Arc<dyn Clock>,
    woken: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something may be due earlier than the task believes.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    scheduler: Scheduler,
    doors: HashMap<AlarmId, Door>,
    task: Option<JoinHandle<()>>,
}

/// Where an alarm waits, and what it is to do once it is due.
#[derive(Debug)]
struct Door {
    woken: Arc<Notify>,
    next: Option<Next>,
}

// === impl Timer ===

impl Timer {
    /// A place for an alarm. Call it inside a tokio runtime.
    pub(super) fn register(&self, schedule: Schedule, mark: Mark, clock: &Arc<dyn Clock>) -> Place {
        let woken = Arc::new(Notify::new());
        let mut state = self.0.state();
        let id = state.scheduler.insert(schedule, mark, clock.now_ms());
        state.doors.insert(id, Door { woken: Arc::clone(&woken), next: None });
        if state.task.as_ref().is_none_or(JoinHandle::is_finished) {
            let (shared, clock) = (Arc::clone(&self.0), Arc::clone(clock));
            state.task = Some(tokio::spawn(shared.run(clock)));
        }
        drop(state);
        self.0.changed.notify_one();
        Place { shared: Arc::clone(&self.0), id, clock: Arc::clone(clock), woken }
    }
}

// === impl Place ===

impl Place {
    /// Waits until the alarm is due and says what to do; the same again until it is kept. May be
    /// dropped at any time.
    pub(super) async fn due(&self) -> Next {
        loop {
            let due = self.shared.state().doors.get(&self.id).and_then(|door| door.next.clone());
            match due {
                Some(next) => return next,
                None => self.woken.notified().await,
            }
        }
    }

    /// The ticks are kept (or nothing was due): the alarm goes on behind this mark.
    pub(super) fn keep(&self, mark: Mark) {
        let now_ms = self.clock.now_ms();
        let mut state = self.shared.state();
        state.scheduler.keep(self.id, mark, now_ms);
        if let Some(door) = state.doors.get_mut(&self.id) {
            door.next = None;
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.scheduler.remove(self.id);
        state.doors.remove(&self.id);
        drop(state);
        self.shared.changed.notify_one();
    }
}

// === impl Shared ===

impl Shared {
    async fn run(self: Arc<Self>, clock: Arc<dyn Clock>) {
        while let Some(wait) = self.look(clock.now_ms()) {
            if wait.is_zero() {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Wakes who is due, and says when to look again; not at all without alarms, which ends the
    /// task.
    fn look(&self, now_ms: u64) -> Option<Duration> {
        let mut state = self.state();
        for due in state.scheduler.pop_due(now_ms, WOKEN_AT_ONCE) {
            if let Some(door) = state.doors.get_mut(&due.id) {
                door.next = Some(due.next);
                door.woken.notify_one();
            }
        }
        if state.scheduler.is_empty() {
            // Whoever registers next finds no task, and starts one.
            state.task = None;
            return None;
        }
        let due_ms = state.scheduler.next_due();
        let wait = due_ms.map(|due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)));
        Some(wait.map_or(LOOK_AGAIN, |wait| wait.min(LOOK_AGAIN)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
