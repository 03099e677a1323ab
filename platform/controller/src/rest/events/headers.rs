//! Headers of a request that fires: what functions see of them, and the trace context.

use evoke_schemas::{Event, event::Attribute};
use http::{HeaderMap, HeaderName, header};
use serde_json::{Map, Value};

/// W3C trace context: header and extension attribute have the same name.
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Never kept (decision 6), besides every header that has `signature` or `token` in its name.
const SECRET: [HeaderName; 4] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE, header::SET_COOKIE];
/// Of the body, not of the request, as OpenWhisk has it.
const OF_THE_BODY: [HeaderName; 3] =
    [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// What `__ow_headers` shows; `own` is the header of the trigger's signature.
pub(super) fn shown(headers: &HeaderMap, own: Option<&str>) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in headers.keys() {
        let text = name.as_str();
        let secret = SECRET.contains(name)
            || text.contains("signature")
            || text.contains("token")
            || text.contains("api-key")
            || own == Some(text);
        if secret || OF_THE_BODY.contains(name) {
            continue;
        }
        let values =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let values: Vec<_> = values.collect();
        shown.insert(text.to_owned(), values.join(", ").into());
    }
    shown
}

/// The request's trace context, if it has the form of one.
pub(in crate::rest) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = text.split('-');
    let mut hex = |length| {
        parts.next().is_some_and(|part| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let whole = hex(2) && hex(32) && hex(16) && hex(2);
    (whole && parts.next().is_none()).then_some(text)
}

/// Gives an event without a trace context that of its request.
pub(in crate::rest) fn add_trace(event: &mut Event, headers: &HeaderMap) {
    if event.extensions.contains_key(TRACEPARENT) {
        return;
    }
    let Some(parent) = traceparent(headers) else { return };
    event.extensions.insert(TRACEPARENT.to_owned(), Attribute::Text(parent.to_owned()));
    let state = headers.get(TRACESTATE).and_then(|state| state.to_str().ok());
    if let Some(state) = state.filter(|state| !state.is_empty() && state.len() <= 512) {
        event.extensions.insert(TRACESTATE.to_owned(), Attribute::Text(state.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(k, v): &(&str, &str)| {
            (HeaderName::from_bytes(k.as_bytes()).unwrap(), v.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn secrets_are_not_shown() {
        let all = headers(&[
            ("Host", "hub"),
            ("X-G-One", "1"),
            ("Accept", "a"),
            ("Authorization", "Basic x"),
            ("Cookie", "c"),
            ("Proxy-Authorization", "p"),
            ("X-Hub-Signature-256", "s"),
            ("X-Access-Token", "t"),
            ("X-Own", "mine"),
            ("Content-Type", "application/json"),
            ("Content-Length", "2"),
        ]);
        let shown = Value::Object(shown(&all, Some("x-own")));
        assert_eq!(shown, json!({"host": "hub", "x-g-one": "1", "accept": "a"}));
    }

    #[test]
    fn a_trace_context_is_taken_once() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request = headers(&[(TRACEPARENT, parent), (TRACESTATE, "a=1")]);
        let mut event = Event::new("1", "s", "t");
        add_trace(&mut event, &request);
        assert_eq!(event.attribute(TRACEPARENT).as_deref(), Some(parent));
        assert_eq!(event.attribute(TRACESTATE).as_deref(), Some("a=1"));
        add_trace(&mut event, &headers(&[(TRACEPARENT, &parent.replace('4', "5"))]));
        assert_eq!(event.attribute(TRACEPARENT).as_deref(), Some(parent));
        for bad in ["", "00-x", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"] {
            assert_eq!(traceparent(&headers(&[(TRACEPARENT, bad)])), None, "{bad}");
        }
    }
}
