//! The activation record of a run.

use evoke_invoker::{Outcome, RunEnd};
use evoke_schemas::{
    Activation, ActivationId, ActivationResponse, ActivationStatus, KeyValues, Namespace,
    activation::error_result,
};

use super::ready::Ready;

/// Whose run it was.
#[derive(Clone, Debug)]
pub(crate) struct Whose {
    pub(crate) id: ActivationId,
    pub(crate) namespace: Namespace,
    pub(crate) subject: String,
    /// The trace to look it up in, where there is one for others than us.
    pub(crate) trace: Option<String>,
}

/// The record of a run that ended. Source: spec 1.12.
pub(crate) fn of_run(whose: Whose, ready: &Ready, end: RunEnd) -> Activation {
    let timed_out = end.timed_out();
    let status = end.outcome.status();
    let result = match end.outcome {
        Outcome::Success { result }
        | Outcome::ApplicationError { result }
        | Outcome::DeveloperError { result, .. } => result,
        outcome @ Outcome::Platform { .. } => outcome.result(),
    };
    let response = ActivationResponse::new(status, result, end.size);
    let mut record = skeleton(whose, ready, response, end.start_ms..end.end_ms);
    record.annotations.set("timeout", timed_out);
    record.annotations.set("waitTime", end.wait_ms);
    if let Some(init_ms) = end.init_ms {
        record.annotations.set("initTime", init_ms);
    }
    record.logs = end.logs;
    record
}

/// The record of a run that was refused before anything ran.
pub(crate) fn of_refusal(whose: Whose, ready: &Ready, why: &str, now_ms: u64) -> Activation {
    let result = error_result(why);
    let response = ActivationResponse::new(ActivationStatus::ApplicationError, result, None);
    skeleton(whose, ready, response, now_ms..now_ms)
}

fn skeleton(
    whose: Whose,
    ready: &Ready,
    response: ActivationResponse,
    time: std::ops::Range<u64>,
) -> Activation {
    let mut annotations = KeyValues::clone(&ready.annotations);
    if let Some(trace) = whose.trace {
        annotations.set("traceId", trace);
    }
    Activation {
        namespace: whose.namespace,
        name: ready.runnable.name.name.clone(),
        version: ready.runnable.version,
        subject: whose.subject,
        activation_id: whose.id,
        start: time.start,
        end: Some(time.end),
        duration: Some(time.end.saturating_sub(time.start)),
        cause: None,
        response,
        logs: Vec::new(),
        annotations,
        publish: false,
    }
}
