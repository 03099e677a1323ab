//! The hub's end of the socket to one `sandbox-init`.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::io::unix::AsyncFd;

use super::letter::{MAX_WORD, Word};
use crate::sys::{recv_fds, send_fds, watch};

/// Words arrive in order; the end of the socket is the end of the sandbox's first process.
#[derive(Debug)]
pub(super) struct Control {
    socket: AsyncFd<OwnedFd>,
}

// === impl Control ===

impl Control {
    /// A new pair: ours, and the one that `sandbox-init` gets.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Self { socket: watch(ours)? }, theirs))
    }

    /// Sends the descriptors of an order; the socket is empty, so this does not block.
    pub(super) fn order(&self, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        Ok(send_fds(self.socket.get_ref().as_fd(), b"o", fds)?)
    }

    /// The next word; `None` when there will be none. Safe to cancel.
    pub(super) async fn next(&self) -> io::Result<Option<(Word, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| receive(socket.get_ref())) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// A word that is already there.
    pub(super) fn waiting(&self) -> Option<Word> {
        match receive(self.socket.get_ref()) {
            Ok(Some((word, _))) => Some(word),
            Ok(None) | Err(_) => None,
        }
    }
}

fn receive(socket: &OwnedFd) -> io::Result<Option<(Word, Vec<OwnedFd>)>> {
    let mut buf = [0; MAX_WORD];
    let (length, fds) = recv_fds(socket, &mut buf)?;
    match buf.get(..length) {
        None | Some([]) => Ok(None),
        Some(bytes) => Ok(Some((Word::from_bytes(bytes)?, fds))),
    }
}
