//! An activation: what became of one run, as it is kept and shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    key_value::KeyValues,
    name::{EntityName, Namespace},
    uid::ActivationId,
    version::SemVer,
};

// Source: spec 1.12.1; annotations 1.12.2.
/// Record of one run, or of one firing of a trigger.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activation {
    /// Namespace of the invoker.
    pub namespace: Namespace,
    /// Name of the action or trigger, without package.
    pub name: EntityName,
    /// Version that ran.
    pub version: SemVer,
    /// Who invoked.
    pub subject: String,
    /// Id.
    pub activation_id: ActivationId,
    /// Unit: epoch milliseconds.
    pub start: u64,
    /// Unit: epoch milliseconds. Absent for triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// Unit: milliseconds, initialisation included. Absent for triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Activation of the enclosing composition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ActivationId>,
    /// How it ended.
    pub response: ActivationResponse,
    /// Log lines; of a trigger one JSON text for each rule.
    pub logs: Vec<String>,
    /// Annotations.
    pub annotations: KeyValues,
    /// Always false.
    pub publish: bool,
}

/// An activation as lists show it: no response, no logs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ActivationSummary")]
pub struct ActivationSummary<'a> {
    namespace: &'a Namespace,
    name: &'a EntityName,
    version: SemVer,
    publish: bool,
    annotations: &'a KeyValues,
    activation_id: ActivationId,
    /// Epoch milliseconds.
    start: u64,
    /// Epoch milliseconds; absent for triggers.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    /// Milliseconds; absent for triggers.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ActivationId>,
    /// 0 success (and every trigger), 1 application error, 2 developer error, 3 internal error.
    status_code: u8,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ActivationResponse {
    /// The word for it.
    pub status: ActivationStatus,
    /// Whether it succeeded.
    pub success: bool,
    /// The result as JSON text, kept as it came.
    #[schemars(with = "serde_json::Value")]
    pub result: Box<RawValue>,
    /// Bytes of the result, where one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Word and number of how a run ended; numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ActivationStatus {
    /// 0: the function returned a result.
    #[serde(rename = "success")]
    Success,
    /// 1: the function returned an error.
    #[serde(rename = "application error")]
    ApplicationError,
    /// 2: the function failed: exit, exception, timeout, its own memory limit.
    #[serde(rename = "action developer error")]
    DeveloperError,
    /// 3: the platform failed.
    #[serde(rename = "whisk internal error")]
    InternalError,
}

impl ActivationStatus {
    /// The number in `statusCode`.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::ApplicationError => 1,
            Self::DeveloperError => 2,
            Self::InternalError => 3,
        }
    }
}

impl ActivationResponse {
    /// A response with this result.
    #[must_use]
    pub fn new(status: ActivationStatus, result: Box<RawValue>, size: Option<u64>) -> Self {
        Self { status, success: status == ActivationStatus::Success, result, size }
    }

    /// A failure with `{"error": message}` for a result.
    #[must_use]
    pub fn failure(status: ActivationStatus, message: &str) -> Self {
        Self::new(status, error_result(message), None)
    }
}

/// `{"error": message}` as JSON text.
#[must_use]
pub fn error_result(message: &str) -> Box<RawValue> {
    let text = serde_json::json!({ "error": message }).to_string();
    RawValue::from_string(text).unwrap_or_default()
}

impl Activation {
    /// The summary that lists show (spec 1.12).
    #[must_use]
    pub fn summary(&self) -> ActivationSummary<'_> {
        ActivationSummary {
            namespace: &self.namespace,
            name: &self.name,
            version: self.version,
            publish: self.publish,
            annotations: &self.annotations,
            activation_id: self.activation_id,
            start: self.start,
            end: self.end,
            duration: self.end.map(|end| end.saturating_sub(self.start)),
            cause: self.cause,
            status_code: self.response.status.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_has_openwhisks_shape() {
        let record = Activation {
            namespace: Namespace::new("guest").unwrap(),
            name: EntityName::new("hello").unwrap(),
            version: SemVer::FIRST,
            subject: "guest".to_owned(),
            activation_id: ActivationId([0x44; 16]),
            start: 10,
            end: Some(30),
            duration: Some(20),
            cause: None,
            response: ActivationResponse::new(
                ActivationStatus::Success,
                RawValue::from_string("{\"a\":1}".to_owned()).unwrap(),
                Some(7),
            ),
            logs: vec![],
            annotations: KeyValues::from_iter([("path".to_owned(), json!("guest/hello"))]),
            publish: false,
        };
        assert_eq!(
            serde_json::to_value(&record).unwrap(),
            json!({
                "namespace": "guest", "name": "hello", "version": "0.0.1", "subject": "guest",
                "activationId": "44".repeat(16), "start": 10, "end": 30, "duration": 20,
                "response": {"status": "success", "success": true, "result": {"a": 1}, "size": 7},
                "logs": [], "annotations": [{"key": "path", "value": "guest/hello"}],
                "publish": false,
            })
        );
        assert_eq!(json!(record.summary())["statusCode"], json!(0));
        assert_eq!(json!(record.summary()).get("response"), None);
    }

    #[test]
    fn a_failure_says_why() {
        let failure = ActivationResponse::failure(ActivationStatus::DeveloperError, "no \"x\"");
        assert_eq!(failure.result.get(), "{\"error\":\"no \\\"x\\\"\"}");
        assert!(!failure.success);
    }
}
