//! The driver `process`: Linux namespaces, control groups and filters, made by re-executing the hub.

mod control;
mod guardian;
mod hub;
mod launch;
pub(crate) mod letter;
mod life;
mod probe;
pub(crate) mod slots;
mod spawner;
mod sweep;
mod tree;

use std::{io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use nix::unistd::geteuid;
use tokio_util::task::TaskTracker;

use self::{hub::HubId, slots::Slots, spawner::Spawner};
use crate::{
    ApiServer, CgroupKind, Config, IsolationReport, OpenError, Outside, Sandbox, SandboxDriver,
    SandboxSpec, StartError, SweepReport,
    cgroup::{self, Hierarchy},
    net::Nets,
    sys::landlock_abi,
};

/// Sandboxes as Linux processes of this hub.
///
/// Dropped, all its sandboxes die with it.
#[derive(Debug)]
pub struct ProcessDriver {
    shop: Arc<Shop>,
}

/// What every start needs.
#[derive(Debug)]
struct Shop {
    config: Config,
    hub: HubId,
    api: ApiHandle,
    spawner: Spawner,
    slots: Slots,
    cgroups: Option<Arc<dyn Hierarchy>>,
    nets: Option<Nets>,
    isolation: probe::Isolation,
    report: IsolationReport,
    /// One task per sandbox, its guardian; it ends when the sandbox is gone.
    tasks: TaskTracker,
}

/// The API as the driver holds it.
struct ApiHandle(Arc<dyn ApiServer>);

// === impl ProcessDriver ===

impl ProcessDriver {
    /// Finds out what this machine gives and prepares it; wants a tokio runtime.
    ///
    /// What is missing is in the report; only what makes every start impossible is an error.
    ///
    /// # Errors
    /// [`OpenError::Config`] names the field; [`OpenError::Io`] is the machine's.
    pub async fn open(config: Config, api: Arc<dyn ApiServer>) -> Result<Self, OpenError> {
        let hub = HubId::of(&config.data_dir)?;
        let exe = match &config.exe {
            Some(exe) => exe.clone(),
            None => std::env::current_exe()?,
        };
        let privileged = is_privileged();
        let slots = Slots::open(privileged.then_some(config.uid_base))?;
        let spawner = Spawner::open(exe, &config.init_args, hub)?;
        let mut notes = Vec::new();
        let isolation = probe::isolation(&spawner, slots.first_uid(), &mut notes).await;
        let cgroups = cgroup::find(&config.cgroup_parent, hub.as_str());
        let cgroups = cgroups.map_err(|missing| {
            notes.push(format!(
                "{missing}: memory is watched by sampling, processes are bounded by limits"
            ));
        });
        let cgroups = cgroups.ok();
        let nets = if privileged && isolation.namespaces {
            Some(Nets::open(&config, hub.as_str(), slots.lane(), &mut notes)?)
        } else {
            if config.egress {
                notes.push("not root: sandboxes reach the API only".to_owned());
            }
            None
        };
        let landlock = landlock_abi();
        if landlock.is_none() {
            notes.push("the kernel has no Landlock: mounts alone bound the files".to_owned());
        }
        let report = IsolationReport {
            driver: "process",
            namespaces: isolation.namespaces,
            seccomp: isolation.seccomp,
            landlock,
            cgroup: cgroups.as_ref().map_or(CgroupKind::None, |it| it.kind()),
            outside: nets.as_ref().map_or(Outside::ApiOnly, Nets::outside),
            notes,
        };
        let api = ApiHandle(api);
        let tasks = TaskTracker::new();
        let shop =
            Shop { config, hub, api, spawner, slots, cgroups, nets, isolation, report, tasks };
        Ok(Self { shop: Arc::new(shop) })
    }
}

#[async_trait]
impl SandboxDriver for ProcessDriver {
    fn name(&self) -> &'static str {
        "process"
    }

    fn report(&self) -> IsolationReport {
        self.shop.report.clone()
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Sandbox, StartError> {
        spec.check()?;
        self.shop.check_isolation()?;
        let shop = Arc::clone(&self.shop);
        // A task of its own: whoever stops waiting leaves nothing half made.
        let task = self.shop.tasks.spawn(async move { launch::launch(&shop, spec).await });
        match task.await {
            Ok(result) => result,
            Err(error) => {
                Err(StartError::Setup { step: "run".to_owned(), source: io::Error::other(error) })
            }
        }
    }

    async fn sweep(&self) -> SweepReport {
        sweep::sweep(&self.shop).await
    }

    async fn close(&self) {
        self.shop.tasks.close();
        self.shop.tasks.wait().await;
        if let Some(nets) = &self.shop.nets {
            nets.close().await;
        }
    }
}

/// Root of the machine; root of a user namespace, as in some containers, has no users to give away.
fn is_privileged() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

// === impl Shop ===

impl Shop {
    fn check_isolation(&self) -> Result<(), StartError> {
        let missing = match (&self.isolation.missing, self.config.allow_unisolated) {
            (Some(missing), false) => missing.clone(),
            _ => return Ok(()),
        };
        Err(StartError::Unisolated { missing })
    }
}

// === impl ApiHandle ===

impl std::fmt::Debug for ApiHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ApiHandle").finish_non_exhaustive()
    }
}

/// The program and arguments that make a sandbox.
#[derive(Debug, Clone)]
struct Init {
    exe: PathBuf,
    args: Vec<String>,
}
