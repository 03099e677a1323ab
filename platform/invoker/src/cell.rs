//! One sandbox as the invoker talks to it: frames on its channel, its output drained all the while.

use std::{sync::Arc, time::SystemTime};

use evoke_sandbox::{Drained, Life, Output, Sandbox};
use tokio::{
    net::UnixStream,
    time::{Instant, sleep_until},
};

use crate::{
    logs::{Log, Stream},
    protocol::{Frame, HEADER, MAX_KEPT, header, read_header, seal},
};

/// Bytes that the buffers of an idle sandbox may keep.
const IDLE_BUFFER: usize = 4096;
/// Bytes read of an answer at once.
const CHUNK: usize = 64 * 1024;
/// Bytes read of an output at once while the sandbox runs.
const WHILE_RUNNING: usize = 512;
/// Most bytes taken of each output after an answer: what a pipe can hold.
const MAX_LEFT_OVER: usize = 1 << 20;

/// A sandbox and the buffers of its conversation.
#[derive(Debug)]
pub(crate) struct Cell {
    channel: UnixStream,
    stdout: Pipe,
    stderr: Pipe,
    /// Its life, which others may hold too: it ends by `kill`, or with the last of them.
    pub(crate) life: Arc<Life>,
    /// For the request, kept from call to call.
    pub(crate) request: Vec<u8>,
    answer: Vec<u8>,
    scratch: Vec<u8>,
    /// Number of the last call.
    calls: u32,
}

/// An output, until its other end is closed.
#[derive(Debug)]
struct Pipe {
    output: Output,
    open: bool,
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The time was over.
    TimedOut,
    /// The program closed its channel: it is dead or dying.
    Closed,
    /// The same, before it had all of the request.
    Unsent,
}

/// An answer, and whether more came than was asked for.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) frame: Frame<'a>,
    /// Bytes followed that nobody asked for: the sandbox must not be used again.
    pub(crate) surplus: bool,
}

enum Event {
    Channel(std::io::Result<()>),
    Output(Stream, std::io::Result<usize>),
    Time,
}

// === impl Cell ===

