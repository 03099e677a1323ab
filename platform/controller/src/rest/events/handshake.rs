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
use serde_json::json;

use super::{Sender, entities};
use crate::{
    handshakes::{Asked, is_callback},
    hub::Hub,
    rest::{
        answer,
        at::At,
        entities::{Listed, counted},
        error::ApiError,
        frame,
        openapi::{Answer, Content, Operation, Parameter, header as asked, page},
    },
};

/// Who wants to deliver: a DNS name. A request without it is no handshake.
pub(in crate::rest) const REQUEST_ORIGIN: HeaderName =
    HeaderName::from_static("webhook-request-origin");
/// Where the sender takes a grant that comes later.
const REQUEST_CALLBACK: HeaderName = HeaderName::from_static("webhook-request-callback");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");
/// Longest DNS name, with a port.
const MAX_ORIGIN: usize = 260;
const COLLECTION: &str = "handshakes";

pub(in crate::rest) fn trigger_described() -> Operation {
    let id = "askTriggerForDelivery";
    described(Operation::options(id, "Asks whether a sender may deliver.", of_trigger))
        .for_senders()
        .answers(Answer::new(
            202,
            "The sender cannot prove itself here; its callback waits for the trigger's owner.",
        ))
        .fails([404, 409])
}

pub(super) fn hub_described() -> Operation {
    described(Operation::options("askHubForDelivery", "Asks whether a sender may deliver.", of_hub))
}

fn described(operation: Operation) -> Operation {
    const GRANTED: &[&str] = &["WebHook-Allowed-Origin", "WebHook-Allowed-Rate", "Allow"];
    operation
        .details(
            "The handshake of CloudEvents' webhooks. Without `WebHook-Request-Origin` it is none: \
             the answer is `OK` for anybody.",
        )
        .with(parameters())
        .answers(
            Answer::new(200, "With the headers of a grant: it may.")
                .with(Content::of::<String>("text/plain"))
                .headers(GRANTED),
        )
}

fn parameters() -> [Parameter; 3] {
    let name = json!({ "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,260}$" });
    let rate = json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX });
    [
        asked("WebHook-Request-Origin", "DNS name of the sender.", name)
            .example("events.example.com".into()),
        asked("WebHook-Request-Rate", "Requests a minute that it wants to send.", rate),
        asked(
            "WebHook-Request-Callback",
            "HTTPS address that takes a grant later.",
            json!({ "type": "string", "pattern": "^https://[A-Za-z0-9][A-Za-z0-9./?=&:-]{0,200}$" }),
        ),
    ]
}

/// Whether the caller may deliver to a trigger: it may where it may fire.
async fn of_trigger(State(hub): State<Arc<Hub>>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let sender = Sender::of(&mut parts, &hub).await?;
    let wish = Wish::of(&parts.headers)?;
    match (sender.prove(&hub, &parts, &Bytes::new()).await, wish.callback) {
        // What signs bodies has nothing to sign here: the trigger's owner decides.
        (Err(ApiError::NoCredentials), Some(callback)) => {
            let names = sender.names();
            let asked = Asked {
                origin: wish.origin.to_owned(),
                callback: callback.to_owned(),
                rate: wish.rate,
                asked: hub.parts.clock.now_ms(),
            };
            hub.handshakes.keep(&names.namespace, &names.entity()?.name, asked);
            Ok(StatusCode::ACCEPTED.into_response())
        }
        (Err(error), _) => Err(error),
        (Ok(_known), _) => {
            entities::existing::<Trigger>(&hub, &sender.names().entity()?).await?;
            wish.grant()
        }
    }
}

/// Handshakes that wait for the trigger's owner.
async fn list(at: At) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let page = at.query.page(COLLECTION)?;
    entities::existing::<Trigger>(&at.hub, &name).await?;
    let all = at.hub.handshakes.of(&name.namespace, &name.name, at.now_ms());
    if page.count {
        return Ok(answer::json(&counted(COLLECTION, all.len(), page.skip)));
    }
    let shown = all.into_iter().skip(page.skip).take(page.limit);
    Ok(answer::json(&Listed::Items(shown.collect())))
}

pub(in crate::rest) fn list_described() -> Operation {
    let text = "Lists senders that ask to deliver to a trigger.";
    Operation::get("listHandshakes", text, list)
        .details(
            "Those that could not prove themselves, since a request without a body cannot be \
             signed. Opening the `callback` of one grants it; the hub never opens it by itself. \
             They are kept for a day, and not over a restart.",
        )
        .with(page())
        .gives::<Listed<Asked>>("Handshakes, the newest first.")
        .fails([404, 409])
}

/// Whether the caller may deliver to a namespace's hub.
async fn of_hub(State(hub): State<Arc<Hub>>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    At::from_request_parts(&mut parts, &hub).await?.own_namespace()?;
    Wish::of(&parts.headers)?.grant()
}

/// What a sender wishes for.
struct Wish<'a> {
    origin: &'a str,
    rate: Option<u32>,
    callback: Option<&'a str>,
}

impl<'a> Wish<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, ApiError> {
        let origin = single(headers, &REQUEST_ORIGIN)?.filter(|origin| is_name(origin));
        let origin = origin.ok_or_else(|| bad(&REQUEST_ORIGIN, "the DNS name of the sender"))?;
        let rate = single(headers, &REQUEST_RATE)?.map(|rate| {
            let number = rate.parse::<u32>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| bad(&REQUEST_RATE, "a positive number of requests a minute"))
        });
        let callback = single(headers, &REQUEST_CALLBACK)?;
        if callback.is_some_and(|url| !is_callback(url)) {
            return Err(bad(&REQUEST_CALLBACK, "an HTTPS address"));
        }
        Ok(Self { origin, rate: rate.transpose()?, callback })
    }

    /// Every origin that has proved itself, at the rate that it asks for: what is too much later
    /// is answered with 429. The answer is there at once, so that no callback is needed.
    fn grant(&self) -> Result<Response, ApiError> {
        let origin = HeaderValue::from_str(self.origin);
        let origin = origin.map_err(|_bytes| bad(&REQUEST_ORIGIN, "the DNS name of the sender"))?;
        let granted = [
            (header::CONTENT_TYPE, frame::TEXT),
            (header::ALLOW, HeaderValue::from_static("POST")),
            (ALLOWED_ORIGIN, origin),
            (ALLOWED_RATE, self.rate.map_or(HeaderValue::from_static("*"), HeaderValue::from)),
        ];
        Ok((granted, "OK").into_response())
    }
}

/// A header that may be there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_bytes| bad(name, "plain ASCII text"))
        }
        (Some(_), Some(_)) => Err(bad(name, "there once")),
    }
}

fn is_name(origin: &str) -> bool {
    let fits = (1..=MAX_ORIGIN).contains(&origin.len());
    fits && origin.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte))
}

fn bad(name: &HeaderName, wanted: &str) -> ApiError {
    ApiError::Bad(format!("header `{name}` must be {wanted}"))
}
