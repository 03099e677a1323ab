//! What feeds read, and what is wanted of them: both outlive every crash of the hub.

use evoke_feeds::ResetTo;
use evoke_schemas::{EntityUid, Feed, KeyValues, Reset};
use serde_json::Map;

use super::plan::{Plan, name, namespace, uid};
use super::witness::Token;

/// Feeds of a world.
pub const FEEDS: usize = 3;
/// Partitions of each source.
pub const PARTITIONS: usize = 2;
/// First token of what feeds bring.
const FIRST: u32 = 5_000_000;
/// Most records of a partition.
const MOST: u32 = 1_000;

/// Next record of each partition.
pub type Offsets = [u32; PARTITIONS];

/// All sources, and what is wanted of the feeds that read them.
#[derive(Debug)]
pub struct Sources {
    lives: Vec<Life>,
    readings: Vec<Reading>,
    /// Records of each partition of each source.
    records: u32,
    load_ms: u64,
    /// Since when all records are there.
    whole: bool,
}

/// A feed from its creation to its deletion.
#[derive(Clone, Debug)]
pub struct Life {
    /// What is wanted of it.
    pub feed: Feed,
    /// Whether a new one reads from the oldest record.
    pub earliest: bool,
    /// Until when its source cannot be reached. Unit: milliseconds of true time.
    pub away_until_ms: u64,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// One reading of a source: from a creation or a reset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    life: usize,
    /// Generation of the reset; 0 for a new feed's first.
    reset: u64,
}

/// Where a feed stands, as its position in the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Number of the reading.
    pub reading: u16,
    /// What comes next.
    pub next: Offsets,
}

/// A record of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Number of the reading.
    pub reading: u16,
    /// Partition.
    pub partition: usize,
    /// Number in it.
    pub number: u32,
}

// === impl Sources ===

impl Sources {
    /// The sources of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let (records, load_ms) = (plan.feed_events.min(MOST), plan.load_ms);
        let mut sources =
            Self { lives: Vec::new(), readings: Vec::new(), records, load_ms, whole: false };
        for slot in 0..FEEDS {
            sources.make(slot, slot % 2 == 0);
        }
        sources
    }

    fn make(&mut self, slot: usize, earliest: bool) {
        let number = self.lives.len();
        let feed = Feed {
            namespace: namespace("guest"),
            name: name(&format!("f{slot}")),
            uid: uid(0x30, number),
            generation: 1,
            provider: "simulated".to_owned(),
            trigger: name("t0"),
            parameters: Map::new(),
            annotations: KeyValues::default(),
            feed_action: None,
            paused: false,
            reset: None,
            updated: 0,
        };
        self.lives.push(Life { feed, earliest, away_until_ms: 0, deleted: false });
    }

    /// The feeds that there are, by number of their lives.
    pub fn living(&self) -> impl Iterator<Item = (usize, &Life)> {
        self.lives.iter().enumerate().filter(|(_, life)| !life.deleted)
    }

    /// A life.
    #[must_use]
    pub fn life(&self, number: usize) -> &Life {
        &self.lives[number]
    }

    /// The living feed of a name.
    #[must_use]
    pub fn of_slot(&self, slot: usize) -> usize {
        let name = name(&format!("f{slot}"));
        let found = self.living().find(|(_, life)| life.feed.name == name);
        found.map_or_else(|| unreachable!("a feed is made as one is deleted"), |(life, _)| life)
    }

    /// Another generation is wanted, paused or not.
    pub fn want(&mut self, life: usize, paused: bool) {
        let feed = &mut self.lives[life].feed;
        feed.generation += 1;
        feed.paused = paused;
    }

    /// A reset is wanted.
    pub fn reset(&mut self, life: usize, to: ResetTo) {
        let feed = &mut self.lives[life].feed;
        feed.generation += 1;
        feed.reset = Some(Reset { generation: feed.generation, to });
    }

    /// The feed is deleted and made again at once, under its name.
    pub fn remake(&mut self, slot: usize) {
        let life = self.of_slot(slot);
        self.lives[life].deleted = true;
        self.make(slot, !self.lives[life].earliest);
    }

    /// The source cannot be reached until then.
    pub fn away(&mut self, life: usize, until_ms: u64) {
        self.lives[life].away_until_ms = until_ms;
    }

    /// From now on every source is there, with all its records.
    pub fn heal(&mut self) {
        self.whole = true;
        self.lives.iter_mut().for_each(|life| life.away_until_ms = 0);
    }

    /// What is there now: so much of each partition.
    #[must_use]
    pub fn available(&self, true_ms: u64) -> u32 {
        if self.whole || true_ms >= self.load_ms {
            return self.records;
        }
        (u64::from(self.records) * true_ms / self.load_ms) as u32
    }

    /// All records of a partition.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Number of a reading, the same whenever it is asked for.
    pub fn reading(&mut self, life: usize, reset: u64) -> u16 {
        let wanted = Reading { life, reset };
        let known = self.readings.iter().position(|reading| *reading == wanted);
        let number = known.unwrap_or_else(|| {
            self.readings.push(wanted);
            self.readings.len() - 1
        });
        number as u16
    }

    /// Life of a reading.
    #[must_use]
    pub fn life_of(&self, reading: u16) -> usize {
        self.readings[usize::from(reading)].life
    }

    /// The reading that the newest wish asks for, if it has begun.
    #[must_use]
    pub fn newest(&self, life: usize) -> Option<u16> {
        let reset = self.lives[life].feed.reset.as_ref().map_or(0, |reset| reset.generation);
        let known = self.readings.iter().position(|it| *it == Reading { life, reset });
        known.map(|number| number as u16)
    }

    /// The life of a uid.
    #[must_use]
    pub fn life_of_uid(&self, uid: EntityUid) -> Option<usize> {
        self.lives.iter().position(|life| life.feed.uid == uid)
    }
}

