//! Spans of deliveries: each attempt is one, and so is the way of its outcome to the disk.

use std::collections::HashMap;

use evoke_event_log::Append;
use evoke_schemas::trace::{Span, SpanId, SpanKind, TraceContext, Tracer, now_ns};

use super::Shared;
use crate::{
    delivery::Start,
    engine::intake::TRACEPARENT,
    invoker::Verdict,
    record::{DeliveryId, HeldRecord, OutcomeRecord, StoredEvent, stream},
};

/// Ends of attempts whose outcome is awaited at most; what is beyond has no span.
const AWAITED: usize = 65_536;

/// An attempt under way, as spans will tell of it.
#[derive(Debug)]
pub(super) struct Dispatched {
    pub(super) context: TraceContext,
    parent: SpanId,
    begun_ns: u64,
}

/// The end of an attempt whose outcome is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    context: TraceContext,
    at_ns: u64,
}

/// What attempts came to, until it is durable.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    ended: HashMap<DeliveryId, Ended>,
    /// In the append under way.
    written: Vec<(Ended, String)>,
}

// === impl Dispatched ===

impl Dispatched {
    /// The attempt begins: a child of the event's acceptance, whenever that was.
    pub(super) fn begin(shared: &Shared, start: &Start, event: &StoredEvent) -> Self {
        let traceparent = event.event.attribute(TRACEPARENT);
        let position = start.id.position;
        let log = shared.log.uids().at(position);
        let trace = shared.intake.tracer().of_event(traceparent.as_deref(), log, position);
        let attempt = start.attempt.to_be_bytes();
        let span = SpanId::derive("dispatch", &[&start.activation_id.0, &attempt]);
        Self { context: trace.accept.at(span), parent: trace.accept.span, begun_ns: now_ns() }
    }

    /// The attempt has ended, its record is staged.
    pub(super) fn end(self, tracer: &Tracer, start: &Start, verdict: &Verdict) -> Option<Ended> {
        if !tracer.is_on() || !self.context.sampled {
            return None;
        }
        let at_ns = now_ns();
        let (word, failure) = match verdict {
            Verdict::Success => ("success", None),
            Verdict::FunctionFailed { .. } => ("function failed", Some("the function failed")),
            Verdict::PlatformFailed { .. } => ("platform failed", Some("the platform failed")),
            Verdict::ActionMissing => ("action missing", Some("the action does not exist")),
        };
        let waited = (self.begun_ns / 1_000_000).saturating_sub(start.accepted_ms);
        let mut attributes = vec![
            ("evoke.event.position", start.id.position.to_string().into()),
            ("evoke.activation_id", start.activation_id.to_string().into()),
            ("evoke.attempt", u64::from(start.attempt).into()),
            ("evoke.waited_ms", waited.into()),
            ("evoke.verdict", word.into()),
        ];
        if let Some(rule) = &start.rule {
            attributes.push(("evoke.rule", rule.name.to_string().into()));
            attributes.push(("evoke.trigger", rule.trigger.name.to_string().into()));
        }
        tracer.take(Span {
            context: self.context,
            parent: Some(self.parent),
            name: "dispatch",
            kind: SpanKind::Internal,
            start_ns: self.begun_ns,
            end_ns: at_ns,
            attributes,
            // The function's own words may hold anything.
            failure: failure.map(str::to_owned),
        });
        Some(Ended { context: self.context, at_ns })
    }
}

// === impl Outcomes ===

impl Outcomes {
    /// An attempt has ended.
    pub(super) fn ended(&mut self, id: DeliveryId, ended: Option<Ended>) {
        if let Some(ended) = ended
            && self.ended.len() < AWAITED
        {
            self.ended.insert(id, ended);
        }
    }

    /// Records of progress go to the disk: which attempts they are about, and what they say.
    pub(super) fn write(&mut self, append: &Append) {
        if self.ended.is_empty() {
            return;
        }
        for record in &append.records {
            let said = match record.stream {
                stream::OUTCOME => OutcomeRecord::decode(record.data.clone())
                    .ok()
                    .map(|record| (record.id, word(&record.outcome))),
                stream::DEAD | stream::PARKED => {
                    HeldRecord::decode(record.data.clone()).ok().map(|held| {
                        (held.id, held.death.map_or("parked".to_owned(), |_| "dead".into()))
                    })
                }
                _ => None,
            };
            if let Some((id, word)) = said
                && let Some(ended) = self.ended.remove(&id)
            {
                self.written.push((ended, word));
            }
        }
    }

    /// They are durable.
    pub(super) fn durable(&mut self, tracer: &Tracer) {
        let end_ns = now_ns();
        for (ended, word) in self.written.drain(..) {
            tracer.take(Span {
                context: ended.context.at(SpanId::derive("outcome", &[&ended.context.span.0])),
                parent: Some(ended.context.span),
                name: "outcome",
                kind: SpanKind::Internal,
                start_ns: ended.at_ns,
                end_ns,
                attributes: vec![("evoke.outcome", word.into())],
                failure: None,
            });
        }
    }
}

fn word(outcome: &crate::record::Outcome) -> String {
    let value = serde_json::to_value(outcome).unwrap_or_default();
    value.as_str().map_or_else(String::new, str::to_owned)
}
