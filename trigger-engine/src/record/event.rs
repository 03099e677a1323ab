//! The record of an accepted event: everything that was decided about it, beside it (decision 1).

use bytes::Bytes;
use evoke_schemas::{
    Data, EntityName, EntityUid, Event, FullName, Namespace, SemVer,
    event::{Attribute, SET_ASIDE},
};

use super::wire::{DecodeError, Reader, Writer};
use crate::incoming::{Origin, Target};

const VERSION: u8 = 1;

/// An accepted event as it stands in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Namespace that accepted it.
    pub namespace: Namespace,
    /// What it was sent to.
    pub target: Target,
    /// How it came.
    pub origin: Origin,
    /// Who sent it; deliveries act for this subject.
    pub subject: String,
    /// The event.
    pub event: Event,
    /// What `__ow_headers` shows, as the text of a JSON object; without secrets.
    pub headers: Option<Bytes>,
    /// Triggers that it fired, with their rules as they stood at acceptance.
    pub triggers: Vec<StoredTrigger>,
}

/// The halves of an event, each as the record that it would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfRecords {
    /// With the first of its source's records.
    pub first: Bytes,
    /// With the others.
    pub second: Bytes,
    /// How many of the source's records the first has.
    pub middle: u32,
    /// How many both have.
    pub count: u32,
}

/// A trigger that an event fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTrigger {
    /// Name.
    pub name: EntityName,
    /// Which life of the name.
    pub uid: EntityUid,
    /// Version at acceptance.
    pub version: SemVer,
    /// Its rules at acceptance.
    pub rules: Vec<StoredRule>,
}

/// A rule of a fired trigger as it stood at acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRule {
    /// Which life of the name.
    pub uid: EntityUid,
    /// Name.
    pub name: EntityName,
    /// The action it pointed to.
    pub action: FullName,
    /// Whether it got the event.
    pub active: bool,
}

/// What an event's record is made of, before it is bytes.
#[derive(Debug)]
pub(crate) struct EventParts<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) target: &'a Target,
    pub(crate) origin: Origin,
    pub(crate) subject: &'a str,
    pub(crate) event: &'a Event,
    pub(crate) headers: Option<&'a [u8]>,
    /// Fired triggers, each as [`write_trigger`] wrote it.
    pub(crate) triggers: &'a [&'a [u8]],
    /// Active rules among them; one for an invocation.
    pub(crate) deliveries: usize,
}

/// How many deliveries an event's record asks for, without reading the rest of it.
///
/// # Errors
/// [`DecodeError`] where the bytes do not begin as an event's record does.
pub fn deliveries_in(data: &Bytes) -> Result<usize, DecodeError> {
    let mut reader = Reader::new(data.clone());
    check_version(&mut reader)?;
    reader.narrow("event's deliveries")
}

fn check_version(reader: &mut Reader) -> Result<(), DecodeError> {
    if reader.byte("event's version")? == VERSION {
        Ok(())
    } else {
        Err(DecodeError("event's version"))
    }
}

impl EventParts<'_> {
    pub(crate) fn encode(&self) -> Bytes {
        let triggers: usize = self.triggers.iter().map(|bytes| bytes.len()).sum();
        let headers = self.headers.map_or(0, <[u8]>::len);
        let mut writer = Writer::with_capacity(self.event.size() + triggers + headers + 128);
        writer.byte(VERSION);
        writer.size(self.deliveries);
        writer.byte(match self.origin {
            Origin::Plain => 0,
            Origin::CloudEvent => 1,
            Origin::Feed => 2,
        });
        writer.text(self.namespace.as_str());
        match self.target {
            Target::Trigger(name) => {
                writer.byte(0);
                writer.text(name.as_str());
            }
            Target::Hub => writer.byte(1),
            Target::Action(name) => {
                writer.byte(2);
                writer.full_name(name);
            }
        }
        writer.text(self.subject);
        writer.size(self.triggers.len());
        for trigger in self.triggers {
            writer.raw(trigger);
        }
        writer.optional_blob(self.headers);
        write_event(&mut writer, self.event);
        writer.finish()
    }
}

