//! A change as an event, and as OpenWhisk's payload.

use chrono::{DateTime, SecondsFormat, Utc};
use evoke_schemas::{
    Data, EntityUid, Event,
    event::{Attribute, PARTITION_KEY},
    limits::MAX_PAYLOAD_BYTES,
};
use serde_json::{Map, Value, json};

use super::{changes::Change, position::Position};

/// Kind of the event of a document that was made or changed.
pub const UPDATED_TYPE: &str = "org.apache.couchdb.document.updated";
/// Kind of the event of a document that was deleted.
pub const DELETED_TYPE: &str = "org.apache.couchdb.document.deleted";

/// Most bytes of an event's data.
const MAX_DATA: usize = MAX_PAYLOAD_BYTES;

/// What an event of this feed has beside the change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) feed: EntityUid,
    /// The database's address, without credentials.
    pub(super) source: &'a str,
    pub(super) now_ms: u64,
}

/// The event of a change. Its id is of the feed, the life of the database, the document and its
/// leaf revisions alone, so that a change which is read again is known.
pub(super) fn event(
    origin: Origin<'_>,
    position: &Position,
    change: &Change,
    more: Map<String, Value>,
) -> Event {
    let kind = if change.deleted { DELETED_TYPE } else { UPDATED_TYPE };
    let mut event = Event::new(id(origin.feed, position, change), origin.source, kind);
    let key = readable(&change.id);
    // An id that is too long for an attribute stands in the data only, its order by its hash.
    let hash = || Attribute::Text(blake3::hash(key.as_bytes()).to_hex().to_string());
    let _too_long = event.set("subject", Attribute::Text(key.clone())).is_err();
    if event.set(PARTITION_KEY, Attribute::Text(key.clone())).is_err() {
        event.extensions.insert(PARTITION_KEY.to_owned(), hash());
    }
    event.time = Some(rfc3339(origin.now_ms));
    event.datacontenttype = Some("application/json".to_owned());
    event.data = Data::Json(fitting(data(change, &position.dbname, more)).into());
    event
}

/// OpenWhisk's payload of an event of this provider.
///
/// **Shape:** `{"id", "seq", "changes", "deleted"?, "dbname"}`. Source: openwhisk-package-cloudant.
#[must_use]
pub fn classic(event: &Event) -> Value {
    let mut arguments = event.arguments();
    let known = ["id", "seq", "changes", "deleted", "dbname"];
    known
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), arguments.remove(name)?)))
        .collect::<Map<_, _>>()
        .into()
}

/// The data as text, without what makes it more than the hub takes of one event: first without
/// what was before, then without the document.
fn fitting(mut data: Map<String, Value>) -> String {
    let parts: [(&[&str], _); 2] =
        [(&["previous", "patch"], "diffTooLong"), (&["doc"], "docTooLong")];
    let mut text = json!(data).to_string();
    for (members, said) in parts {
        if text.len() > MAX_DATA && members.iter().any(|member| data.contains_key(*member)) {
            for member in members {
                data.remove(*member);
            }
            data.insert(said.to_owned(), true.into());
            text = json!(data).to_string();
        }
    }
    text
}

fn data(change: &Change, dbname: &str, more: Map<String, Value>) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("id".to_owned(), change.id.as_str().into());
    let seq = change.seq.as_ref().map_or(Value::Null, |seq| seq.value().clone());
    data.insert("seq".to_owned(), seq);
    data.insert("changes".to_owned(), json!(change.changes));
    if change.deleted {
        data.insert("deleted".to_owned(), true.into());
    }
    data.insert("dbname".to_owned(), dbname.into());
    if let Some(doc) = &change.doc {
        data.insert("doc".to_owned(), doc.clone());
    }
    if change.without_doc {
        data.insert("docTooLong".to_owned(), true.into());
    }
    data.extend(more);
    data
}

pub(super) fn id(feed: EntityUid, position: &Position, change: &Change) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&feed.0);
    hash.update(&position.round.to_be_bytes());
    hash.update(&position.remade.to_be_bytes());
    let revisions = change.changes.iter().map(|leaf| leaf.rev.as_str());
    for part in [position.dbname.as_str(), change.id.as_str()].into_iter().chain(revisions) {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().to_hex().chars().take(32).collect()
}

/// An attribute may hold no control characters, a document's id may.
fn readable(id: &str) -> String {
    let escape = |character: char| {
        if character.is_control() {
            format!("%{:02X}", u32::from(character))
        } else {
            character.to_string()
        }
    };
    id.chars().map(escape).collect()
}

fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::couchdb::changes::Seq;

    fn change(value: Value) -> Change {
        serde_json::from_value(value).unwrap()
    }

    fn made(change: &Change, position: &Position, more: Map<String, Value>) -> Event {
        let source = "https://couch.example.org/fruit";
        event(Origin { feed: EntityUid([7; 16]), source, now_ms: 0 }, position, change, more)
    }

    fn at(round: u64, remade: u64) -> Position {
        Position { remade, ..Position::new(Seq::beginning(), "fruit", round) }
    }

    #[test]
    fn c13_the_payload_of_openwhisk_is_exact() {
        let row = json!({"seq": "5-g1A", "id": "d", "changes": [{"rev": "2-a"}], "deleted": true,
            "doc": {"_id": "d"}});
        let event = made(&change(row), &at(0, 0), Map::new());
        assert_eq!(
            classic(&event),
            json!({"id": "d", "seq": "5-g1A", "changes": [{"rev": "2-a"}], "deleted": true, "dbname": "fruit"})
        );
        assert_eq!(event.r#type, DELETED_TYPE);
        assert_eq!(event.attribute("partitionkey").as_deref(), Some("d"));
        assert_eq!(event.subject.as_deref(), Some("d"));
    }

    #[test]
    fn the_id_is_of_document_revision_and_life_alone() {
        let row = |id: &str, rev: &str, seq: u64| {
            change(json!({"seq": seq, "id": id, "changes": [{"rev": rev}]}))
        };
        let id = |row: Change, position: Position| made(&row, &position, Map::new()).id;
        let first = id(row("a", "1-a", 1), at(0, 0));
        assert_eq!(first, id(row("a", "1-a", 9), at(0, 0)), "a sequence is no part of it");
        for other in [
            id(row("a", "2-a", 1), at(0, 0)),
            id(row("a1", "-a", 1), at(0, 0)),
            id(row("a", "1-a", 1), at(0, 1)),
            id(row("a", "1-a", 1), at(2, 0)),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn an_id_with_odd_characters_makes_a_whole_event() {
        let row = json!({"seq": 1, "id": "a\nb ä", "changes": [{"rev": "1-a"}]});
        let event = made(&change(row), &at(0, 0), Map::new());
        assert_eq!(event.subject.as_deref(), Some("a%0Ab ä"));
        assert_eq!(event.arguments().get("id"), Some(&json!("a\nb ä")));
        let long = json!({"seq": 1, "id": "x".repeat(20_000), "changes": [{"rev": "1-a"}]});
        let event = made(&change(long), &at(0, 0), Map::new());
        assert_eq!(event.subject, None);
        assert_eq!(event.attribute("partitionkey").map(|key| key.len()), Some(64));
        assert!(event.check().is_ok());
    }
}
