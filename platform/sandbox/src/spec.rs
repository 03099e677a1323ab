//! What one sandbox is asked to be.

use std::path::{Component, Path, PathBuf};

/// Smallest memory bound that still lets an interpreter start.
const MIN_MEMORY_BYTES: u64 = 16 << 20;
/// Longest name: it becomes the name of a cgroup directory.
const MAX_NAME: usize = 64;

/// One sandbox: what runs in it, what it sees, how much it may use.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// Unique among the living sandboxes of a driver. Shape: `[A-Za-z0-9._-]{1,64}`, not starting with a dot.
    pub name: String,
    /// Absolute program path, then its arguments. Never empty.
    pub argv: Vec<String>,
    /// The whole environment; `PATH`, `HOME`, `LANG` and `__OW_API_HOST` are added where absent.
    pub env: Vec<(String, String)>,
    /// Host paths to show besides the system's own, read-only.
    pub read_only: Vec<Shown>,
    /// Small files made inside before the root becomes read-only, such as a launcher.
    pub files: Vec<PlacedFile>,
    /// Bound of memory, files in `/tmp` included. Unit: bytes, ≥ 16 MiB.
    pub memory_bytes: u64,
    /// Bound of processes and threads together, ≥ 1.
    pub pids: u64,
    /// Share of the processor against other sandboxes. Range: 1 ..= 10,000; 100 is usual.
    pub cpu_weight: u64,
    /// Size of `/tmp`. Unit: bytes. No file grows larger.
    pub tmp_bytes: u64,
    /// What it may reach.
    pub network: Network,
    /// Absolute directory it starts in: `/tmp`, or one that is shown or placed.
    pub workdir: PathBuf,
}

/// What a sandbox may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Its own loopback, with nothing on it: neither the outside nor the API.
    None,
    /// The API, and the outside where the driver can make that link (see `IsolationReport::outside`).
    Egress,
}

/// A host path shown inside, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// File or directory on the host.
    pub host: PathBuf,
    /// Absolute path inside.
    pub inside: PathBuf,
}

/// A file made inside, owned by root's stand-in and readable by all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFile {
    /// Absolute path inside, outside of `/tmp`, `/proc` and `/dev`.
    pub path: PathBuf,
    /// Content.
    pub content: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
}

/// Why a [`SandboxSpec`] cannot be built; always a mistake of the caller.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    /// The name has another shape than `[A-Za-z0-9._-]{1,64}`.
    #[error("sandbox name `{0}` is not [A-Za-z0-9._-]{{1,64}}")]
    Name(String),
    /// `argv` is empty or its program is not an absolute path.
    #[error("argv must start with an absolute program path")]
    Program,
    /// A path inside is relative, or has `..`.
    #[error("path `{0}` inside the sandbox must be absolute and plain")]
    Path(PathBuf),
    /// A bound is outside its range.
    #[error("`{what}` is {value}, allowed is {allowed}")]
    Bound {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The range.
        allowed: &'static str,
    },
    /// Text for the kernel holds a NUL byte.
    #[error("argv, environment and paths must not hold a NUL byte")]
    Nul,
}

// === impl SandboxSpec ===

impl SandboxSpec {
    /// Finds the first thing that no driver could build.
    ///
    /// # Errors
    /// Each variant names a field the caller must change.
    pub fn check(&self) -> Result<(), SpecError> {
        check_name(&self.name)?;
        if !self.argv.first().is_some_and(|program| program.starts_with('/')) {
            return Err(SpecError::Program);
        }
        let inside = self.read_only.iter().map(|shown| &shown.inside);
        for path in inside.chain(self.files.iter().map(|f| &f.path)).chain([&self.workdir]) {
            if !is_plain(path) {
                return Err(SpecError::Path(path.clone()));
            }
        }
        self.check_bounds()?;
        let env = self.env.iter().flat_map(|(key, value)| [key, value]);
        if self.argv.iter().chain(env).any(|text| text.contains('\0')) {
            return Err(SpecError::Nul);
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), SpecError> {
        let bound = |ok: bool, what, value, allowed| {
            if ok { Ok(()) } else { Err(SpecError::Bound { what, value, allowed }) }
        };
        let memory = self.memory_bytes;
        bound(memory >= MIN_MEMORY_BYTES, "memory_bytes", memory, ">= 16 MiB")?;
        bound(self.pids >= 1, "pids", self.pids, ">= 1")?;
        let weight = self.cpu_weight;
        bound((1..=10_000).contains(&weight), "cpu_weight", weight, "1..=10000")?;
        bound(self.tmp_bytes >= 4096, "tmp_bytes", self.tmp_bytes, ">= 4096")
    }
}

fn check_name(name: &str) -> Result<(), SpecError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let ok =
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.');
    if ok { Ok(()) } else { Err(SpecError::Name(name.to_owned())) }
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> SandboxSpec {
        SandboxSpec {
            name: "a-1".to_owned(),
            argv: vec!["/bin/true".to_owned()],
            env: vec![],
            read_only: vec![],
            files: vec![],
            memory_bytes: 64 << 20,
            pids: 8,
            cpu_weight: 100,
            tmp_bytes: 1 << 20,
            network: Network::None,
            workdir: "/tmp".into(),
        }
    }

    fn check(change: impl FnOnce(&mut SandboxSpec), expected: Result<(), SpecError>) {
        let mut it = spec();
        change(&mut it);
        assert_eq!(it.check(), expected);
    }

    #[test]
    fn says_what_is_wrong() {
        check(|_| {}, Ok(()));
        for name in ["", ".", "..", "a/b", "a b", &"x".repeat(65)] {
            check(|s| s.name = name.to_owned(), Err(SpecError::Name(name.to_owned())));
        }
        check(|s| s.argv.clear(), Err(SpecError::Program));
        check(|s| s.argv = vec!["node".to_owned()], Err(SpecError::Program));
        check(|s| s.workdir = "/a/../b".into(), Err(SpecError::Path("/a/../b".into())));
        check(|s| s.workdir = "tmp".into(), Err(SpecError::Path("tmp".into())));
        check(|s| s.env.push(("A".to_owned(), "b\0".to_owned())), Err(SpecError::Nul));
        let zero = SpecError::Bound { what: "pids", value: 0, allowed: ">= 1" };
        check(|s| s.pids = 0, Err(zero));
        assert!(SandboxSpec { memory_bytes: 1, ..spec() }.check().is_err());
        assert!(SandboxSpec { cpu_weight: 10_001, ..spec() }.check().is_err());
    }
}
