//! What the hub says of itself, to anybody.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    answer, frame,
    openapi::{Operation, Routes},
};
use crate::hub::Hub;

/// Bytes of a MB.
const MB: u64 = 1 << 20;
/// Shown as OpenWhisk shows it; sequences are not in this version.
const SEQUENCE_LENGTH: u64 = 50;
/// As [`super::namespaces`] shows it.
const NO_LIMIT: u64 = 1_000_000;

/// What the hub can.
#[derive(Debug, Serialize, JsonSchema)]
struct About<'a> {
    description: &'static str,
    support: Support,
    api_paths: [&'static str; 1],
    /// By name; sizes in bytes, durations in milliseconds.
    limits: BTreeMap<String, u64>,
    /// Kinds of actions by family.
    runtimes: &'a Value,
}

/// Where people are helped.
#[derive(Debug, Serialize, JsonSchema)]
struct Support {
    github: &'static str,
    slack: &'static str,
}

/// Which API this is.
#[derive(Debug, Serialize, JsonSchema)]
struct Api<'a> {
    description: &'static str,
    api_version: &'static str,
    api_version_path: &'static str,
    build: &'a str,
    buildno: &'static str,
    /// Where the API is described, below its own path.
    swagger_paths: Documents,
}

/// For people and for programs.
#[derive(Debug, Serialize, JsonSchema)]
struct Documents {
    ui: &'static str,
    #[serde(rename = "api-docs")]
    api_docs: &'static str,
}

pub(super) fn routes() -> Routes {
    Routes::about("hub")
        .at(
            "/",
            [Operation::get("getHub", "Shows limits and runtimes.", root)
                .for_anybody()
                .gives::<About<'static>>("What the hub can.")],
        )
        .collection(
            frame::BASE,
            [Operation::get("getApi", "Shows which API this is.", api)
                .for_anybody()
                .gives::<Api<'static>>("The API.")],
        )
}

async fn root(State(hub): State<Arc<Hub>>) -> Response {
    let ranges = &hub.parts.config.limits;
    let most = u64::try_from(hub.parts.config.max_blocking).unwrap_or(u64::MAX);
    let mut limits = BTreeMap::from([
        ("actions_per_minute".to_owned(), NO_LIMIT),
        ("triggers_per_minute".to_owned(), NO_LIMIT),
        ("concurrent_actions".to_owned(), most),
        ("sequence_length".to_owned(), SEQUENCE_LENGTH),
    ]);
    for (name, range, unit) in [
        ("duration", &ranges.timeout, 1),
        ("memory", &ranges.memory, MB),
        ("logs", &ranges.logs, MB),
    ] {
        for prefix in ["default_", ""] {
            limits.insert(format!("{prefix}min_action_{name}"), range.min * unit);
            limits.insert(format!("{prefix}max_action_{name}"), range.max * unit);
        }
    }
    answer::json(&About {
        description: "OpenWhisk",
        support: Support {
            github: "https://github.com/apache/openwhisk/issues",
            slack: "http://slack.openwhisk.org",
        },
        api_paths: [frame::BASE],
        limits,
        runtimes: &hub.parts.manifest.wire(),
    })
}

async fn api(State(hub): State<Arc<Hub>>) -> Response {
    answer::json(&Api {
        description: "OpenWhisk API",
        api_version: "1.0.0",
        api_version_path: "v1",
        build: &hub.parts.build,
        buildno: "evoke",
        swagger_paths: Documents { ui: "/docs", api_docs: "/api-docs" },
    })
}
