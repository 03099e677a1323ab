//! Answers in their shape.

use std::fmt::Display;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evoke_schemas::{ActivationId, Position};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::{error::ApiError, frame};

const ACTIVATION_ID: HeaderName = HeaderName::from_static("x-openwhisk-activation-id");
const POSITION: HeaderName = HeaderName::from_static("x-evoke-position");

/// What a call or event became.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Activated {
    activation_id: ActivationId,
}

/// 200 with JSON.
pub(super) fn json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => text_of_json(StatusCode::OK, text),
        Err(error) => ApiError::Internal(Box::new(error)).into_response(),
    }
}

/// JSON that is text already.
pub(super) fn text_of_json(status: StatusCode, text: impl Into<Bytes>) -> Response {
    (status, [(header::CONTENT_TYPE, frame::JSON)], text.into()).into_response()
}

/// 202 with what was accepted.
pub(super) fn accepted(body: &impl Serialize) -> Response {
    let mut answer = json(body);
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

/// 202 with the id of an activation.
pub(super) fn activation_accepted(id: ActivationId) -> Response {
    with_activation(accepted(&Activated { activation_id: id }), id)
}

/// 204.
pub(super) fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// 200 with plain text.
pub(super) fn plain(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, frame::TEXT)], text).into_response()
}

/// 308.
pub(super) fn elsewhere(path: &'static str) -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, path)]).into_response()
}

/// 200 with a page of HTML.
pub(super) fn page(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

/// 200 with metrics, in the format that Prometheus asks for.
pub(super) fn metrics(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Adds the header that names the activation.
pub(super) fn with_activation(mut answer: Response, id: ActivationId) -> Response {
    insert(answer.headers_mut(), ACTIVATION_ID, &id.to_string());
    answer
}

/// Adds the header that names an event's position.
pub(super) fn with_position(mut answer: Response, position: Position) -> Response {
    insert(answer.headers_mut(), POSITION, &position.to_string());
    answer
}

/// Serializes what is shown as text.
pub(super) fn as_text<S: Serializer>(
    text: &impl Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
