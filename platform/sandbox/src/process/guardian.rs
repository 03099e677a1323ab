//! The task that stays with one sandbox until nothing of it is left.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    process::Child,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, poll},
    sys::{
        signal::Signal,
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
};
use tokio::{
    sync::watch::Sender,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    control::Control,
    letter::Word,
    life::{Shared, State, signal},
    slots::Slot,
};
use crate::{
    ApiGuard, Ending, Exit,
    cgroup::{Cgroup, Hierarchy},
    net::Link,
    sys::{pidfd_open, watch},
};

/// How often memory is looked at where no control group bounds it.
const WATCH_EVERY: Duration = Duration::from_millis(50);
/// A control group is empty within microseconds of its last process's end; longer is a stuck process.
const REMOVE_EVERY: Duration = Duration::from_millis(1);
const REMOVE_TRIES: u32 = 5000;

/// A killed process is gone within milliseconds. Unit: ms.
const LAST_WAIT: u16 = 500;

/// What a sandbox holds on the machine.
pub(super) struct Remains {
    pub(super) name: String,
    pub(super) maker: Option<Child>,
    pub(super) first: Option<Arc<Shared>>,
    pub(super) cgroup: Option<Arc<dyn Cgroup>>,
    /// Kept until the last group in it is removed.
    pub(super) hierarchy: Option<Arc<dyn Hierarchy>>,
    pub(super) link: Option<Link>,
    pub(super) api: Option<ApiGuard>,
    /// The name is free when all else is gone.
    pub(super) slot: Option<Slot>,
}

/// Watches until the first process ends, then clears away.
pub(super) async fn guard(
    mut remains: Remains,
    control: Control,
    memory_bytes: u64,
    state: Sender<State>,
) {
    remains.reap_maker().await;
    let Some(first) = remains.first.clone() else { return };
    let ending = match watch_first(&first, &control, memory_bytes).await {
        Ok(ending) => ending,
        Err(error) => {
            tracing::error!(%error, sandbox = remains.name, "cannot watch a sandbox");
            first.kill();
            Ending::Lost
        }
    };
    let ending = if first.doomed.load(Ordering::Relaxed) { Ending::Killed } else { ending };
    let exit = Exit { ending, oom_killed: first.oom_killed() };
    state.send_replace(State::Ended(exit));
    remains.bury().await;
    state.send_replace(State::Gone(exit));
}

async fn watch_first(first: &Shared, control: &Control, memory_bytes: u64) -> io::Result<Ending> {
    let pidfd = watch(first.pidfd.try_clone()?)?;
    let mut watchdog = interval(WATCH_EVERY);
    watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending = None;
    let mut open = true;
    loop {
        tokio::select! {
            ready = pidfd.readable() => { ready?.retain_ready(); break }
            word = control.next(), if open => match word? {
                Some((word, _)) => ending = ending.or(ending_of(&word)),
                None => open = false,
            },
            _ = watchdog.tick(), if first.cgroup.is_none() => {
                if first.memory()? > memory_bytes {
                    first.overdrawn.store(true, Ordering::Relaxed);
                    first.kill();
                }
            }
        }
    }
    while let Some(word) = control.waiting() {
        ending = ending.or(ending_of(&word));
    }
    let status = collect(first.pidfd.as_fd())?;
    Ok(ending.unwrap_or(status))
}

fn ending_of(word: &Word) -> Option<Ending> {
    match word {
        Word::Exited { code: Some(code), .. } => Some(Ending::Code(*code)),
        Word::Exited { signal: Some(signal), .. } => Some(Ending::Signal(*signal)),
        Word::Exited { .. } => Some(Ending::Lost),
        Word::Spawned { .. } | Word::Listening | Word::Started | Word::Failed { .. } => None,
    }
}

/// Collects the dead first process, so that its number is free again.
fn collect(pidfd: BorrowedFd<'_>) -> io::Result<Ending> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
    Ok(match waitid(Id::PIDFd(pidfd), flags)? {
        WaitStatus::Exited(_, code) => Ending::Code(code),
        WaitStatus::Signaled(_, signal, _) => Ending::Signal(signal as i32),
        _ => Ending::Lost,
    })
}

// === impl Remains ===

impl Remains {
    /// Kills and removes everything; returns when it is gone or has been given up on.
    pub(super) async fn bury(&mut self) {
        self.reap_maker().await;
        if let Some(first) = self.first.take() {
            first.kill();
            if let Err(error) = wait_end(first.pidfd.as_fd()).await {
                tracing::error!(%error, sandbox = self.name, "cannot wait for a sandbox's end");
            }
            // Collected before, or now; either way it is nobody's child any more.
            drop(collect(first.pidfd.as_fd()));
        }
        self.api = None;
        if let Some(cgroup) = self.cgroup.take() {
            remove(cgroup.as_ref(), &self.name).await;
        }
        self.hierarchy = None;
        self.link = None;
        self.slot = None;
    }

    /// The maker ends as soon as the first process exists.
    async fn reap_maker(&mut self) {
        let Some(mut maker) = self.maker.take() else { return };
        let id = i32::try_from(maker.id()).unwrap_or_default();
        let waited = match pidfd_open(id) {
            Ok(pidfd) => wait_end(pidfd.as_fd()).await,
            Err(errno) => Err(errno.into()),
        };
        let reaped = waited.and_then(|()| maker.try_wait().map(drop));
        if let Err(error) = reaped {
            tracing::warn!(%error, sandbox = self.name, "cannot collect a sandbox-init");
        }
    }
}

/// The runtime ended before the sandbox did: what can be done without it is done here.
impl Drop for Remains {
    fn drop(&mut self) {
        let Some(first) = self.first.take() else { return };
        first.kill();
        let mut fds = [PollFd::new(first.pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, LAST_WAIT) != Ok(1) {
            tracing::warn!(sandbox = self.name, "a killed sandbox has not ended yet");
        }
        drop(collect(first.pidfd.as_fd()));
        // The hub's own group goes with the last one in it.
        if let Some(Err(error)) = self.cgroup.take().map(|cgroup| cgroup.remove()) {
            tracing::warn!(%error, sandbox = self.name, "a control group is left to the next start");
        }
    }
}

/// Waits for the end of our child behind `pidfd` and collects it.
pub(super) async fn end_of(pidfd: &impl AsFd) -> io::Result<()> {
    wait_end(pidfd.as_fd()).await?;
    collect(pidfd.as_fd()).map(drop)
}

async fn wait_end(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    // A descriptor of its own: one is registered with the runtime only once.
    let own = pidfd.try_clone_to_owned()?;
    watch(own)?.readable().await?.retain_ready();
    Ok(())
}

async fn remove(cgroup: &dyn Cgroup, name: &str) {
    for _ in 0..REMOVE_TRIES {
        match cgroup.remove() {
            Ok(()) => return,
            Err(_) => {
                for pid in cgroup.processes().unwrap_or_default() {
                    signal(pid, Signal::SIGKILL);
                }
                sleep(REMOVE_EVERY).await;
            }
        }
    }
    tracing::error!(sandbox = name, "a control group cannot be removed");
}
