//! Walks a segment's bytes from frame to frame and finds its way again after damage.
//!
//! ```text
//!              header sound, heads sound
//!   ┌─▶ frame ───────────────────────────▶ Frame      (its data is checked record by record)
//!   │     │    header sound, heads not
//!   │     ├──────────────────────────────▶ Broken     (its numbers are known)
//!   │     │    no sound header
//!   │     └─▶ search ──── found one ─────▶ Gap
//!   │             │        none to the end
//!   │             └──────────────────────▶ End
//!   └── after Frame, Broken and Gap
//! ```

use crate::frame::{Frame, HEADER_LEN, Header, Marker};

/// Position in a walk. The caller gives windows of bytes, so that no segment is in memory whole.
#[derive(Clone, Debug)]
pub struct Scanner {
    marker: Marker,
    at: u64,
    least: u64,
    gap: Option<Gap>,
}

/// What stands at the scanner's place.
#[derive(Clone, Debug)]
pub enum Found<'a> {
    /// The window is too short: give one of at least this many bytes from [`Scanner::at`] on.
    More(usize),
    /// A frame whose heads are sound.
    Frame {
        /// Byte it begins at.
        at: u64,
        /// The frame, its data unchecked.
        frame: Frame<'a>,
    },
    /// A frame whose heads are damaged.
    Broken {
        /// Byte it begins at.
        at: u64,
        /// Its header, which is sound.
        header: Header,
    },
    /// Bytes that belong to no frame; one follows.
    Gap(Gap),
    /// Nothing follows.
    End(Gap),
}

/// A stretch of bytes without a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First byte.
    pub at: u64,
    /// Byte after the last.
    pub to: u64,
    /// Byte after the last that is not zero; [`Gap::at`] if all are.
    pub dirty_to: u64,
}

// === impl Gap ===

impl Gap {
    /// Whether there is nothing but zeros: room never written to.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.dirty_to == self.at
    }

    fn grow(&mut self, bytes: &[u8]) {
        if let Some(dirty) = last_dirty(bytes) {
            self.dirty_to = self.to + dirty as u64 + 1;
        }
        self.to += bytes.len() as u64;
    }
}

/// Index of the last byte that is not zero.
fn last_dirty(bytes: &[u8]) -> Option<usize> {
    const LANE: usize = 256;
    let (lanes, rest) = bytes.as_chunks::<LANE>();
    if let Some(index) = rest.iter().rposition(|byte| *byte != 0) {
        return Some(lanes.len() * LANE + index);
    }
    // Without an early exit inside a lane the compiler compares many bytes at once.
    let dirty = |lane: &[u8; LANE]| lane.iter().fold(0, |all, byte| all | byte) != 0;
    let lane = lanes.iter().rposition(dirty)?;
    let index = lanes.get(lane)?.iter().rposition(|byte| *byte != 0)?;
    Some(lane * LANE + index)
}

// === impl Scanner ===

impl Scanner {
    /// A walk from byte `at` on, which takes no frame numbered below `least`.
    #[must_use]
    pub fn new(marker: Marker, at: u64, least: u64) -> Self {
        Self { marker, at, least, gap: None }
    }

