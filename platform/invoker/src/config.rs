//! How one invoker is configured.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Configuration of the invoker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of this invoker in its fleet.
    pub name: String,
    /// Memory that sandboxes may use together. Unit: MB. Default: three fifths of the machine's.
    pub memory_mb: Option<u64>,
    /// Part of `memory_mb` that stays free for runs that grow. Unit: MB. Default: an eighth of it.
    pub reserve_mb: Option<u64>,
    /// Most sandboxes at once, idle ones included. Default: as many as `memory_mb` holds, at most 1,024.
    pub max_sandboxes: Option<usize>,
    /// Most sandboxes that start at once. Default: two for each processor.
    pub max_starting: Option<usize>,
    /// Most runs that wait for a sandbox.
    pub max_waiting: usize,
    /// Longest wait of a run for a sandbox, where it names none. Unit: milliseconds.
    pub longest_wait_ms: u64,
    /// Expected wait for a warm sandbox above which another is started. Unit: milliseconds.
    pub grow_ms: u64,
    /// Wait after which a namespace without its share may take a sandbox from one above its share.
    /// Unit: milliseconds.
    pub patience_ms: u64,
    /// Idle time before a sandbox is paused. Unit: milliseconds.
    pub pause_ms: u64,
    /// Idle time before a sandbox is removed. Unit: milliseconds.
    pub remove_ms: u64,
    /// Most processes and threads of one sandbox.
    pub pids: u64,
    /// Size of a sandbox's `/tmp`, at most half of its memory limit. Unit: MB.
    pub tmp_mb: u64,
    /// Runtimes manifest to use instead of the built-in one.
    pub manifest: Option<PathBuf>,
    /// Interpreters to try first, by kind.
    pub interpreters: BTreeMap<String, PathBuf>,
    /// Whether stem cells are kept ready as the manifest says.
    pub stem_cells: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "invoker0".to_owned(),
            memory_mb: None,
            reserve_mb: None,
            max_sandboxes: None,
            max_starting: None,
            max_waiting: 4096,
            longest_wait_ms: 60_000,
            grow_ms: 5,
            patience_ms: 50,
            pause_ms: 10_000,
            remove_ms: 600_000,
            pids: 256,
            tmp_mb: 512,
            manifest: None,
            interpreters: BTreeMap::new(),
            stem_cells: true,
        }
    }
}
