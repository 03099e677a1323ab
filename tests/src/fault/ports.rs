//! Ports for servers that are ended and started again at the same place.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

use rand::Rng as _;

/// Where no system takes the ports of outgoing connections from: one of those would keep a server
/// that was away from coming back.
const PORTS: Range<u16> = 20_000..32_000;
/// Ports that are tried.
const TRIES: usize = 100;

/// A port of loopback that is free now.
///
/// # Errors
/// None of many was.
pub fn free_port() -> io::Result<u16> {
    let mut tries = std::iter::repeat_with(|| rand::rng().random_range(PORTS)).take(TRIES);
    let found = tries.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    found.ok_or_else(|| io::Error::other("no port is free"))
}
