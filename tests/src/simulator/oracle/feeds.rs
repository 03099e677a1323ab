//! What feeds promise: each record once and in order from where a reading began, a position that
//! is neither before nor behind its events, and nothing of a feed that rests or is gone.

use std::collections::{BTreeMap, BTreeSet};

use super::Oracle;
use crate::simulator::sources::{Offsets, PARTITIONS, Read, Sources, Stand};

/// What is known of the feeds.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    /// Of each reading: its life, and the record of each partition that comes next.
    readings: BTreeMap<u16, (usize, Offsets)>,
    resting: BTreeSet<usize>,
    gone: BTreeSet<usize>,
}

impl Oracle {
    /// The log says that a feed stands there.
    pub fn feed_stands(&mut self, life: usize, stand: Stand) {
        let known = self.feeds.readings.entry(stand.reading).or_insert((life, stand.next));
        if *known != (life, stand.next) {
            let known = *known;
            self.accuse(format!("feed {life} stands at {stand:?}; its events say {known:?}"));
        }
    }

    /// Whether a feed rests from now on.
    pub fn feed_rests(&mut self, life: usize, rests: bool) {
        if rests {
            self.feeds.resting.insert(life);
        } else {
            self.feeds.resting.remove(&life);
        }
    }

    /// A deleted feed's position is let go.
    pub fn feed_gone(&mut self, life: usize) {
        self.feeds.gone.insert(life);
    }

    /// A feed's event is durable.
    pub(super) fn feed_event(&mut self, read: Read) {
        let Read { reading, partition, number } = read;
        let Some((life, next)) = self.feeds.readings.get_mut(&reading) else {
            return self.accuse(format!("an event before its reading has a position: {read:?}"));
        };
        let (life, expected) = (*life, next[partition]);
        next[partition] = number + 1;
        if number != expected {
            self.accuse(format!("record {expected} was to come next, not {read:?}"));
        }
        if self.feeds.resting.contains(&life) {
            self.accuse(format!("feed {life} rests, and {read:?} came"));
        }
        if self.feeds.gone.contains(&life) {
            self.accuse(format!("feed {life} is gone, and {read:?} came"));
        }
    }

    /// Whether every feed has read all that the newest wish asks for.
    #[must_use]
    pub fn feeds_are_done(&self, sources: &Sources) -> bool {
        let whole = [sources.records(); PARTITIONS];
        sources.living().all(|(life, wanted)| {
            let newest = sources.newest(life).and_then(|it| self.feeds.readings.get(&it));
            !wanted.feed.paused && newest == Some(&(life, whole))
        })
    }
}
