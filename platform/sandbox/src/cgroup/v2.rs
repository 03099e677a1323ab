//! Control groups, version 2: the unified hierarchy.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Bounds, Cgroup, Entrance, Hierarchy, Mounts, make, names, read, read_field, read_number,
    read_pids, remove, write,
};
use crate::CgroupKind;

/// Controllers that must be had; `cpu` is taken where it is there.
const NEEDED: &[&str] = &["memory", "pids"];
const WANTED: &str = "cpu";
/// Group that the hub itself moves to when its own must be free of processes.
const HUB: &str = "hub";

/// The hub's directory.
#[derive(Debug)]
pub struct V2 {
    directory: PathBuf,
    cpu: bool,
}

#[derive(Debug)]
struct Group {
    directory: PathBuf,
}

/// Makes the hub's directory: at the top where that is allowed, else in its own group.
///
/// `own` is the text of `/proc/self/cgroup`.
///
/// # Errors
/// A phrase: which controller is not there, or what the kernel refused.
pub fn open(mounts: &Mounts, own: &str, parent: &str, hub: &str) -> Result<V2, String> {
    let root = mounts.v2.as_deref().ok_or("not mounted")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let top = open_in(root, parent, hub);
    if own.is_empty() || top.is_ok() {
        return top;
    }
    let own = root.join(own);
    // Controllers are given only to groups below one that has no process itself.
    let leaf = own.join(HUB);
    let moved = make(&leaf).and_then(|()| write(&leaf, "cgroup.procs", "0"));
    moved.map_err(|error| error.to_string())?;
    open_in(&own, parent, hub)
}

fn open_in(base: &Path, parent: &str, hub: &str) -> Result<V2, String> {
    let available = read(base, "cgroup.controllers").map_err(|error| error.to_string())?;
    let has = |name: &str| available.split_whitespace().any(|one| one == name);
    if let Some(missing) = NEEDED.iter().find(|name| !has(name)) {
        return Err(format!("no `{missing}`"));
    }
    let cpu = has(WANTED);
    let enable = if cpu { "+memory +pids +cpu" } else { "+memory +pids" };
    let directory = base.join(parent);
    let below = directory.join(hub);
    let made = write(base, "cgroup.subtree_control", enable)
        .and_then(|()| make(&directory))
        .and_then(|()| write(&directory, "cgroup.subtree_control", enable))
        .and_then(|()| make(&below))
        .and_then(|()| write(&below, "cgroup.subtree_control", enable));
    made.map_err(|error| error.to_string())?;
    Ok(V2 { directory: below, cpu })
}

// === impl V2 ===

impl Hierarchy for V2 {
    fn kind(&self) -> CgroupKind {
        CgroupKind::V2
    }

    fn create(&self, name: &str, bounds: &Bounds) -> io::Result<Arc<dyn Cgroup>> {
        let group = Group { directory: self.directory.join(name) };
        make(&group.directory)?;
        let cpu = self.cpu.then(|| ("cpu.weight", bounds.cpu_weight.to_string()));
        let files = [
            ("memory.max", bounds.memory_bytes.to_string()),
            ("memory.oom.group", "1".to_owned()),
            ("pids.max", bounds.pids.to_string()),
        ];
        for (file, value) in files.into_iter().chain(cpu) {
            if let Err(error) = write(&group.directory, file, &value) {
                group.remove()?;
                return Err(error);
            }
        }
        // Not there on a kernel without swap.
        if group.directory.join("memory.swap.max").exists() {
            write(&group.directory, "memory.swap.max", "0")?;
        }
        Ok(Arc::new(group))
    }

    fn existing(&self) -> io::Result<Vec<(String, Arc<dyn Cgroup>)>> {
        let group = |name: String| {
            let group = Group { directory: self.directory.join(&name) };
            (name, Arc::new(group) as Arc<dyn Cgroup>)
        };
        Ok(names(&self.directory)?.into_iter().map(group).collect())
    }
}

impl Drop for V2 {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.directory) {
            tracing::debug!(%error, "a control group is still in use");
        }
    }
}

// === impl Group ===

impl Cgroup for Group {
    fn entrance(&self) -> Entrance {
        Entrance { join: Vec::new(), born_in: Some(self.directory.clone()) }
    }

    fn memory(&self) -> io::Result<u64> {
        let used = read_number(&self.directory, "memory.current")?;
        let idle = read_field(&self.directory, "memory.stat", "inactive_file")?;
        Ok(used.saturating_sub(idle))
    }

    fn oom_kills(&self) -> io::Result<u64> {
        read_field(&self.directory, "memory.events", "oom_kill")
    }

    fn freeze(&self) -> io::Result<()> {
        write(&self.directory, "cgroup.freeze", "1")
    }

    fn is_frozen(&self) -> io::Result<bool> {
        Ok(read_field(&self.directory, "cgroup.events", "frozen")? == 1)
    }

    fn thaw(&self) -> io::Result<()> {
        write(&self.directory, "cgroup.freeze", "0")
    }

    fn processes(&self) -> io::Result<Vec<i32>> {
        read_pids(&self.directory)
    }

    fn remove(&self) -> io::Result<()> {
        remove(&self.directory)
    }
}
