//! Makes network namespaces with a link to the host, on a thread that visits each.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    net::{TcpListener, UdpSocket},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns, unshare},
};

use super::{
    addresses::Addresses,
    netlink::{LOOPBACK, Netlink, Veth},
};

const NAMESPACE: &str = "/proc/thread-self/ns/net";
/// The sandbox's end of its link.
const INSIDE_NAME: &str = "eth0";
const INSIDE_INDEX: u32 = 2;
const DNS_PORT: u16 = 53;

/// A network that waits for its sandbox, or was used by one.
#[derive(Debug)]
pub(super) struct Made {
    number: u32,
    pub(super) namespace: OwnedFd,
    pub(super) api: Option<TcpListener>,
    /// Where names are asked; only with a link outside.
    pub(super) names: Option<NameSockets>,
}

/// Port 53 of the sandbox's loopback.
#[derive(Debug)]
pub(super) struct NameSockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Makes networks; all its methods run on one thread, which it moves between namespaces.
#[derive(Debug)]
pub(super) struct Maker {
    hub: String,
    addresses: Addresses,
    api_port: u16,
    egress: bool,
    home: File,
    netlink: Netlink,
    free: BTreeSet<u32>,
}

/// First part of the names of a hub's links: at most ten bytes, so that a number fits.
pub(super) fn link_prefix(hub: &str) -> String {
    format!("e{hub}-")
}

fn link_name(hub: &str, number: u32) -> String {
    format!("{}{number:x}", link_prefix(hub))
}

/// The number of a link of `hub`.
pub(super) fn number_of(name: &str, hub: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix(&link_prefix(hub))?, 16).ok()
}

// === impl Maker ===

impl Maker {
    pub(super) fn new(
        hub: &str,
        addresses: Addresses,
        api_port: u16,
        egress: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            hub: hub.to_owned(),
            addresses,
            api_port,
            egress,
            home: File::open(NAMESPACE)?,
            netlink: Netlink::open()?,
            free: (0..Addresses::LINKS).collect(),
        })
    }

    pub(super) fn make(&mut self) -> io::Result<Made> {
        let number = self.free.pop_first();
        let number = number.ok_or_else(|| io::Error::other("every address is in use"))?;
        let made = self.visit_new(number);
        if made.is_err() {
            self.free.insert(number);
        }
        made
    }

    /// Removes the link; the namespace ends with the last process and socket in it.
    pub(super) fn take_down(&mut self, made: Made) {
        let removed = match self.egress {
            true => self.netlink.delete_link(&link_name(&self.hub, made.number)),
            false => Ok(()),
        };
        match removed {
            Ok(()) => drop(self.free.insert(made.number)),
            // Its number stays taken: a second link with these addresses would reach the wrong one.
            Err(error) => tracing::error!(%error, "a link cannot be removed"),
        }
    }

    fn visit_new(&mut self, number: u32) -> io::Result<Made> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let inside = self.furnish();
        // Whatever happened there, this thread goes home.
        setns(self.home.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let (mut made, mut netlink) = inside?;
        made.number = number;
        if self.egress
            && let Err(error) = self.link(&made, &mut netlink)
        {
            drop(self.netlink.delete_link(&link_name(&self.hub, number)));
            return Err(error);
        }
        Ok(made)
    }

    /// In the new namespace: loopback, no IPv6, listeners.
    fn furnish(&self) -> io::Result<(Made, Netlink)> {
        let namespace = File::open(NAMESPACE)?.into();
        let mut netlink = Netlink::open()?;
        netlink.set_up(LOOPBACK)?;
        forbid_ipv6("all")?;
        forbid_ipv6("default")?;
        let api = Some(TcpListener::bind(("127.0.0.1", self.api_port))?);
        let names = if self.egress {
            let udp = UdpSocket::bind(("127.0.0.1", DNS_PORT))?;
            Some(NameSockets { udp, tcp: TcpListener::bind(("127.0.0.1", DNS_PORT))? })
        } else {
            None
        };
        Ok((Made { number: 0, namespace, api, names }, netlink))
    }

    fn link(&mut self, made: &Made, inside: &mut Netlink) -> io::Result<()> {
        let name = link_name(&self.hub, made.number);
        let namespace = made.namespace.as_raw_fd();
        let veth = Veth { name: &name, peer: INSIDE_NAME, peer_index: INSIDE_INDEX, namespace };
        self.netlink.add_veth(&veth)?;
        forbid_ipv6(&name)?;
        let host = self.addresses.host(made.number);
        let index = if_nametoindex(name.as_str())?;
        self.netlink.add_address(index, host, Addresses::PREFIX)?;
        self.netlink.set_up(index)?;
        let sandbox = self.addresses.sandbox(made.number);
        inside.add_address(INSIDE_INDEX, sandbox, Addresses::PREFIX)?;
        inside.set_up(INSIDE_INDEX)?;
        inside.add_default_route(host)
    }
}

/// A kernel without IPv6 has nothing to forbid.
fn forbid_ipv6(interface: &str) -> io::Result<()> {
    let file = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    match fs::write(file, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links_fit_and_are_read_back() {
        let name = link_name("0123abcd", Addresses::LINKS - 1);
        assert!(name.len() < 16, "{name} is longer than the kernel allows");
        assert_eq!(number_of(&name, "0123abcd"), Some(Addresses::LINKS - 1));
        assert_eq!(number_of(&name, "0123abce"), None);
        assert_eq!(number_of("eth0", "0123abcd"), None);
    }
}
