//! What every request and answer has: an id, CORS headers, errors in their shape.

use std::{fmt, sync::Arc, time::Instant};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{error::ApiError, events::handshake::REQUEST_ORIGIN};
use crate::metrics::HttpMeasures;

/// Id of a request: what the client sent, or one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

/// An answer's error, on its way to the frame.
#[derive(Clone, Debug)]
pub(super) struct Failed(pub(super) Arc<ApiError>);

/// `Content-Type` of JSON.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// `Content-Type` of plain text.
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
/// Where everything of OpenWhisk's API is.
pub(crate) const BASE: &str = "/api/v1";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Ids that begin so are the system's.
const RESERVED: &str = "sid_";
/// Longest id taken from a client. Unit: bytes.
const MAX_REQUEST_ID: usize = 128;

/// Around every handler, and counted.
pub(super) async fn measured<A: Future<Output = Response>>(
    measures: &HttpMeasures,
    request: Request,
    handle: impl FnOnce(Request) -> A,
) -> Response {
    let (begun, method) = (Instant::now(), request.method().clone());
    let route = HttpMeasures::route(request.uri().path());
    let answer = framed(request, handle).await;
    measures.answered(route, &method, answer.status().as_u16(), begun.elapsed());
    answer
}

async fn framed<A: Future<Output = Response>>(
    mut request: Request,
    handle: impl FnOnce(Request) -> A,
) -> Response {
    let id = RequestId::of(request.headers());
    let inside = is_inside(request.uri().path());
    let takes_json = takes_json(request.headers());
    let mut answer = match *request.method() {
        Method::OPTIONS if !request.headers().contains_key(REQUEST_ORIGIN) => preflight(inside),
        Method::HEAD if inside => {
            (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, JSON)]).into_response()
        }
        _ => {
            request.extensions_mut().insert(id.clone());
            handle(request).await
        }
    };
    if answer.status() != StatusCode::OK {
        // A wrong verb is answered as an unknown path, which names no others.
        answer.headers_mut().remove(header::ALLOW);
    }
    if let Some(Failed(error)) = answer.extensions_mut().remove() {
        answer = error.answer(&id);
    } else if inside && !takes_json && answer.headers().get(header::CONTENT_TYPE) == Some(&JSON) {
        answer = ApiError::NotAcceptable.answer(&id);
    } else if inside && answer.status() != StatusCode::NOT_FOUND {
        add_cors(answer.headers_mut());
    }
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
    answer
}

/// The answer to `OPTIONS`, for whoever asks.
fn preflight(inside: bool) -> Response {
    let mut answer = (StatusCode::OK, [(header::CONTENT_TYPE, TEXT)], "OK").into_response();
    if !inside {
        add_cors(answer.headers_mut());
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, OUTSIDE_METHODS);
    }
    answer
}

/// Whether the client takes an answer in JSON; one that says nothing takes everything.
fn takes_json(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(header::ACCEPT).iter().peekable();
    said.peek().is_none()
        || said.any(|value| {
            let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
            text.split(',').any(|range| {
                let essence = range.split(';').next().unwrap_or_default().trim();
                matches!(essence, "*/*" | "application/*" | "application/json")
            })
        })
}

/// Adds OpenWhisk's three CORS headers.
pub(super) fn add_cors(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
}

const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
);
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, DELETE, POST, PUT, HEAD");
/// Methods that a path outside the API names (recorded, `cors-options-unknown`).
const OUTSIDE_METHODS: HeaderValue = HeaderValue::from_static("OPTIONS, GET, POST");

pub(super) fn is_inside(path: &str) -> bool {
    path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

// === impl RequestId ===

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
        let usable =
            |id: &&str| !id.is_empty() && id.len() <= MAX_REQUEST_ID && !id.starts_with(RESERVED);
        match sent.filter(usable) {
            Some(id) => Self(id.into()),
            None => Self::fresh(),
        }
    }

    /// An id of ours.
    #[must_use]
    pub(crate) fn fresh() -> Self {
        let mut text = [0; 32];
        Self((&*uuid::Uuid::new_v4().simple().encode_lower(&mut text)).into())
    }

    /// The id as text.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
