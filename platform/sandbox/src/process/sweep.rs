//! Clears away what a hub that was killed could not.

use std::{collections::BTreeSet, fs, time::Duration};

use tokio::time::sleep;

use super::{Shop, hub::HubId, tree};
use crate::{
    SweepReport,
    cgroup::Cgroup,
    sys::{pidfd_open, pidfd_signal},
};

/// Looks until a killed process has left its control group.
const TRIES: u32 = 5000;
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(super) async fn sweep(shop: &Shop) -> SweepReport {
    let mut report = SweepReport::default();
    let mut killed = BTreeSet::new();
    if let Some(cgroups) = &shop.cgroups {
        match cgroups.existing() {
            Ok(existing) => {
                for (name, cgroup) in existing {
                    if !shop.slots.is_alive(&name) {
                        sweep_group(&name, cgroup.as_ref(), &mut killed, &mut report).await;
                    }
                }
            }
            Err(error) => report.stuck.push(format!("control groups: {error}")),
        }
    }
    sweep_strays(shop, &mut killed);
    report.processes = killed.len();
    if let Some(nets) = &shop.nets {
        (report.links, report.firewall) = nets.swept();
    }
    report
}

async fn sweep_group(
    name: &str,
    cgroup: &dyn Cgroup,
    killed: &mut BTreeSet<i32>,
    report: &mut SweepReport,
) {
    let mut last = None;
    for _ in 0..TRIES {
        for pid in cgroup.processes().unwrap_or_default() {
            kill(pid, killed);
        }
        // What was frozen dies when it goes on.
        drop(cgroup.thaw());
        match cgroup.remove() {
            Ok(()) => {
                report.cgroups += 1;
                return;
            }
            Err(error) => last = Some(error),
        }
        sleep(LOOK_EVERY).await;
    }
    report.stuck.push(format!("control group `{name}`: {last:?}"));
}

/// Finds `sandbox-init` processes of this hub that are not below this process.
fn sweep_strays(shop: &Shop, killed: &mut BTreeSet<i32>) {
    let Ok(entries) = fs::read_dir("/proc") else { return };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in pids {
        if is_init(pid, &shop.config.init_args, shop.hub) && !tree::is_ours(pid) {
            kill(pid, killed);
        }
    }
}

fn is_init(pid: i32, args: &[String], hub: HubId) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).skip(1).collect();
    let wanted = args.iter().map(String::as_bytes).chain([hub.as_str().as_bytes()]);
    // The text ends with a NUL, after which comes one empty word.
    words.iter().copied().eq(wanted.chain([&b""[..]]))
}

fn kill(pid: i32, killed: &mut BTreeSet<i32>) {
    let Ok(pidfd) = pidfd_open(pid) else { return };
    match pidfd_signal(std::os::fd::AsFd::as_fd(&pidfd), libc::SIGKILL) {
        Ok(()) => drop(killed.insert(pid)),
        Err(error) => tracing::warn!(%error, pid, "cannot kill what a former hub left"),
    }
}
