//! The record of a replay: what is to be delivered again, and how far it has been read.

use bytes::Bytes;
use evoke_event_log::Cursor;
use evoke_schemas::{EntityName, EntityUid, Namespace};
use serde::Serialize;

use super::wire::{DecodeError, Reader, Writer};

const VERSION: u8 = 1;

/// A replay as its newest record says it; each record says everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRecord {
    /// Which replay: the occasion of its deliveries.
    pub uid: EntityUid,
    /// Namespace.
    pub namespace: Namespace,
    /// Name of the rule at creation.
    pub rule: EntityName,
    /// The rule.
    pub rule_uid: EntityUid,
    /// Where to read on.
    pub next: Cursor,
    /// Where to end.
    pub to: Cursor,
    /// Events accepted before this time are left out, unix milliseconds.
    pub from_ms: u64,
    /// Events accepted from this time on are left out, unix milliseconds.
    pub to_ms: u64,
    /// Deliveries parked so far.
    pub parked: u64,
    /// When it was created, unix milliseconds.
    pub created_ms: u64,
    /// What it does.
    pub status: ReplayStatus,
}

/// What a replay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReplayStatus {
    /// It reads its range.
    Reading,
    /// Its range is read; its deliveries go their way.
    Read,
    /// Somebody stopped it; what was not dispatched is not.
    Cancelled,
}

const STATUSES: [(ReplayStatus, u8); 3] =
    [(ReplayStatus::Reading, 0), (ReplayStatus::Read, 1), (ReplayStatus::Cancelled, 2)];

impl ReplayRecord {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(160);
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads the record back.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no such record.
    pub fn decode(data: Bytes) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(data))
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.byte(VERSION);
        writer.raw(&self.uid.0);
        writer.text(self.namespace.as_str());
        writer.text(self.rule.as_str());
        writer.raw(&self.rule_uid.0);
        writer.text(&self.next.to_string());
        writer.text(&self.to.to_string());
        for number in [self.from_ms, self.to_ms, self.parked, self.created_ms] {
            writer.number(number);
        }
        let status = STATUSES.iter().find(|(status, _)| *status == self.status);
        writer.byte(status.map_or(u8::MAX, |(_, number)| *number));
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        if reader.byte("replay's version")? != VERSION {
            return Err(DecodeError("replay's version"));
        }
        Ok(Self {
            uid: reader.uid("replay")?,
            namespace: reader.namespace("replay's namespace")?,
            rule: reader.name("replay's rule")?,
            rule_uid: reader.uid("replay's rule")?,
            next: read_cursor(reader)?,
            to: read_cursor(reader)?,
            from_ms: reader.number("replay's begin")?,
            to_ms: reader.number("replay's end")?,
            parked: reader.number("replay's deliveries")?,
            created_ms: reader.number("replay's creation")?,
            status: {
                let number = reader.byte("replay's status")?;
                let status = STATUSES.iter().find(|(_, known)| *known == number);
                status.map(|(status, _)| *status).ok_or(DecodeError("replay's status"))?
            },
        })
    }
}

pub(crate) fn read_cursor(reader: &mut Reader) -> Result<Cursor, DecodeError> {
    reader.text("cursor")?.parse().ok().ok_or(DecodeError("cursor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_round_trips() {
        for (status, _) in STATUSES {
            let record = ReplayRecord {
                uid: EntityUid([1; 16]),
                namespace: Namespace::new("guest").unwrap(),
                rule: EntityName::new("r").unwrap(),
                rule_uid: EntityUid([2; 16]),
                next: "17".parse().unwrap(),
                to: "1:5,3:10".parse().unwrap(),
                from_ms: 0,
                to_ms: u64::MAX,
                parked: 12,
                created_ms: 99,
                status,
            };
            assert_eq!(ReplayRecord::decode(record.encode()), Ok(record));
        }
    }
}
