//! What the hub tells the service manager that started it: ready, reloading, ending.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Name of the variable that says where the service manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";

/// States that systemd knows (`sd_notify`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The hub takes work.
    Ready,
    /// The hub ends.
    Stopping,
}

/// Tells it, where somebody wants to know; that it could not be told stops nothing.
pub(crate) fn tell(state: State) {
    let Some(place) = env::var_os(SOCKET).filter(|place| !place.is_empty()) else { return };
    if let Err(error) = send(place.as_bytes(), state.text()) {
        tracing::warn!(%error, "the service manager could not be told: {}", state.text());
    }
}

fn send(place: &[u8], text: &str) -> io::Result<()> {
    let address = match place.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(place))?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Ready => "READY=1",
            Self::Stopping => "STOPPING=1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_told_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("evoke-notify-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (path.as_os_str().as_bytes().to_vec(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{name}").into_bytes(), UnixDatagram::bind_addr(&abstract_address).unwrap()),
        ];
        for (place, socket) in sockets {
            send(&place, State::Ready.text()).unwrap();
            let mut told = [0; 32];
            let length = socket.recv(&mut told).unwrap();
            assert_eq!(&told[..length], b"READY=1");
        }
        assert!(send(b"/none/there", "READY=1").is_err());
    }
}
