//! The record that makes a delivery done, some 40 bytes.

use bytes::Bytes;

use super::{
    id::DeliveryId,
    wire::{DecodeError, Reader, Writer},
};

const VERSION: u8 = 1;

/// How a delivery ended for good. Numbers in the log are never reused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The function succeeded.
    Success,
    /// The function failed, and nobody asked for more (an accepted invocation).
    Failed,
    /// The rule was deleted before dispatch.
    RuleDeleted,
    /// A dead letter that somebody discarded.
    Discarded,
    /// A dead letter that was kept as long as dead letters are.
    Expired,
    /// The replay it came from was cancelled before dispatch.
    Cancelled,
    /// The function failed with several records: they are delivered in two halves.
    Halved,
    /// Somebody erased the event.
    Erased,
}

const NUMBERS: [(Outcome, u8); 8] = [
    (Outcome::Success, 0),
    (Outcome::Failed, 1),
    (Outcome::RuleDeleted, 2),
    (Outcome::Discarded, 3),
    (Outcome::Expired, 4),
    (Outcome::Cancelled, 5),
    (Outcome::Halved, 6),
    (Outcome::Erased, 7),
];

/// A delivery's outcome as it stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeRecord {
    /// Which delivery.
    pub id: DeliveryId,
    /// How it ended.
    pub outcome: Outcome,
    /// Attempts made in all.
    pub attempts: u32,
    /// When, unix milliseconds.
    pub at_ms: u64,
}

impl OutcomeRecord {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(48);
        writer.byte(VERSION);
        let number = NUMBERS.iter().find(|(outcome, _)| *outcome == self.outcome);
        writer.byte(number.map_or(u8::MAX, |(_, number)| *number));
        self.id.write(&mut writer);
        writer.number(u64::from(self.attempts));
        writer.number(self.at_ms);
        writer.finish()
    }

    /// Reads the record back.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no such record.
    pub fn decode(data: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        if reader.byte("outcome's version")? != VERSION {
            return Err(DecodeError("outcome's version"));
        }
        let number = reader.byte("outcome")?;
        let outcome = NUMBERS.iter().find(|(_, known)| *known == number);
        let (outcome, _) = outcome.ok_or(DecodeError("outcome"))?;
        Ok(Self {
            outcome: *outcome,
            id: DeliveryId::read(&mut reader)?,
            attempts: reader.narrow("outcome's attempts")?,
            at_ms: reader.number("outcome's time")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use evoke_schemas::{EntityUid, Occasion, Position};

    use super::*;

    #[test]
    fn every_outcome_round_trips_in_about_forty_bytes() {
        for (outcome, _) in NUMBERS {
            let (part, _) = Occasion::Live.halves(1, 2);
            for occasion in [Occasion::Live, Occasion::Replay(EntityUid([9; 16])), part] {
                let position = Position { partition: 63, offset: 5_000_000_000 };
                let id = DeliveryId { position, rule: EntityUid([7; 16]), occasion };
                let record = OutcomeRecord { id, outcome, attempts: 3, at_ms: 1_800_000_000_000 };
                let bytes = record.encode();
                let most = if occasion == Occasion::Live { 40 } else { 56 };
                assert!(bytes.len() <= most, "{} bytes", bytes.len());
                assert_eq!(OutcomeRecord::decode(bytes), Ok(record));
            }
        }
    }
}
