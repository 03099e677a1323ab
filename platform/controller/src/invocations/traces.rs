//! Spans of runs: where a run stands in a trace, what its function is told, what became of it.

use evoke_invoker::{Outcome, Run, RunEnd};
use evoke_schemas::{
    ActivationId,
    trace::{Span, SpanId, SpanKind, SpanValue, TraceContext, Tracer, now_ns},
};

/// A run's place in a trace.
#[derive(Clone, Debug)]
pub(crate) struct RunTrace {
    tracer: Tracer,
    /// The run.
    context: TraceContext,
    /// What asked for it.
    parent: SpanId,
    /// Where nothing is recorded, what came is handed on as it came.
    came: Option<String>,
    /// The call itself, where no event is behind it.
    call: Option<(TraceContext, Option<SpanId>)>,
}

impl RunTrace {
    /// Of a delivery's attempt.
    pub(crate) fn of_attempt(tracer: &Tracer, attempt: TraceContext, came: Option<String>) -> Self {
        let span = SpanId::derive("run", &[&attempt.span.0]);
        let tracer = tracer.clone();
        Self { tracer, context: attempt.at(span), parent: attempt.span, came, call: None }
    }

    /// Of a call that somebody waits for.
    pub(crate) fn of_call(tracer: &Tracer, id: ActivationId, came: Option<String>) -> Self {
        let trace = tracer.begin(came.as_deref(), "invoke", &[&id.0]);
        let own = Self::of_attempt(tracer, trace.accept, came);
        Self { call: Some((trace.accept, trace.parent)), ..own }
    }

    /// What the function gets as its trace context.
    pub(crate) fn traceparent(&self) -> String {
        match &self.came {
            Some(came) if !self.tracer.is_on() => came.clone(),
            Some(_) | None => self.context.to_string(),
        }
    }

    /// What the record shows, where anybody may look for it: the trace came from outside, or is
    /// exported.
    pub(crate) fn shown(&self) -> Option<String> {
        (self.came.is_some() || self.tracer.is_on()).then(|| self.context.trace.to_string())
    }

    /// The run has ended: its spans.
    pub(crate) fn end(&self, asked_ns: u64, run: &RunFacts, end: &RunEnd) {
        if !self.tracer.is_on() || !self.context.sampled {
            return;
        }
        let end_ns = now_ns();
        let mut attributes = run.attributes();
        attributes.push(("evoke.status", status(&end.outcome).into()));
        attributes.push(("evoke.wait_ms", end.wait_ms.into()));
        attributes.push(("faas.coldstart", end.init_ms.is_some().into()));
        self.tracer.take(Span {
            context: self.context,
            parent: Some(self.parent),
            name: "run",
            kind: SpanKind::Internal,
            start_ns: asked_ns,
            end_ns,
            attributes,
            failure: failure(&end.outcome),
        });
        if let Some(init_ms) = end.init_ms {
            let start_ns = end.start_ms.saturating_mul(1_000_000).max(asked_ns);
            self.tracer.take(Span {
                context: self.context.at(SpanId::derive("init", &[&self.context.span.0])),
                parent: Some(self.context.span),
                name: "init",
                kind: SpanKind::Internal,
                start_ns,
                end_ns: start_ns.saturating_add(init_ms.saturating_mul(1_000_000)),
                attributes: Vec::new(),
                failure: None,
            });
        }
        if let Some((context, parent)) = self.call {
            self.tracer.take(Span {
                context,
                parent,
                name: "invoke",
                kind: SpanKind::Server,
                start_ns: asked_ns,
                end_ns,
                attributes: run.attributes(),
                failure: failure(&end.outcome),
            });
        }
    }
}

/// What spans tell of a run; never its arguments or its result.
#[derive(Debug)]
pub(crate) struct RunFacts {
    namespace: String,
    action: String,
    kind: String,
    activation: ActivationId,
}

impl RunFacts {
    pub(crate) fn of(run: &Run) -> Self {
        Self {
            namespace: run.namespace.to_string(),
            action: run.action.name.to_string(),
            kind: run.action.kind.clone(),
            activation: run.activation_id,
        }
    }

    fn attributes(&self) -> Vec<(&'static str, SpanValue)> {
        vec![
            ("evoke.namespace", self.namespace.clone().into()),
            ("evoke.action", self.action.clone().into()),
            ("evoke.kind", self.kind.clone().into()),
            ("faas.invocation_id", self.activation.to_string().into()),
        ]
    }
}

fn status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Success { .. } => "success",
        Outcome::ApplicationError { .. } => "application error",
        Outcome::DeveloperError { .. } => "action developer error",
        Outcome::Platform { .. } => "whisk internal error",
    }
}

/// Whose failure it was; the function's own words may hold anything.
fn failure(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Success { .. } => None,
        Outcome::Platform { reason } => Some(reason.to_string()),
        Outcome::ApplicationError { .. } | Outcome::DeveloperError { .. } => {
            Some(status(outcome).to_owned())
        }
    }
}
