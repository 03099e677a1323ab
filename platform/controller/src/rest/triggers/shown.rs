//! Triggers as answers show them: never with their credential.

use std::collections::BTreeMap;

use evoke_schemas::{
    EntityName, KeyValues, Namespace, Rule, RuleStatus, SemVer, Trigger, trigger::WebhookCredential,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::rest::rules::Reference;

/// A trigger.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Trigger")]
pub(super) struct TriggerShown<'a> {
    #[serde(flatten)]
    common: TriggerSummary<'a>,
    parameters: &'a KeyValues,
    /// Always empty.
    limits: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<WebhookShown<'a>>,
    /// Its rules by `namespace/name`; absent where it has never had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<BTreeMap<String, Link<'a>>>,
}

/// A trigger as lists show it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TriggerSummary")]
pub(crate) struct TriggerSummary<'a> {
    namespace: &'a Namespace,
    name: &'a EntityName,
    annotations: &'a KeyValues,
    version: SemVer,
    publish: bool,
    /// Epoch milliseconds.
    updated: u64,
}

/// Which credential a trigger has.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[schemars(rename = "Webhook")]
enum WebhookShown<'a> {
    /// A token, as `Authorization: Bearer …` or `access_token` of the query.
    Bearer,
    /// A secret: the header carries the HMAC-SHA256 of the body.
    Hmac {
        /// The header.
        header: &'a str,
    },
}

/// A rule of a trigger.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TriggerRule")]
struct Link<'a> {
    action: Reference<'a>,
    status: RuleStatus,
}

impl<'a> TriggerShown<'a> {
    pub(super) fn of(trigger: &'a Trigger, rules: &'a [Rule]) -> Self {
        let link = |rule: &'a Rule| {
            let link = Link { action: Reference::to(&rule.action), status: rule.status };
            (format!("{}/{}", rule.namespace, rule.name), link)
        };
        let has_had = trigger.had_rules || !rules.is_empty();
        Self {
            common: TriggerSummary::of(trigger),
            parameters: &trigger.parameters,
            limits: Map::new(),
            webhook: trigger.webhook.as_ref().map(|webhook| match webhook {
                WebhookCredential::Bearer { .. } => WebhookShown::Bearer,
                WebhookCredential::Hmac { header, .. } => WebhookShown::Hmac { header },
            }),
            rules: has_had.then(|| rules.iter().map(link).collect()),
        }
    }
}

impl<'a> TriggerSummary<'a> {
    pub(crate) fn of(trigger: &'a Trigger) -> Self {
        Self {
            namespace: &trigger.namespace,
            name: &trigger.name,
            annotations: &trigger.annotations,
            version: trigger.version,
            publish: trigger.publish,
            updated: trigger.updated,
        }
    }
}
