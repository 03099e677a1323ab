//! One start, from the specification to the executed program.

use std::{
    io,
    net::TcpListener,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use nix::{fcntl::OFlag, unistd::pipe2};
use tokio::{net::UnixStream, sync::watch, time::timeout};

use super::{
    Shop,
    control::Control,
    guardian::{Remains, guard},
    letter::{Net, Order, STEP_EXEC, Word, seal},
    life::{ProcessLife, Shared, State},
};
use crate::{
    Life, Network, Output, Sandbox, SandboxSpec, StartError,
    cgroup::{Bounds, Entrance},
};

/// A start takes milliseconds; one that takes this long never ends.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The hub's ends of a sandbox's streams.
struct Streams {
    channel: StdUnixStream,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// The sandbox's ends.
struct Inside {
    channel: StdUnixStream,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

pub(super) async fn launch(shop: &Shop, spec: SandboxSpec) -> Result<Sandbox, StartError> {
    let slot = Some(shop.slots.claim(&spec.name)?);
    let name = spec.name.clone();
    let (maker, first, cgroup, link, api) = (None, None, None, None, None);
    let hierarchy = shop.cgroups.clone();
    let mut remains = Remains { name, maker, first, cgroup, hierarchy, link, api, slot };
    match try_launch(shop, &spec, &mut remains).await {
        Ok((control, streams)) => match hand_over(shop, &spec, &mut remains, streams) {
            Ok((sandbox, state)) => {
                shop.tasks.spawn(guard(remains, control, spec.memory_bytes, state));
                Ok(sandbox)
            }
            Err(error) => {
                remains.bury().await;
                Err(error)
            }
        },
        Err(error) => {
            remains.bury().await;
            Err(error)
        }
    }
}

async fn try_launch(
    shop: &Shop,
    spec: &SandboxSpec,
    remains: &mut Remains,
) -> Result<(Control, Streams), StartError> {
    remains.cgroup = match &shop.cgroups {
        Some(cgroups) => Some(cgroups.create(&spec.name, &bounds(spec)).at("control group")?),
        None => None,
    };
    remains.link = match (&shop.nets, spec.network) {
        (Some(nets), Network::Egress) => Some(nets.take().await.at("network")?),
        _ => None,
    };
    let (streams, inside) = make_streams().at("streams")?;
    let order = order(shop, spec, remains);
    let memory = seal(&order, &spec.files).at("write the order")?;
    let (control, theirs) = Control::pair().at("socket")?;
    remains.maker = Some(shop.spawner.spawn(theirs).await.at("execute sandbox-init")?);
    let mut fds =
        vec![memory.as_fd(), inside.channel.as_fd(), inside.stdout.as_fd(), inside.stderr.as_fd()];
    fds.extend(remains.link.as_ref().map(|link| link.namespace()));
    control.order(&fds).at("send the order")?;
    drop(inside);
    let started = timeout(START_TIMEOUT, await_start(shop, spec, &control, remains)).await;
    started.ok().ok_or(StartError::Timeout(START_TIMEOUT))??;
    Ok((control, streams))
}

async fn await_start(
    shop: &Shop,
    spec: &SandboxSpec,
    control: &Control,
    remains: &mut Remains,
) -> Result<(), StartError> {
    if let Some(listener) = remains.link.as_mut().and_then(|link| link.take_api()) {
        serve_api(shop, spec, remains, listener)?;
    }
    loop {
        let word = control.next().await.at("listen to sandbox-init")?;
        let Some((word, fds)) = word else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).at("sandbox-init");
        };
        let fd = fds.into_iter().next().ok_or_else(|| io::Error::other("no descriptor came"));
        match word {
            Word::Spawned { pid } => {
                let pidfd = fd.at("first process")?;
                let cgroup = remains.cgroup.clone();
                let isolated = shop.isolation.namespaces;
                let (doomed, overdrawn) = (AtomicBool::new(false), AtomicBool::new(false));
                let first = Shared { pid, pidfd, cgroup, isolated, doomed, overdrawn };
                remains.first = Some(Arc::new(first));
            }
            Word::Listening => serve_api(shop, spec, remains, fd.at("API listener")?.into())?,
            Word::Started => return Ok(()),
            Word::Failed { step, errno } => return Err(failure(spec, step, errno)),
            Word::Exited { .. } => return Err(failure(spec, "exit".to_owned(), libc::EIO)),
        }
    }
}

fn failure(spec: &SandboxSpec, step: String, errno: i32) -> StartError {
    let source = io::Error::from_raw_os_error(errno);
    if step == STEP_EXEC {
        let program = spec.argv.first().cloned().unwrap_or_default();
        return StartError::Exec { program, source };
    }
    StartError::Setup { step, source }
}

fn serve_api(
    shop: &Shop,
    spec: &SandboxSpec,
    remains: &mut Remains,
    listener: TcpListener,
) -> Result<(), StartError> {
    listener.set_nonblocking(true).at("API listener")?;
    remains.api = Some(shop.api.0.serve(&spec.name, listener));
    Ok(())
}

fn hand_over(
    shop: &Shop,
    spec: &SandboxSpec,
    remains: &mut Remains,
    streams: Streams,
) -> Result<(Sandbox, watch::Sender<State>), StartError> {
    let first = remains.first.clone();
    let shared = first.ok_or_else(|| io::Error::other("none came")).at("first process")?;
    streams.channel.set_nonblocking(true).at("channel")?;
    let channel = UnixStream::from_std(streams.channel).at("channel")?;
    let stdout = Output::new(streams.stdout).at("stdout")?;
    let stderr = Output::new(streams.stderr).at("stderr")?;
    if let Some(link) = &mut remains.link {
        link.serve_names(&shop.config, &spec.name);
    }
    let (sender, state) = watch::channel(State::Running);
    let life = Life::new(Arc::new(ProcessLife { shared, state }));
    Ok((Sandbox { channel, stdout, stderr, life }, sender))
}

fn bounds(spec: &SandboxSpec) -> Bounds {
    // The first process counts, and is not the program's.
    let pids = spec.pids + 1;
    Bounds { memory_bytes: spec.memory_bytes, pids, cpu_weight: spec.cpu_weight }
}

fn make_streams() -> io::Result<(Streams, Inside)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    let (stdout, stdout_inside) = pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, stderr_inside) = pipe2(OFlag::O_CLOEXEC)?;
    let streams = Streams { channel: ours, stdout, stderr };
    Ok((streams, Inside { channel: theirs, stdout: stdout_inside, stderr: stderr_inside }))
}

