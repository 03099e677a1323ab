//! One sandbox of this driver as its owner holds it.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{sync::watch, task::yield_now, time::sleep};

use super::tree;
use crate::{Ending, Exit, LifeError, SandboxControl, cgroup::Cgroup, sys::pidfd_signal};

/// Looks at the freezer before the clock is asked: it is done within microseconds.
const EAGER_LOOKS: u32 = 200;
/// Then a look each millisecond, this many: a process deep in the kernel may hold out.
const PATIENT_LOOKS: u32 = 2000;
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Rounds in which a tree of processes must stop growing, when they are stopped one by one.
const STOP_ROUNDS: usize = 16;

/// Where a sandbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// The program ended, the guardian clears away.
    Ended(Exit),
    /// Nothing is left.
    Gone(Exit),
}

/// The parts that its owner and its guardian share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) cgroup: Option<Arc<dyn Cgroup>>,
    /// Own process namespace: all die with the first.
    pub(super) isolated: bool,
    pub(super) doomed: AtomicBool,
    /// The watchdog saw too much memory.
    pub(super) overdrawn: AtomicBool,
}

#[derive(Debug)]
pub(super) struct ProcessLife {
    pub(super) shared: Arc<Shared>,
    pub(super) state: watch::Receiver<State>,
}

// === impl Shared ===

impl Shared {
    /// Kills every process; they are dead when the first one is.
    pub(super) fn kill(&self) {
        if !self.isolated {
            signal_all(&tree::below(self.pid), Signal::SIGKILL);
        }
        if let Err(errno) = pidfd_signal(self.pidfd.as_fd(), libc::SIGKILL)
            && errno != Errno::ESRCH
        {
            tracing::error!(%errno, pid = self.pid, "cannot kill a sandbox");
        }
        // A process that version 1 froze dies only when it goes on.
        if let Some(Err(error)) = self.cgroup.as_ref().map(|cgroup| cgroup.thaw()) {
            tracing::debug!(%error, pid = self.pid, "cannot thaw a dying sandbox");
        }
    }

    pub(super) fn oom_killed(&self) -> bool {
        let kills = self.cgroup.as_ref().and_then(|cgroup| cgroup.oom_kills().ok());
        kills.is_some_and(|kills| kills > 0) || self.overdrawn.load(Ordering::Relaxed)
    }

    pub(super) fn memory(&self) -> std::io::Result<u64> {
        match &self.cgroup {
            Some(cgroup) => cgroup.memory(),
            None => Ok(tree::memory(&tree::below(self.pid))),
        }
    }

    /// Stops all processes one by one; those that a process forked meanwhile in the next round.
    fn stop_tree(&self) -> Result<(), LifeError> {
        let mut stopped = 0;
        for _ in 0..STOP_ROUNDS {
            let all = tree::below(self.pid);
            if all.len() == stopped {
                return Ok(());
            }
            stopped = all.len();
            signal_all(&all, Signal::SIGSTOP);
        }
        signal_all(&tree::below(self.pid), Signal::SIGCONT);
        Err(LifeError::Restless)
    }
}

fn signal_all(pids: &[i32], which: Signal) {
    for pid in pids {
        signal(*pid, which);
    }
}

pub(super) fn signal(pid: i32, which: Signal) {
    if let Err(errno) = kill(Pid::from_raw(pid), which) {
        tracing::trace!(%errno, pid, "a process ended before its signal");
    }
}

async fn stand_still(cgroup: &dyn Cgroup) -> Result<(), LifeError> {
    cgroup.freeze()?;
    for look in 0..EAGER_LOOKS + PATIENT_LOOKS {
        if cgroup.is_frozen()? {
            return Ok(());
        }
        if look < EAGER_LOOKS { yield_now().await } else { sleep(LOOK_EVERY).await }
    }
    cgroup.thaw()?;
    Err(LifeError::Restless)
}

// === impl ProcessLife ===

impl ProcessLife {
    fn check_running(&self) -> Result<(), LifeError> {
        if *self.state.borrow() == State::Running { Ok(()) } else { Err(LifeError::Ended) }
    }

    async fn wait_for(&self, wanted: impl FnMut(&State) -> bool) -> Exit {
        let mut state = self.state.clone();
        // The guardian is gone without a word only when the runtime ends.
        let lost = Exit { ending: Ending::Lost, oom_killed: false };
        match state.wait_for(wanted).await.map(|state| *state) {
            Ok(State::Ended(exit) | State::Gone(exit)) => exit,
            Ok(State::Running) | Err(_) => lost,
        }
    }
}

#[async_trait]
impl SandboxControl for ProcessLife {
    async fn pause(&self) -> Result<(), LifeError> {
        self.check_running()?;
        let paused = match &self.shared.cgroup {
            Some(cgroup) => stand_still(cgroup.as_ref()).await,
            None => self.shared.stop_tree(),
        };
        // Its end may have come in between, and with it the end of its control group.
        paused.or_else(|error| self.check_running().and(Err(error)))
    }

    async fn resume(&self) -> Result<(), LifeError> {
        self.check_running()?;
        match &self.shared.cgroup {
            Some(cgroup) => Ok(cgroup.thaw()?),
            None => {
                signal_all(&tree::below(self.shared.pid), Signal::SIGCONT);
                Ok(())
            }
        }
    }

    fn doom(&self) {
        if *self.state.borrow() == State::Running {
            self.shared.doomed.store(true, Ordering::Relaxed);
            self.shared.kill();
        }
    }

    async fn gone(&self) {
        self.wait_for(|state| matches!(state, State::Gone(_))).await;
    }

    async fn exited(&self) -> Exit {
        self.wait_for(|state| *state != State::Running).await
    }

    fn memory_usage(&self) -> Result<u64, LifeError> {
        self.check_running()?;
        Ok(self.shared.memory()?)
    }

    fn oom_killed(&self) -> bool {
        match *self.state.borrow() {
            State::Running => self.shared.oom_killed(),
            State::Ended(exit) | State::Gone(exit) => exit.oom_killed,
        }
    }

    fn host_pid(&self) -> i32 {
        self.shared.pid
    }
}
