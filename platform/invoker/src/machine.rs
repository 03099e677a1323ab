//! What the machine says of its memory.

use crate::{
    config::Config,
    pool::{PoolLimits, Shape},
};

/// Memory that a started interpreter is expected to use before it was measured. Unit: bytes.
const EXPECTED: u64 = 64 << 20;
/// What bounds the default number of sandboxes: the measured use of an idle Node.js one, rounded
/// down. Unit: bytes.
const LEAST_USE: u64 = 40 << 20;
/// Expected wait that a run accepts rather than wake another sandbox. Unit: microseconds.
const SHARE_US: u64 = 3_000;
/// Most sandboxes where nothing else is configured.
const MOST: u64 = 1024;
/// Least memory that the machine keeps for itself. Unit: bytes.
const MACHINE_FLOOR: u64 = 256 << 20;
/// What is assumed of a machine that says nothing. Unit: bytes.
const UNKNOWN_TOTAL: u64 = 2 << 30;

/// The machine's whole memory. Unit: bytes.
pub(crate) fn total() -> Option<u64> {
    meminfo("MemTotal:")
}

/// Memory that could be had now. Unit: bytes.
pub(crate) fn available() -> Option<u64> {
    meminfo("MemAvailable:")
}

/// How often the kernel killed a process because memory ran out, the bounds of sandboxes included.
pub(crate) fn memory_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    field(&text, "oom_kill").unwrap_or_default()
}

fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    field(&text, name).map(|kib| kib << 10)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    let mut words = lines.find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
    words.next()?.parse().ok()
}

/// The bounds of the pool that a configuration means on this machine.
pub(crate) fn pool_limits(config: &Config, stems: Vec<(Shape, usize)>) -> PoolLimits {
    let total = total().unwrap_or(UNKNOWN_TOTAL);
    let budget = config.memory_mb.map_or(total / 5 * 3, |mb| mb << 20);
    let reserve = config.reserve_mb.map_or(budget / 8, |mb| mb << 20);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = usize::try_from((budget / LEAST_USE).clamp(1, MOST)).unwrap_or(1);
    PoolLimits {
        budget,
        reserve,
        expected: EXPECTED,
        machine_floor: MACHINE_FLOOR.min(total / 8),
        sandboxes: config.max_sandboxes.unwrap_or(most),
        starting: config.max_starting.unwrap_or(2 * processors),
        waiting: config.max_waiting,
        grow_us: config.grow_ms.saturating_mul(1000),
        crowd: 2 * processors,
        share_us: SHARE_US,
        patience_ms: config.patience_ms,
        pause_ms: config.pause_ms,
        remove_ms: config.remove_ms,
        stems: if config.stem_cells { stems } else { Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "MemTotal:       100 kB\noom_kill_disable 3\noom_kill 7\n";
        assert_eq!(field(text, "MemTotal:"), Some(100));
        assert_eq!(field(text, "oom_kill"), Some(7));
        assert_eq!(field(text, "MemFree:"), None);
    }

    #[test]
    fn a_hundred_and_twenty_eight_idle_sandboxes_fit_where_memory_allows() {
        let config = Config { memory_mb: Some(8192), ..Config::default() };
        let limits = pool_limits(&config, Vec::new());
        assert!(limits.sandboxes >= 128);
        assert!(limits.budget - limits.reserve >= 128 * (45 << 20));
    }
}
