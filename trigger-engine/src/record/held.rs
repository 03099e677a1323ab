//! The record of a delivery that waits, or that is dead: its history, and where its event is.

use bytes::Bytes;
use evoke_schemas::{EntityName, Namespace, Position};
use serde::Serialize;

use super::{
    id::DeliveryId,
    wire::{DecodeError, Reader, Writer},
};

const VERSION: u8 = 1;
/// Notes kept of a delivery's first attempts, and of its latest; between them only the number.
const NOTES_AT_EACH_END: usize = 16;
/// Longest text of a note. Unit: bytes.
const NOTE_BYTES: usize = 512;

/// A delivery as a record of the parked or the dead stream says it.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldRecord {
    /// Which delivery.
    pub id: DeliveryId,
    /// Namespace of the event.
    pub namespace: Namespace,
    /// Name of the rule when it was written; none for an accepted invocation.
    pub rule: Option<EntityName>,
    /// When the event was accepted, unix milliseconds.
    pub accepted_ms: u64,
    /// From when the deadline counts: acceptance, or the replay of the dead letter.
    pub since_ms: u64,
    /// What happened so far.
    pub attempts: Attempts,
    /// Hash of the event's `partitionkey`.
    pub key: u64,
    /// Where it stands among the deliveries of its key; `None`: where this very record stands.
    pub turn: Option<Position>,
    /// Size of the event's record. Unit: bytes.
    pub size: u32,
    /// Where the event is.
    pub home: Home,
    /// Not before this time, unix milliseconds; of a dead letter, when it died.
    pub at_ms: u64,
    /// Why it is dead; `None` while parked.
    pub death: Option<Death>,
}

/// Where the event of a held delivery is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the record at this position.
    At(Position),
    /// Here: a copy of the event's record, because the segment it stood in goes.
    Copy(Bytes),
}

/// Why a delivery is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Death {
    /// The word for it.
    pub reason: Reason,
    /// Whether the rule's dead-letter trigger was fired, or needs not be.
    #[serde(skip)]
    pub announced: bool,
}

/// The word for why a delivery is a dead letter. Numbers in the log are never reused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The function failed as often as the rule allows.
    Exhausted,
    /// The deadline passed.
    Deadline,
    /// The action is missing.
    ActionMissing,
    /// The event's record is damaged.
    Unreadable,
    /// The log lost a stretch of records here.
    Lost,
    /// Its feed set it aside: no action can be given it.
    SetAside,
}

const REASONS: [(Reason, u8); 6] = [
    (Reason::Exhausted, 0),
    (Reason::Deadline, 1),
    (Reason::ActionMissing, 2),
    (Reason::Unreadable, 3),
    (Reason::Lost, 4),
    (Reason::SetAside, 5),
];

/// What happened to a delivery so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempts {
    /// Attempts made in all.
    pub made: u32,
    /// Failures of the function since acceptance, or since the dead letter's replay.
    pub failures: u32,
    /// When the action was first found missing, if it still is. Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_since_ms: Option<u64>,
    /// First and latest attempts that failed; those in between are only counted.
    pub notes: Vec<AttemptNote>,
}

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptNote {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When it ended, unix milliseconds.
    pub at_ms: u64,
    /// Why it failed.
    pub why: String,
}

// === impl Attempts ===

impl Attempts {
    /// Notes down that the latest attempt failed.
    pub fn note(&mut self, at_ms: u64, why: &str) {
        let end = why.floor_char_boundary(NOTE_BYTES);
        let why = why.get(..end).unwrap_or_default().to_owned();
        if self.notes.len() >= 2 * NOTES_AT_EACH_END {
            self.notes.remove(NOTES_AT_EACH_END);
        }
        self.notes.push(AttemptNote { attempt: self.made, at_ms, why });
    }

    /// Attempts go on counting, but what they are allowed begins anew.
    pub(crate) fn begin_anew(&mut self) {
        self.failures = 0;
        self.missing_since_ms = None;
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.number(u64::from(self.made));
        writer.number(u64::from(self.failures));
        writer.optional_number(self.missing_since_ms);
        writer.size(self.notes.len());
        for note in &self.notes {
            writer.number(u64::from(note.attempt));
            writer.number(note.at_ms);
            writer.text(&note.why);
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            made: reader.narrow("attempts")?,
            failures: reader.narrow("failures")?,
            missing_since_ms: reader.optional_number("missing since")?,
            notes: (0..reader.count("notes")?)
                .map(|_| {
                    Ok(AttemptNote {
                        attempt: reader.narrow("note's attempt")?,
                        at_ms: reader.number("note's time")?,
                        why: reader.text("note")?,
                    })
                })
                .collect::<Result<_, DecodeError>>()?,
        })
    }
}

// === impl Reason ===

impl Reason {
    pub(crate) fn number(self) -> u8 {
        REASONS.iter().find(|(reason, _)| *reason == self).map_or(u8::MAX, |(_, number)| *number)
    }

    pub(crate) fn of_number(number: u8) -> Result<Self, DecodeError> {
        let found = REASONS.iter().find(|(_, known)| *known == number);
        found.map(|(reason, _)| *reason).ok_or(DecodeError("reason of death"))
    }
}

