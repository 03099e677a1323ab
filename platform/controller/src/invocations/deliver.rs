//! Deliveries of the engine: one attempt is one run.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use evoke_invoker::{Outcome, Run, RunEnd};
use evoke_schemas::Data;
use evoke_trigger_engine::{
    ActionInvoker, Attempt, AttemptEnd, Origin, Verdict, record::StoredEvent,
};
use serde_json::Value;

use super::{
    CallRefused, Invocations, Members, NotReady, Places, Ready, merge,
    record::{self, Whose},
    traces::RunTrace,
};

/// Extension attribute with the W3C trace context.
const TRACEPARENT: &str = "traceparent";
/// Member with the headers of the request that fired.
const HEADERS: &str = "__ow_headers";
/// Member with the attributes of a CloudEvent.
const ATTRIBUTES: &str = "__ce";

#[async_trait]
impl ActionInvoker for Invocations {
    async fn invoke(&self, attempt: Attempt) -> AttemptEnd {
        let ready = match self.ready(&attempt.action).await {
            Ok(ready) if ready.public || attempt.action.namespace == attempt.namespace => ready,
            Ok(_) | Err(NotReady::Missing | NotReady::NoAction) => return missing(),
            Err(NotReady::Store(error)) => return platform_failed(&error),
        };
        let came = attempt.event.event.attribute(TRACEPARENT).map(Cow::into_owned);
        let trace = RunTrace::of_attempt(self.tracer(), attempt.trace, came);
        let whose = Whose {
            id: attempt.activation_id,
            namespace: attempt.namespace.clone(),
            subject: attempt.event.subject.clone(),
            trace: trace.shown(),
        };
        let Some(arguments) = arguments(&attempt, &ready) else {
            let why = CallRefused::Reserved.to_string();
            let now_ms = self.parts.clock.now_ms();
            let activation = Some(record::of_refusal(whose, &ready, &why, now_ms));
            return AttemptEnd { verdict: Verdict::FunctionFailed { reason: why }, activation };
        };
        // Calls may hold the last places; the engine holds no more attempts than there are.
        let most = || self.sandboxes_of(&attempt.namespace);
        let _place = Places::take(&self.places, &attempt.namespace, most).await;
        let run = Run {
            activation_id: attempt.activation_id,
            namespace: attempt.namespace.clone(),
            action: Arc::clone(&ready.runnable),
            arguments,
            transaction_id: attempt.activation_id.to_string(),
            event_id: Some(attempt.event.event.id.clone()),
            traceparent: Some(trace.traceparent()),
            api_key: self.api_key(&ready, &attempt.namespace).await,
            longest_wait: None,
        };
        let end = self.run(&ready, run, &trace).await;
        let verdict = verdict(&end);
        let ran = !matches!(verdict, Verdict::PlatformFailed { .. });
        AttemptEnd { verdict, activation: ran.then(|| record::of_run(whose, &ready, end)) }
    }
}

fn missing() -> AttemptEnd {
    AttemptEnd { verdict: Verdict::ActionMissing, activation: None }
}

fn platform_failed(error: &dyn std::error::Error) -> AttemptEnd {
    let verdict = Verdict::PlatformFailed { reason: error.to_string(), retry_after_ms: None };
    AttemptEnd { verdict, activation: None }
}

/// Whose failure it is (decision 19).
fn verdict(end: &RunEnd) -> Verdict {
    match &end.outcome {
        Outcome::Success { .. } => Verdict::Success,
        Outcome::ApplicationError { result } | Outcome::DeveloperError { result, .. } => {
            Verdict::FunctionFailed { reason: short(result.get()) }
        }
        Outcome::Platform { reason } => {
            Verdict::PlatformFailed { reason: reason.to_string(), retry_after_ms: None }
        }
    }
}

/// Most of a failure's text that is noted down. Unit: characters.
const MAX_REASON: usize = 500;

/// The error's own text, cut.
fn short(result: &str) -> String {
    let error = serde_json::from_str::<Value>(result).ok();
    let text = match error.as_ref().and_then(|result| result.get("error")) {
        Some(Value::String(text)) => text.as_str().into(),
        Some(other) => Cow::Owned(other.to_string()),
        None => Cow::Borrowed(result),
    };
    text.chars().take(MAX_REASON).collect()
}

/// What the function gets (decision 26, spec 4.1): bound below the trigger's parameters below the
/// headers below the payload. None where the payload sets what it may not.
fn arguments(attempt: &Attempt, ready: &Ready) -> Option<Bytes> {
    let stored = &*attempt.event;
    let plain = stored.origin == Origin::Plain;
    let payload = payload(stored);
    let trigger = Members::of(&attempt.trigger_parameters);
    let nothing_below = ready.bound.is_empty() && trigger.is_empty() && stored.headers.is_none();
    if nothing_below && ready.reserved.is_empty() && plain {
        return Some(payload);
    }
    let payload = Members::parse(&payload).unwrap_or_default();
    let headers = stored.headers.as_ref().and_then(|headers| std::str::from_utf8(headers).ok());
    let headers = headers.map(|text| Members::one(HEADERS, text)).unwrap_or_default();
    let from_event = [&trigger, &headers, &payload];
    if from_event.iter().any(|members| ready.refuses(members)) {
        return None;
    }
    let attributes = if plain {
        Members::default()
    } else {
        let attributes = Value::Object(stored.event.attributes());
        Members::one(ATTRIBUTES, attributes.to_string())
    };
    Some(merge(&[ready.bound.borrowed(), trigger, headers, payload, attributes]))
}

/// The event's data as the text of an object.
fn payload(stored: &StoredEvent) -> Bytes {
    match &stored.event.data {
        Data::Json(text) if is_object(text) => text.clone(),
        Data::None => Bytes::from_static(b"{}"),
        Data::Json(_) | Data::Text(_) | Data::Binary(_) => {
            Bytes::from(Value::Object(stored.event.arguments()).to_string())
        }
    }
}

fn is_object(text: &[u8]) -> bool {
    text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}
