//! Networks of sandboxes: namespaces made ahead of need, each with loopback, listeners, and a link outside.

mod addresses;
mod dns;
mod firewall;
mod maker;
pub(crate) mod netlink;

use std::{
    collections::VecDeque,
    fs, io,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::net::if_::if_nameindex;
use tokio::{sync::Semaphore, time::timeout};

use self::{
    addresses::Addresses,
    dns::Forwarder,
    firewall::Firewall,
    maker::{Made, Maker},
    netlink::Netlink,
};
use crate::{Config, Outside};

/// A namespace takes milliseconds to make; longer means that none can be made.
const TAKE_TIMEOUT: Duration = Duration::from_secs(5);
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// The networks of one hub.
#[derive(Debug)]
pub(crate) struct Nets {
    pool: Arc<Pool>,
    outside: Outside,
    /// Removed when this is dropped.
    _firewall: Option<Firewall>,
    /// Links, and whether firewall rules, of a former life, removed at the start of this one.
    swept: (usize, bool),
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// One sandbox's network; taken down when dropped.
#[derive(Debug)]
pub(crate) struct Link {
    made: Option<Made>,
    pool: Arc<Pool>,
    forwarder: Option<Forwarder>,
}

/// What the maker's thread and the starts share.
#[derive(Debug)]
struct Pool {
    shelf: Mutex<Shelf>,
    /// The maker sleeps on it while the shelf is full and nothing is to be taken down.
    changed: Condvar,
    /// As many permits as there are networks on the shelf.
    ready: Semaphore,
}

#[derive(Debug, Default)]
struct Shelf {
    ready: VecDeque<io::Result<Made>>,
    used: Vec<Made>,
    closing: bool,
}

// === impl Nets ===

impl Nets {
    /// Starts the maker's thread; needs root. What keeps the outside away is added to `notes`.
    pub(crate) fn open(
        config: &Config,
        hub: &str,
        lane: u32,
        notes: &mut Vec<String>,
    ) -> io::Result<Self> {
        let addresses = Addresses::of(config.subnet, lane).map_err(io::Error::other)?;
        let swept = (sweep_links(hub)?, Firewall::sweep(addresses.lane()));
        let firewall =
            if config.egress { open_outside(config, hub, &addresses, notes) } else { None };
        let egress = firewall.is_some();
        let outside = if egress { Outside::Egress } else { Outside::ApiOnly };
        let pool = Arc::new(Pool {
            shelf: Mutex::default(),
            changed: Condvar::new(),
            ready: Semaphore::new(0),
        });
        let maker = Maker::new(hub, addresses, config.api_port, egress)?;
        let (shared, most) = (Arc::clone(&pool), config.net_pool.max(1));
        let thread = thread::Builder::new()
            .name("sandbox-networks".to_owned())
            .spawn(move || tend(maker, &shared, most))?;
        Ok(Self { pool, outside, _firewall: firewall, swept, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn outside(&self) -> Outside {
        self.outside
    }

    /// A network that nobody has used.
    pub(crate) async fn take(&self) -> io::Result<Link> {
        let permit = timeout(TAKE_TIMEOUT, self.pool.ready.acquire()).await;
        let permit = permit.ok().ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))?;
        permit.map_err(io::Error::other)?.forget();
        let made = self.pool.shelf().ready.pop_front();
        self.pool.changed.notify_one();
        let made = made.ok_or_else(|| io::Error::other("the shelf is empty"))??;
        Ok(Link { made: Some(made), pool: Arc::clone(&self.pool), forwarder: None })
    }

    /// Takes down every network.
    pub(crate) async fn close(&self) {
        self.pool.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = tokio::task::spawn_blocking(|| thread.map(JoinHandle::join)).await;
        if !matches!(ended, Ok(None | Some(Ok(())))) {
            tracing::error!("the thread that makes networks panicked");
        }
    }

    /// How many links of a former life were removed, and whether its firewall rules were.
    pub(crate) fn swept(&self) -> (usize, bool) {
        self.swept
    }
}

impl Drop for Nets {
    fn drop(&mut self) {
        self.pool.close();
    }
}

/// Before the first link of this life is made: they would have the same names.
fn sweep_links(hub: &str) -> io::Result<usize> {
    let mut netlink = Netlink::open()?;
    let mut count = 0;
    for interface in &if_nameindex()? {
        let name = interface.name().to_string_lossy();
        if maker::number_of(&name, hub).is_some() {
            netlink.delete_link(&name)?;
            count += 1;
        }
    }
    Ok(count)
}

fn open_outside(
    config: &Config,
    hub: &str,
    addresses: &Addresses,
    notes: &mut Vec<String>,
) -> Option<Firewall> {
    let firewall = match Firewall::install(hub, addresses.lane(), &config.allow) {
        Ok(firewall) => firewall,
        Err(error) => {
            notes.push(format!("sandboxes reach the API only: {error} (Debian package nftables)"));
            return None;
        }
    };
    let forwards = fs::read_to_string(IP_FORWARD).is_ok_and(|text| text.trim() == "1");
    if !forwards && let Err(error) = fs::write(IP_FORWARD, "1") {
        notes.push(format!("sandboxes reach the API only: {IP_FORWARD} cannot be set: {error}"));
        return None;
    }
    Some(firewall)
}

/// The maker's thread: takes down what was used, then fills the shelf, then sleeps.
fn tend(mut maker: Maker, pool: &Pool, most: usize) {
    loop {
        let mut shelf = pool.shelf();
        while !shelf.closing && shelf.used.is_empty() && shelf.ready.len() >= most {
            shelf = pool.changed.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
        let used = std::mem::take(&mut shelf.used);
        let closing = shelf.closing;
        let unused = if closing { std::mem::take(&mut shelf.ready) } else { VecDeque::new() };
        let short = shelf.ready.len() < most;
        drop(shelf);
        // Starts wait for networks and nobody waits for their end.
        if short && !closing {
            let made = maker.make();
            if let Err(error) = &made {
                tracing::error!(%error, "cannot make a network for a sandbox");
            }
            pool.shelf().ready.push_back(made);
            pool.ready.add_permits(1);
        }
        used.into_iter().chain(unused.into_iter().flatten()).for_each(|made| maker.take_down(made));
        if closing {
            return;
        }
    }
}

// === impl Pool ===

impl Pool {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.shelf().closing = true;
        self.changed.notify_one();
    }
}

// === impl Link ===

impl Link {
    pub(crate) fn namespace(&self) -> BorrowedFd<'_> {
        match &self.made {
            Some(made) => made.namespace.as_fd(),
            None => unreachable!("a link holds its network until it is dropped"),
        }
    }

    /// The API's listener; once.
    pub(crate) fn take_api(&mut self) -> Option<TcpListener> {
        self.made.as_mut().and_then(|made| made.api.take())
    }

    /// Answers the sandbox's questions for names, where it has a link outside.
    pub(crate) fn serve_names(&mut self, config: &Config, sandbox: &str) {
        let Some(names) = self.made.as_mut().and_then(|made| made.names.take()) else { return };
        match dns::serve(names, config.dns_upstream) {
            Ok(forwarder) => self.forwarder = Some(forwarder),
            Err(error) => tracing::error!(%error, sandbox, "a sandbox has no names"),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.forwarder = None;
        if let Some(made) = self.made.take() {
            self.pool.shelf().used.push(made);
            self.pool.changed.notify_one();
        }
    }
}
