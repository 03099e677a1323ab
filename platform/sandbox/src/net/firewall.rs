//! What sandboxes may send where: one nftables table per hub, replaced as a whole.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
};

use super::maker::link_prefix;
use crate::Cidr;

/// Where distributions put it; root's `PATH` may lack these.
const PROGRAMS: &[&str] = &["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];

/// Ranges that are not the internet (RFC 6890), refused unless allowed by configuration.
const NOT_OUTSIDE: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, \
     172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/4, 240.0.0.0/4";

/// A hub's table, while it is installed.
#[derive(Debug)]
pub(crate) struct Firewall {
    table: String,
}

// === impl Firewall ===

impl Firewall {
    /// Installs the hub's table, in place of one that a former owner of its addresses left.
    pub(super) fn install(hub: &str, lane: Cidr, allow: &[Cidr]) -> io::Result<Self> {
        let table = table(lane);
        run(&rules(&table, &link_prefix(hub), lane, allow))?;
        Ok(Self { table })
    }

    /// Removes the table of a former owner of these addresses; says whether there was one.
    pub(crate) fn sweep(lane: Cidr) -> bool {
        run(&format!("delete table inet {}\n", table(lane))).is_ok()
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        if let Err(error) = run(&format!("delete table inet {}\n", self.table)) {
            tracing::warn!(%error, "firewall rules are left");
        }
    }
}

/// Named for the addresses, which one living hub owns: what a killed hub left stands in nobody's
/// way for long, also where its data directory is gone.
fn table(lane: Cidr) -> String {
    format!("evoke_{}", lane.base.to_string().replace('.', "_"))
}

fn rules(table: &str, links: &str, lane: Cidr, allow: &[Cidr]) -> String {
    let allow = if allow.is_empty() {
        String::new()
    } else {
        let allow: Vec<String> = allow.iter().map(Cidr::to_string).collect();
        format!("ip daddr {{ {} }} accept", allow.join(", "))
    };
    format!(
        r#"add table inet {table}
delete table inet {table}
table inet {table} {{
  chain outgoing {{
    meta nfproto != ipv4 drop
    ip saddr != {lane} drop
    oifname "{links}*" drop
    ct state established,related accept
    {allow}
    ip daddr {{ {NOT_OUTSIDE} }} drop
    accept
  }}
  chain forward {{
    type filter hook forward priority -10; policy accept;
    iifname "{links}*" jump outgoing
    oifname "{links}*" ct state established,related accept
    oifname "{links}*" drop
  }}
  chain input {{
    type filter hook input priority -10; policy accept;
    iifname "{links}*" drop
  }}
  chain translate {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr {lane} oifname != "{links}*" masquerade
  }}
}}
"#
    )
}

fn run(script: &str) -> io::Result<()> {
    let program = PROGRAMS.iter().find(|path| std::path::Path::new(path).exists());
    let program = program.ok_or_else(|| io::Error::other("`nft` is not installed"))?;
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("`nft` refused: {}", said.lines().next().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_ranges_are_dropped_after_what_is_allowed() {
        let lane = "10.203.0.0/20".parse().unwrap();
        let strict = rules("t", "e1-", lane, &[]);
        assert!(!strict.contains("{  } accept") && strict.contains("10.0.0.0/8"));
        let open = rules("t", "e1-", lane, &["10.9.0.0/16".parse().unwrap()]);
        let allowed = open.find("ip daddr { 10.9.0.0/16 } accept").unwrap();
        let others = open.find(r#"oifname "e1-*" drop"#).unwrap();
        assert!(others < allowed && allowed < open.find("169.254.0.0/16").unwrap());
    }
}
