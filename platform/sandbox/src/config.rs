//! How the sandboxes of one hub are configured.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Configuration of the process driver.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The hub's data directory: its identity (not its content) marks what belongs to this hub.
    #[serde(skip)]
    pub data_dir: PathBuf,
    /// Program that makes a sandbox when called with `init_args`; default: the running one.
    pub exe: Option<PathBuf>,
    /// Arguments before the hub's own.
    pub init_args: Vec<String>,
    /// Name of the control group above those of the sandboxes.
    pub cgroup_parent: String,
    /// First host user id of the sandboxes (root hub): one for each sandbox, 16,384 in all.
    pub uid_base: u32,
    /// Private network that the links of sandboxes are cut from; a /16.
    pub subnet: Cidr,
    /// Private destinations that sandboxes may reach all the same.
    pub allow: Vec<Cidr>,
    /// Whether `Network::Egress` reaches the outside at all, where it can.
    pub egress: bool,
    /// Network namespaces kept ready.
    pub net_pool: usize,
    /// Port of the API on the sandbox's loopback.
    pub api_port: u16,
    /// Resolver that names are asked of; default: the first of `/etc/resolv.conf`.
    pub dns_upstream: Option<SocketAddr>,
    /// Run without isolation where the machine refuses it. Dangerous.
    pub allow_unisolated: bool,
}

/// An IPv4 network, as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// Its first address.
    pub base: Ipv4Addr,
    /// Length of the prefix, 0 ..= 32.
    pub prefix: u8,
}

/// The text is not an IPv4 network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an IPv4 network such as 10.0.0.0/8")]
pub struct ParseCidrError(pub String);

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("."),
            exe: None,
            init_args: vec!["sandbox-init".to_owned()],
            cgroup_parent: "evoke".to_owned(),
            uid_base: 1_900_000_000,
            subnet: Cidr { base: Ipv4Addr::new(10, 203, 0, 0), prefix: 16 },
            allow: Vec::new(),
            egress: true,
            net_pool: 4,
            api_port: 3233,
            dns_upstream: None,
            allow_unisolated: false,
        }
    }
}

// === impl Cidr ===

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseCidrError(text.to_owned());
        let (base, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let base: Ipv4Addr = base.parse().ok().ok_or_else(wrong)?;
        let prefix: u8 = prefix.parse().ok().filter(|p| *p <= 32).ok_or_else(wrong)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        if u32::from(base) & !mask != 0 {
            return Err(wrong());
        }
        Ok(Self { base, prefix })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl TryFrom<String> for Cidr {
    type Error = ParseCidrError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_strictly() {
        let ten = Cidr { base: Ipv4Addr::new(10, 0, 0, 0), prefix: 8 };
        assert_eq!("10.0.0.0/8".parse(), Ok(ten));
        let all = Cidr { base: Ipv4Addr::UNSPECIFIED, prefix: 0 };
        assert_eq!("0.0.0.0/0".parse(), Ok(all));
        let one = Cidr { base: Ipv4Addr::new(10, 1, 2, 3), prefix: 32 };
        assert_eq!("10.1.2.3".parse(), Ok(one));
        for bad in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "", "::/0", "10.0.0.0/8; drop"] {
            assert_eq!(bad.parse::<Cidr>(), Err(ParseCidrError(bad.to_owned())));
        }
    }
}
