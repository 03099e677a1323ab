//! What happened in a world, line by line: always hashed, kept as text where someone will read it.

use std::fmt::{self, Write as _};

/// The trace of one seed.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: u64,
    line: String,
    kept: Option<Vec<String>>,
}

impl Trace {
    /// An empty trace; `keep` keeps the text.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: 0,
            line: String::new(),
            kept: keep.then(Vec::new),
        }
    }

    /// Takes one line: the moment in true time, and what happened.
    pub fn say(&mut self, now_ms: u64, what: fmt::Arguments<'_>) {
        self.line.clear();
        let Ok(()) = self.line.write_fmt(what) else { return };
        self.hash = fold(self.hash ^ now_ms, self.line.as_bytes());
        self.lines += 1;
        if let Some(kept) = &mut self.kept {
            let (seconds, millis) = (now_ms / 1_000, now_ms % 1_000);
            kept.push(format!("{seconds:>7}.{millis:03}  {}", self.line));
        }
    }

    /// Number that two runs of a seed must share.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Lines said.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.lines
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// The text kept.
    #[must_use]
    pub fn text(&self) -> &[String] {
        self.kept.as_deref().unwrap_or_default()
    }
}

/// Eight bytes at a time: the hash tells runs apart and defends against nobody.
fn fold(mut hash: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9fb2_1c65_1e98_df25;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME);
        hash ^= hash >> 29;
    }
    rest.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
        ^ bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_sees_text_time_and_order() {
        let hash = |lines: &[(u64, &str)]| {
            let mut trace = Trace::new(true);
            lines.iter().for_each(|(now, text)| trace.say(*now, format_args!("{text}")));
            assert_eq!(trace.text().len() as u64, trace.len());
            trace.hash()
        };
        let base = hash(&[(1, "append 12"), (2, "sync")]);
        assert_eq!(base, hash(&[(1, "append 12"), (2, "sync")]));
        for other in [
            [(1, "append 13"), (2, "sync")],
            [(1, "append 12"), (3, "sync")],
            [(2, "sync"), (1, "append 12")],
        ] {
            assert_ne!(base, hash(&other));
        }
    }
}
