//! Control groups: the bounds that hold for all processes of a sandbox together.
//!
//! To add a hierarchy: one file that implements [`Hierarchy`] and [`Cgroup`], one line in [`find`].

pub mod v1;
pub mod v2;

use std::{fmt::Debug, fs, io, path::Path, path::PathBuf, sync::Arc};

use crate::CgroupKind;

/// Where control groups for sandboxes are made.
///
/// Dropped, it removes the hub's own group, if none of a sandbox is left in it.
pub trait Hierarchy: Send + Sync + Debug {
    /// Which sort it is.
    fn kind(&self) -> CgroupKind;
    /// Makes a group with bounds.
    ///
    /// # Errors
    /// What the kernel says; nothing is left.
    fn create(&self, name: &str, bounds: &Bounds) -> io::Result<Arc<dyn Cgroup>>;
    /// The groups there are, by name, whoever made them.
    ///
    /// # Errors
    /// What the kernel says.
    fn existing(&self) -> io::Result<Vec<(String, Arc<dyn Cgroup>)>>;
}

/// The group of one sandbox.
pub trait Cgroup: Send + Sync + Debug {
    /// How a process gets in.
    fn entrance(&self) -> Entrance;
    /// Memory in use that cannot be taken back without loss. Unit: bytes.
    ///
    /// # Errors
    /// What the kernel says, as for all below.
    fn memory(&self) -> io::Result<u64>;
    /// How many processes were killed for want of memory.
    ///
    /// # Errors
    /// What the kernel says.
    fn oom_kills(&self) -> io::Result<u64>;
    /// Begins to stop every process.
    ///
    /// # Errors
    /// What the kernel says.
    fn freeze(&self) -> io::Result<()>;
    /// Whether every process stands still.
    ///
    /// # Errors
    /// What the kernel says.
    fn is_frozen(&self) -> io::Result<bool>;
    /// Lets them go on.
    ///
    /// # Errors
    /// What the kernel says.
    fn thaw(&self) -> io::Result<()>;
    /// The processes in it.
    ///
    /// # Errors
    /// What the kernel says.
    fn processes(&self) -> io::Result<Vec<i32>>;
    /// Removes it; fails with `ResourceBusy` while a process is in it.
    ///
    /// # Errors
    /// What the kernel says.
    fn remove(&self) -> io::Result<()>;
}

/// How a process gets into a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entrance {
    /// Files that a single-threaded process writes `0` to.
    pub join: Vec<PathBuf>,
    /// Directory to be born in.
    pub born_in: Option<PathBuf>,
}

/// The bounds of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Unit: bytes, with swap.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Range: 1 ..= 10,000.
    pub cpu_weight: u64,
}

/// The hierarchy to use on this machine, under `parent/hub`, or why there is none.
///
/// # Errors
/// A sentence for the report: what is missing or refused.
pub fn find(parent: &str, hub: &str) -> Result<Arc<dyn Hierarchy>, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = Mounts::parse(&mounts);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let no_v1 = match v1::open(&found, parent, hub) {
        Ok(hierarchy) => return Ok(Arc::new(hierarchy)),
        Err(missing) => missing,
    };
    match v2::open(&found, &own, parent, hub) {
        Ok(hierarchy) => Ok(Arc::new(hierarchy)),
        Err(no_v2) => Err(format!("no control groups (v1: {no_v1}; v2: {no_v2})")),
    }
}

/// Where control groups are mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Controller and mount point of each v1 hierarchy.
    pub v1: Vec<(String, PathBuf)>,
    /// Mount point of the unified hierarchy.
    pub v2: Option<PathBuf>,
}

// === impl Mounts ===

impl Mounts {
    /// Reads `/proc/self/mountinfo`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(point) = left.split(' ').nth(4) else { continue };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) => found.v2 = Some(PathBuf::from(point)),
                (Some("cgroup"), Some(options)) => {
                    for controller in options.split(',') {
                        found.v1.push((controller.to_owned(), PathBuf::from(point)));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Mount point of a v1 controller.
    #[must_use]
    pub fn v1(&self, controller: &str) -> Option<&Path> {
        self.v1.iter().find(|(name, _)| name == controller).map(|(_, point)| point.as_path())
    }
}

fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    fs::write(&path, value).map_err(|error| {
        io::Error::new(error.kind(), format!("write `{value}` to `{}`: {error}", path.display()))
    })
}

fn read(directory: &Path, file: &str) -> io::Result<String> {
    fs::read_to_string(directory.join(file))
}

fn read_number(directory: &Path, file: &str) -> io::Result<u64> {
    read(directory, file)?.trim().parse().map_err(io::Error::other)
}

/// The number after `key` in a file of `key number` lines; 0 where there is no such line.
fn read_field(directory: &Path, file: &str, key: &str) -> io::Result<u64> {
    let text = read(directory, file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.map_or(Ok(0), |value| value.trim().parse().map_err(io::Error::other))
}

fn read_pids(directory: &Path) -> io::Result<Vec<i32>> {
    let text = read(directory, "cgroup.procs")?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Makes a directory that may be there already.
fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory that may be gone already.
fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found() {
        let text = "\
30 25 0:26 / /sys/fs/cgroup ro,nosuid shared:4 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
broken line";
        let mounts = Mounts::parse(text);
        assert_eq!(mounts.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(mounts.v1("cpu"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(mounts.v1("pids"), Some(Path::new("/sys/fs/cgroup/pids")));
        assert_eq!(mounts.v1("memory"), None);
    }
}
