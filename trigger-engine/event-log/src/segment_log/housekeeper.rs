//! The thread for what must not hold the committer up: spare segments and sidecars.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::commit::Input;
use crate::index::SegmentIndex;
use crate::segment_log::Shared;
use crate::sidecar;

/// Jobs that may wait; a full queue holds the committer back, which makes them.
const JOBS: usize = 16;

/// Something to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make a spare segment, and tell the committer.
    MakeSpare,
    /// A segment is sealed: keep its index beside it and give back what it does not use.
    Seal(Arc<SegmentIndex>),
}

/// The way to the thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    jobs: SyncSender<Job>,
}

// === impl Housekeeper ===

impl Housekeeper {
    /// Starts the thread.
    pub(crate) fn start(shared: Arc<Shared>) -> io::Result<(Self, JoinHandle<()>)> {
        let (jobs, work) = sync_channel(JOBS);
        let name = "log-housekeeper".to_owned();
        let thread = std::thread::Builder::new().name(name).spawn(move || run(&shared, &work))?;
        Ok((Self { jobs }, thread))
    }

    pub(crate) fn send(&self, job: Job) {
        // The thread ends after this sender only.
        drop(self.jobs.send(job));
    }
}

fn run(shared: &Shared, work: &Receiver<Job>) {
    for job in work {
        match job {
            Job::MakeSpare => make_spare(shared),
            Job::Seal(index) => {
                if let Err(error) = seal(shared, &index) {
                    let segment = index.summary.id.0;
                    tracing::warn!(%error, segment, "no sidecar; the next start makes it");
                }
            }
        }
    }
}

fn make_spare(shared: &Shared) {
    let (bytes, zero) = (shared.config.segment_bytes, shared.config.zero_fill);
    let made =
        shared.dir.make_spare(bytes, zero, |file, bytes| (shared.seams.allocate)(file, bytes));
    let answer = match made {
        Ok(()) => Input::SpareReady,
        Err(error) => {
            tracing::warn!(%error, "no room for a spare segment");
            Input::SpareFailed
        }
    };
    shared.inbox.send(answer);
}

/// Writes the sidecar of a sealed segment and cuts the segment to what it uses.
pub(crate) fn seal(shared: &Shared, index: &SegmentIndex) -> io::Result<()> {
    let id = index.summary.id;
    let file = shared.dir.open_active(id)?;
    if file.metadata()?.len() > index.summary.bytes {
        file.set_len(index.summary.bytes)?;
        file.sync_all()?;
    }
    shared.dir.replace(&id.sidecar_name(), &sidecar::encode(index))
}