/// A fired trigger's part of an event's record.
pub(crate) fn write_trigger(writer: &mut Writer, trigger: &StoredTrigger) {
    writer.text(trigger.name.as_str());
    writer.raw(&trigger.uid.0);
    for part in [trigger.version.0, trigger.version.1, trigger.version.2] {
        writer.number(u64::from(part));
    }
    writer.size(trigger.rules.len());
    for rule in &trigger.rules {
        writer.raw(&rule.uid.0);
        writer.byte(u8::from(rule.active));
        writer.text(rule.name.as_str());
        writer.full_name(&rule.action);
    }
}

fn read_trigger(reader: &mut Reader) -> Result<StoredTrigger, DecodeError> {
    let name = reader.name("trigger")?;
    let uid = reader.uid("trigger's uid")?;
    let mut part = || reader.narrow::<u32>("trigger's version");
    let version = SemVer(part()?, part()?, part()?);
    let rules = (0..reader.count("trigger's rules")?)
        .map(|_| {
            Ok(StoredRule {
                uid: reader.uid("rule's uid")?,
                active: reader.byte("rule's status")? == 1,
                name: reader.name("rule")?,
                action: reader.full_name("rule's action")?,
            })
        })
        .collect::<Result<_, DecodeError>>()?;
    Ok(StoredTrigger { name, uid, version, rules })
}

fn write_event(writer: &mut Writer, event: &Event) {
    for text in [&event.id, &event.source, &event.r#type] {
        writer.text(text);
    }
    let optional = [&event.subject, &event.time, &event.datacontenttype, &event.dataschema];
    for text in optional {
        writer.optional_text(text.as_deref());
    }
    writer.size(event.extensions.len());
    for (name, value) in &event.extensions {
        writer.text(name);
        match value {
            Attribute::Boolean(value) => writer.byte(u8::from(*value)),
            Attribute::Integer(value) => {
                writer.byte(2);
                writer.raw(&value.to_le_bytes());
            }
            Attribute::Text(text) => {
                writer.byte(3);
                writer.text(text);
            }
        }
    }
    match &event.data {
        Data::None => writer.byte(0),
        Data::Json(bytes) => {
            writer.byte(1);
            writer.blob(bytes);
        }
        Data::Text(text) => {
            writer.byte(2);
            writer.text(text);
        }
        Data::Binary(bytes) => {
            writer.byte(3);
            writer.blob(bytes);
        }
    }
}

fn read_event(reader: &mut Reader) -> Result<Event, DecodeError> {
    let mut event = Event::new(
        reader.text("event's id")?,
        reader.text("event's source")?,
        reader.text("event's type")?,
    );
    event.subject = reader.optional_text("event's subject")?;
    event.time = reader.optional_text("event's time")?;
    event.datacontenttype = reader.optional_text("event's media type")?;
    event.dataschema = reader.optional_text("event's schema")?;
    for _ in 0..reader.count("event's extensions")? {
        let name = reader.text("extension's name")?;
        let value = match reader.byte("extension")? {
            0 => Attribute::Boolean(false),
            1 => Attribute::Boolean(true),
            2 => {
                let bytes = reader.take(4, "extension")?;
                let bytes = bytes.first_chunk().copied().ok_or(DecodeError("extension"))?;
                Attribute::Integer(i32::from_le_bytes(bytes))
            }
            3 => Attribute::Text(reader.text("extension")?),
            _ => return Err(DecodeError("extension")),
        };
        event.extensions.insert(name, value);
    }
    event.data = match reader.byte("event's data")? {
        0 => Data::None,
        1 => Data::Json(reader.blob("event's data")?),
        2 => Data::Text(reader.text("event's data")?),
        3 => Data::Binary(reader.blob("event's data")?),
        _ => return Err(DecodeError("event's data")),
    };
    Ok(event)
}

impl StoredEvent {
    /// Reads the record back; data and headers stay slices of it.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no such record.
    pub fn decode(data: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        check_version(&mut reader)?;
        reader.narrow::<usize>("event's deliveries")?;
        let origin = match reader.byte("event's origin")? {
            0 => Origin::Plain,
            1 => Origin::CloudEvent,
            2 => Origin::Feed,
            _ => return Err(DecodeError("event's origin")),
        };
        let namespace = reader.namespace("event's namespace")?;
        let target = match reader.byte("event's target")? {
            0 => Target::Trigger(reader.name("event's trigger")?),
            1 => Target::Hub,
            2 => Target::Action(reader.full_name("event's action")?),
            _ => return Err(DecodeError("event's target")),
        };
        let subject = reader.text("subject")?;
        let triggers = (0..reader.count("triggers")?)
            .map(|_| read_trigger(&mut reader))
            .collect::<Result<_, DecodeError>>()?;
        let headers = reader.optional_blob("headers")?;
        let event = read_event(&mut reader)?;
        Ok(Self { namespace, target, origin, subject, event, headers, triggers })
    }

