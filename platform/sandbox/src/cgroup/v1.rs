//! Control groups, version 1: a hierarchy for each controller.
//!
//! A machine that binds its controllers to v1 often mounts an empty unified hierarchy beside
//! them. Its freezer is used where it is there: a process that it froze can still be killed.

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

const MEMORY: &str = "memory";
const PIDS: &str = "pids";
const CPU: &str = "cpu";
const FREEZER: &str = "freezer";

/// The hub's directory in each hierarchy.
#[derive(Debug)]
pub struct V1 {
    memory: PathBuf,
    pids: PathBuf,
    cpu: Option<PathBuf>,
    freezer: Freezer,
}

#[derive(Debug, Clone)]
enum Freezer {
    V1(PathBuf),
    V2(PathBuf),
}

#[derive(Debug)]
struct Group {
    memory: PathBuf,
    pids: PathBuf,
    cpu: Option<PathBuf>,
    freezer: Freezer,
}

/// Makes the hub's directories.
///
/// # Errors
/// A phrase: which controller is not there, or what the kernel refused.
pub fn open(mounts: &Mounts, parent: &str, hub: &str) -> Result<V1, String> {
    let at = |point: &Path| {
        let directory = point.join(parent);
        make(&directory).and_then(|()| make(&directory.join(hub)))?;
        Ok::<_, io::Error>(directory.join(hub))
    };
    let controller = |name: &str| {
        let point = mounts.v1(name).ok_or_else(|| format!("no `{name}`"))?;
        at(point).map_err(|error| format!("`{name}`: {error}"))
    };
    let unified = mounts.v2.as_deref().and_then(|point| at(point).ok());
    let freezer = match unified.filter(|directory| directory.join("cgroup.freeze").exists()) {
        Some(directory) => Freezer::V2(directory),
        None => Freezer::V1(controller(FREEZER)?),
    };
    Ok(V1 {
        memory: controller(MEMORY)?,
        pids: controller(PIDS)?,
        cpu: controller(CPU).ok(),
        freezer,
    })
}

// === impl V1 ===

impl V1 {
    fn group(&self, name: &str) -> Group {
        Group {
            memory: self.memory.join(name),
            pids: self.pids.join(name),
            cpu: self.cpu.as_ref().map(|cpu| cpu.join(name)),
            freezer: match &self.freezer {
                Freezer::V1(directory) => Freezer::V1(directory.join(name)),
                Freezer::V2(directory) => Freezer::V2(directory.join(name)),
            },
        }
    }

    fn directories(&self) -> impl Iterator<Item = &Path> {
        let each = [
            Some(&self.memory),
            Some(&self.pids),
            self.cpu.as_ref(),
            Some(self.freezer.directory()),
        ];
        each.into_iter().flatten().map(PathBuf::as_path)
    }
}

impl Hierarchy for V1 {
    fn kind(&self) -> CgroupKind {
        CgroupKind::V1
    }

    fn create(&self, name: &str, bounds: &Bounds) -> io::Result<Arc<dyn Cgroup>> {
        let group = self.group(name);
        match group.create(bounds) {
            Ok(()) => Ok(Arc::new(group)),
            Err(error) => {
                if let Err(left) = group.remove() {
                    tracing::warn!(%left, "a control group that could not be made is left");
                }
                Err(error)
            }
        }
    }

    fn existing(&self) -> io::Result<Vec<(String, Arc<dyn Cgroup>)>> {
        let mut found = Vec::new();
        for directory in self.directories() {
            found.extend(names(directory)?);
        }
        found.sort();
        found.dedup();
        Ok(found.into_iter().map(|name| (name.clone(), Arc::new(self.group(&name)) as _)).collect())
    }
}

impl Drop for V1 {
    fn drop(&mut self) {
        for directory in self.directories() {
            if let Err(error) = remove(directory) {
                tracing::debug!(%error, "a control group is still in use");
            }
        }
    }
}

// === impl Freezer ===

impl Freezer {
    fn directory(&self) -> &PathBuf {
        match self {
            Self::V1(directory) | Self::V2(directory) => directory,
        }
    }
}

// === impl Group ===

impl Group {
    fn create(&self, bounds: &Bounds) -> io::Result<()> {
        for directory in self.directories() {
            make(directory)?;
        }
        let memory = bounds.memory_bytes.to_string();
        write(&self.memory, "memory.limit_in_bytes", &memory)?;
        if self.memory.join("memory.memsw.limit_in_bytes").exists() {
            write(&self.memory, "memory.memsw.limit_in_bytes", &memory)?;
        }
        write(&self.pids, "pids.max", &bounds.pids.to_string())?;
        if let Some(cpu) = &self.cpu {
            // 1,024 shares are what weight 100 is.
            let shares = (bounds.cpu_weight * 1024 / 100).clamp(2, 262_144);
            write(cpu, "cpu.shares", &shares.to_string())?;
        }
        Ok(())
    }

    fn directories(&self) -> impl Iterator<Item = &Path> {
        let each = [
            Some(&self.memory),
            Some(&self.pids),
            self.cpu.as_ref(),
            Some(self.freezer.directory()),
        ];
        each.into_iter().flatten().map(PathBuf::as_path)
    }
}

impl Cgroup for Group {
    fn entrance(&self) -> Entrance {
        // `tasks`, not `cgroup.procs`: one thread moving itself takes no lock of the whole machine.
        let tasks = |directory: &Path| directory.join("tasks");
        let mut join = vec![tasks(&self.memory), tasks(&self.pids)];
        join.extend(self.cpu.as_deref().map(tasks));
        let born_in = match &self.freezer {
            Freezer::V1(directory) => {
                join.push(tasks(directory));
                None
            }
            Freezer::V2(directory) => Some(directory.clone()),
        };
        Entrance { join, born_in }
    }

    fn memory(&self) -> io::Result<u64> {
        let used = read_number(&self.memory, "memory.usage_in_bytes")?;
        let idle = read_field(&self.memory, "memory.stat", "total_inactive_file")?;
        Ok(used.saturating_sub(idle))
    }

    fn oom_kills(&self) -> io::Result<u64> {
        read_field(&self.memory, "memory.oom_control", "oom_kill")
    }

    fn freeze(&self) -> io::Result<()> {
        match &self.freezer {
            Freezer::V1(directory) => write(directory, "freezer.state", "FROZEN"),
            Freezer::V2(directory) => write(directory, "cgroup.freeze", "1"),
        }
    }

    fn is_frozen(&self) -> io::Result<bool> {
        match &self.freezer {
            Freezer::V1(directory) => Ok(read(directory, "freezer.state")?.trim() == "FROZEN"),
            Freezer::V2(directory) => Ok(read_field(directory, "cgroup.events", "frozen")? == 1),
        }
    }

    fn thaw(&self) -> io::Result<()> {
        match &self.freezer {
            Freezer::V1(directory) => write(directory, "freezer.state", "THAWED"),
            Freezer::V2(directory) => write(directory, "cgroup.freeze", "0"),
        }
    }

    fn processes(&self) -> io::Result<Vec<i32>> {
        let mut all = Vec::new();
        for directory in self.directories().filter(|directory| directory.exists()) {
            all.extend(read_pids(directory)?);
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    fn remove(&self) -> io::Result<()> {
        self.directories().try_for_each(remove)
    }
}
