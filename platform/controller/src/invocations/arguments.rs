//! Arguments of a run: layers of members, the upper wins, values never looked into.

use std::{borrow::Cow, collections::HashMap, fmt};

use bytes::{BufMut as _, Bytes, BytesMut};
use evoke_schemas::KeyValues;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Members of an object: names, and values as JSON text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Members<'a> {
    /// Members of the text of an object.
    pub(crate) fn parse(object: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(object)
    }

    /// Bound parameters that are arguments.
    pub(crate) fn of(parameters: &KeyValues) -> Members<'static> {
        let arguments = parameters.iter().filter(|(_, entry)| !entry.init);
        Members(
            arguments
                .map(|(key, entry)| (Cow::Owned(key.to_owned()), entry.value.to_string().into()))
                .collect(),
        )
    }

    /// One member.
    pub(crate) fn one(name: &'a str, value: impl Into<Cow<'a, str>>) -> Self {
        Self(vec![(Cow::Borrowed(name), value.into())])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// The same, borrowed.
    pub(crate) fn borrowed(&self) -> Members<'_> {
        let members = self.0.iter();
        Members(
            members
                .map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(&**value)))
                .collect(),
        )
    }
}

/// The text of the object that has every member of the layers, of equal names that of the upper,
/// which come last.
pub(crate) fn merge(layers: &[Members<'_>]) -> Bytes {
    let all = || layers.iter().flat_map(|layer| &layer.0);
    let winners: HashMap<&str, usize> =
        all().enumerate().map(|(place, (name, _))| (&**name, place)).collect();
    let size: usize = all().map(|(name, value)| name.len() + value.len() + 6).sum();
    let mut text = BytesMut::with_capacity(size + 2).writer();
    let mut separator = "{";
    for (place, (name, value)) in all().enumerate() {
        if winners.get(&**name) == Some(&place) {
            text.get_mut().put_slice(separator.as_bytes());
            separator = ",";
            // Writing a string to memory cannot fail.
            if serde_json::to_writer(&mut text, name).is_ok() {
                text.get_mut().put_u8(b':');
                text.get_mut().put_slice(value.as_bytes());
            }
        }
    }
    let mut text = text.into_inner();
    text.put_slice(if separator == "{" { b"{}" } else { b"}" });
    text.freeze()
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
                    members.push((name, Cow::Borrowed(value.get())));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A member's name, borrowed where its text has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(layers: &[&str], want: &str) {
        let layers: Vec<_> = layers.iter().map(|l| Members::parse(l.as_bytes()).unwrap()).collect();
        assert_eq!(merge(&layers), want);
    }

    #[test]
    fn the_upper_layer_wins_and_values_stay_as_written() {
        check(&[], "{}");
        check(&["{}", "{}"], "{}");
        check(&["{\"a\":1.50,\"b\":{\"x\": 1}}", "{\"b\":2}"], "{\"a\":1.50,\"b\":2}");
        check(&["{\"a\":1,\"a\":2}"], "{\"a\":2}");
        check(&["{\"\\u0061\":1}", "{\"a\":2,\"\\\"\":3}"], "{\"a\":2,\"\\\"\":3}");
    }

    #[test]
    fn only_arguments_of_bound_parameters_are_members() {
        let bound = serde_json::json!([
            {"key": "a", "value": [1]}, {"key": "E", "value": "x", "init": true}
        ]);
        let bound: KeyValues = serde_json::from_value(bound).unwrap();
        assert_eq!(merge(&[Members::of(&bound)]), "{\"a\":[1]}");
    }
}