    /// The rules that got the event, in the order of the record.
    pub fn active_rules(&self) -> impl Iterator<Item = (&StoredTrigger, &StoredRule)> {
        self.triggers
            .iter()
            .flat_map(|trigger| trigger.rules.iter().map(move |rule| (trigger, rule)))
            .filter(|(_, rule)| rule.active)
    }

    /// Why the feed that it came from set it aside, if it did. Of events that others send, an
    /// attribute of that name says nothing.
    #[must_use]
    pub fn set_aside(&self) -> Option<String> {
        let text = self.event.attribute(SET_ASIDE)?;
        (self.origin != Origin::CloudEvent).then(|| text.into_owned())
    }

    /// The records of its halves, where it stands for more than one record of its source.
    #[must_use]
    pub fn halves(&self) -> Option<HalfRecords> {
        if self.origin == Origin::CloudEvent {
            return None;
        }
        let halves = self.event.halves()?;
        let record = |event| Self { event, ..self.clone() }.encode();
        Some(HalfRecords {
            first: record(halves.first),
            second: record(halves.second),
            middle: halves.middle,
            count: halves.count,
        })
    }

    /// Writes the record that this was read from.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let triggers: Vec<Bytes> = self
            .triggers
            .iter()
            .map(|trigger| {
                let mut writer = Writer::default();
                write_trigger(&mut writer, trigger);
                writer.finish()
            })
            .collect();
        let slices: Vec<&[u8]> = triggers.iter().map(AsRef::as_ref).collect();
        let direct = usize::from(matches!(self.target, Target::Action(_)));
        EventParts {
            namespace: &self.namespace,
            target: &self.target,
            origin: self.origin,
            subject: &self.subject,
            event: &self.event,
            headers: self.headers.as_deref(),
            triggers: &slices,
            deliveries: self.active_rules().count() + direct,
        }
        .encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(target: Target) -> StoredEvent {
        let mut event = Event::new("1", "/s", "t");
        event.subject = Some("x".to_owned());
        event.extensions.insert("flag".to_owned(), Attribute::Boolean(true));
        event.extensions.insert("n".to_owned(), Attribute::Integer(-5));
        event.extensions.insert("p".to_owned(), Attribute::Text("k".to_owned()));
        event.data = Data::Json(Bytes::from_static(b"{\"a\":1}"));
        let namespace = Namespace::new("guest").unwrap();
        let rule = |byte: u8, active| StoredRule {
            uid: EntityUid([byte; 16]),
            name: EntityName::new("r").unwrap(),
            action: FullName::parse("guest/p/a", &namespace).unwrap(),
            active,
        };
        let rules = vec![rule(1, true), rule(2, false)];
        let trigger = StoredTrigger {
            name: EntityName::new("t").unwrap(),
            uid: EntityUid([9; 16]),
            version: SemVer(0, 0, 3),
            rules,
        };
        StoredEvent {
            target,
            origin: Origin::CloudEvent,
            subject: "guest".to_owned(),
            event,
            headers: Some(Bytes::from_static(b"{}")),
            triggers: vec![trigger],
            namespace,
        }
    }

    #[test]
    fn a_record_round_trips_and_tells_its_deliveries_first() {
        let action = FullName::parse("/a/b", &Namespace::new("g").unwrap()).unwrap();
        let trigger = Target::Trigger(EntityName::new("t").unwrap());
        for (target, deliveries) in [(trigger, 1), (Target::Hub, 1), (Target::Action(action), 2)] {
            let stored = sample(target);
            let bytes = stored.encode();
            assert_eq!(deliveries_in(&bytes), Ok(deliveries));
            assert_eq!(StoredEvent::decode(bytes), Ok(stored));
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = sample(Target::Hub).encode();
        for len in 0..bytes.len() {
            assert!(StoredEvent::decode(bytes.slice(..len)).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn any_flipped_bit_is_read_without_panic() {
        let bytes = sample(Target::Hub).encode();
        let mut read = 0;
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            read += usize::from(StoredEvent::decode(damaged.into()).is_ok());
        }
        assert!(read < bytes.len() * 8, "lengths and tags are checked");
    }
}
