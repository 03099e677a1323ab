//! Calling an action: blocking through the invoker, non-blocking through the event log.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use evoke_schemas::{Activation, ActivationStatus, Event, FullName, event::Data};
use evoke_trigger_engine::{Incoming, Origin, Target};
use http::{HeaderMap, StatusCode};

use super::exec::no_longer;
use crate::{
    invocations::{Call, CallRefused, Members, NotReady, Ready},
    rest::{answer, at::At, body, error::ApiError, events},
};

/// `type` of the event that an accepted invocation becomes.
const INVOKE_TYPE: &str = "org.evoke.action.invoked";
/// When to come again where too many calls are under way.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn post(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let name = at.names.entity()?;
    let config = &at.hub.parts.config;
    let blocking = at.query.flag("blocking")?;
    let result = at.query.flag("result")?;
    let wait = Duration::from_millis(at.query.timeout(config.max_blocking_ms)?);
    let most = at.hub.payload_bytes(&at.caller.namespace);
    let bytes = body::read(&headers, content, at.hub.bounds(most)).await?;
    body::expect_json(&headers, &bytes)?;
    let payload = body::object_text(bytes)?;
    let ready = callable(&at, &name).await?;
    if !blocking {
        return accept(&at, name, &ready, payload, &headers).await;
    }
    // Its record takes room that what was accepted already needs.
    at.hub.check_open()?;
    let call = Call {
        payload,
        request_id: at.request_id.as_str().to_owned(),
        traceparent: events::traceparent(&headers).map(ToOwned::to_owned),
    };
    let mut under_way = at.hub.parts.invocations.call(&at.caller, ready, call)?;
    let id = under_way.id;
    match tokio::time::timeout(wait, &mut under_way.end).await {
        Ok(Ok(record)) => answer_of(&record, result),
        Ok(Err(_dropped)) => Err(ApiError::Unavailable("The activation was cut short.".to_owned())),
        Err(_elapsed) => Ok(answer::activation_accepted(id)),
    }
}

/// The action, if the caller may call it.
async fn callable(at: &At, name: &FullName) -> Result<Arc<Ready>, ApiError> {
    let own = at.is_own();
    let ready = match at.hub.parts.invocations.ready(name).await {
        Ok(ready) if own || ready.public => ready,
        Err(NotReady::Store(error)) => return Err(error.into()),
        Err(NotReady::Missing) if own => return Err(ApiError::Missing),
        Err(NotReady::NoAction) if own => return Err(ApiError::OtherCollection),
        Ok(_) | Err(NotReady::Missing | NotReady::NoAction) => {
            super::may_refer_to(at, name).await?;
            return Err(ApiError::Missing);
        }
    };
    if ready.deprecated {
        return Err(no_longer(&ready.runnable.kind));
    }
    Ok(ready)
}

/// Accepts a call as an event of the log: it has an event's promise (decision 2).
async fn accept(
    at: &At,
    name: FullName,
    ready: &Ready,
    payload: Bytes,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    if !ready.reserved.is_empty() && ready.refuses(&Members::parse(&payload).unwrap_or_default()) {
        return Err(CallRefused::Reserved.into());
    }
    let source = format!("/namespaces/{}/actions", at.caller.namespace);
    let mut event = Event::new(at.request_id.as_str(), source, INVOKE_TYPE);
    event.data = Data::Json(payload);
    events::add_trace(&mut event, headers);
    let incoming = Incoming {
        namespace: at.caller.namespace.clone(),
        target: Target::Action(name),
        event,
        origin: Origin::Plain,
        headers: None,
        subject: at.caller.subject.clone(),
        dedup: false,
    };
    let accepted = at.hub.parts.engine.ingest(vec![incoming]).await?;
    let accepted = accepted.into_iter().next();
    match accepted.and_then(|one| Some((one.activation_id?, one.position))) {
        Some((id, position)) => {
            Ok(answer::with_position(answer::activation_accepted(id), position))
        }
        None => Err(ApiError::Unavailable("The invocation was not accepted.".to_owned())),
    }
}

/// The answer to a call that ended in time.
fn answer_of(record: &Activation, result: bool) -> Result<Response, ApiError> {
    let response = &record.response;
    let status = match response.status {
        ActivationStatus::Success => StatusCode::OK,
        ActivationStatus::ApplicationError | ActivationStatus::DeveloperError => {
            StatusCode::BAD_GATEWAY
        }
        ActivationStatus::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let text = response.result.get();
    let body = if result || text.starts_with('[') {
        Bytes::copy_from_slice(text.as_bytes())
    } else {
        without_logs(record)?
    };
    Ok(answer::with_activation(answer::text_of_json(status, body), record.activation_id))
}

/// The record with no logs, as blocking answers show it.
fn without_logs(record: &Activation) -> Result<Bytes, ApiError> {
    let text = if record.logs.is_empty() {
        serde_json::to_vec(record)
    } else {
        serde_json::to_vec(&Activation { logs: Vec::new(), ..record.clone() })
    };
    text.map(Bytes::from).map_err(|error| ApiError::Internal(Box::new(error)))
}

impl From<CallRefused> for ApiError {
    fn from(refused: CallRefused) -> Self {
        match refused {
            CallRefused::Reserved => Self::Bad(refused.to_string()),
            CallRefused::TooMany { .. } | CallRefused::NoSandbox { .. } => {
                let cap = match refused {
                    CallRefused::NoSandbox { .. } => "sandboxes",
                    CallRefused::TooMany { .. } | CallRefused::Reserved => "calls",
                };
                Self::TooMany { cap, reason: refused.to_string(), retry_after: RETRY_AFTER }
            }
        }
    }
}
