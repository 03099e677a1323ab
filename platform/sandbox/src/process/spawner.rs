//! One thread starts every `sandbox-init`: what the kernel kills with its parent hangs on that thread.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use tokio::sync::oneshot;

use super::{Init, hub::HubId};

/// Starts waiting for the thread; a start takes well under a millisecond of it, more wait in turn.
const QUEUE: usize = 64;
/// What `ps` shows as the program.
const SHOWN_AS: &str = "evoke";

/// The thread, for as long as this lives; its end is the end of every sandbox.
#[derive(Debug)]
pub(super) struct Spawner {
    jobs: SyncSender<Job>,
}

#[derive(Debug)]
struct Job {
    control: OwnedFd,
    reply: oneshot::Sender<io::Result<Child>>,
}

// === impl Spawner ===

impl Spawner {
    pub(super) fn open(exe: PathBuf, args: &[String], hub: HubId) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let mut args = args.to_vec();
        args.push(hub.as_str().to_owned());
        let init = Init { exe, args };
        thread::Builder::new()
            .name("sandbox-spawner".to_owned())
            .spawn(move || serve(&init, &queue))?;
        Ok(Self { jobs })
    }

    /// Starts the program with `control` as its standard input.
    pub(super) async fn spawn(&self, control: OwnedFd) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the spawner thread is gone");
        self.jobs.try_send(Job { control, reply }).ok().ok_or_else(gone)?;
        answer.await.ok().ok_or_else(gone)?
    }
}

fn serve(init: &Init, queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        let child = Command::new(&init.exe)
            .arg0(SHOWN_AS)
            .args(&init.args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(job.control))
            .stdout(Stdio::null())
            .spawn();
        if let Err(Ok(mut unwanted)) = job.reply.send(child) {
            reap(&mut unwanted);
        }
    }
}

/// Without its socket's other end the program ends by itself, at once.
fn reap(child: &mut Child) {
    if let Err(error) = child.wait() {
        tracing::warn!(%error, "cannot collect a sandbox-init that nobody waits for");
    }
}
