//! Reading a feed's parameters so that every mistake is named at once.

use std::{collections::BTreeSet, fmt};

use evoke_schemas::Secret;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The members of a feed's parameters, taken one by one.
///
/// What was asked for is known; what is left over at the end is refused, so no provider can
/// forget to.
#[derive(Debug)]
pub struct Fields<'a> {
    members: &'a Map<String, Value>,
    known: BTreeSet<&'static str>,
    mistakes: Vec<String>,
}

/// Everything that is wrong with a feed's parameters; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn new(members: &'a Map<String, Value>) -> Self {
        Self { members, known: BTreeSet::new(), mistakes: Vec::new() }
    }

    /// Reads members by `read`, as a feed's parameters are.
    ///
    /// # Errors
    /// [`Mistakes`] with everything that is wrong.
    pub fn read<T>(
        members: &Map<String, Value>,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Result<T, Mistakes> {
        let mut fields = Fields::new(members);
        let parameters = read(&mut fields);
        fields.finish(parameters)
    }

    /// The member as a `T`; `None` where it is absent, `null` or a mistake. `want` completes the
    /// sentence "`name` must be …".
    pub fn optional<T: DeserializeOwned>(&mut self, name: &'static str, want: &str) -> Option<T> {
        self.optional_with(name, want, |value| serde_json::from_value(value.clone()).ok())
    }

    /// The member as what `read` makes of it, which returns `None` for a mistake.
    pub fn optional_with<T>(
        &mut self,
        name: &'static str,
        want: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        self.known.insert(name);
        let value = self.members.get(name).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.mistake(format!("`{name}` must be {want}"));
        }
        read
    }

    /// The member as a `T`, its absence being a mistake.
    pub fn required<T: DeserializeOwned>(&mut self, name: &'static str, want: &str) -> Option<T> {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.known.insert(name);
            self.mistake(format!("`{name}` is missing: it must be {want}"));
            return None;
        }
        self.optional(name, want)
    }

    /// The member as text that is shown nowhere.
    pub fn secret(&mut self, name: &'static str, want: &str) -> Option<Secret> {
        self.optional(name, want)
    }

    /// Whether the member is there, right or wrong.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// Notes a mistake.
    pub fn mistake(&mut self, what: impl Into<String>) {
        self.mistakes.push(what.into());
    }

    pub(crate) fn finish<T>(mut self, parameters: Option<T>) -> Result<T, Mistakes> {
        let known: Vec<_> = self.known.iter().copied().collect();
        for name in self.members.keys().filter(|name| !self.known.contains(name.as_str())) {
            self.mistakes.push(format!("unknown parameter `{name}` (known: {})", known.join(", ")));
        }
        match parameters {
            Some(parameters) if self.mistakes.is_empty() => Ok(parameters),
            Some(_) => Err(Mistakes(self.mistakes)),
            None if self.mistakes.is_empty() => {
                Err(Mistakes(vec!["the parameters make no feed".to_owned()]))
            }
            None => Err(Mistakes(self.mistakes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(parameters: &Value) -> Result<(u32, Option<bool>), Mistakes> {
        let mut fields = Fields::new(parameters.as_object().unwrap());
        let count = fields.required("count", "a whole number");
        let strict = fields.optional("strict", "true or false");
        fields.finish(count.map(|count| (count, strict)))
    }

    #[test]
    fn good_parameters_pass_and_null_is_absent() {
        assert_eq!(read(&json!({"count": 3, "strict": true})), Ok((3, Some(true))));
        assert_eq!(read(&json!({"count": 3, "strict": null})), Ok((3, None)));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let error = read(&json!({"strict": 1, "colour": "red", "size": 2})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`count` is missing: it must be a whole number; `strict` must be true or false; \
             unknown parameter `colour` (known: count, strict); \
             unknown parameter `size` (known: count, strict)"
        );
    }

    #[test]
    fn good_members_beside_an_unknown_one_are_refused() {
        assert_eq!(read(&json!({"count": 3, "x": 1})).unwrap_err().0.len(), 1);
    }
}
