//! Calling an action: blocking through the invoker, non-blocking through the event log.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use evoke_schemas::{
    Activation, ActivationStatus, Event, FullName, event::Data, limits::MAX_BLOCKING_WAIT_MS,
};
use evoke_trigger_engine::{Incoming, Origin, Target};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::exec::no_longer;
use crate::{
    invocations::{Call, CallRefused, Members, NotReady, Ready},
    rest::{
        answer::{self, Activated},
        at::At,
        body,
        error::{ApiError, ErrorBody},
        events,
        openapi::{Answer, Content, Operation, flag, query},
    },
};

/// `type` of the event that an accepted invocation becomes.
const INVOKE_TYPE: &str = "org.evoke.action.invoked";
/// When to come again where too many calls are under way.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The record of a call, or with `result` what the function gave.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "answers are texts already; this is how they look")]
enum Ended {
    Record(Activation),
    Result(Value),
}

/// What a status of 500 comes with: the record of a call that the platform failed, or an error.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "answers are texts already; this is how they look")]
enum EndedOrError {
    Error(ErrorBody<'static>),
    Record(Activation),
    Result(Value),
}

pub(super) fn described(id: &'static str) -> Operation {
    const ID: &[&str] = &["X-OpenWhisk-Activation-Id"];
    Operation::post(id, "Calls an action.", post)
        .details(
            "Without `blocking` the call is in the log when it is answered, as an event is. A \
             blocking call that takes longer than `timeout` goes on and is answered with 202.",
        )
        .with([
            flag("blocking", "Whether to wait for the end."),
            flag("result", "Whether a blocking call gives the result alone, without the record."),
            query(
                "timeout",
                "Longest wait of a blocking call, milliseconds.",
                json!({ "type": "integer", "minimum": 1, "maximum": MAX_BLOCKING_WAIT_MS }),
            ),
        ])
        .takes_any([Content::json::<Map<String, Value>>().example(json!({ "name": "Evoke" }))])
        .answers(
            Answer::new(200, "The function succeeded.").with(Content::json::<Ended>()).headers(ID),
        )
        .answers(
            Answer::new(202, "The call is under way.")
                .with(Content::json::<Activated>())
                .headers(&["X-OpenWhisk-Activation-Id", "X-Evoke-Position"]),
        )
        .answers(
            Answer::new(502, "The function failed.").with(Content::json::<Ended>()).headers(ID),
        )
        .answers(
            Answer::new(
                500,
                "The platform failed; with the activation's header the call ended so.",
            )
            .with(Content::json::<EndedOrError>())
            .headers(ID),
        )
        .fails([404, 409, 429, 503])
}

async fn post(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
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
