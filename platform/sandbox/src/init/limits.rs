//! Process limits: what holds where no control group does, and what none of them counts.

use nix::sys::resource::{Resource, setrlimit};

use super::{At, Failure};
use crate::process::letter::Order;

/// Open files of one process, as OpenWhisk bounds them.
const OPEN_FILES: u64 = 1024;
/// Memory that may be locked. Unit: bytes.
const LOCKED_BYTES: u64 = 64 * 1024;
/// Pending signals.
const SIGNALS: u64 = 1024;
/// A file may be one page longer than `/tmp`, so that "no space" comes before the fatal signal.
const PAGE: u64 = 4096;

pub(super) fn apply(order: &Order) -> Result<(), Failure> {
    let file = order.tmp_bytes.next_multiple_of(PAGE) + PAGE;
    // The first process counts too, and is not the program's.
    let processes = order.pids + 1;
    let limits = [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, OPEN_FILES),
        (Resource::RLIMIT_FSIZE, file),
        (Resource::RLIMIT_MEMLOCK, LOCKED_BYTES),
        (Resource::RLIMIT_MSGQUEUE, 0),
        (Resource::RLIMIT_SIGPENDING, SIGNALS),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_NICE, 0),
    ];
    for (resource, value) in limits {
        setrlimit(resource, value, value).at("process limits")?;
    }
    // Outside of a user namespace this would count the caller's other processes as well.
    if order.isolate {
        setrlimit(Resource::RLIMIT_NPROC, processes, processes).at("process limits")?;
    }
    Ok(())
}
