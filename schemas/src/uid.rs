//! Ids that are derived or drawn once, never reused.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::position::{LogUid, Position};

/// Identity of one entity's life: another after delete and create under the same name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityUid(pub [u8; 16]);

/// Id of an activation: 32 lower-case hexadecimal digits.
///
/// Source: OpenWhisk `ActivationId.scala`; derivation by decision 15.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActivationId(pub [u8; 16]);

/// Why an event is delivered to a rule: as it came, or by one replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Occasion {
    /// As the event came.
    Live,
    /// By the replay of this uid.
    Replay(EntityUid),
    /// As part of the records that it stands for, after a delivery of more of them failed.
    Part(Part),
}

/// A part of the records that an event stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Tells parts of replays apart: zeros for those of the event as it came.
    of: [u8; 6],
    /// The first record, from 0.
    pub from: u32,
    /// After the last record.
    pub to: u32,
}

/// An id's text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Wrong number of characters.
    #[error("Activation id length is {0} but must be 32.")]
    Length(usize),
    /// A character that is no lower-case hexadecimal digit.
    #[error("The activation id is not valid.")]
    Digit,
}

// === impl EntityUid ===

impl EntityUid {
    /// Stands for "the action itself" where a delivery has no rule: an accepted non-blocking invocation.
    pub const DIRECT: Self = Self([0; 16]);
    /// Stands for the trigger itself, so that its own activation id is derived like a delivery's.
    pub const TRIGGER: Self = Self([0xff; 16]);

    /// A fresh uid, ordered by time of creation.
    #[must_use]
    pub fn fresh() -> Self {
        Self(*uuid::Uuid::now_v7().as_bytes())
    }
}

impl Occasion {
    /// Sixteen bytes that tell occasions apart: zeros for `Live`.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        match self {
            Self::Live => [0; 16],
            Self::Replay(uid) => uid.0,
            Self::Part(Part { of: [a, b, c, d, e, f], from, to }) => {
                let ([g, h, i, j], [k, l, m, n]) = (from.to_be_bytes(), to.to_be_bytes());
                [*a, *b, *c, *d, *e, *f, PART, 0, g, h, i, j, k, l, m, n]
            }
        }
    }

    /// The occasion that [`Occasion::bytes`] stands for.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, kind, _, g, h, i, j, k, l, m, n] = bytes;
        if bytes == [0; 16] {
            Self::Live
        } else if kind == PART {
            let (from, to) = (u32::from_be_bytes([g, h, i, j]), u32::from_be_bytes([k, l, m, n]));
            Self::Part(Part { of: [a, b, c, d, e, f], from, to })
        } else {
            Self::Replay(EntityUid(bytes))
        }
    }

    /// The occasions of the halves of what is delivered on this one: its first `middle` records,
    /// and the others of its `count`.
    #[must_use]
    pub fn halves(&self, middle: u32, count: u32) -> (Self, Self) {
        let (of, begin) = match self {
            Self::Live => (LIVE, 0),
            Self::Replay(uid) => (of_replay(*uid), 0),
            Self::Part(part) => (part.of, part.from),
        };
        let at = |offset: u32| begin.saturating_add(offset);
        let part = |from, to| Self::Part(Part { of, from, to });
        (part(at(0), at(middle)), part(at(middle), at(count)))
    }

    /// Whether this is the replay of this uid, or a part of what it delivers.
    #[must_use]
    pub fn is_by(&self, replay: EntityUid) -> bool {
        match self {
            Self::Live => false,
            Self::Replay(uid) => *uid == replay,
            Self::Part(part) => part.of == of_replay(replay),
        }
    }
}

impl Part {
    /// Whether it is a part of the event as that came.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.of == LIVE
    }
}

/// What tells parts of events as they came apart from those of replays.
const LIVE: [u8; 6] = [0; 6];

/// The random end of a replay's uid.
fn of_replay(EntityUid([.., a, b, c, d, e, f]): EntityUid) -> [u8; 6] {
    [a, b, c, d, e, f]
}

/// Where uids have their version: no version 7, as those of replays are.
const PART: u8 = 0x80;

// === impl ActivationId ===

