//! The reading end of a sandbox's stdout or stderr.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::read,
};
use tokio::io::unix::AsyncFd;

use crate::sys::watch;

/// Bytes read by one call of the kernel while draining: what a pipe usually holds.
const CHUNK: usize = 64 * 1024;

/// A pipe that can be awaited, and drained at once of what is already in it.
#[derive(Debug)]
pub struct Output {
    fd: AsyncFd<OwnedFd>,
}

/// What [`Output::drain`] stopped at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing more is there now.
    Empty,
    /// Every writer is gone.
    Closed,
    /// `max` bytes were read; there may be more.
    Full,
}

// === impl Output ===

impl Output {
    /// Takes over the reading end of a pipe and makes it non-blocking; wants a tokio runtime.
    ///
    /// # Errors
    /// Those of `fcntl` and of the runtime's registration.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { fd: watch(fd)? })
    }

    /// Waits for bytes and reads some; 0 means that every writer is gone.
    ///
    /// Safe to cancel: no byte is lost.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.fd.readable().await?;
            match ready.try_io(|fd| Ok(read(fd.get_ref().as_fd(), buf)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Appends what is in the pipe now to `into`, at most `max` bytes, without waiting.
    ///
    /// Asks the kernel itself, not the runtime's knowledge of readiness: what a process wrote
    /// before it sent something on another channel is in the pipe when that arrives.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn drain(&self, into: &mut Vec<u8>, max: usize) -> io::Result<Drained> {
        let start = into.len();
        loop {
            let left = max - (into.len() - start);
            if left == 0 {
                return Ok(Drained::Full);
            }
            let before = into.len();
            into.resize(before + left.min(CHUNK), 0);
            let slot = into.get_mut(before..).unwrap_or_default();
            let result = read(self.fd.get_ref().as_fd(), slot);
            into.truncate(before + result.unwrap_or(0));
            match result {
                Ok(0) => return Ok(Drained::Closed),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Drained::Empty),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::{pipe, write};

    use super::*;

    #[tokio::test]
    async fn drain_sees_what_was_just_written_and_never_waits() {
        let (reader, writer) = pipe().unwrap();
        let output = Output::new(reader).unwrap();
        let mut into = b"x".to_vec();
        assert_eq!(output.drain(&mut into, 10).unwrap(), Drained::Empty);
        write(&writer, b"hello world").unwrap();
        assert_eq!(output.drain(&mut into, 5).unwrap(), Drained::Full);
        assert_eq!(into, b"xhello");
        assert_eq!(output.drain(&mut into, 100).unwrap(), Drained::Empty);
        assert_eq!(into, b"xhello world");
        drop(writer);
        assert_eq!(output.drain(&mut into, 100).unwrap(), Drained::Closed);
        assert_eq!(output.read(&mut [0; 4]).await.unwrap(), 0);
    }
}