    /// Where the next window must begin.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Looks at `window`, which begins at [`Scanner::at`]; `last` says that nothing is behind it.
    pub fn next<'a>(&mut self, window: &'a [u8], last: bool) -> Found<'a> {
        if self.gap.is_some() {
            return self.search(window, 0, last);
        }
        let Some(header) = self.header(window) else {
            if window.len() < HEADER_LEN && !last {
                return Found::More(HEADER_LEN);
            }
            return self.lose(window, last);
        };
        let len = header.frame_len();
        if window.len() < len {
            return if last { self.lose(window, last) } else { Found::More(len) };
        }
        let at = self.at;
        self.at += len as u64;
        self.least = header.end();
        match Frame::read(header, window) {
            Some(frame) => Found::Frame { at, frame },
            None => Found::Broken { at, header },
        }
    }

    fn header(&self, bytes: &[u8]) -> Option<Header> {
        Header::read(self.marker, bytes).filter(|header| header.base >= self.least)
    }

    fn lose<'a>(&mut self, window: &'a [u8], last: bool) -> Found<'a> {
        self.gap = Some(Gap { at: self.at, to: self.at, dirty_to: self.at });
        self.search(window, 1, last)
    }

    /// Looks for a sound header in `window` from byte `from` on.
    fn search<'a>(&mut self, window: &'a [u8], from: usize, last: bool) -> Found<'a> {
        const BEFORE_MARKER: usize = 8;
        // A header that the window cuts off is looked at with the next window.
        let whole = (window.len() + 1).saturating_sub(HEADER_LEN);
        for marker in memchr::memmem::find_iter(window, &self.marker.0) {
            let Some(start) = marker.checked_sub(BEFORE_MARKER).filter(|start| *start >= from)
            else {
                continue;
            };
            if self.header(window.get(start..).unwrap_or_default()).is_some() {
                return Found::Gap(self.skip(window, start));
            }
        }
        if last {
            return Found::End(self.skip(window, window.len()));
        }
        let consumed = whole.max(from).min(window.len());
        if let Some(gap) = &mut self.gap {
            gap.grow(window.get(..consumed).unwrap_or_default());
        }
        self.at += consumed as u64;
        Found::More(HEADER_LEN)
    }

    /// Ends the gap `len` bytes into the window.
    fn skip(&mut self, window: &[u8], len: usize) -> Gap {
        let mut gap =
            self.gap.take().unwrap_or(Gap { at: self.at, to: self.at, dirty_to: self.at });
        gap.grow(window.get(..len).unwrap_or_default());
        self.at += len as u64;
        gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Chain, Numbers};
    use crate::prepare::Prepared;
    use crate::record::{Append, Record, Stream};

    const MARKER: Marker = Marker(*b"testmark");

    /// Frames of two records each, in groups of one.
    fn frames(count: u64) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts, mut chain) = (Vec::new(), Vec::new(), Chain::START);
        for number in 0..count {
            starts.push(bytes.len());
            let numbers = Numbers { base: number * 2, group: number * 2, time_ms: 7 };
            let record = |text: &str| Record {
                stream: Stream(20),
                partition: 1,
                dedup: None,
                data: text.repeat(5).into(),
            };
            let batch = Append::intake(vec![record("data"), record("more data")]);
            let prepared = Prepared::new(batch, &crate::Limits::default()).unwrap();
            chain = prepared.write(MARKER, numbers, chain, &mut bytes);
        }
        (bytes, starts)
    }

    /// Numbers of the frames found, and the stretches lost, with windows of `step` bytes.
    fn walk(bytes: &[u8], step: usize) -> (Vec<u64>, Vec<Gap>, Gap) {
        let mut scanner = Scanner::new(MARKER, 0, 0);
        let (mut bases, mut gaps, mut need) = (Vec::new(), Vec::new(), step);
        loop {
            let rest = &bytes[usize::try_from(scanner.at()).unwrap()..];
            let window = &rest[..rest.len().min(need)];
            match scanner.next(window, window.len() == rest.len()) {
                Found::More(more) => {
                    assert!(window.len() < rest.len(), "asks for more only where there is more");
                    need = more.max(step);
                }
                Found::Frame { frame, .. } => bases.push(frame.header.base),
                Found::Broken { header, .. } => {
                    gaps.push(Gap { at: header.base, to: header.end(), dirty_to: 0 })
                }
                Found::Gap(gap) => gaps.push(gap),
                Found::End(gap) => return (bases, gaps, gap),
            }
        }
    }

    #[test]
    fn every_cut_leaves_the_frames_before_it() {
        let (bytes, starts) = frames(4);
        for cut in 0..=bytes.len() {
            for step in [1, 100, 10_000] {
                let (bases, gaps, end) = walk(&bytes[..cut], step);
                let whole = starts.iter().skip(1).filter(|end| **end <= cut).count()
                    + usize::from(cut == bytes.len());
                assert_eq!(bases, (0..whole as u64).map(|n| n * 2).collect::<Vec<_>>(), "{cut}");
                assert_eq!(gaps, [], "nothing is found behind a cut");
                assert_eq!(end.to, cut as u64);
            }
        }
    }

    #[test]
    fn every_flipped_bit_costs_at_most_its_own_frame() {
        let (mut bytes, starts) = frames(4);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let hit = starts.iter().rposition(|start| *start <= bit / 8).unwrap() as u64;
            for step in [1, 10_000] {
                let (bases, gaps, end) = walk(&bytes, step);
                assert!(end.at == end.to || hit == 3, "the frames end with the bytes");
                let missing: Vec<_> = (0..4).filter(|n| !bases.contains(&(n * 2))).collect();
                assert!(missing.is_empty() || missing == [hit], "bit {bit}: {missing:?}");
                assert!(missing.is_empty() == gaps.is_empty() || hit == 3);
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn zeros_are_blank_and_anything_else_is_not() {
        let (mut bytes, _) = frames(1);
        let used = bytes.len() as u64;
        bytes.resize(bytes.len() + 5_000, 0);
        let (_, _, end) = walk(&bytes, 64);
        assert!(end.is_blank() && end.at == used);
        let dirty = bytes.len() - 900;
        bytes[dirty] = 1;
        let (_, _, end) = walk(&bytes, 64);
        assert_eq!(end.dirty_to, dirty as u64 + 1);
    }

    #[test]
    fn a_frame_numbered_below_what_was_seen_is_stale() {
        let (bytes, starts) = frames(2);
        let mut twice = bytes.clone();
        twice.extend_from_slice(&bytes[..starts[1]]);
        let (bases, _, end) = walk(&twice, 10_000);
        assert_eq!(bases, [0, 2]);
        assert_eq!(end.at, bytes.len() as u64);
    }
}
