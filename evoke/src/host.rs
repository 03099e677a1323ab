//! What the program knows of itself, for metrics: its process, its disk, its exporter of traces.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use evoke_controller::{Host, HostFacts};
use nix::{
    sys::{
        resource::{Resource, getrlimit},
        statvfs::statvfs,
        time::TimeValLike as _,
    },
    unistd::{SysconfVar, sysconf},
};

use crate::telemetry::Exporter;

/// How long the sizes of stores are good: folders of code may hold many files.
const SIZES_GOOD: Duration = Duration::from_secs(15);
/// Most files that are looked at for the size of a folder.
const MOST_FILES: usize = 100_000;
/// What is kept in the data directory, by name and path.
const STORES: [(&str, &str); 4] = [
    ("activations", "activations.redb"),
    ("entities", "entities.redb"),
    ("code", "code"),
    ("log", "log"),
];

/// Bytes on disk, by name.
type Sizes = Vec<(&'static str, u64)>;

/// The program on its data directory.
#[derive(Debug)]
pub(crate) struct Program {
    data: PathBuf,
    exporter: Option<Arc<Exporter>>,
    started_seconds: Option<f64>,
    sizes: Mutex<Option<(Instant, Sizes)>>,
}

impl Program {
    /// The program that runs on this directory.
    #[must_use]
    pub(crate) fn new(data: &Path, exporter: Option<Arc<Exporter>>) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok();
        let started_seconds = since.map(|since| since.as_secs_f64());
        Self { data: data.to_owned(), exporter, started_seconds, sizes: Mutex::default() }
    }

    fn sizes(&self) -> Sizes {
        let mut kept = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, sizes)) = &*kept
            && at.elapsed() < SIZES_GOOD
        {
            return sizes.clone();
        }
        let size = |(name, path)| Some((name, size_of(&self.data.join(path))?));
        let sizes: Sizes = STORES.into_iter().filter_map(size).collect();
        *kept = Some((Instant::now(), sizes.clone()));
        sizes
    }
}

impl Host for Program {
    fn facts(&self) -> HostFacts {
        HostFacts {
            memory_bytes: resident(),
            cpu_seconds: cpu(),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            most_files: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            started_seconds: self.started_seconds,
            disk: disk(&self.data),
            stores: self.sizes(),
            spans: self.exporter.as_ref().map(|exporter| exporter.counts()),
        }
    }
}

/// Memory of the process that is there. Unit: bytes.
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    pages.checked_mul(u64::try_from(page).ok()?)
}

/// Processor time of the process. Unit: seconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds of years are within 53 bits")]
fn cpu() -> Option<f64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(micros as f64 / 1e6)
}

/// Room on the disk of a directory, for who is not root, and its size. Unit: bytes.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let stat = statvfs(path).ok()?;
    let unit = stat.fragment_size();
    Some((stat.blocks_available().checked_mul(unit)?, stat.blocks().checked_mul(unit)?))
}

/// Bytes on disk of a file, or of all below a folder.
fn size_of(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut bytes, mut seen, mut left) = (0, 0, vec![path.to_owned()]);
    while let Some(path) = left.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            if seen == 0 {
                return None;
            }
            continue;
        };
        bytes += metadata.blocks() * 512;
        seen += 1;
        if metadata.is_dir() && seen < MOST_FILES {
            let inside = fs::read_dir(&path).into_iter().flatten().flatten();
            left.extend(inside.map(|entry| entry.path()));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_knows_itself_and_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("code")).unwrap();
        fs::write(folder.path().join("code/a"), vec![7; 100_000]).unwrap();
        let facts = Program::new(folder.path(), None).facts();
        assert!(facts.memory_bytes.unwrap() > 1_000_000);
        assert!(facts.cpu_seconds.unwrap() >= 0.0 && facts.open_files.unwrap() > 2);
        let (free, size) = facts.disk.unwrap();
        assert!(free <= size && size > 0);
        let [("code", bytes)] = facts.stores.as_slice() else { panic!("{:?}", facts.stores) };
        assert!((100_000..1_000_000).contains(bytes), "{bytes}");
    }
}