fn order(shop: &Shop, spec: &SandboxSpec, remains: &Remains) -> Order {
    let entrance = remains.cgroup.as_ref().map_or(Entrance::default(), |it| it.entrance());
    let listens = spec.network == Network::Egress;
    let net = match &remains.link {
        Some(_) => Net::Prepared,
        None => Net::Own { listen: listens.then_some(shop.config.api_port) },
    };
    let shown = spec.read_only.iter().map(|shown| (shown.host.clone(), shown.inside.clone()));
    let files = spec.files.iter();
    let files = files.map(|f| (f.path.clone(), f.content.len() as u64, f.executable));
    Order {
        argv: spec.argv.clone(),
        env: environment(spec, listens.then_some(shop.config.api_port)),
        shown: shown.collect(),
        files: files.collect(),
        workdir: spec.workdir.clone(),
        tmp_bytes: spec.tmp_bytes,
        pids: spec.pids,
        uid: remains.slot.as_ref().and_then(|slot| shop.slots.uid(slot)),
        join: entrance.join,
        born_in: entrance.born_in,
        net,
        isolate: shop.isolation.namespaces,
        seccomp: shop.isolation.seccomp,
        probe: false,
    }
}

fn environment(spec: &SandboxSpec, api_port: Option<u16>) -> Vec<(String, String)> {
    let mut env = spec.env.clone();
    let api = api_port.map(|port| ("__OW_API_HOST", format!("http://127.0.0.1:{port}")));
    let fixed = [("PATH", PATH), ("HOME", "/tmp"), ("LANG", "C.UTF-8")];
    let fixed = fixed.map(|(key, value)| (key, value.to_owned()));
    for (key, value) in fixed.into_iter().chain(api) {
        if !env.iter().any(|(name, _)| name == key) {
            env.push((key.to_owned(), value));
        }
    }
    env
}

/// Names the step of a start that an error belongs to.
trait At<T> {
    fn at(self, step: &str) -> Result<T, StartError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: &str) -> Result<T, StartError> {
        self.map_err(|source| StartError::Setup { step: step.to_owned(), source })
    }
}
