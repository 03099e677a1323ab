//! A stream whose other end takes what is written: one that does not, or hardly, is cut off.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// Longest time in which a client that does not keep up takes [`LEAST_TAKEN`].
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// What it takes at least in that time. Unit: bytes.
const LEAST_TAKEN: usize = 64 * 1024;

/// The stream.
#[derive(Debug)]
pub(super) struct Unstalled<S> {
    stream: S,
    /// While it does not keep up.
    slow: Option<Slow>,
}

#[derive(Debug)]
struct Slow {
    until: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S> Unstalled<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, slow: None }
    }

    /// What a write that did not go through comes to.
    fn waits(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let fresh = || Slow { until: Box::pin(tokio::time::sleep(TAKEN_WITHIN)), taken: 0 };
        let slow = self.slow.get_or_insert_with(fresh);
        ready!(slow.until.as_mut().poll(context));
        if slow.taken < LEAST_TAKEN {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the client takes no answer");
            return Poll::Ready(error);
        }
        *slow = fresh();
        // Polled, so that the new time wakes this task.
        slow.until.as_mut().poll(context).map(|()| io::ErrorKind::TimedOut.into())
    }

    fn done<T>(
        &mut self,
        poll: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match poll {
            Poll::Pending => self.waits(context).map(Err),
            Poll::Ready(Ok(done)) => {
                if let Some(slow) = &mut self.slow {
                    slow.taken = slow.taken.saturating_add(bytes(&done));
                }
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.done(poll, |written| *written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.done(poll, |written| *written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        let poll = self.done(poll, |()| 0, context);
        if poll.is_ready() {
            // Everything is taken: who keeps up may take its time with the next answer.
            self.slow = None;
        }
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.done(poll, |()| 0, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::Instant,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off_and_who_takes_enough_is_not() {
        let (hub, _client) = tokio::io::duplex(1_024);
        let begun = Instant::now();
        let error = Unstalled::new(hub).write_all(&[0; 4_096]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, TAKEN_WITHIN));

        let (hub, mut client) = tokio::io::duplex(LEAST_TAKEN);
        let slow = tokio::spawn(async move {
            let mut taken = vec![0; LEAST_TAKEN];
            for _ in 0..8 {
                tokio::time::sleep(TAKEN_WITHIN * 2 / 3).await;
                client.read_exact(&mut taken).await.unwrap();
            }
        });
        Unstalled::new(hub).write_all(&vec![0; 8 * LEAST_TAKEN]).await.unwrap();
        slow.await.unwrap();
    }
}
