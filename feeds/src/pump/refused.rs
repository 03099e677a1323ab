//! One event that the sink can never take does not hold the others up: it is set aside.

use evoke_schemas::{Data, event::Attribute};

use crate::sink::FeedBatch;

/// Extension of an event that was set aside without its data: how large that was, as far as an
/// Integer of CloudEvents tells it. Unit: bytes.
const DATA_BYTES: &str = "databytes";

/// Makes of the batch what the sink may take: an event that stands for several records is cut in
/// two, any other is left without its data. Ends, since no record is cut and no data left out
/// twice; `false` where nothing can be done: then the batch is refused as a whole.
pub(super) fn make_smaller(batch: &mut FeedBatch, index: usize, reason: &str) -> bool {
    cut(batch, index) || leave_out_data(batch, index, reason)
}

/// The halves of the event take its place.
fn cut(batch: &mut FeedBatch, index: usize) -> bool {
    let is_whole = !batch.set_aside.contains_key(&index);
    let whole = batch.events.get(index).filter(|_| is_whole);
    let Some(halves) = whole.and_then(evoke_schemas::Event::halves) else { return false };
    batch.events.splice(index..=index, [halves.first, halves.second]);
    let behind = batch.set_aside.split_off(&index);
    batch.set_aside.extend(behind.into_iter().map(|(index, why)| (index + 1, why)));
    true
}

/// Leaves of the event what says where it came from, and names it among those set aside: it stays
/// in its place, so that position and ids are what they were.
fn leave_out_data(batch: &mut FeedBatch, index: usize, reason: &str) -> bool {
    let Some(event) = batch.events.get_mut(index) else { return false };
    let bytes = match &event.data {
        Data::None => return false,
        Data::Json(bytes) | Data::Binary(bytes) => bytes.len(),
        Data::Text(text) => text.len(),
    };
    event.data = Data::None;
    (event.datacontenttype, event.dataschema) = (None, None);
    let bytes = Attribute::Integer(i32::try_from(bytes).unwrap_or(i32::MAX));
    event.extensions.insert(DATA_BYTES.to_owned(), bytes);
    batch.set_aside.entry(index).or_insert_with(|| reason.to_owned());
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use evoke_schemas::{EntityName, EntityUid, Event, FeedPayload, Namespace, event::BATCH_OF};
    use serde_json::json;

    use super::*;
    use crate::sink::FeedKey;

    fn event(id: &str, data: Data) -> Event {
        let mut event = Event::new(id, "/s", "t");
        event.subject = Some("documents/1".to_owned());
        event.datacontenttype = Some("application/json".to_owned());
        event.extensions.insert("partition".to_owned(), Attribute::Integer(3));
        event.data = data;
        event
    }

    fn batch(events: Vec<Event>) -> FeedBatch {
        FeedBatch {
            feed: FeedKey { uid: EntityUid([1; 16]), generation: 1 },
            revision: 7,
            namespace: Namespace::new("guest").unwrap(),
            trigger: EntityName::new("t").unwrap(),
            payload: FeedPayload::CloudEvent,
            events,
            set_aside: BTreeMap::new(),
            position: "after".into(),
        }
    }

    #[test]
    fn f7_what_is_left_tells_where_it_came_from_and_its_neighbours_stay() {
        let json = || Data::Json("[1,2,3]".into());
        let before = batch(["a", "b", "c"].map(|id| event(id, json())).to_vec());
        let mut after = before.clone();
        assert!(leave_out_data(&mut after, 1, "too large"));
        let mut left = event("b", Data::None);
        left.datacontenttype = None;
        left.extensions.insert("databytes".to_owned(), Attribute::Integer(7));
        let mut wanted = before;
        wanted.events[1] = left;
        wanted.set_aside.insert(1, "too large".to_owned());
        assert_eq!(after, wanted);
    }

    #[test]
    fn f7_of_an_event_of_many_records_only_the_one_that_is_too_large_loses_its_data() {
        let records: Vec<String> = [1, 2, 900, 3, 4].map(|n| "x".repeat(n)).to_vec();
        let mut whole = event("w", Data::Json(json!({"messages": records}).to_string().into()));
        whole.extensions.insert(BATCH_OF.to_owned(), Attribute::Text("messages".to_owned()));
        let mut batch = batch(vec![event("a", Data::None), whole, event("z", Data::None)]);
        batch.set_aside.insert(2, "the source says so".to_owned());
        let size = |event: &Event| match &event.data {
            Data::Json(bytes) => bytes.len(),
            _ => 0,
        };
        let mut refusals = 0;
        while let Some(index) = batch.events.iter().position(|event| size(event) > 100) {
            assert!(make_smaller(&mut batch, index, "too large"));
            refusals += 1;
        }
        let ids: Vec<&str> = batch.events.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids, ["a", "w/0-2", "w/2-5/0-1", "w/2-5/1-3", "z"]);
        assert_eq!(batch.events[2].data, Data::None);
        let aside: Vec<_> = batch.set_aside.iter().map(|(at, why)| (*at, why.as_str())).collect();
        assert_eq!(aside, [(2, "too large"), (4, "the source says so")]);
        assert_eq!(refusals, 3);
    }

    #[test]
    fn nothing_is_left_out_twice_nor_of_an_event_that_is_not_there() {
        let mut batch = batch(vec![event("a", Data::Text("abc".to_owned()))]);
        assert!(!leave_out_data(&mut batch, 1, "too large"));
        assert!(leave_out_data(&mut batch, 0, "too large"));
        assert!(!leave_out_data(&mut batch, 0, "still too large"));
        assert_eq!(batch.set_aside[&0], "too large");
    }

    #[test]
    fn what_its_source_says_of_it_stays() {
        let mut batch = batch(vec![event("a", Data::Binary("abc".into()))]);
        batch.set_aside.insert(0, "the source says so".to_owned());
        assert!(leave_out_data(&mut batch, 0, "too large"));
        assert_eq!(batch.set_aside[&0], "the source says so");
    }
}
