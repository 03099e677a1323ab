//! Spans in the JSON form of OTLP 1.x, as collectors take them at `/v1/traces`.

use evoke_schemas::trace::{Span, SpanKind, SpanValue};
use serde_json::{Value, json};

/// The body of one export.
pub(super) fn body(service: &str, spans: &[Span]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "resourceSpans": [{
            "resource": {"attributes": [
                attribute("service.name", json!({"stringValue": service})),
                attribute("service.version", json!({"stringValue": version})),
            ]},
            "scopeSpans": [{
                "scope": {"name": "evoke", "version": version},
                "spans": spans.iter().map(span).collect::<Vec<_>>(),
            }],
        }],
    })
}

fn span(span: &Span) -> Value {
    let attributes = span.attributes.iter().map(|(name, value)| attribute(name, any(value)));
    let mut shown = json!({
        "traceId": span.context.trace.to_string(),
        "spanId": span.context.span.to_string(),
        "name": span.name,
        "kind": kind(span.kind),
        // 64-bit numbers are strings in the JSON form.
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.max(span.start_ns).to_string(),
        "attributes": attributes.collect::<Vec<_>>(),
        "flags": u8::from(span.context.sampled),
        "status": match &span.failure {
            Some(failure) => json!({"code": 2, "message": failure}),
            None => json!({}),
        },
    });
    if let (Some(parent), Some(members)) = (span.parent, shown.as_object_mut()) {
        members.insert("parentSpanId".to_owned(), parent.to_string().into());
    }
    shown
}

fn kind(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Consumer => 5,
    }
}

fn attribute(name: &str, value: Value) -> Value {
    json!({"key": name, "value": value})
}

fn any(value: &SpanValue) -> Value {
    match value {
        SpanValue::Text(text) => json!({"stringValue": text}),
        SpanValue::Number(number) => json!({"intValue": number.to_string()}),
        SpanValue::Flag(flag) => json!({"boolValue": flag}),
    }
}

#[cfg(test)]
mod tests {
    use evoke_schemas::trace::TraceContext;

    use super::*;

    #[test]
    fn a_span_has_the_form_that_collectors_take() {
        let context =
            TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let one = Span {
            context,
            parent: None,
            name: "run",
            kind: SpanKind::Internal,
            start_ns: 1_700_000_000_000_000_000,
            end_ns: 1_700_000_000_500_000_000,
            attributes: vec![("a", "b".into()), ("n", 7_u64.into()), ("f", true.into())],
            failure: Some("the function failed".to_owned()),
        };
        let two = Span { parent: Some(context.span), failure: None, ..one.clone() };
        let body = body("hub", &[one, two]);
        let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(
            spans[0],
            json!({
                "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7",
                "name": "run", "kind": 1, "flags": 1,
                "startTimeUnixNano": "1700000000000000000",
                "endTimeUnixNano": "1700000000500000000",
                "attributes": [
                    {"key": "a", "value": {"stringValue": "b"}},
                    {"key": "n", "value": {"intValue": "7"}},
                    {"key": "f", "value": {"boolValue": true}},
                ],
                "status": {"code": 2, "message": "the function failed"},
            })
        );
        assert_eq!(spans[1]["parentSpanId"], "00f067aa0ba902b7");
        assert_eq!(spans[1]["status"], json!({}));
        let name = &body["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(*name, json!({"key": "service.name", "value": {"stringValue": "hub"}}));
    }
}
