//! Rules as answers show them.

use evoke_schemas::{EntityName, FullName, KeyValues, Namespace, Rule, RuleStatus, SemVer};
use schemars::JsonSchema;
use serde::Serialize;

/// A rule.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Rule")]
pub(super) struct RuleShown<'a> {
    #[serde(flatten)]
    common: RuleSummary<'a>,
    /// Inactive too where the trigger is not there any more.
    status: RuleStatus,
}

/// A rule as lists show it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RuleSummary")]
pub(crate) struct RuleSummary<'a> {
    namespace: &'a Namespace,
    name: &'a EntityName,
    trigger: Reference<'a>,
    action: Reference<'a>,
    annotations: &'a KeyValues,
    version: SemVer,
    publish: bool,
    /// Epoch milliseconds.
    updated: u64,
}

/// A trigger or action in two parts.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Reference")]
pub(crate) struct Reference<'a> {
    /// `namespace[/package]`
    path: String,
    name: &'a EntityName,
}

impl<'a> Reference<'a> {
    pub(crate) fn to(name: &'a FullName) -> Self {
        Self { path: name.path(), name: &name.name }
    }
}

impl<'a> RuleShown<'a> {
    pub(super) fn of(rule: &'a Rule, status: RuleStatus) -> Self {
        Self { common: RuleSummary::of(rule), status }
    }
}

impl<'a> RuleSummary<'a> {
    pub(crate) fn of(rule: &'a Rule) -> Self {
        Self {
            namespace: &rule.namespace,
            name: &rule.name,
            trigger: Reference::to(&rule.trigger),
            action: Reference::to(&rule.action),
            annotations: &rule.annotations,
            version: rule.version,
            publish: rule.publish,
            updated: rule.updated,
        }
    }
}
