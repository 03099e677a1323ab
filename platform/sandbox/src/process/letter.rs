//! What the hub and `sandbox-init` tell each other over their socket.
//!
//! The hub sends one message: a byte, with the descriptors [`Fds`] names attached. The order
//! itself is in the first of them, a file in memory. The answers are [`Word`]s, a message each.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::fd::OwnedFd,
    path::PathBuf,
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::PlacedFile;

/// Longest [`Word`] as text.
pub(crate) const MAX_WORD: usize = 1024;

/// All that `sandbox-init` has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Host path, path inside.
    pub(crate) shown: Vec<(PathBuf, PathBuf)>,
    /// Path inside, length of the content, whether it is executable.
    pub(crate) files: Vec<(PathBuf, u64, bool)>,
    pub(crate) workdir: PathBuf,
    pub(crate) tmp_bytes: u64,
    pub(crate) pids: u64,
    /// Host user the sandbox's one user is; `None`: the caller itself.
    pub(crate) uid: Option<u32>,
    /// Files that a process writes `0` to, to join a control group.
    pub(crate) join: Vec<PathBuf>,
    /// Directory of the v2 control group to be born in.
    pub(crate) born_in: Option<PathBuf>,
    pub(crate) net: Net,
    /// Namespaces and a root of its own.
    pub(crate) isolate: bool,
    /// Bound system calls.
    pub(crate) seccomp: bool,
    /// Make everything, execute nothing: shows whether this machine can.
    pub(crate) probe: bool,
}

/// Where the network namespace comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Net {
    /// It is attached to the order.
    Prepared,
    /// A new one with loopback; `listen`: hand back a listener on this port.
    Own { listen: Option<u16> },
}

/// What `sandbox-init` reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    /// The first process exists; its descriptor is attached.
    Spawned { pid: i32 },
    /// The API's listener is attached.
    Listening,
    /// The program was executed.
    Started,
    /// A step failed; nothing runs.
    Failed { step: String, errno: i32 },
    /// The program ended.
    Exited { code: Option<i32>, signal: Option<i32> },
}

/// Step whose failure is the program's own: it is not there, or cannot be executed.
pub(crate) const STEP_EXEC: &str = "exec";

/// Puts the order and the files' content into a file in memory.
pub(crate) fn seal(order: &Order, files: &[PlacedFile]) -> io::Result<OwnedFd> {
    let mut memory = File::from(memfd_create("order", MFdFlags::MFD_CLOEXEC)?);
    let head = serde_json::to_vec(order)?;
    memory.write_all(&(head.len() as u64).to_le_bytes())?;
    memory.write_all(&head)?;
    for file in files {
        memory.write_all(&file.content)?;
    }
    memory.rewind()?;
    Ok(memory.into())
}

/// Reads what [`seal`] wrote; the file is left at the first file's content.
pub(crate) fn open(memory: OwnedFd) -> io::Result<(Order, File)> {
    let mut memory = File::from(memory);
    let mut length = [0; 8];
    memory.read_exact(&mut length)?;
    let mut head = Vec::new();
    Read::by_ref(&mut memory).take(u64::from_le_bytes(length)).read_to_end(&mut head)?;
    Ok((serde_json::from_slice(&head)?, memory))
}

// === impl Word ===

impl Word {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        Ok(serde_json::from_slice(bytes)?)
    }
}
