//! What the hub says of itself, to anybody.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use serde_json::{Map, json};

use super::{answer, frame};
use crate::hub::Hub;

/// Bytes of a MB.
const MB: u64 = 1 << 20;
/// Shown as OpenWhisk shows it; sequences are not in this version.
const SEQUENCE_LENGTH: u32 = 50;
/// As [`super::namespaces`] shows it.
const NO_LIMIT: u32 = 1_000_000;

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/", get(root))
        .route(frame::BASE, get(api))
        .route(&format!("{}/", frame::BASE), get(api))
}

async fn root(State(hub): State<Arc<Hub>>) -> Response {
    let ranges = &hub.parts.config.limits;
    let mut limits = Map::from_iter([
        ("actions_per_minute".to_owned(), json!(NO_LIMIT)),
        ("triggers_per_minute".to_owned(), json!(NO_LIMIT)),
        ("concurrent_actions".to_owned(), json!(hub.parts.config.max_blocking)),
        ("sequence_length".to_owned(), json!(SEQUENCE_LENGTH)),
    ]);
    for (name, range, unit) in [
        ("duration", &ranges.timeout, 1),
        ("memory", &ranges.memory, MB),
        ("logs", &ranges.logs, MB),
    ] {
        for prefix in ["default_", ""] {
            limits.insert(format!("{prefix}min_action_{name}"), json!(range.min * unit));
            limits.insert(format!("{prefix}max_action_{name}"), json!(range.max * unit));
        }
    }
    answer::json(&json!({
        "description": "OpenWhisk",
        "support": {
            "github": "https://github.com/apache/openwhisk/issues",
            "slack": "http://slack.openwhisk.org",
        },
        "api_paths": [frame::BASE],
        "limits": limits,
        "runtimes": hub.parts.manifest.wire(),
    }))
}

async fn api(State(hub): State<Arc<Hub>>) -> Response {
    answer::json(&json!({
        "description": "OpenWhisk API",
        "api_version": "1.0.0",
        "api_version_path": "v1",
        "build": hub.parts.build,
        "buildno": "evoke",
        "swagger_paths": { "ui": "/docs", "api-docs": "/api-docs" },
    }))
}