// === impl Stand ===

impl Stand {
    /// As the log keeps it.
    #[must_use]
    pub fn encode(&self) -> bytes::Bytes {
        let mut bytes = self.reading.to_le_bytes().to_vec();
        self.next.iter().for_each(|next| bytes.extend(next.to_le_bytes()));
        bytes.into()
    }

    /// From what the log kept.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (reading, rest) = bytes.split_first_chunk::<2>()?;
        let mut next = [0; PARTITIONS];
        for (place, chunk) in next.iter_mut().zip(rest.chunks_exact(4)) {
            *place = u32::from_le_bytes(chunk.try_into().ok()?);
        }
        Some(Self { reading: u16::from_le_bytes(*reading), next })
    }
}

// === impl Read ===

impl Read {
    /// What its event carries.
    #[must_use]
    pub fn token(self) -> Token {
        let place = u32::from(self.reading) * PARTITIONS as u32 + self.partition as u32;
        Token(FIRST + place * MOST + self.number)
    }

    /// What an event carries that a feed brought.
    #[must_use]
    pub fn of(token: Token) -> Option<Self> {
        let rest = token.0.checked_sub(FIRST)?;
        let place = rest / MOST;
        Some(Self {
            reading: (place / PARTITIONS as u32) as u16,
            partition: (place % PARTITIONS as u32) as usize,
            number: rest % MOST,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_stands_are_told_by_what_carries_them() {
        for (reading, partition, number) in [(0, 0, 0), (7, 1, 999), (300, 0, 12)] {
            let read = Read { reading, partition, number };
            assert_eq!(Read::of(read.token()), Some(read));
        }
        assert_eq!(Read::of(Token(FIRST - 1)), None);
        let stand = Stand { reading: 9, next: [3, 70_000] };
        assert_eq!(Stand::decode(&stand.encode()), Some(stand));
    }
}
