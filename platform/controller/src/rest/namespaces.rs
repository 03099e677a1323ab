//! Namespaces and what they may use.

use std::sync::Arc;

use axum::{Router, response::Response, routing::get};
use evoke_schemas::{Namespace, NamespaceLimits, limits::MAX_PARAMETER_BYTES};
use serde_json::{Map, Value, json};

use super::{answer, at::At, error::ApiError};
use crate::hub::Hub;

/// Shown where OpenWhisk shows a limit per minute: this version bounds what is under way and what
/// waits, not how often one asks.
const NO_LIMIT: u32 = 1_000_000;

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/api/v1/namespaces", get(list))
        .route("/api/v1/namespaces/", get(list))
        .route("/api/v1/namespaces/{ns}/limits", get(limits))
        .route("/api/v1/namespaces/{ns}/limits/", get(limits))
        .route("/api/v1/namespaces/{ns}/limits/{item}", get(limits_inner))
}

async fn list(at: At) -> Response {
    answer::json(&[&at.caller.namespace])
}

async fn limits(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let own = at.hub.limits(namespace);
    let config = &at.hub.parts.config;
    let ranges = &config.limits;
    Ok(answer::json(&json!({
        "invocationsPerMinute": NO_LIMIT,
        "concurrentInvocations": own.sandboxes,
        "firesPerMinute": NO_LIMIT,
        "maxParameterSize": format!("{MAX_PARAMETER_BYTES} B"),
        "minActionMemory": ranges.memory.min,
        "maxActionMemory": ranges.memory.max,
        "minActionLogs": ranges.logs.min,
        "maxActionLogs": ranges.logs.max,
        "minActionTimeout": ranges.timeout.min,
        "maxActionTimeout": ranges.timeout.max,
        "minActionConcurrency": ranges.concurrency.min,
        "maxActionConcurrency": ranges.concurrency.max,
        "maxActionInstances": own.sandboxes,
        "caps": caps(&at, namespace, &own).await?,
    })))
}

/// Each cap of the namespace, and of what is counted how much is used.
async fn caps(
    at: &At,
    namespace: &Namespace,
    own: &NamespaceLimits,
) -> Result<Map<String, Value>, ApiError> {
    let parts = &at.hub.parts;
    let feeds = parts.feeds.count_feeds(namespace).await?;
    let entities = parts.entities.count_all(namespace).await?.saturating_add(feeds) as u64;
    let used = |cap: &str| match cap {
        "entities" => Some(entities),
        "undelivered" => Some(parts.engine.backlog(namespace).bytes),
        "sandboxes" => Some(parts.invocations.sandboxes_used(namespace)),
        _ => None,
    };
    let one = |(cap, most, _): (&str, u64, bool)| {
        let mut shown = Map::from_iter([("most".to_owned(), json!(most))]);
        if let Some(used) = used(cap) {
            shown.insert("used".to_owned(), json!(used));
        }
        (cap.to_owned(), Value::Object(shown))
    };
    Ok(own.all().into_iter().map(one).collect())
}

async fn limits_inner(_at: At) -> ApiError {
    ApiError::LimitsInner
}
