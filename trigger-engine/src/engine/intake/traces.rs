//! Spans of acceptance: of each event one, with the append that made it durable inside.

use evoke_schemas::{
    LogUid, Namespace,
    trace::{EventTrace, Span, SpanId, SpanKind, SpanValue, Tracer, now_ns},
};

use crate::{
    accepted::Accepted,
    engine::counts::Way,
    incoming::{Incoming, Target},
    ingest::IngestError,
};

/// Extension attribute with the W3C trace context.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// A batch on its way in, as spans will tell of it.
#[derive(Debug)]
pub(super) struct Traced {
    tracer: Tracer,
    way: Way,
    begun_ns: u64,
    events: Vec<TracedEvent>,
}

#[derive(Debug)]
struct TracedEvent {
    namespace: Namespace,
    target: String,
    id: String,
    kind: String,
    traceparent: Option<String>,
}

/// When the batch's append was handed over, and when it was durable. Unit: nanoseconds since 1970.
pub(super) type AppendTime = (u64, u64);

impl Traced {
    /// Notes down what spans need of a batch; none where nothing is recorded.
    pub(super) fn of(tracer: &Tracer, events: &[Incoming], way: Option<Way>) -> Option<Self> {
        let way = way.filter(|_| tracer.is_on())?;
        let events = events.iter().map(TracedEvent::of).collect();
        Some(Self { tracer: tracer.clone(), way, begun_ns: now_ns(), events })
    }

    /// The batch was answered.
    pub(super) fn end(
        self,
        answer: &Result<Vec<Accepted>, IngestError>,
        log: LogUid,
        append: Option<AppendTime>,
    ) {
        let end_ns = now_ns();
        match answer {
            Ok(accepted) => {
                for (event, accepted) in self.events.iter().zip(accepted) {
                    self.accepted(event, accepted, (log, end_ns), append);
                }
            }
            Err(error) => {
                for event in &self.events {
                    self.refused(event, error, end_ns);
                }
            }
        }
    }

    fn accepted(
        &self,
        event: &TracedEvent,
        accepted: &Accepted,
        (log, end_ns): (LogUid, u64),
        append: Option<AppendTime>,
    ) {
        let position = accepted.position;
        let mut trace = self.tracer.of_event(event.traceparent.as_deref(), log, position);
        if accepted.duplicate {
            // The first one has that span.
            trace.accept.span = SpanId::fresh();
        }
        let mut attributes = event.attributes();
        attributes.push(("evoke.event.position", position.to_string().into()));
        attributes.push(("evoke.event.duplicate", accepted.duplicate.into()));
        let rules: usize = accepted.triggers.iter().map(|trigger| trigger.rules.len()).sum();
        attributes.push(("evoke.rules", (rules as u64).into()));
        self.taken(&trace, end_ns, attributes, None);
        let Some((start_ns, end_ns)) = append.filter(|_| !accepted.duplicate) else { return };
        self.tracer.take(Span {
            context: trace.accept.at(SpanId::derive("append", &[&trace.accept.span.0])),
            parent: Some(trace.accept.span),
            name: "append",
            kind: SpanKind::Internal,
            start_ns,
            end_ns,
            attributes: vec![("evoke.event.position", position.to_string().into())],
            failure: None,
        });
    }

    fn refused(&self, event: &TracedEvent, error: &IngestError, end_ns: u64) {
        let seed = SpanId::fresh();
        let trace = self.tracer.begin(event.traceparent.as_deref(), "refused", &[&seed.0]);
        self.taken(&trace, end_ns, event.attributes(), Some(error.to_string()));
    }

    /// The span of an event's acceptance, or of its refusal.
    fn taken(
        &self,
        trace: &EventTrace,
        end_ns: u64,
        attributes: Vec<(&'static str, SpanValue)>,
        failure: Option<String>,
    ) {
        self.tracer.take(Span {
            context: trace.accept,
            parent: trace.parent,
            name: "accept",
            kind: self.kind(),
            start_ns: self.begun_ns,
            end_ns,
            attributes,
            failure,
        });
    }

    fn kind(&self) -> SpanKind {
        if self.way == Way::Feed { SpanKind::Consumer } else { SpanKind::Server }
    }
}

impl TracedEvent {
    fn of(incoming: &Incoming) -> Self {
        let event = &incoming.event;
        Self {
            namespace: incoming.namespace.clone(),
            target: match &incoming.target {
                Target::Trigger(name) => format!("trigger {name}"),
                Target::Hub => "hub".to_owned(),
                Target::Action(name) => format!("action {name}"),
            },
            id: event.id.clone(),
            kind: event.r#type.clone(),
            traceparent: event.attribute(TRACEPARENT).map(std::borrow::Cow::into_owned),
        }
    }

    fn attributes(&self) -> Vec<(&'static str, SpanValue)> {
        vec![
            ("evoke.namespace", self.namespace.to_string().into()),
            ("evoke.target", self.target.clone().into()),
            ("cloudevents.event_id", self.id.clone().into()),
            ("cloudevents.event_type", self.kind.clone().into()),
        ]
    }
}
