//! The few requests to the kernel's routing socket that a sandbox's link needs.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// Index of the loopback interface in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

const ALIGN: usize = 4;
const HEADER: usize = 16;
/// Longest answer to a request: an error with the request quoted.
const MAX_ANSWER: usize = 8192;
const ACK: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const VETH_INFO_PEER: u16 = 1;
const SCOPE_UNIVERSE: u8 = 0;

/// Brings up the loopback of this process's namespace.
pub(crate) fn loopback_up() -> io::Result<()> {
    Netlink::open()?.set_up(LOOPBACK)
}

/// A pair of links, one end in another namespace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Veth<'a> {
    pub(super) name: &'a str,
    pub(super) peer: &'a str,
    pub(super) peer_index: u32,
    pub(super) namespace: RawFd,
}

/// A routing socket; it stays in the namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A request under construction.
#[derive(Debug)]
struct Request {
    bytes: Vec<u8>,
}

// === impl Netlink ===

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        Ok(Self { socket, sequence: 0 })
    }

    pub(super) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let up = libc::IFF_UP.cast_unsigned();
        self.ask(Request::new(libc::RTM_NEWLINK, 0).link(index, up))
    }

    pub(super) fn add_veth(&mut self, veth: &Veth<'_>) -> io::Result<()> {
        let request = Request::new(libc::RTM_NEWLINK, CREATE)
            .link(0, 0)
            .text(libc::IFLA_IFNAME, veth.name)
            .nest(libc::IFLA_LINKINFO, |info| {
                info.text(libc::IFLA_INFO_KIND, "veth").nest(libc::IFLA_INFO_DATA, |data| {
                    data.nest(VETH_INFO_PEER, |peer| {
                        peer.link(veth.peer_index, 0)
                            .text(libc::IFLA_IFNAME, veth.peer)
                            .attribute(libc::IFLA_NET_NS_FD, &veth.namespace.to_ne_bytes())
                    })
                })
            });
        self.ask(request)
    }

    /// Removes a link; one that is gone already is no error.
    pub(super) fn delete_link(&mut self, name: &str) -> io::Result<()> {
        let request = Request::new(libc::RTM_DELLINK, 0).link(0, 0).text(libc::IFLA_IFNAME, name);
        match self.ask(request) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            result => result,
        }
    }

    pub(super) fn add_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> io::Result<()> {
        let [a, b, c, d] = index.to_ne_bytes();
        let head = [libc::AF_INET as u8, prefix, 0, SCOPE_UNIVERSE, a, b, c, d];
        let request = Request::new(libc::RTM_NEWADDR, CREATE)
            .raw(&head)
            .attribute(libc::IFA_LOCAL, &address.octets())
            .attribute(libc::IFA_ADDRESS, &address.octets());
        self.ask(request)
    }

    pub(super) fn add_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<()> {
        let table = libc::RT_TABLE_MAIN;
        let (protocol, kind) = (libc::RTPROT_STATIC, libc::RTN_UNICAST);
        let family = libc::AF_INET as u8;
        let head = [family, 0, 0, 0, table, protocol, SCOPE_UNIVERSE, kind, 0, 0, 0, 0];
        let request = Request::new(libc::RTM_NEWROUTE, CREATE)
            .raw(&head)
            .attribute(libc::RTA_GATEWAY, &gateway.octets());
        self.ask(request)
    }

    fn ask(&mut self, request: Request) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence);
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.socket.as_raw_fd(), &bytes, &kernel, MsgFlags::empty())?;
        let mut answer = vec![0; MAX_ANSWER];
        let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        acknowledged(answer.get(..length).unwrap_or_default())
    }
}

/// Reads the kernel's answer to one request.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok());
    match (kind, code.map(i32::from_ne_bytes)) {
        (Some(kind), Some(0)) if i32::from(kind) == libc::NLMSG_ERROR => Ok(()),
        (Some(kind), Some(code)) if i32::from(kind) == libc::NLMSG_ERROR => {
            Err(io::Error::from_raw_os_error(-code))
        }
        _ => Err(io::Error::other("an answer from the kernel that was not asked for")),
    }
}

// === impl Request ===

impl Request {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((ACK | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        Self { bytes }
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// `struct ifinfomsg`; `flags` are also the mask of what changes.
    fn link(self, index: u32, flags: u32) -> Self {
        self.raw(&[0; 4])
            .raw(&index.to_ne_bytes())
            .raw(&flags.to_ne_bytes())
            .raw(&flags.to_ne_bytes())
    }

    fn attribute(self, kind: u16, value: &[u8]) -> Self {
        self.nest(kind, |inner| inner.raw(value))
    }

    fn text(self, kind: u16, value: &str) -> Self {
        self.nest(kind, |inner| inner.raw(value.as_bytes()).raw(&[0]))
    }

    fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        let mut filled = fill(self);
        let length = u16::try_from(filled.bytes.len() - start).unwrap_or(u16::MAX);
        filled.patch(start, &length.to_ne_bytes());
        filled.bytes.resize(filled.bytes.len().next_multiple_of(ALIGN), 0);
        filled
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(slot) = self.bytes.get_mut(at..at + value.len()) {
            slot.copy_from_slice(value);
        }
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.patch(0, &length.to_ne_bytes());
        self.patch(8, &sequence.to_ne_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_lengths_and_padding() {
        let bytes = Request::new(libc::RTM_NEWLINK, 0)
            .link(0, 0)
            .nest(9, |inner| inner.text(1, "veth"))
            .finish(7);
        let tail = &bytes[HEADER + 16..];
        assert_eq!(bytes.len(), HEADER + 16 + 4 + 4 + 8);
        assert_eq!(bytes[..4], u32::try_from(bytes.len()).unwrap().to_ne_bytes());
        assert_eq!(bytes[8..12], 7_u32.to_ne_bytes());
        assert_eq!(tail[..4], [16, 0, 9, 0]);
        assert_eq!(tail[4..], [9, 0, 1, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0]);
    }

    #[test]
    fn answers_are_read() {
        let mut answer = vec![0; 36];
        answer[4] = 2;
        assert!(acknowledged(&answer).is_ok());
        answer[16..20].copy_from_slice(&(-libc::ENODEV).to_ne_bytes());
        assert_eq!(acknowledged(&answer).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert!(acknowledged(&[]).is_err());
    }
}