impl ActivationId {
    /// The id of the delivery of the event at `position` to `rule` on `occasion`.
    ///
    /// The same delivery has the same id for ever, whatever the rule's name or the attempt.
    /// Do not change what goes in: a change doubles the records of deliveries under way.
    #[must_use]
    pub fn derive(log: LogUid, position: Position, rule: EntityUid, occasion: Occasion) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&log.0);
        hasher.update(&position.partition.to_le_bytes());
        hasher.update(&position.offset.to_le_bytes());
        hasher.update(&rule.0);
        hasher.update(&occasion.bytes());
        Self::first_half(&hasher)
    }

    /// An id for a blocking invocation, which no record of the log names.
    #[must_use]
    pub fn fresh() -> Self {
        Self(*uuid::Uuid::new_v4().as_bytes())
    }

    fn first_half(hasher: &blake3::Hasher) -> Self {
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

impl FromStr for ActivationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.chars().count() != 32 {
            return Err(IdError::Length(text.chars().count()));
        }
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(IdError::Digit);
        }
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).map_err(|source| match source {
            hex::FromHexError::InvalidHexCharacter { .. }
            | hex::FromHexError::OddLength
            | hex::FromHexError::InvalidStringLength => IdError::Digit,
        })?;
        Ok(Self(id))
    }
}

macro_rules! hex_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                crate::hex_text::write(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                let mut bytes = [0; 16];
                hex::decode_to_slice(text.as_bytes(), &mut bytes).map_err(de::Error::custom)?;
                Ok(Self(bytes))
            }
        }
    };
}

hex_text!(EntityUid);
hex_text!(ActivationId);

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogUid = LogUid([7; 16]);
    const AT: Position = Position { partition: 1, offset: 9 };

    #[test]
    fn occasions_are_told_apart_by_their_bytes() {
        let replay = Occasion::Replay(EntityUid::fresh());
        let (first, second) = Occasion::Live.halves(25, 50);
        let (third, fourth) = second.halves(12, 25);
        let (fifth, sixth) = replay.halves(25, 50);
        let all = [Occasion::Live, replay, first, second, third, fourth, fifth, sixth];
        for (place, occasion) in all.iter().enumerate() {
            assert_eq!(Occasion::from_bytes(occasion.bytes()), *occasion);
            for other in &all[place + 1..] {
                assert_ne!(occasion.bytes(), other.bytes());
            }
        }
        assert!(first < second && third < fourth, "the order of the records");
        let Occasion::Replay(uid) = replay else { panic!("a replay") };
        let by = all.map(|occasion| occasion.is_by(uid));
        assert_eq!(by, [false, true, false, false, false, false, true, true]);
        let Occasion::Part(part) = fourth else { panic!("a part") };
        assert_eq!((part.from, part.to), (37, 50));
    }

    #[test]
    fn derivation_is_stable_and_tells_deliveries_apart() {
        let rule = EntityUid([3; 16]);
        let id = ActivationId::derive(LOG, AT, rule, Occasion::Live);
        assert_eq!(id.to_string(), "475175d1bb94321904b9a789033dec85");
        assert_eq!(id, ActivationId::derive(LOG, AT, rule, Occasion::Live));
        let others = [
            ActivationId::derive(LogUid([8; 16]), AT, rule, Occasion::Live),
            ActivationId::derive(LOG, Position { partition: 2, offset: 9 }, rule, Occasion::Live),
            ActivationId::derive(LOG, Position { partition: 1, offset: 10 }, rule, Occasion::Live),
            ActivationId::derive(LOG, AT, EntityUid([4; 16]), Occasion::Live),
            ActivationId::derive(LOG, AT, rule, Occasion::Replay(EntityUid([1; 16]))),
        ];
        assert!(others.iter().all(|other| *other != id));
    }

    #[test]
    fn an_id_is_32_lower_case_digits() {
        let id = ActivationId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("abc".parse::<ActivationId>(), Err(IdError::Length(3)));
        assert_eq!("AB".repeat(16).parse::<ActivationId>(), Err(IdError::Digit));
        assert_eq!("zz".repeat(16).parse::<ActivationId>(), Err(IdError::Digit));
    }
}
