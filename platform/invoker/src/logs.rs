//! The log lines of one run, formatted and bounded.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

/// Bytes that OpenWhisk's raw log has around each line, and counts against the limit:
/// `{"log":"…\n","stream":"stdout","time":"…"}`.
const AROUND_LINE: u64 = 71;
/// Longest line; what is longer is broken here, so that one endless line stays bounded.
const MAX_LINE: usize = 64 * 1024;
/// Bytes remembered of the end of stderr: a dying interpreter's last words and its stack.
const MAX_TAIL: usize = 16 * 1024;

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// The log of one run while it grows.
#[derive(Debug)]
pub(crate) struct Log {
    lines: Vec<String>,
    partial: [Vec<u8>; 2],
    /// The end of stderr, whatever the limit.
    tail: Vec<u8>,
    limit: u64,
    used: u64,
    full: bool,
}

// === impl Stream ===

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

// === impl Log ===

impl Log {
    /// An empty log of at most `limit_mb`; of 0 MB nothing is kept and nothing said.
    pub(crate) fn new(limit_mb: u64) -> Self {
        Self {
            lines: Vec::new(),
            partial: [Vec::new(), Vec::new()],
            tail: Vec::new(),
            limit: limit_mb << 20,
            used: 0,
            full: limit_mb == 0,
        }
    }

    /// Takes what a stream wrote, in pieces as they come.
    pub(crate) fn take(&mut self, stream: Stream, bytes: &[u8], now: SystemTime) {
        if stream == Stream::Stderr {
            self.remember(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() && !self.full {
            let piece = memchr::memchr(b'\n', rest);
            let (line, after) = match piece {
                Some(end) => rest.split_at(end),
                None => (rest, &[] as &[u8]),
            };
            self.partial_of(stream).extend_from_slice(line);
            rest = after.strip_prefix(b"\n").unwrap_or(after);
            if piece.is_some() || self.partial_of(stream).len() >= MAX_LINE {
                self.end_line(stream, now);
            }
        }
    }

    /// The lines, the last of each stream complete or not, and a warning where the run failed by
    /// the function's fault.
    pub(crate) fn finish(mut self, developer_error: bool, now: SystemTime) -> Vec<String> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.partial_of(stream).is_empty() && !self.full {
                self.end_line(stream, now);
            }
        }
        if developer_error && self.limit > 0 {
            let text =
                "The action did not initialize or run as expected. Log data might be missing.";
            self.lines.push(line(Stream::Stderr, text, now));
        }
        self.lines
    }

    /// Whether stderr ended with something like this.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        memchr::memmem::find(&self.tail, text.as_bytes()).is_some()
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(MAX_TAIL);
        if surplus > 0 {
            self.tail.drain(..surplus);
        }
    }

    fn partial_of(&mut self, stream: Stream) -> &mut Vec<u8> {
        let [stdout, stderr] = &mut self.partial;
        match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }

    fn end_line(&mut self, stream: Stream, now: SystemTime) {
        let bytes = std::mem::take(self.partial_of(stream));
        let text = String::from_utf8_lossy(&bytes);
        let size = text.len() as u64 + AROUND_LINE;
        if self.used + size > self.limit {
            self.full = true;
            let text = format!(
                "Logs were truncated because the total bytes size exceeds the limit of {} bytes.",
                self.limit
            );
            self.lines.push(line(Stream::Stderr, &text, now));
            return;
        }
        self.used += size;
        self.lines.push(line(stream, text.strip_suffix('\r').unwrap_or(&text), now));
    }
}

/// Source: OpenWhisk `LogLine.toFormattedString`; clients parse it (spec 1.12.1).
fn line(stream: Stream, text: &str, now: SystemTime) -> String {
    let time = DateTime::<Utc>::from(now).to_rfc3339_opts(SecondsFormat::Nanos, true);
    format!("{time:<30} {}: {text}", stream.name())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIME: &str = "2023-11-14T22:13:20.000000007Z";

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 7)
    }

    fn check(limit_mb: u64, pieces: &[(Stream, &[u8])], developer_error: bool, expected: &[&str]) {
        let mut log = Log::new(limit_mb);
        for (stream, bytes) in pieces {
            log.take(*stream, bytes, now());
        }
        let expected: Vec<_> = expected.iter().map(|line| format!("{TIME} {line}")).collect();
        assert_eq!(log.finish(developer_error, now()), expected);
    }

    #[test]
    fn lines_are_put_together_by_stream() {
        use Stream::{Stderr, Stdout};
        check(1, &[], false, &[]);
        check(
            1,
            &[(Stdout, b"a\nb"), (Stderr, b"x"), (Stdout, b"c\n\n"), (Stderr, b"y")],
            false,
            &["stdout: a", "stdout: bc", "stdout: ", "stderr: xy"],
        );
        check(1, &[(Stdout, b"\xff\n")], false, &["stdout: \u{fffd}"]);
    }

    #[test]
    fn a_developer_error_is_told_in_the_log_unless_none_is_kept() {
        let warning =
            "stderr: The action did not initialize or run as expected. Log data might be missing.";
        check(1, &[(Stream::Stdout, b"a")], true, &["stdout: a", warning]);
        check(0, &[(Stream::Stdout, b"a\n")], true, &[]);
    }

    #[test]
    fn past_the_limit_lines_are_dropped_and_this_is_said_once() {
        let mut log = Log::new(1);
        let line = [&[b'x'; 1000][..], b"\n"].concat();
        for _ in 0..1100 {
            log.take(Stream::Stdout, &line, now());
        }
        let lines = log.finish(false, now());
        assert_eq!(lines.len(), 980, "as Apache OpenWhisk keeps");
        assert_eq!(
            lines[979],
            format!(
                "{TIME} stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes."
            )
        );
    }

    #[test]
    fn an_endless_line_is_broken_and_bounded() {
        let mut log = Log::new(1);
        for _ in 0..100 {
            log.take(Stream::Stdout, &[b'x'; 50_000], now());
        }
        let lines = log.finish(false, now());
        assert!(lines.iter().map(String::len).sum::<usize>() < 2 << 20);
        assert!(lines.last().unwrap().contains("truncated"));
    }

    #[test]
    fn what_the_interpreter_said_can_be_found() {
        let mut log = Log::new(1);
        log.take(Stream::Stderr, b"FATAL ERROR: JavaScript heap out of memory", now());
        assert!(log.mentions("heap out of memory"));
        assert!(!log.mentions("something else"));
    }
}
