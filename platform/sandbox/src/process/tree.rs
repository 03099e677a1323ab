//! The processes below one, where no control group lists them.

use std::fs;

/// Deepest chain of processes that is followed; beyond it the limit on processes has struck.
const MAX_PROCESSES: usize = 65_536;

/// `root` and every process below it, parents first.
pub(super) fn below(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        if found.len() > MAX_PROCESSES {
            break;
        }
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    found
}

/// Whether `pid` is this process or below it.
pub(super) fn is_ours(pid: i32) -> bool {
    let own = std::process::id();
    let mut at = pid.cast_unsigned();
    while at > 1 && at != own {
        at = parent(at).unwrap_or(0);
    }
    at == own
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the last bracket may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Memory that only these processes hold. Unit: bytes.
pub(super) fn memory(pids: &[i32]) -> u64 {
    pids.iter().map(|pid| memory_of(*pid)).sum()
}

fn memory_of(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
        kib * 1024
    };
    field("RssAnon:") + field("RssShmem:")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_of_children_are_found_and_measured() {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "sh -c 'read x; :' ; :"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let root = i32::try_from(shell.id()).unwrap();
        while below(root).len() < 2 {
            std::thread::yield_now();
        }
        assert!(memory(&below(root)) > 4096);
        assert!(is_ours(root) && !is_ours(1));
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(below(root), [root]);
        assert_eq!(memory(&[root]), 0);
    }
}
