//! What goes on in the background: starts, pauses, kills, and the pool's time.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use evoke_sandbox::Life;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    cell::Cell,
    floor::Floor,
    logs::Log,
    machine,
    pool::{Input, SandboxId, Shape},
    protocol::Answer,
};

/// Longest wait for an interpreter's first word.
const HELLO: Duration = Duration::from_secs(30);
/// Longest wait for a sandbox to stand still.
const STILL: Duration = Duration::from_secs(5);
/// Time between two looks at everything.
const PERIOD: Duration = Duration::from_secs(1);
/// Time between two looks at those who wait.
const HASTE: Duration = Duration::from_millis(20);
/// Time before the first look: stem cells shall not hold up the start of the hub.
const SETTLING: Duration = Duration::from_millis(250);

/// Keeps the pool's time until the invoker stops.
pub(crate) async fn keep(floor: Arc<Floor>) {
    let mut looked: Option<Instant> = None;
    tokio::select! {
        () = floor.stop.cancelled() => return,
        () = floor.waiting.notified() => {}
        () = sleep(SETTLING) => {}
    }
    loop {
        let waiting = floor.lock().pool.usage().waiting;
        if looked.is_none_or(|looked| looked.elapsed() >= PERIOD) {
            looked = Some(Instant::now());
            look(&floor).await;
        }
        floor.tell(Input::Tick { available: machine::available() });
        let nap = if waiting > 0 { HASTE } else { PERIOD };
        tokio::select! {
            biased;
            () = floor.stop.cancelled() => return,
            () = sleep(nap) => {}
            // Not before a while: those who wait wait mostly for a moment.
            () = async { floor.waiting.notified().await; sleep(HASTE).await } => {}
        }
    }
}

/// Finds the dead among the idle, and measures those that ran.
async fn look(floor: &Arc<Floor>) {
    floor.memory_kills.store(machine::memory_kills(), Ordering::Relaxed);
    let (lost, ran) = {
        let mut state = floor.lock();
        let dead = |id: &SandboxId| state.cells.get(id).is_none_or(|cell| !cell.is_quiet());
        let lost: Vec<_> = state.pool.idle().filter(dead).collect();
        let ran = std::mem::take(&mut state.unmeasured);
        let life = |id| Some((id, Arc::clone(state.lives.get(&id)?)));
        (lost, ran.into_iter().filter_map(life).collect::<Vec<_>>())
    };
    for sandbox in lost {
        floor.tell(Input::Lost { sandbox });
    }
    // The kernel's accounts are files: read where nobody waits.
    let measure = move || {
        let measured = ran.into_iter().map(|(id, life)| (id, life.memory_usage().ok()));
        measured.collect::<Vec<_>>()
    };
    for (sandbox, bytes) in tokio::task::spawn_blocking(measure).await.unwrap_or_default() {
        if let Some(bytes) = bytes {
            floor.tell(Input::Measured { sandbox, bytes });
        }
    }
}

/// Starts a sandbox and waits until its interpreter stands.
pub(crate) async fn start(floor: Arc<Floor>, sandbox: SandboxId, shape: Shape) {
    let begun = Instant::now();
    let started = tokio::select! {
        biased;
        () = floor.stop.cancelled() => Err("the invoker is shutting down".to_owned()),
        started = try_start(&floor, sandbox, shape) => started,
    };
    match started {
        Ok(cell) => {
            floor.measures.sandbox_start.observe(begun.elapsed());
            floor.admit(sandbox, cell);
        }
        Err(reason) => {
            floor.measures.starts_failed.one();
            tracing::warn!(sandbox = sandbox.0, %reason, "a sandbox did not start");
            floor.lock().start_error = reason;
            floor.tell(Input::StartFailed { sandbox });
            floor.removed.notify_waiters();
        }
    }
}

async fn try_start(floor: &Floor, sandbox: SandboxId, shape: Shape) -> Result<Cell, String> {
    let name = format!("{}.{}", floor.config.name, sandbox.0);
    let runtime = floor.runtimes.get(shape.kind);
    let spec = runtime.and_then(|runtime| runtime.spec(name, shape, &floor.config));
    let spec = spec.ok_or("no interpreter is installed")?;
    let started = floor.driver.start(spec).await;
    let mut cell = Cell::new(started.map_err(|error| chain(&error))?);
    let mut log = Log::new(1);
    let answer = match cell.receive(Instant::now() + HELLO, &mut log).await {
        Ok(reply) => Some(reply.frame.answer() == Answer::Ok && !reply.surplus),
        Err(_no_answer) => None,
    };
    if answer == Some(true) {
        return Ok(cell);
    }
    cell.life.kill().await;
    cell.drain(&mut log);
    let said = log.finish(false, std::time::SystemTime::now()).join("\n");
    Err(format!("the interpreter did not come up: {said}"))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Pauses a sandbox.
pub(crate) async fn pause(floor: Arc<Floor>, sandbox: SandboxId, life: Option<Arc<Life>>) {
    let paused = match life {
        Some(life) => timeout(STILL, life.pause()).await.is_ok_and(|paused| paused.is_ok()),
        None => false,
    };
    if paused {
        floor.tell(Input::Paused { sandbox });
    } else {
        tracing::warn!(sandbox = sandbox.0, "a sandbox could not be paused");
        floor.tell(Input::Lost { sandbox });
    }
}

/// Kills a sandbox and waits until nothing is left of it.
pub(crate) async fn kill(floor: Arc<Floor>, sandbox: SandboxId, life: Option<Arc<Life>>) {
    if let Some(life) = life {
        life.kill().await;
    }
    floor.tell(Input::Removed { sandbox });
    floor.removed.notify_waiters();
}
