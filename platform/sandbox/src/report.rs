//! What a driver says about its isolation and about what it cleared away.

/// What stands between an action and the host, on this machine, for this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationReport {
    /// The driver's name.
    pub driver: &'static str,
    /// Own user, mount, pid, network, ipc, uts and cgroup namespaces, and a root of its own.
    pub namespaces: bool,
    /// System calls pass an allow-list.
    pub seccomp: bool,
    /// Landlock's ABI, where the kernel has it.
    pub landlock: Option<u32>,
    /// What bounds memory, processes and processor share.
    pub cgroup: CgroupKind,
    /// What lies outside for `Network::Egress`.
    pub outside: Outside,
    /// One sentence for each thing that is missing, to be said at start.
    pub notes: Vec<String>,
}

/// Which control groups hold the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupKind {
    /// A hierarchy for each controller.
    V1,
    /// The unified hierarchy.
    V2,
    /// None: process limits and a watchdog on resident memory instead.
    None,
}

/// How far `Network::Egress` reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// The internet, without private ranges, and the API.
    Egress,
    /// The API only.
    ApiOnly,
}

/// What a sweep found of a former life of the same hub, and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Processes killed.
    pub processes: usize,
    /// Control groups removed (one per sandbox, not per hierarchy).
    pub cgroups: usize,
    /// Links removed.
    pub links: usize,
    /// Whether firewall rules were left.
    pub firewall: bool,
    /// What could not be removed, and why.
    pub stuck: Vec<String>,
}
