//! What one namespace may use: its caps, their defaults and bounds, and what is set for it alone.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    byte_size::ByteSize,
    limits::{MAX_CODE_BYTES, MAX_PAYLOAD_BYTES},
};

/// The caps of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceLimits {
    /// Most bytes of one action's code as sent. Default and most: 48 MB.
    pub code: u64,
    /// Most bytes of one event's or invocation's body. Default and most: 1 MB.
    pub payload: u64,
    /// Most actions, packages, triggers, rules and feeds together. Default: 10,000.
    pub entities: u64,
    /// Bytes accepted and not yet delivered that close the intake. Default: 256 MB.
    pub undelivered: u64,
    /// Most runs under way at once, each in a sandbox of its own. Default: 512.
    pub sandboxes: u64,
}

/// What is set for one namespace; the rest is as for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceOverrides {
    /// Unit: bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u64>,
    /// Unit: bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<u64>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<u64>,
    /// Unit: bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<u64>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandboxes: Option<u64>,
    /// The only kinds that an action may be made or changed to be of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<BTreeSet<String>>,
}

/// A cap out of the bounds that hold for every namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cap `{cap}`: {} is not in the range of {} to {}", self.shown(*.value), self.shown(*.least), self.shown(*.most))]
pub struct CapError {
    cap: &'static str,
    value: u64,
    least: u64,
    most: u64,
    bytes: bool,
}

/// A cap: its name, its bounds, whether it counts bytes.
type Bound = (&'static str, u64, u64, bool);

const CODE: Bound = ("code", 1, MAX_CODE_BYTES as u64, true);
const PAYLOAD: Bound = ("payload", 1, MAX_PAYLOAD_BYTES as u64, true);
const ENTITIES: Bound = ("entities", 1, 1_000_000, false);
const UNDELIVERED: Bound = ("undelivered", 64 << 10, 64 << 30, true);
const SANDBOXES: Bound = ("sandboxes", 1, 4_096, false);

/// One eighth of a namespace's sandboxes is kept for calls that somebody waits for.
const FOR_CALLS: u64 = 8;

impl Default for NamespaceLimits {
    fn default() -> Self {
        Self {
            code: MAX_CODE_BYTES as u64,
            payload: MAX_PAYLOAD_BYTES as u64,
            entities: 10_000,
            undelivered: 256 << 20,
            sandboxes: 512,
        }
    }
}

impl NamespaceLimits {
    /// The caps with what is set for one namespace.
    #[must_use]
    pub fn with(self, own: &NamespaceOverrides) -> Self {
        Self {
            code: own.code.unwrap_or(self.code),
            payload: own.payload.unwrap_or(self.payload),
            entities: own.entities.unwrap_or(self.entities),
            undelivered: own.undelivered.unwrap_or(self.undelivered),
            sandboxes: own.sandboxes.unwrap_or(self.sandboxes),
        }
    }

    /// Most deliveries under way at once: an eighth of the sandboxes, at least one where there
    /// are two, is kept for calls.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        let kept = (self.sandboxes / FOR_CALLS).max(1);
        self.sandboxes.saturating_sub(kept).max(1)
    }

    /// Each cap with its name and whether it counts bytes, in the order in which they are shown.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64, bool); 5] {
        [
            (CODE.0, self.code, CODE.3),
            (PAYLOAD.0, self.payload, PAYLOAD.3),
            (ENTITIES.0, self.entities, ENTITIES.3),
            (UNDELIVERED.0, self.undelivered, UNDELIVERED.3),
            (SANDBOXES.0, self.sandboxes, SANDBOXES.3),
        ]
    }

    /// Whether each cap is within its bounds.
    ///
    /// # Errors
    /// Every cap that is not.
    pub fn check(&self) -> Result<(), Vec<CapError>> {
        let pairs = [CODE, PAYLOAD, ENTITIES, UNDELIVERED, SANDBOXES].into_iter().zip(self.all());
        let wrong = pairs.filter_map(|((cap, least, most, bytes), (_, value, _))| {
            let within = (least..=most).contains(&value);
            (!within).then_some(CapError { cap, value, least, most, bytes })
        });
        let wrong: Vec<_> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

impl NamespaceOverrides {
    /// Whether each of them is within its bounds.
    ///
    /// # Errors
    /// Every cap that is not.
    pub fn check(&self) -> Result<(), Vec<CapError>> {
        NamespaceLimits::default().with(self).check()
    }

    /// These with what is set in `newer` over them.
    #[must_use]
    pub fn changed(self, newer: Self) -> Self {
        Self {
            code: newer.code.or(self.code),
            payload: newer.payload.or(self.payload),
            entities: newer.entities.or(self.entities),
            undelivered: newer.undelivered.or(self.undelivered),
            sandboxes: newer.sandboxes.or(self.sandboxes),
            kinds: newer.kinds.or(self.kinds),
        }
    }

    /// Whether an action may be made of this kind.
    ///
    /// Source: spec 1.2, kind restriction.
    #[must_use]
    pub fn allows(&self, kind: &str) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }
}

impl CapError {
    /// Which cap.
    #[must_use]
    pub fn cap(&self) -> &'static str {
        self.cap
    }

    fn shown(&self, value: u64) -> String {
        if self.bytes { ByteSize(value).to_string() } else { value.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_for_one_namespace_goes_over_what_holds_for_all() {
        let own = NamespaceOverrides { entities: Some(3), ..NamespaceOverrides::default() };
        let limits = NamespaceLimits::default().with(&own);
        assert_eq!((limits.entities, limits.payload), (3, 1 << 20));
        let newer = NamespaceOverrides { sandboxes: Some(2), ..NamespaceOverrides::default() };
        let both = own.changed(newer);
        assert_eq!((both.entities, both.sandboxes), (Some(3), Some(2)));
        assert_eq!(serde_json::to_string(&both).unwrap(), r#"{"entities":3,"sandboxes":2}"#);
    }

    #[test]
    fn a_cap_out_of_bounds_is_named_and_all_are_told() {
        let own = NamespaceOverrides {
            payload: Some(2 << 20),
            sandboxes: Some(0),
            ..NamespaceOverrides::default()
        };
        let wrong = own.check().unwrap_err();
        let told: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "cap `payload`: 2MB is not in the range of 1B to 1MB",
                "cap `sandboxes`: 0 is not in the range of 1 to 4096",
            ]
        );
        assert_eq!(NamespaceLimits::default().check(), Ok(()));
    }

    #[test]
    fn deliveries_leave_sandboxes_for_calls() {
        let of = |sandboxes| NamespaceLimits { sandboxes, ..Default::default() }.deliveries();
        assert_eq!([1, 2, 8, 16, 512].map(of), [1, 1, 7, 14, 448]);
    }
}
