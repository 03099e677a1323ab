//! Identity of a delivery: which event, which rule, why.

use evoke_schemas::{ActivationId, EntityUid, LogUid, Occasion, Position};

use super::wire::{DecodeError, Reader, Writer};

/// One delivery (decision 15): the same for ever, whatever the attempt or the rule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// Where the event stands.
    pub position: Position,
    /// The rule, [`EntityUid::DIRECT`] for an accepted invocation of an action.
    pub rule: EntityUid,
    /// As it came, or by one replay.
    pub occasion: Occasion,
}

impl DeliveryId {
    /// The delivery of an event as it came.
    #[must_use]
    pub fn live(position: Position, rule: EntityUid) -> Self {
        Self { position, rule, occasion: Occasion::Live }
    }

    /// The id of the one activation record that this delivery may have.
    #[must_use]
    pub fn activation_id(&self, log: LogUid) -> ActivationId {
        ActivationId::derive(log, self.position, self.rule, self.occasion)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.position(self.position);
        writer.raw(&self.rule.0);
        match self.occasion {
            Occasion::Live => writer.byte(0),
            Occasion::Replay(uid) => {
                writer.byte(1);
                writer.raw(&uid.0);
            }
            Occasion::Part(_) => {
                writer.byte(2);
                writer.raw(&self.occasion.bytes());
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let position = reader.position("delivery's position")?;
        let rule = reader.uid("delivery's rule")?;
        let occasion = match reader.byte("delivery's occasion")? {
            0 => Occasion::Live,
            1 => Occasion::Replay(reader.uid("delivery's replay")?),
            2 => Occasion::from_bytes(reader.uid("delivery's part")?.0),
            _ => return Err(DecodeError("delivery's occasion")),
        };
        Ok(Self { position, rule, occasion })
    }
}
