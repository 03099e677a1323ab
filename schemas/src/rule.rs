//! A rule: from a trigger to an action, and how its deliveries are made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    key_value::KeyValues,
    name::{EntityName, FullName, Namespace},
    uid::EntityUid,
    version::SemVer,
};

/// A rule as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: EntityName,
    /// Which life of the name this is; part of every activation id it causes.
    pub uid: EntityUid,
    /// The trigger, always of the same namespace.
    pub trigger: FullName,
    /// Which life of the trigger it was linked to: a re-created trigger does not restore the link.
    pub trigger_uid: EntityUid,
    /// The action.
    pub action: FullName,
    /// Whether events are delivered.
    pub status: RuleStatus,
    /// How they are delivered; from the annotation `delivery`.
    pub delivery: DeliveryPolicy,
    /// Annotations.
    pub annotations: KeyValues,
    /// Version.
    pub version: SemVer,
    /// Stored and shown, without effect.
    pub publish: bool,
    /// Time of the last change. Unit: epoch milliseconds.
    pub updated: u64,
}

/// Whether a rule delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleStatus {
    /// It does.
    Active,
    /// It does not.
    Inactive,
}

/// How a rule's deliveries are made. Written in the rule's annotation `delivery`, every member
/// optional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeliveryPolicy {
    /// Runs of a delivery whose function fails, the first counted. Range: 1 ..= 1000. Default: 1,
    /// as in OpenWhisk. Failures of the platform are not counted: they are retried until the
    /// deadline.
    pub attempts: u32,
    /// Wait before the second attempt; doubles with each. Range: 10 ms ..= 1 h. Default: 1 s.
    pub backoff_ms: u64,
    /// Longest wait between attempts. Default: 5 min.
    pub max_backoff_ms: u64,
    /// From acceptance (of a replayed dead letter: from its replay) until a delivery that has not
    /// succeeded becomes a dead letter. Default: 24 h; 10 min where `ordered`.
    pub deadline_ms: Option<u64>,
    /// Deliveries under way at once. Range: 1 ..= 1000. Default: 64.
    pub concurrency: u32,
    /// One at a time for each `partitionkey` of the events, in the order of the log.
    pub ordered: bool,
    /// Trigger of the same namespace that is fired with each dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_trigger: Option<EntityName>,
}

/// A policy out of bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation `delivery`: `{field}` must be within {range}")]
pub struct PolicyError {
    /// The member.
    pub field: &'static str,
    /// What it may be.
    pub range: &'static str,
}

/// Annotation that holds a [`DeliveryPolicy`].
pub const DELIVERY_ANNOTATION: &str = "delivery";
/// Deadline of a delivery. Unit: milliseconds.
pub const DEFAULT_DEADLINE_MS: u64 = 24 * 3_600_000;
/// Deadline of a delivery of an ordered rule. Unit: milliseconds.
pub const ORDERED_DEADLINE_MS: u64 = 600_000;
/// How long a missing action is waited for. Unit: milliseconds.
pub const MISSING_ACTION_MS: u64 = 15 * 60_000;

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff_ms: 1_000,
            max_backoff_ms: 300_000,
            deadline_ms: None,
            concurrency: 64,
            ordered: false,
            dead_letter_trigger: None,
        }
    }
}

impl DeliveryPolicy {
    /// The deadline that holds. Unit: milliseconds.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        let default = if self.ordered { ORDERED_DEADLINE_MS } else { DEFAULT_DEADLINE_MS };
        self.deadline_ms.unwrap_or(default)
    }

    /// Whether every member is within its range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), PolicyError> {
        const DAY_30: u64 = 30 * 24 * 3_600_000;
        let within = |ok: bool, field, range| ok.then_some(()).ok_or(PolicyError { field, range });
        within((1..=1000).contains(&self.attempts), "attempts", "1 to 1000")?;
        within((10..=3_600_000).contains(&self.backoff_ms), "backoffMs", "10 to 3600000")?;
        within(
            (self.backoff_ms..=24 * 3_600_000).contains(&self.max_backoff_ms),
            "maxBackoffMs",
            "backoffMs to 86400000",
        )?;
        within(
            self.deadline_ms.is_none_or(|ms| (100..=DAY_30).contains(&ms)),
            "deadlineMs",
            "100 to 2592000000",
        )?;
        within((1..=1000).contains(&self.concurrency), "concurrency", "1 to 1000")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_takes_defaults_and_refuses_strangers() {
        let policy: DeliveryPolicy = serde_json::from_value(json!({"ordered": true})).unwrap();
        assert_eq!(policy.deadline_ms(), ORDERED_DEADLINE_MS);
        assert_eq!(policy.attempts, 1);
        assert!(serde_json::from_value::<DeliveryPolicy>(json!({"order": true})).is_err());
        let bad = DeliveryPolicy { attempts: 0, ..DeliveryPolicy::default() };
        assert_eq!(bad.check().map_err(|error| error.field), Err("attempts"));
        assert_eq!(DeliveryPolicy::default().check(), Ok(()));
    }
}
