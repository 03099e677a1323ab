//! A trigger: a named place where events arrive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    key_value::KeyValues,
    name::{EntityName, Namespace},
    secret::Secret,
    uid::EntityUid,
    version::SemVer,
};

/// A trigger as the store keeps it. Which rules point to it is told by the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: EntityName,
    /// Which life of the name this is.
    pub uid: EntityUid,
    /// Parameters below each event's payload.
    pub parameters: KeyValues,
    /// Annotations.
    pub annotations: KeyValues,
    /// Which events of the namespace's hub it gets; none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<Subscription>,
    /// Own credential for services that cannot do Basic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookCredential>,
    /// Version.
    pub version: SemVer,
    /// Stored and shown, without effect.
    pub publish: bool,
    /// Time of the last change. Unit: epoch milliseconds.
    pub updated: u64,
    /// Whether a rule ever pointed to it (then `rules` is shown even when empty).
    #[serde(default)]
    pub had_rules: bool,
}

/// Which events of the hub a trigger gets: each given pattern must match.
///
/// A pattern is the attribute's whole value, or a prefix followed by `*`.
/// Set by the trigger's annotation `subscription`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Pattern of the event's `type`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Pattern of the event's `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Pattern of the event's `subject`; an event without subject does not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// A trigger's own credential. Given in the member `webhook` of the PUT body, never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum WebhookCredential {
    /// `Authorization: Bearer <token>`.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// Hexadecimal HMAC-SHA256 of the body in a header, with or without the prefix `sha256=`.
    Hmac {
        /// The key.
        secret: Secret,
        /// The header's name in lower case.
        #[schemars(regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
        header: String,
    },
}

/// Annotation that holds a [`Subscription`].
pub const SUBSCRIPTION_ANNOTATION: &str = "subscription";
/// Annotation that names the feed of a trigger.
pub const FEED_ANNOTATION: &str = "feed";
