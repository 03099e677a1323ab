//! Namespaces and what they may use.

use std::sync::Arc;

use axum::{Router, response::Response, routing::get};
use evoke_schemas::limits::MAX_PARAMETER_BYTES;
use serde_json::json;

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
    at.own_namespace()?;
    let config = &at.hub.parts.config;
    let ranges = &config.limits;
    Ok(answer::json(&json!({
        "invocationsPerMinute": NO_LIMIT,
        "concurrentInvocations": config.max_blocking,
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
        "maxActionInstances": config.max_blocking,
    })))
}

async fn limits_inner(_at: At) -> ApiError {
    ApiError::LimitsInner
}
