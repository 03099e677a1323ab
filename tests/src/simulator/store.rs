//! A store of activation records that forgets: what was staged and not flushed is gone with the
//! process.

use std::collections::BTreeMap;

use evoke_schemas::{ActivationId, EntityUid};

use super::witness::Token;

/// What a record says, as far as the oracle wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The event.
    pub token: Token,
    /// The rule.
    pub rule: EntityUid,
    /// Whether the function succeeded.
    pub success: bool,
}

/// Ticket of a flush: what it makes durable was staged before it was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush(u64);

/// The store.
#[derive(Debug, Default)]
pub struct Store {
    safe: BTreeMap<ActivationId, Kept>,
    staged: Vec<(u64, ActivationId, Kept)>,
    next: u64,
}

// === impl Store ===

impl Store {
    /// Takes a record; not safe yet.
    pub fn stage(&mut self, id: ActivationId, kept: Kept) {
        self.staged.push((self.next, id, kept));
        self.next += 1;
    }

    /// Whether anything is staged.
    #[must_use]
    pub fn is_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Begins to flush what is staged now.
    #[must_use]
    pub fn begin_flush(&self) -> Flush {
        Flush(self.next)
    }

    /// The flush is done.
    pub fn end_flush(&mut self, flush: Flush) {
        let done = self.staged.iter().take_while(|(number, ..)| *number < flush.0).count();
        for (_, id, kept) in self.staged.drain(..done) {
            self.safe.insert(id, kept);
        }
    }

    /// The process died.
    pub fn crash(&mut self) {
        self.staged.clear();
    }

    /// The durable record of that id.
    #[must_use]
    pub fn get(&self, id: &ActivationId) -> Option<&Kept> {
        self.safe.get(id)
    }

    /// All durable records.
    pub fn iter(&self) -> impl Iterator<Item = (&ActivationId, &Kept)> {
        self.safe.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_staged_before_the_flush_began_is_safe() {
        let mut store = Store::default();
        let kept = Kept { token: Token(1), rule: EntityUid([1; 16]), success: true };
        let (one, two) = (ActivationId([1; 16]), ActivationId([2; 16]));
        store.stage(one, kept);
        let flush = store.begin_flush();
        store.stage(two, kept);
        assert_eq!(store.get(&one), None);
        store.end_flush(flush);
        assert_eq!((store.get(&one), store.get(&two)), (Some(&kept), None));
        store.crash();
        let flush = store.begin_flush();
        store.end_flush(flush);
        assert_eq!(store.iter().count(), 1);
    }
}
