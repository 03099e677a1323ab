//! Where on the disk each event was written: whether it is safe is then a question to the disk.

use std::collections::HashMap;

use super::disk::{Disk, File};

/// What an event's data holds, so that any write that carries it can be told by its bytes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u32);

const MARK: &[u8; 4] = b"tok-";
const DIGITS: usize = 8;

/// Places by token.
#[derive(Debug, Default)]
pub struct Witness(HashMap<Token, Vec<(File, usize)>>);

impl Token {
    /// The text in the event's data.
    #[must_use]
    pub fn text(self) -> String {
        format!("tok-{:0DIGITS$}", self.0)
    }

    /// The first token in `bytes`.
    #[must_use]
    pub fn find(bytes: &[u8]) -> Option<Self> {
        all(bytes).next().map(|(_, token)| token)
    }
}

impl Witness {
    /// Takes note of the events in a write at byte `at`.
    pub fn saw(&mut self, file: File, at: usize, bytes: &[u8]) {
        for (place, token) in all(bytes) {
            self.0.entry(token).or_default().push((file, at + place));
        }
    }

    /// Whether this event would be there after a power cut now, wherever it was written.
    #[must_use]
    pub fn is_safe(&self, disk: &Disk, token: Token) -> bool {
        let places = self.0.get(&token).map(Vec::as_slice).unwrap_or_default();
        let text = token.text();
        places.iter().rev().any(|(file, at)| disk.is_safe(*file, *at, text.as_bytes()))
    }
}

fn all(bytes: &[u8]) -> impl Iterator<Item = (usize, Token)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(at..)?;
            let start = rest.iter().position(|byte| *byte == MARK[0])?;
            at += start + 1;
            let digits = rest
                .get(start..)
                .and_then(|rest| rest.strip_prefix(MARK))
                .and_then(|rest| rest.get(..DIGITS));
            let number = digits.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            if let Some(number) = number {
                return Some((at - 1, Token(number)));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_any_bytes() {
        let bytes = format!("\0t{}to{}tok-12", Token(7).text(), Token(99_999_999).text());
        let found: Vec<_> = all(bytes.as_bytes()).collect();
        assert_eq!(found, [(2, Token(7)), (16, Token(99_999_999))]);
        assert!(found.iter().all(|(at, token)| bytes[*at..].starts_with(&token.text())));
    }

    #[test]
    fn a_token_is_safe_once_its_bytes_are() {
        let (mut disk, mut witness) = (Disk::new(10_000), Witness::default());
        let file = disk.create("a");
        disk.sync_names();
        let bytes = Token(3).text();
        disk.write(file, 900, bytes.as_bytes()).unwrap();
        witness.saw(file, 900, bytes.as_bytes());
        assert!(!witness.is_safe(&disk, Token(3)));
        disk.sync(file);
        assert!(witness.is_safe(&disk, Token(3)) && !witness.is_safe(&disk, Token(4)));
        disk.remove("a");
        assert!(witness.is_safe(&disk, Token(3)), "the removal is not safe yet");
        disk.sync_names();
        assert!(!witness.is_safe(&disk, Token(3)));
    }
}
