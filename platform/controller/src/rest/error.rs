//! Every error of the API: its status, its sentence, its shape. Handlers know no status numbers.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use evoke_schemas::{NameError, limits::LimitError, uid::IdError};
use evoke_store::StoreError;
use evoke_trigger_engine::Cap;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use super::frame::{self, RequestId};

/// Why a request was not done. The sentences are OpenWhisk's where it has one, as clients compare
/// them (spec 1.1, 11, Appendix B).
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No credentials, or of a scheme that is not known.
    #[error("The resource requires authentication, which was not supplied with the request")]
    NoCredentials,
    /// Credentials that nobody has.
    #[error("The supplied authentication is invalid")]
    BadCredentials,
    /// No such path, or not with that method.
    #[error("The requested resource could not be found.")]
    NoRoute,
    /// The body is not of the form asked for.
    #[error("The request content was malformed:\n{0}")]
    Malformed(String),
    /// A query parameter is not of the form asked for.
    #[error("The query parameter '{name}' was malformed:\n{detail}")]
    Query {
        /// The parameter.
        name: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The body's media type is not taken here.
    #[error("The request's Content-Type [{0}] is not supported. Expected:\napplication/json")]
    ContentType(String),
    /// A CloudEvent in a format that is not known.
    #[error(
        "The request's Content-Type [{0}] is not supported. Expected:\napplication/cloudevents+json or application/cloudevents-batch+json"
    )]
    CloudEventFormat(String),
    /// The client takes no JSON.
    #[error("Resource representation is only available with these types:\napplication/json")]
    NotAcceptable,
    /// A name in the path.
    #[error("{0}")]
    Name(#[from] NameError),
    /// An activation id in the path.
    #[error("{0}")]
    Id(#[from] IdError),
    /// An inner path that OpenWhisk has never made.
    #[error("Inner entity level routes for limits are not yet implemented.")]
    LimitsInner,
    /// A limit out of bounds.
    #[error("{0}")]
    Limit(#[from] LimitError),
    /// A request that makes no sense; the sentence says why.
    #[error("{0}")]
    Bad(String),
    /// Something that later versions will have.
    #[error("{0} is not in this version")]
    NotInThisVersion(String),
    /// Somebody else's.
    #[error("The supplied authentication is not authorized to access '{0}'.")]
    Forbidden(String),
    /// A kind that the namespace's actions may not be of.
    #[error("The supplied authentication is not authorized to access actions of kind '{0}'.")]
    Kind(String),
    /// Not there.
    #[error("The requested resource does not exist.")]
    Missing,
    /// Not there, and the caller may know its name.
    #[error("The requested resource '{0}' does not exist.")]
    MissingNamed(String),
    /// A rule cannot be activated without its trigger.
    #[error("Only rules with existing triggers can be activated")]
    RuleWithoutTrigger,
    /// There already, and not to be overwritten.
    #[error("resource already exists")]
    Exists,
    /// Another kind of entity has the name.
    #[error("Resource by this name exists but is not in this collection.")]
    OtherCollection,
    /// Somebody else changed it meanwhile.
    #[error("Concurrent modification to resource detected.")]
    Concurrent,
    /// A package with actions cannot be deleted without force.
    #[error(
        "Package not empty (contains {0} {plural}). Set force param or delete package contents.",
        plural = if *(.0) == 1 { "entity" } else { "entities" }
    )]
    PackageNotEmpty(usize),
    /// Part of an entity is too large.
    #[error("{field} larger than allowed: {bytes} > {most} bytes.")]
    FieldTooLarge {
        /// Which part.
        field: &'static str,
        /// Its size.
        bytes: usize,
        /// What is allowed.
        most: usize,
    },
    /// The body is too large.
    #[error("Request larger than allowed: {bytes} > {most} bytes.")]
    TooLarge {
        /// Its size as far as it is known.
        bytes: u64,
        /// What is allowed.
        most: usize,
    },
    /// An event or batch is too large; the sentence says by how much.
    #[error("{0}")]
    PayloadTooLarge(String),
    /// The body did not come within its time.
    #[error("The request content did not arrive in time.")]
    BodyTooSlow,
    /// The hub takes no more now.
    #[error("{reason}")]
    TooMany {
        /// Name of the cap, as `docs/limits.md` lists it.
        cap: &'static str,
        /// The sentence.
        reason: String,
        /// When to come again.
        retry_after: Duration,
    },
    /// The platform could not run it, or has no capacity; trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// A record cannot be read.
    #[error("Resource is corrupted and cannot be read.")]
    Corrupted(#[source] StoreError),
    /// Something of ours failed.
    #[error("There was an internal server error.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// When to come again where the disk is full. Others have to make room first.
const FULL_AGAIN: Duration = Duration::from_secs(5);
/// The body of every error.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error", example = serde_json::json!({
    "error": "The requested resource does not exist.", "code": "8f5c0aa52f4d4f6c8a3b2c1d0e9f8a7b",
}))]
pub(super) struct ErrorBody<'a> {
    /// What is wrong, in a sentence.
    error: String,
    /// The request's id.
    code: &'a str,
    /// Which cap was reached, with 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    cap: Option<&'static str>,
}

