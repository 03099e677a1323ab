//! Records of progress on their way to the log: first the activations they vouch for, then they.

use evoke_event_log::{Append, Record};
use evoke_schemas::Position;

/// Groups records: one flush at a time, then one append at a time, in the order they came.
///
/// One append at a time, because of two records about one delivery the later one holds, and an
/// append that is refused for lack of room is tried again.
#[derive(Debug)]
pub(super) struct Pipeline<T> {
    most_records: usize,
    most_bytes: usize,
    staged: Vec<Step<T>>,
    flushing: Vec<Step<T>>,
    is_flushing: bool,
    flushed: std::collections::VecDeque<Step<T>>,
    appending: Vec<(Record, T)>,
    refused: bool,
    pushed: u64,
}

#[derive(Debug)]
struct Step<T> {
    record: Record,
    then: T,
    /// Whether the next one must be in the same append.
    joined: bool,
}

/// What the pipeline wants done.
#[derive(Debug)]
pub(super) enum Move {
    Flush,
    Append(Append),
}

impl<T> Pipeline<T> {
    /// Appends are full at either bound.
    pub(super) fn new(most_records: usize, most_bytes: usize) -> Self {
        Self {
            most_records,
            most_bytes,
            staged: Vec::new(),
            flushing: Vec::new(),
            is_flushing: false,
            flushed: std::collections::VecDeque::new(),
            appending: Vec::new(),
            refused: false,
            pushed: 0,
        }
    }

    /// Takes one record, and what follows when it is durable.
    pub(super) fn push(&mut self, record: Record, then: T) {
        self.pushed += 1;
        self.staged.push(Step { record, then, joined: false });
    }

    /// Takes one record that is appended together with the next.
    pub(super) fn push_joined(&mut self, record: Record, then: T) {
        self.pushed += 1;
        self.staged.push(Step { record, then, joined: true });
    }

    /// Records that are not durable yet.
    pub(super) fn len(&self) -> usize {
        self.staged.len() + self.flushing.len() + self.flushed.len() + self.appending.len()
    }

    /// Whether an append is under way or waits for room.
    pub(super) fn is_appending(&self) -> bool {
        !self.appending.is_empty()
    }

    /// Records taken so far.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Whether the first `count` records taken are durable.
    pub(super) fn is_durable(&self, count: u64) -> bool {
        self.pushed - self.len() as u64 >= count
    }

    /// Whether something that follows is of this kind.
    pub(super) fn any(&self, is: impl Fn(&T) -> bool) -> bool {
        let steps = self.staged.iter().chain(&self.flushing).chain(&self.flushed);
        steps.map(|step| &step.then).chain(self.appending.iter().map(|(_, then)| then)).any(is)
    }

    /// What can be begun now.
    pub(super) fn next(&mut self) -> Option<Move> {
        if !self.is_flushing && !self.staged.is_empty() {
            self.flushing = std::mem::take(&mut self.staged);
            self.is_flushing = true;
            return Some(Move::Flush);
        }
        if self.appending.is_empty() && !self.flushed.is_empty() {
            return Some(Move::Append(self.begin_append()));
        }
        None
    }

    /// The records of activations are durable: now what vouches for them may go.
    pub(super) fn flushed(&mut self) {
        self.is_flushing = false;
        self.flushed.extend(self.flushing.drain(..));
    }

    /// The append is durable: what follows, each with the position of its record.
    pub(super) fn durable(&mut self, positions: &[Position]) -> Vec<(T, Position)> {
        let done = std::mem::take(&mut self.appending);
        done.into_iter().map(|(_, then)| then).zip(positions.iter().copied()).collect()
    }

    /// The append was refused for lack of room.
    pub(super) fn refuse(&mut self) {
        self.refused = !self.appending.is_empty();
    }

    /// Whether an append waits for another try.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The refused append once more.
    pub(super) fn again(&mut self) -> Option<Append> {
        std::mem::take(&mut self.refused).then(|| self.append())
    }

    fn begin_append(&mut self) -> Append {
        let mut bytes = 0;
        while let Some(step) = self.flushed.pop_front() {
            bytes += step.record.data.len();
            self.appending.push((step.record, step.then));
            let full = self.appending.len() >= self.most_records || bytes >= self.most_bytes;
            if full && !step.joined {
                break;
            }
        }
        self.append()
    }

    fn append(&self) -> Append {
        Append::progress(self.appending.iter().map(|(record, _)| record.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use evoke_event_log::Stream;

    use super::*;

    const BATCH_BYTES: usize = 4_096;

    fn record(len: usize) -> Record {
        let data = Bytes::from(vec![0; len]);
        Record { stream: Stream::FIRST_FREE, partition: 0, dedup: None, data }
    }

    fn positions(count: u64) -> Vec<Position> {
        (0..count).map(|offset| Position { partition: 0, offset }).collect()
    }

    fn appended(pipeline: &mut Pipeline<u32>) -> Option<usize> {
        match pipeline.next() {
            Some(Move::Append(append)) => Some(append.records.len()),
            Some(Move::Flush) => panic!("nothing was staged"),
            None => None,
        }
    }

    #[test]
    fn nothing_is_appended_before_its_flush() {
        let mut pipeline = Pipeline::new(100, BATCH_BYTES);
        pipeline.push(record(1), 1);
        assert!(matches!(pipeline.next(), Some(Move::Flush)));
        pipeline.push(record(1), 2);
        assert!(pipeline.next().is_none(), "one flush at a time, no append before it");
        pipeline.flushed();
        assert!(matches!(pipeline.next(), Some(Move::Flush)), "the second goes on its way");
        assert_eq!(appended(&mut pipeline), Some(1));
        pipeline.flushed();
        assert_eq!(appended(&mut pipeline), None, "one append at a time");
        let done = pipeline.durable(&positions(1));
        assert_eq!(done.first().map(|(then, _)| *then), Some(1));
        assert_eq!(appended(&mut pipeline), Some(1));
        assert_eq!(pipeline.len(), 1);
    }

    #[test]
    fn what_is_joined_is_never_cut_apart() {
        let mut pipeline = Pipeline::new(100, BATCH_BYTES);
        for _ in 0..10 {
            pipeline.push_joined(record(BATCH_BYTES / 4), 0);
        }
        pipeline.push(record(1), 0);
        pipeline.push(record(1), 0);
        assert!(matches!(pipeline.next(), Some(Move::Flush)));
        pipeline.flushed();
        assert_eq!(appended(&mut pipeline), Some(11));
        pipeline.durable(&positions(11));
        assert_eq!(appended(&mut pipeline), Some(1));
    }

    #[test]
    fn a_refused_append_is_the_same_again() {
        let mut pipeline = Pipeline::new(100, BATCH_BYTES);
        pipeline.push(record(3), 7);
        assert!(matches!(pipeline.next(), Some(Move::Flush)));
        pipeline.flushed();
        assert_eq!(appended(&mut pipeline), Some(1));
        pipeline.refuse();
        assert!(pipeline.is_refused() && pipeline.next().is_none());
        assert_eq!(pipeline.again().map(|append| append.records), Some(vec![record(3)]));
        assert!(pipeline.again().is_none());
        assert_eq!(pipeline.durable(&positions(1)).len(), 1);
    }
}
