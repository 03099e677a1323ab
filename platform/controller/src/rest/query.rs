//! Query parameters, with OpenWhisk's words for what is wrong with them.

use std::borrow::Cow;

use evoke_schemas::{
    EntityName,
    limits::{DEFAULT_LIST, MAX_LIST},
};
use percent_encoding::percent_decode_str;

use super::error::ApiError;

/// The query of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(String);

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) skip: usize,
    pub(super) limit: usize,
    /// Whether only the number of items is asked for.
    pub(super) count: bool,
}

impl Query {
    pub(super) fn new(query: Option<&str>) -> Self {
        Self(query.unwrap_or_default().to_owned())
    }

    /// The value of a parameter, decoded; the first, where it is there twice.
    pub(super) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| decode(value))
        })
    }

    /// A yes or no; no where it is absent or empty.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, ApiError> {
        Ok(self.optional_flag(name)?.unwrap_or(false))
    }

    pub(super) fn optional_flag(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(Some(true)),
            "false" | "no" | "off" => Ok(Some(false)),
            "" => Ok(None),
            _ => Err(ApiError::Query {
                name,
                detail: format!("'{value}' is not a valid Boolean value"),
            }),
        }
    }

    /// The name of an entity; none where it is absent or empty.
    pub(super) fn name(&self, name: &'static str) -> Result<Option<EntityName>, ApiError> {
        let Some(value) = self.get(name).filter(|value| !value.is_empty()) else { return Ok(None) };
        let read = EntityName::new(&value);
        read.map(Some).map_err(|error| ApiError::Query { name, detail: error.to_string() })
    }

    /// `limit`, `skip` and `count` of a list of `collection`.
    pub(super) fn page(&self, collection: &str) -> Result<Page, ApiError> {
        let limit = self.number("limit", collection)?.map_or(Ok(DEFAULT_LIST), |limit| {
            usize::try_from(limit).ok().filter(|limit| *limit <= MAX_LIST).ok_or_else(|| {
                let range = format!("is not in the range of 0 to {MAX_LIST} for {collection}.");
                ApiError::Query { name: "limit", detail: format!("The value '{limit}' {range}") }
            })
        })?;
        let skip = self.number("skip", collection)?.map_or(Ok(0), |skip| {
            usize::try_from(skip).map_err(|_negative| {
                let range = format!("is not greater than or equal to 0 for {collection}.");
                ApiError::Query { name: "skip", detail: format!("The value '{skip}' {range}") }
            })
        })?;
        let limit = if limit == 0 { MAX_LIST } else { limit };
        Ok(Page { skip, limit, count: self.flag("count")? })
    }

    fn number(&self, name: &'static str, collection: &str) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_not_a_number: std::num::ParseIntError| ApiError::Query {
            name,
            detail: format!("The value '{value}' is not an integer for {collection}."),
        })
    }

    /// A time in epoch milliseconds. What lies before the epoch is the epoch.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.parse::<i64>() {
            Ok(time) => Ok(Some(u64::try_from(time).unwrap_or(0))),
            Err(_not_a_number) => Err(ApiError::Query {
                name,
                detail: format!("Parameter is not a valid value for epoch seconds: {value}"),
            }),
        }
    }

    /// How long a blocking call waits. Unit: milliseconds.
    pub(super) fn timeout(&self, most: u64) -> Result<u64, ApiError> {
        let Some(value) = self.get("timeout") else { return Ok(most) };
        match value.parse::<u64>() {
            Ok(timeout) if (1..=most).contains(&timeout) => Ok(timeout),
            Ok(_) | Err(_) => Err(ApiError::Query {
                name: "timeout",
                detail: format!("Timeout must be number of milliseconds up to {most}."),
            }),
        }
    }
}

/// Undoes `+` and percent-encoding.
fn decode(value: &str) -> Cow<'_, str> {
    if value.contains('+') {
        let spaced = value.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(value).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<Page, String> {
        Query::new(Some(query)).page("rules").map_err(|error| error.to_string())
    }

    fn wrong(name: &str, detail: &str) -> Result<Page, String> {
        Err(format!("The query parameter '{name}' was malformed:\n{detail}"))
    }

    #[test]
    fn pages_are_read_as_openwhisk_reads_them() {
        assert_eq!(page(""), Ok(Page { skip: 0, limit: 30, count: false }));
        assert_eq!(
            page("limit=0&skip=7&count=TRUE"),
            Ok(Page { skip: 7, limit: 200, count: true })
        );
        for (query, name, detail) in [
            ("limit=201", "limit", "The value '201' is not in the range of 0 to 200 for rules."),
            ("limit=-1", "limit", "The value '-1' is not in the range of 0 to 200 for rules."),
            ("limit=x", "limit", "The value 'x' is not an integer for rules."),
            ("skip=-1", "skip", "The value '-1' is not greater than or equal to 0 for rules."),
            ("skip=1.5", "skip", "The value '1.5' is not an integer for rules."),
            ("count=maybe", "count", "'maybe' is not a valid Boolean value"),
        ] {
            assert_eq!(page(query), wrong(name, detail), "{query}");
        }
    }

    #[test]
    fn values_are_decoded() {
        let query = Query::new(Some("a=b%2Fc+d&e&a=2"));
        assert_eq!(query.get("a").as_deref(), Some("b/c d"));
        assert_eq!(query.get("e").as_deref(), Some(""));
        assert_eq!(query.get("f"), None);
        assert_eq!(query.time("since").unwrap(), None);
        assert_eq!(Query::new(Some("since=-1")).time("since").unwrap(), Some(0));
        assert!(Query::new(Some("since=x")).time("since").is_err());
        assert_eq!(Query::new(Some("timeout=5")).timeout(60).unwrap(), 5);
        assert!(Query::new(Some("timeout=61")).timeout(60).is_err());
        assert!(Query::new(Some("timeout=0")).timeout(60).is_err());
    }
}