impl ApiError {
    /// The answer while that is full.
    pub(crate) fn full(cap: Cap) -> Self {
        let reason = format!("Too many requests: {cap} is full.");
        Self::TooMany { cap: cap.name(), reason, retry_after: FULL_AGAIN }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoCredentials | Self::BadCredentials => StatusCode::UNAUTHORIZED,
            Self::Malformed(_)
            | Self::Query { .. }
            | Self::Name(_)
            | Self::Id(_)
            | Self::LimitsInner
            | Self::Limit(_)
            | Self::Bad(_)
            | Self::NotInThisVersion(_) => StatusCode::BAD_REQUEST,
            Self::ContentType(_) | Self::CloudEventFormat(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Forbidden(_) | Self::Kind(_) => StatusCode::FORBIDDEN,
            Self::NoRoute | Self::Missing | Self::MissingNamed(_) | Self::RuleWithoutTrigger => {
                StatusCode::NOT_FOUND
            }
            Self::Exists | Self::OtherCollection | Self::Concurrent | Self::PackageNotEmpty(_) => {
                StatusCode::CONFLICT
            }
            Self::FieldTooLarge { .. } | Self::TooLarge { .. } | Self::PayloadTooLarge(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Corrupted(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the answer carries the CORS headers: OpenWhisk's do where its own code answers,
    /// not where its framework does.
    fn has_cors(&self) -> bool {
        !matches!(
            self,
            Self::NoCredentials
                | Self::BadCredentials
                | Self::NoRoute
                | Self::Malformed(_)
                | Self::Query { .. }
                | Self::ContentType(_)
                | Self::CloudEventFormat(_)
                | Self::NotAcceptable
                | Self::Name(_)
                | Self::Id(_)
                | Self::LimitsInner
                | Self::BodyTooSlow
        )
    }

    /// The answer to the request of that id.
    pub(super) fn answer(&self, id: &RequestId) -> Response {
        if let Self::Corrupted(source) = self {
            tracing::error!(request = %id, error = %source, cause = ?source, "a record cannot be read");
        }
        if let Self::Internal(source) = self {
            tracing::error!(request = %id, error = %source, cause = ?source, "a request failed");
        }
        let body = ErrorBody {
            error: self.to_string(),
            code: id.as_str(),
            cap: if let Self::TooMany { cap, .. } = self { Some(cap) } else { None },
        };
        let mut answer = (self.status(), axum::Json(body)).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, frame::JSON);
        if self.has_cors() {
            frame::add_cors(headers);
        }
        match self {
            Self::NoCredentials | Self::BadCredentials => {
                headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
            }
            Self::TooMany { retry_after, .. } => {
                let seconds = retry_after.as_millis().div_ceil(1000).max(1);
                if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                    headers.insert(header::RETRY_AFTER, value);
                }
            }
            _ => {}
        }
        answer
    }
}

const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"OpenWhisk secure realm\",charset=UTF-8");

impl IntoResponse for ApiError {
    /// Hands the error to the frame, which knows the request's id.
    fn into_response(self) -> Response {
        let mut answer = self.status().into_response();
        answer.extensions_mut().insert(frame::Failed(std::sync::Arc::new(self)));
        answer
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) => Self::Concurrent,
            StoreError::BuiltIn(_) => Self::Bad(error.to_string()),
            StoreError::Corrupted { .. } => Self::Corrupted(error),
            StoreError::Full => Self::full(Cap::Disk),
            StoreError::Failed(_) | StoreError::Closed => Self::Internal(Box::new(error)),
        }
    }
}
