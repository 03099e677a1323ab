//! Namespaces and what they may use.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use evoke_schemas::{Namespace, NamespaceLimits, limits::MAX_PARAMETER_BYTES};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    answer,
    at::At,
    error::ApiError,
    openapi::{Operation, Routes},
};

/// Shown where OpenWhisk shows a limit per minute: this version bounds what is under way and what
/// waits, not how often one asks.
const NO_LIMIT: u32 = 1_000_000;

/// What a namespace may use. Of memory and logs MB, of time milliseconds.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Limits {
    invocations_per_minute: u32,
    /// Sandboxes.
    concurrent_invocations: u64,
    fires_per_minute: u32,
    /// Bytes, as `1048576 B`.
    max_parameter_size: String,
    min_action_memory: u64,
    max_action_memory: u64,
    min_action_logs: u64,
    max_action_logs: u64,
    min_action_timeout: u64,
    max_action_timeout: u64,
    min_action_concurrency: u64,
    max_action_concurrency: u64,
    max_action_instances: u64,
    /// The only kinds that actions may be of; absent where all are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_kinds: Option<BTreeSet<String>>,
    /// Each cap of the namespace by its name.
    caps: BTreeMap<&'static str, Cap>,
}

/// A cap, and where it is counted how much of it is used.
#[derive(Debug, Serialize, JsonSchema)]
struct Cap {
    most: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u64>,
}

pub(super) fn routes() -> Routes {
    Routes::about("namespaces")
        .collection(
            "/api/v1/namespaces",
            [Operation::get("listNamespaces", "Lists the caller's namespaces.", list)
                .gives::<[Namespace; 1]>("The one namespace that a key opens.")],
        )
        .collection(
            "/api/v1/namespaces/{ns}/limits",
            [Operation::get("getLimits", "Shows what a namespace may use.", limits)
                .gives::<Limits>("The limits.")],
        )
        .at(
            "/api/v1/namespaces/{ns}/limits/{item}",
            [Operation::get("getLimit", "No limit has a path of its own.", limits_inner)
                .details("Answers 400, as OpenWhisk does.")],
        )
}

async fn list(at: At) -> Response {
    answer::json(&[&at.caller.namespace])
}

async fn limits(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let own = at.hub.limits(namespace);
    let ranges = &at.hub.parts.config.limits;
    Ok(answer::json(&Limits {
        invocations_per_minute: NO_LIMIT,
        concurrent_invocations: own.sandboxes,
        fires_per_minute: NO_LIMIT,
        max_parameter_size: format!("{MAX_PARAMETER_BYTES} B"),
        min_action_memory: ranges.memory.min,
        max_action_memory: ranges.memory.max,
        min_action_logs: ranges.logs.min,
        max_action_logs: ranges.logs.max,
        min_action_timeout: ranges.timeout.min,
        max_action_timeout: ranges.timeout.max,
        min_action_concurrency: ranges.concurrency.min,
        max_action_concurrency: ranges.concurrency.max,
        max_action_instances: own.sandboxes,
        allowed_kinds: at.hub.identities().overrides(namespace).kinds,
        caps: caps(&at, namespace, &own).await?,
    }))
}

/// Each cap of the namespace, and of what is counted how much is used.
async fn caps(
    at: &At,
    namespace: &Namespace,
    own: &NamespaceLimits,
) -> Result<BTreeMap<&'static str, Cap>, ApiError> {
    let parts = &at.hub.parts;
    let feeds = parts.feeds.count_feeds(namespace).await?;
    let entities = parts.entities.count_all(namespace).await?.saturating_add(feeds) as u64;
    let used = |cap: &str| match cap {
        "entities" => Some(entities),
        "undelivered" => Some(parts.engine.backlog(namespace).bytes),
        "sandboxes" => Some(parts.invocations.sandboxes_used(namespace)),
        _ => None,
    };
    let one = |(cap, most, _): (&'static str, u64, bool)| (cap, Cap { most, used: used(cap) });
    Ok(own.all().into_iter().map(one).collect())
}

async fn limits_inner(_at: At) -> ApiError {
    ApiError::LimitsInner
}
