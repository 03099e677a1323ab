//! Actions as answers show them.

use std::borrow::Cow;

use evoke_schemas::{Action, EntityName, KeyValues, SemVer, limits::ActionLimits};
use schemars::JsonSchema;
use serde::Serialize;

/// An action.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Action")]
pub(super) struct ActionShown<'a> {
    /// The namespace, with the package where the action is in one: `ns/package`.
    namespace: String,
    name: &'a EntityName,
    exec: ExecShown<'a>,
    parameters: &'a KeyValues,
    annotations: &'a KeyValues,
    limits: &'a ActionLimits,
    version: SemVer,
    publish: bool,
    /// Epoch milliseconds.
    updated: u64,
}

/// What an action runs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Exec")]
struct ExecShown<'a> {
    /// A kind of the runtimes that `GET /` shows.
    kind: &'a str,
    /// Whether the code is base64 of a zip file.
    binary: bool,
    /// Name of the function.
    #[serde(skip_serializing_if = "Option::is_none")]
    main: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Cow<'a, str>>,
}

/// An action as lists show it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ActionSummary")]
pub(crate) struct ActionSummary<'a> {
    /// The namespace, with the package where the action is in one: `ns/package`.
    namespace: String,
    name: &'a EntityName,
    exec: ExecSummary,
    annotations: &'a KeyValues,
    limits: &'a ActionLimits,
    version: SemVer,
    publish: bool,
    /// Epoch milliseconds.
    updated: u64,
}

/// What lists show of what an action runs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExecSummary")]
struct ExecSummary {
    binary: bool,
}

impl<'a> ActionShown<'a> {
    pub(super) fn of(action: &'a Action, code: Option<Cow<'a, str>>) -> Self {
        let exec = &action.exec;
        Self {
            namespace: action.name.path(),
            name: &action.name.name,
            exec: ExecShown {
                kind: &exec.kind,
                binary: exec.binary,
                main: exec.main.as_deref(),
                code,
            },
            parameters: &action.parameters,
            annotations: &action.annotations,
            limits: &action.limits,
            version: action.version,
            publish: action.publish,
            updated: action.updated,
        }
    }
}

impl<'a> ActionSummary<'a> {
    pub(crate) fn of(action: &'a Action) -> Self {
        Self {
            namespace: action.name.path(),
            name: &action.name.name,
            exec: ExecSummary { binary: action.exec.binary },
            annotations: &action.annotations,
            limits: &action.limits,
            version: action.version,
            publish: action.publish,
            updated: action.updated,
        }
    }
}