// === impl Death ===

impl Death {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.byte(self.reason.number());
        writer.byte(u8::from(self.announced));
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            reason: Reason::of_number(reader.byte("reason of death")?)?,
            announced: reader.byte("announced")? == 1,
        })
    }
}

// === impl HeldRecord ===

impl HeldRecord {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let copy = if let Home::Copy(bytes) = &self.home { bytes.len() } else { 0 };
        let mut writer = Writer::with_capacity(copy + 160);
        writer.byte(VERSION);
        self.id.write(&mut writer);
        writer.text(self.namespace.as_str());
        writer.optional_text(self.rule.as_ref().map(EntityName::as_str));
        writer.number(self.accepted_ms);
        writer.number(self.since_ms);
        self.attempts.write(&mut writer);
        writer.raw(&self.key.to_le_bytes());
        writer.byte(u8::from(self.turn.is_some()));
        if let Some(turn) = self.turn {
            writer.position(turn);
        }
        writer.number(u64::from(self.size));
        writer.number(self.at_ms);
        writer.byte(u8::from(self.death.is_some()));
        if let Some(death) = &self.death {
            death.write(&mut writer);
        }
        match &self.home {
            Home::At(position) => {
                writer.byte(0);
                writer.position(*position);
            }
            Home::Copy(bytes) => {
                writer.byte(1);
                writer.blob(bytes);
            }
        }
        writer.finish()
    }

    /// Reads the record back.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no such record.
    pub fn decode(data: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let reader = &mut reader;
        if reader.byte("held version")? != VERSION {
            return Err(DecodeError("held version"));
        }
        let id = DeliveryId::read(reader)?;
        let namespace = reader.namespace("held namespace")?;
        let rule = reader.optional_text("held rule")?;
        let rule = rule.map(|text| EntityName::new(&text).ok().ok_or(DecodeError("held rule")));
        Ok(Self {
            id,
            namespace,
            rule: rule.transpose()?,
            accepted_ms: reader.number("accepted")?,
            since_ms: reader.number("since")?,
            attempts: Attempts::read(reader)?,
            key: read_key(reader)?,
            turn: match reader.byte("turn")? {
                0 => None,
                _ => Some(reader.position("turn")?),
            },
            size: reader.narrow("size")?,
            at_ms: reader.number("held time")?,
            death: match reader.byte("death")? {
                0 => None,
                _ => Some(Death::read(reader)?),
            },
            home: match reader.byte("home")? {
                0 => Home::At(reader.position("home")?),
                1 => Home::Copy(reader.blob("home")?),
                _ => return Err(DecodeError("home")),
            },
        })
    }
}

fn read_key(reader: &mut Reader) -> Result<u64, DecodeError> {
    let bytes = reader.take(8, "key")?;
    bytes.first_chunk().copied().map(u64::from_le_bytes).ok_or(DecodeError("key"))
}

#[cfg(test)]
mod tests {
    use evoke_schemas::EntityUid;

    use super::*;

    fn sample(home: Home, death: Option<Death>) -> HeldRecord {
        let position = Position { partition: 3, offset: 88 };
        let mut attempts = Attempts { made: 2, failures: 1, ..Attempts::default() };
        attempts.note(77, "timeout");
        HeldRecord {
            id: DeliveryId::live(position, EntityUid([4; 16])),
            namespace: Namespace::new("guest").unwrap(),
            rule: Some(EntityName::new("r").unwrap()),
            accepted_ms: 70,
            since_ms: 71,
            attempts,
            key: u64::MAX,
            turn: death.is_some().then_some(position),
            size: 1_000,
            home,
            at_ms: 90,
            death,
        }
    }

    #[test]
    fn both_kinds_round_trip_and_no_cut_passes() {
        let at = Home::At(Position { partition: 0, offset: 1 });
        let copy = Home::Copy(Bytes::from_static(b"event"));
        for home in [at, copy] {
            for (reason, _) in REASONS {
                for death in [None, Some(Death { reason, announced: true })] {
                    let record = sample(home.clone(), death);
                    let bytes = record.encode();
                    for len in 0..bytes.len() {
                        assert!(HeldRecord::decode(bytes.slice(..len)).is_err());
                    }
                    assert_eq!(HeldRecord::decode(bytes), Ok(record));
                }
            }
        }
    }

    #[test]
    fn a_long_history_keeps_both_ends() {
        let mut attempts = Attempts::default();
        for attempt in 1..=100 {
            attempts.made = attempt;
            attempts.note(u64::from(attempt), &"é".repeat(400));
        }
        assert_eq!(attempts.made, 100);
        assert_eq!(attempts.notes.len(), 2 * NOTES_AT_EACH_END);
        assert_eq!(attempts.notes.first().map(|note| note.attempt), Some(1));
        assert_eq!(attempts.notes.last().map(|note| note.attempt), Some(100));
        assert!(attempts.notes.iter().all(|note| note.why.len() <= NOTE_BYTES));
    }
}
