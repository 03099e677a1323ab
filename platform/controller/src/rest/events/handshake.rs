//! The handshake by which a sender of CloudEvents asks whether it may deliver here
//! (HTTP 1.1 Web Hooks for Event Delivery, 4).

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts as _, Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use evoke_schemas::Trigger;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{Sender, entities};
use crate::{
    hub::Hub,
    rest::{at::At, error::ApiError},
};

/// Who wants to deliver: a DNS name. A request without it is no handshake.
pub(in crate::rest) const REQUEST_ORIGIN: HeaderName =
    HeaderName::from_static("webhook-request-origin");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");
/// Longest DNS name, with a port.
const MAX_ORIGIN: usize = 260;

/// Whether the caller may deliver to a trigger: it may where it may fire.
pub(in crate::rest) async fn of_trigger(
    State(hub): State<Arc<Hub>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let sender = Sender::of(&mut parts, &hub).await?;
    sender.prove(&hub, &parts, &Bytes::new()).await?;
    entities::existing::<Trigger>(&hub, &sender.names().entity()?).await?;
    grant(&parts.headers)
}

/// Whether the caller may deliver to a namespace's hub.
pub(super) async fn of_hub(
    State(hub): State<Arc<Hub>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    At::from_request_parts(&mut parts, &hub).await?.own_namespace()?;
    grant(&parts.headers)
}

/// Every origin that has proved itself, at the rate that it asks for: what is too much later is
/// answered with 429.
fn grant(headers: &HeaderMap) -> Result<Response, ApiError> {
    let origin = headers.get(REQUEST_ORIGIN).filter(|origin| is_name(origin));
    let origin = origin.ok_or_else(|| bad(&REQUEST_ORIGIN, "the DNS name of the sender"))?;
    let rate = match headers.get(REQUEST_RATE) {
        None => HeaderValue::from_static("*"),
        Some(rate) => {
            let number = rate.to_str().ok().and_then(|text| text.parse::<u32>().ok());
            let number = number.filter(|number| *number > 0);
            number
                .ok_or_else(|| bad(&REQUEST_RATE, "a positive number of requests a minute"))?
                .into()
        }
    };
    let granted = [
        (header::ALLOW, HeaderValue::from_static("POST")),
        (ALLOWED_ORIGIN, origin.clone()),
        (ALLOWED_RATE, rate),
    ];
    Ok((StatusCode::OK, granted).into_response())
}

fn is_name(origin: &HeaderValue) -> bool {
    let bytes = origin.as_bytes();
    let fits = (1..=MAX_ORIGIN).contains(&bytes.len());
    fits && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(byte))
}

fn bad(name: &HeaderName, wanted: &str) -> ApiError {
    ApiError::Bad(format!("header `{name}` must be {wanted}"))
}
