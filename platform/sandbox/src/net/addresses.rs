//! Which addresses the link of each sandbox has: a private /16, cut into lanes, cut into /30s.

use std::net::Ipv4Addr;

use crate::{
    Cidr,
    process::slots::{LANE_SLOTS, LANES},
};

/// Addresses of one link: network, host, sandbox, broadcast.
const PER_LINK: u32 = 4;

/// The addresses of one hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    base: u32,
}

// === impl Addresses ===

impl Addresses {
    /// Prefix length of one link.
    pub(super) const PREFIX: u8 = 30;
    /// Prefix length of one hub's addresses.
    const LANE_PREFIX: u8 = 20;
    /// Links of one hub.
    pub(super) const LINKS: u32 = LANE_SLOTS;

    /// The addresses of the hub in `lane`; a phrase when `subnet` is no /16.
    pub(super) fn of(subnet: Cidr, lane: u32) -> Result<Self, String> {
        if subnet.prefix != 16 || lane >= LANES {
            return Err(format!("`subnet` is {subnet}, wanted is a /16"));
        }
        Ok(Self { base: u32::from(subnet.base) + lane * Self::LINKS * PER_LINK })
    }

    /// All of them.
    pub(super) fn lane(&self) -> Cidr {
        Cidr { base: Ipv4Addr::from(self.base), prefix: Self::LANE_PREFIX }
    }

    /// The host's end of link `number`.
    pub(super) fn host(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + number * PER_LINK + 1)
    }

    /// The sandbox's end.
    pub(super) fn sandbox(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + number * PER_LINK + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_and_links_do_not_overlap_and_fill_the_subnet() {
        let subnet: Cidr = "10.203.0.0/16".parse().unwrap();
        let first = Addresses::of(subnet, 0).unwrap();
        let second = Addresses::of(subnet, 1).unwrap();
        assert_eq!(first.host(0).to_string(), "10.203.0.1");
        assert_eq!(first.sandbox(0).to_string(), "10.203.0.2");
        assert_eq!(first.sandbox(1023).to_string(), "10.203.15.254");
        assert_eq!(second.lane().to_string(), "10.203.16.0/20");
        let last = Addresses::of(subnet, LANES - 1).unwrap();
        assert_eq!(last.sandbox(1023).to_string(), "10.203.255.254");
        assert!(Addresses::of("10.0.0.0/8".parse().unwrap(), 0).is_err());
    }
}
