//! Cutting an event that stands for several records in two, to find the one that does harm.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{BATCH_OF, Data, Event};

/// The halves of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Halves {
    /// With the first records.
    pub first: Event,
    /// With the others.
    pub second: Event,
    /// How many records the first has.
    pub middle: u32,
    /// How many both have.
    pub count: u32,
}

impl Event {
    /// The halves of an event that stands for more than one record: its attribute [`BATCH_OF`]
    /// names the member of its data that holds them. Their ids say which records each has.
    #[must_use]
    pub fn halves(&self) -> Option<Halves> {
        let member = self.attribute(BATCH_OF)?;
        let Data::Json(text) = &self.data else { return None };
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(text).ok()?;
        let records = members.get(&*member)?;
        let records: Vec<Box<RawValue>> = serde_json::from_str(records.get()).ok()?;
        let count = u32::try_from(records.len()).ok().filter(|count| *count > 1)?;
        let (first, second) = records.split_at_checked(records.len() / 2)?;
        let middle = u32::try_from(first.len()).ok()?;
        let part = |records: &[Box<RawValue>], from: u32, to: u32| {
            let mut members = members.clone();
            members.insert(member.to_string(), serde_json::value::to_raw_value(records).ok()?);
            let data = Data::Json(serde_json::to_vec(&members).ok()?.into());
            Some(Self { id: format!("{}/{from}-{to}", self.id), data, ..self.clone() })
        };
        Some(Halves {
            first: part(first, 0, middle)?,
            second: part(second, middle, count)?,
            middle,
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::Attribute;

    fn batch(records: &Value) -> Event {
        let mut event = Event::new("t-0-7", "/kafka", "records");
        event.extensions.insert(BATCH_OF.to_owned(), Attribute::Text("messages".to_owned()));
        event.data = Data::Json(json!({"messages": records, "more": 1}).to_string().into());
        event
    }

    fn records(event: &Event) -> Vec<Value> {
        event.arguments()["messages"].as_array().unwrap().clone()
    }

    #[test]
    fn halves_have_the_records_in_their_order_and_everything_else() {
        let whole = batch(&json!([1, {"value": 12_345_678_901_234_567_890_u64}, null]));
        let halves = whole.halves().unwrap();
        assert_eq!((halves.middle, halves.count), (1, 3));
        assert_eq!(halves.first.id, "t-0-7/0-1");
        assert_eq!(halves.second.id, "t-0-7/1-3");
        assert_eq!(records(&halves.first), [json!(1)]);
        assert_eq!(
            records(&halves.second),
            [json!({"value": 12_345_678_901_234_567_890_u64}), json!(null)]
        );
        assert_eq!(halves.second.arguments()["more"], json!(1));
        assert_eq!(halves.second.halves().unwrap().first.id, "t-0-7/1-3/0-1");
    }

    #[test]
    fn what_is_one_or_none_has_no_halves() {
        for records in [json!([]), json!([1]), json!({"a": 1}), json!("text")] {
            assert_eq!(batch(&records).halves(), None, "{records}");
        }
        let mut plain = batch(&json!([1, 2]));
        plain.extensions.clear();
        assert_eq!(plain.halves(), None);
        let mut other = batch(&json!([1, 2]));
        other.data = Data::Text("[1, 2]".to_owned());
        assert_eq!(other.halves(), None);
    }

    fn single(event: Event, found: &mut Vec<Value>) {
        match event.halves() {
            Some(halves) => {
                single(halves.first, found);
                single(halves.second, found);
            }
            None => found.extend(records(&event)),
        }
    }

    #[test]
    fn halving_to_the_end_gives_each_record_once() {
        for count in 0..130 {
            let all: Vec<Value> = (0..count).map(|number| json!({"offset": number})).collect();
            let mut found = Vec::new();
            single(batch(&json!(all)), &mut found);
            assert_eq!(found, all);
        }
    }
}