impl Cell {
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        let pipe = |output| Pipe { output, open: true };
        Self {
            channel: sandbox.channel,
            stdout: pipe(sandbox.stdout),
            stderr: pipe(sandbox.stderr),
            life: Arc::new(sandbox.life),
            request: Vec::new(),
            answer: Vec::new(),
            scratch: Vec::new(),
            calls: 0,
        }
    }

    /// Whether it lives and has said nothing unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = self.channel.try_read(&mut byte);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Sends the frame `request`, whose header is still empty, and waits for the answer; what is
    /// written to the outputs goes to `log`.
    ///
    /// After an error, and when the future is dropped, the sandbox must not be used again.
    pub(crate) async fn call(
        &mut self,
        request: &mut [u8],
        deadline: Instant,
        log: &mut Log,
    ) -> Result<Reply<'_>, NoAnswer> {
        self.calls = self.calls.wrapping_add(1);
        seal(request, self.calls);
        self.send(request, deadline, log).await?;
        self.receive(deadline, log).await
    }

    /// The same for an initialisation, whose code follows in a frame of its own.
    pub(crate) async fn initialise(
        &mut self,
        request: &mut [u8],
        code: &[u8],
        deadline: Instant,
        log: &mut Log,
    ) -> Result<Reply<'_>, NoAnswer> {
        self.calls = self.calls.wrapping_add(1);
        seal(request, self.calls);
        self.send(request, deadline, log).await?;
        self.send(&header(code.len(), self.calls), deadline, log).await?;
        self.send(code, deadline, log).await?;
        self.receive(deadline, log).await
    }

    async fn send(
        &mut self,
        request: &[u8],
        deadline: Instant,
        log: &mut Log,
    ) -> Result<(), NoAnswer> {
        let mut rest = request;
        while !rest.is_empty() {
            match self.channel.try_write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.wait(Direction::Write, deadline, log).await?;
                }
                Err(_broken) => return Err(NoAnswer::Unsent),
            }
        }
        Ok(())
    }

    /// Waits for the answer to the last call, or for the launcher's first word.
    ///
    /// What has another number was forged in a call before: it is passed over, and told.
    pub(crate) async fn receive(
        &mut self,
        deadline: Instant,
        log: &mut Log,
    ) -> Result<Reply<'_>, NoAnswer> {
        self.answer.clear();
        let mut got: u64 = 0;
        let mut forged = false;
        let length = loop {
            if let Some(header) = self.answer.first_chunk::<HEADER>() {
                let (length, call) = read_header(*header);
                let whole = HEADER as u64 + length;
                if call == self.calls && got >= whole {
                    break length;
                }
                if call != self.calls {
                    forged = true;
                    let whole = usize::try_from(whole).unwrap_or(usize::MAX);
                    if whole > HEADER + MAX_KEPT {
                        return Err(NoAnswer::Closed);
                    }
                    if self.answer.len() >= whole {
                        self.answer.drain(..whole);
                        got = self.answer.len() as u64;
                        continue;
                    }
                }
            }
            match self.read_some() {
                Ok(0) => return Err(NoAnswer::Closed),
                Ok(count) => got += count as u64,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.wait(Direction::Read, deadline, log).await?;
                }
                Err(_broken) => return Err(NoAnswer::Closed),
            }
        };
        self.drain(log);
        let end = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_KEPT) + HEADER;
        let kept = self.answer.get(HEADER..end.min(self.answer.len())).unwrap_or_default();
        let surplus = forged || got > HEADER as u64 + length;
        Ok(Reply { frame: Frame { kept, length }, surplus })
    }

    /// Reads into the answer, or past it once as much is kept as may.
    fn read_some(&mut self) -> std::io::Result<usize> {
        let room = (HEADER + MAX_KEPT).saturating_sub(self.answer.len());
        if room == 0 {
            self.scratch.clear();
            self.scratch.reserve(CHUNK);
            return self.channel.try_read_buf(&mut self.scratch);
        }
        let chunk = if self.answer.is_empty() { IDLE_BUFFER } else { CHUNK };
        self.answer.reserve(chunk.min(room));
        let before = self.answer.len();
        let count = self.channel.try_read_buf(&mut self.answer)?;
        self.answer.truncate((before + count).min(HEADER + MAX_KEPT));
        Ok(count)
    }

    /// Waits until the channel is ready, taking what is written to the outputs meanwhile.
    async fn wait(
        &mut self,
        direction: Direction,
        deadline: Instant,
        log: &mut Log,
    ) -> Result<(), NoAnswer> {
        loop {
            let (mut out, mut err) = ([0; WHILE_RUNNING], [0; WHILE_RUNNING]);
            let channel = &self.channel;
            let event = tokio::select! {
                biased;
                ready = async {
                    match direction {
                        Direction::Read => channel.readable().await,
                        Direction::Write => channel.writable().await,
                    }
                } => Event::Channel(ready),
                read = self.stdout.output.read(&mut out), if self.stdout.open => {
                    Event::Output(Stream::Stdout, read)
                }
                read = self.stderr.output.read(&mut err), if self.stderr.open => {
                    Event::Output(Stream::Stderr, read)
                }
                () = sleep_until(deadline) => Event::Time,
            };
            match event {
                Event::Channel(Ok(())) => return Ok(()),
                Event::Channel(Err(_broken)) => return Err(NoAnswer::Closed),
                Event::Time => return Err(NoAnswer::TimedOut),
                Event::Output(stream, read) => {
                    let bytes = match stream {
                        Stream::Stdout => &out,
                        Stream::Stderr => &err,
                    };
                    self.take(stream, read.ok().and_then(|count| bytes.get(..count)), log);
                }
            }
            // A program that never stops printing must not hide that the time is over.
            if Instant::now() >= deadline {
                return Err(NoAnswer::TimedOut);
            }
        }
    }

    /// Takes what was read of an output, and what is there besides; nothing means its end.
    fn take(&mut self, stream: Stream, bytes: Option<&[u8]>, log: &mut Log) {
        match bytes {
            Some(bytes) if !bytes.is_empty() => {
                log.take(stream, bytes, SystemTime::now());
                self.drain_one(stream, log);
            }
            Some(_) | None => self.pipe(stream).open = false,
        }
    }

    /// Takes what is in both outputs now, without waiting.
    pub(crate) fn drain(&mut self, log: &mut Log) {
        self.drain_one(Stream::Stdout, log);
        self.drain_one(Stream::Stderr, log);
    }

    fn drain_one(&mut self, stream: Stream, log: &mut Log) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let pipe = self.pipe(stream);
        let (mut taken, mut chunk) = (0, IDLE_BUFFER);
        while pipe.open && taken < MAX_LEFT_OVER {
            scratch.clear();
            let state = pipe.output.drain(&mut scratch, chunk);
            if !scratch.is_empty() {
                log.take(stream, &scratch, SystemTime::now());
            }
            taken += scratch.len();
            chunk = CHUNK;
            match state {
                Ok(Drained::Full) => {}
                Ok(Drained::Empty) => break,
                Ok(Drained::Closed) | Err(_) => pipe.open = false,
            }
        }
        self.scratch = scratch;
    }

    /// Gives back the memory of large answers.
    pub(crate) fn rest(&mut self) {
        for buffer in [&mut self.request, &mut self.answer, &mut self.scratch] {
            if buffer.capacity() > IDLE_BUFFER {
                *buffer = Vec::new();
            }
        }
    }

    fn pipe(&mut self, stream: Stream) -> &mut Pipe {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Read,
    Write,
}
