//! One attempt: the event at hand or read, the action invoked, the record staged.

use std::sync::Arc;

use evoke_event_log::Item;
use evoke_schemas::{KeyValues, Position, trace::TraceContext};

use super::{
    Shared,
    traces::{Dispatched, Ended},
};
use crate::{
    activations::ActivationSinkError,
    delivery::{DeliveryInput, Start},
    engine::intake::read_event,
    incoming::Target,
    invoker::{Attempt, Verdict},
    record::{DeliveryId, HalfRecords, StoredEvent},
};

/// How an attempt went.
pub(super) struct AttemptDone {
    pub(super) id: DeliveryId,
    /// Where its outcome is to have a span.
    pub(super) traced: Option<Ended>,
    end: End,
}

enum End {
    Verdict(Verdict),
    BatchFailed(String, Box<HalfRecords>),
    Unreadable(Position),
    Erased,
    NotStaged(ActivationSinkError),
}

/// Makes the attempt.
pub(super) async fn make(shared: Arc<Shared>, start: Start) -> AttemptDone {
    let id = start.id;
    let event = match start.body.clone() {
        Some(event) => Some(event),
        None => read_event(Arc::clone(&shared.log), start.home).await,
    };
    let unreadable = AttemptDone { id, traced: None, end: End::Unreadable(start.home) };
    let Some(event) = event else {
        return match shared.log.get(start.home).await {
            Ok(Some(Item::Erased(_))) => AttemptDone { end: End::Erased, ..unreadable },
            Ok(_) | Err(_) => unreadable,
        };
    };
    let whole = Arc::clone(&event);
    let dispatched = Dispatched::begin(&shared, &start, &event);
    let Some(attempt) = attempt(&shared, &start, event, dispatched.context) else {
        return unreadable;
    };
    let ended = shared.invoker.invoke(attempt).await;
    let traced = dispatched.end(shared.intake.tracer(), &start, &ended.verdict);
    let staged = match ended.activation {
        None => Ok(()),
        Some(record) => shared.activations.stage(record).await,
    };
    let end = match staged {
        Ok(()) => of_verdict(ended.verdict, &whole),
        Err(error) => End::NotStaged(error),
    };
    AttemptDone { id, traced, end }
}

/// A function's failure with several records of a source comes with their halves.
fn of_verdict(verdict: Verdict, event: &StoredEvent) -> End {
    match verdict {
        Verdict::FunctionFailed { reason } => match event.halves() {
            Some(halves) => End::BatchFailed(reason, Box::new(halves)),
            None => End::Verdict(Verdict::FunctionFailed { reason }),
        },
        verdict => End::Verdict(verdict),
    }
}

/// What the core is told of it.
pub(super) fn input(done: AttemptDone) -> Result<DeliveryInput, ActivationSinkError> {
    let id = done.id;
    match done.end {
        End::Verdict(verdict) => Ok(DeliveryInput::AttemptEnded { id, verdict }),
        End::BatchFailed(reason, halves) => Ok(DeliveryInput::BatchFailed { id, reason, halves }),
        End::Erased => Ok(DeliveryInput::Erased { id }),
        End::Unreadable(home) => Ok(DeliveryInput::Unreadable { id, home }),
        End::NotStaged(error) => Err(error),
    }
}

fn attempt(
    shared: &Shared,
    start: &Start,
    event: Arc<StoredEvent>,
    trace: TraceContext,
) -> Option<Attempt> {
    let (action, rule, trigger) = match (&start.rule, &event.target) {
        (Some(rule), _) => {
            (rule.action.clone(), Some(rule.name.clone()), Some(rule.trigger.name.clone()))
        }
        (None, Target::Action(action)) => (action.clone(), None, None),
        (None, Target::Trigger(_) | Target::Hub) => return None,
    };
    let parameters = trigger.and_then(|name| {
        shared.intake.with(|ingest| {
            let indexed = ingest.index.trigger(&event.namespace, &name);
            indexed.map(|trigger| Arc::clone(trigger.parameters()))
        })
    });
    Some(Attempt {
        activation_id: start.activation_id,
        namespace: event.namespace.clone(),
        action,
        rule,
        trigger_parameters: parameters.unwrap_or_else(|| Arc::new(KeyValues::default())),
        position: start.id.position,
        occasion: start.id.occasion,
        attempt: start.attempt,
        accepted_ms: start.accepted_ms,
        trace,
        event,
    })
}
