//! Traces as values: the W3C context, spans, and ids that are derived, so that a delivery that is
//! made again after a crash goes on in the trace that it began.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::position::{LogUid, Position};

/// A trace; never zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// A span; never zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// A place in a trace: what `traceparent` says. Source: W3C Trace Context, version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that what follows is a child of.
    pub span: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

/// The trace of an event: where it came from, and the span of its acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTrace {
    /// The sender's span, where it named one.
    pub parent: Option<SpanId>,
    /// The acceptance.
    pub accept: TraceContext,
}

/// What was done, from when to when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its own place.
    pub context: TraceContext,
    /// What it is a part of; none for the first of a trace.
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: &'static str,
    /// Towards whom.
    pub kind: SpanKind,
    /// Unit: nanoseconds since 1970.
    pub start_ns: u64,
    /// Unit: nanoseconds since 1970.
    pub end_ns: u64,
    /// More about it; never a payload, never a secret.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// Why it failed, where it did.
    pub failure: Option<String>,
}

/// Towards whom something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Inside the hub.
    Internal,
    /// For a client that asked.
    Server,
    /// For a source that is read.
    Consumer,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanValue {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

/// Takes spans that have ended; never waits.
pub trait SpanSink: Send + Sync + fmt::Debug {
    /// Takes one, or drops it where there is no room.
    fn take(&self, span: Span);
}

/// Decides what is recorded, and knows where spans go. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Recording>>);

#[derive(Debug)]
struct Recording {
    sink: Arc<dyn SpanSink>,
    /// Traces of ours below this are recorded.
    below: u64,
}

/// Now. Unit: nanoseconds since 1970.
#[must_use]
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

// === impl TraceId, SpanId ===

impl TraceId {
    /// The trace of something that came without one, by what it is known by.
    #[must_use]
    pub fn derive(seed: &[&[u8]]) -> Self {
        Self(*hash(b"trace", seed).first_chunk().unwrap_or(&[1; 16]))
    }
}

impl SpanId {
    /// A span by what it does and to what: the same each time.
    #[must_use]
    pub fn derive(what: &str, seed: &[&[u8]]) -> Self {
        Self(*hash(what.as_bytes(), seed).first_chunk().unwrap_or(&[1; 8]))
    }

    /// A span that is like no other.
    #[must_use]
    pub fn fresh() -> Self {
        Self::derive("fresh", &[uuid::Uuid::new_v4().as_bytes()])
    }
}

/// 32 bytes that are never zeros at their begin, for all that anybody will see.
fn hash(what: &[u8], seed: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in std::iter::once(&what).chain(seed) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex_text::write(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex_text::write(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

// === impl TraceContext ===

impl TraceContext {
    /// The context that a `traceparent` says; none where it is not of the form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |length: usize| {
            let part = parts.next()?;
            let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            (part.len() == length && part.bytes().all(lower)).then(|| hex::decode(part).ok())?
        };
        let version = part(2)?;
        let trace = TraceId(part(32)?.try_into().ok()?);
        let span = SpanId(part(16)?.try_into().ok()?);
        let flags = part(2)?;
        // Later versions may say more; what they say first is the same.
        let known = version.as_slice() == [0] && parts.next().is_none();
        let later = !matches!(version.as_slice(), [0 | 0xff]);
        let whole = trace.0 != [0; 16] && span.0 != [0; 8] && (known || later);
        whole.then(|| Self { trace, span, sampled: flags.first().is_some_and(|f| f & 1 == 1) })
    }

    /// The same trace, at another span.
    #[must_use]
    pub fn at(self, span: SpanId) -> Self {
        Self { span, ..self }
    }
}

impl fmt::Display for TraceContext {
    /// As `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-0{}", self.trace, self.span, u8::from(self.sampled))
    }
}

// === impl SpanValue ===

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&'static str> for SpanValue {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for SpanValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for SpanValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

// === impl Tracer ===

impl Tracer {
    /// Spans go to `sink`; of traces that begin here, this part of all is recorded, 0 to 1.
    #[must_use]
    pub fn new(sink: Arc<dyn SpanSink>, ratio: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part of all numbers, which saturates at both ends"
        )]
        let below = (ratio.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        Self(Some(Arc::new(Recording { sink, below })))
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Takes a span, if its trace is recorded.
    pub fn take(&self, span: Span) {
        if let Some(recording) = &self.0
            && span.context.sampled
        {
            recording.sink.take(span);
        }
    }

    /// The trace of the event at `position`: the one that its `traceparent` names, or one of its
    /// own, the same each time it is asked for.
    #[must_use]
    pub fn of_event(&self, traceparent: Option<&str>, log: LogUid, at: Position) -> EventTrace {
        let (partition, offset) = (at.partition.to_be_bytes(), at.offset.to_be_bytes());
        self.begin(traceparent, "accept", &[&log.0, &partition, &offset])
    }

    /// A span that a client's `traceparent` is the parent of, by what it is known by.
    #[must_use]
    pub fn begin(&self, traceparent: Option<&str>, what: &str, seed: &[&[u8]]) -> EventTrace {
        let span = SpanId::derive(what, seed);
        if let Some(parent) = traceparent.and_then(TraceContext::parse) {
            return EventTrace { parent: Some(parent.span), accept: parent.at(span) };
        }
        let trace = TraceId::derive(seed);
        let low = trace.0.last_chunk().copied().map_or(0, u64::from_be_bytes);
        let sampled = self.0.as_ref().is_some_and(|recording| low <= recording.below);
        EventTrace { parent: None, accept: TraceContext { trace, span, sampled } }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const LOG: LogUid = LogUid([3; 16]);
    const AT: Position = Position { partition: 1, offset: 7 };

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<Span>>);

    impl SpanSink for Kept {
        fn take(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }
    }

    #[test]
    fn a_traceparent_is_read_and_written_back() {
        let context = TraceContext::parse(PARENT).unwrap();
        assert!(context.sampled);
        assert_eq!(context.to_string(), PARENT);
        let later = PARENT.replacen("00", "01", 1) + "-more";
        assert_eq!(TraceContext::parse(&later), Some(context));
        for bad in [
            "",
            "00-x",
            &PARENT.to_uppercase(),
            &format!("{PARENT}-more"),
            &PARENT.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_event_has_one_trace_for_ever() {
        let tracer = Tracer::new(Arc::new(Kept::default()), 1.0);
        let own = tracer.of_event(None, LOG, AT);
        assert_eq!(own, tracer.of_event(None, LOG, AT));
        assert!(own.parent.is_none() && own.accept.sampled);
        assert_ne!(own.accept, tracer.of_event(None, LogUid([4; 16]), AT).accept);
        let given = tracer.of_event(Some(PARENT), LOG, AT);
        assert_eq!(given.accept.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(given.parent.map(|span| span.to_string()).as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!(given.accept.span, own.accept.span, "derived from the place alone");
    }

    #[test]
    fn the_sender_decides_and_else_the_ratio() {
        let of = |ratio| Tracer::new(Arc::new(Kept::default()), ratio);
        let unsampled = PARENT.replace("-01", "-00");
        assert!(!of(1.0).of_event(Some(&unsampled), LOG, AT).accept.sampled);
        assert!(of(0.0).of_event(Some(PARENT), LOG, AT).accept.sampled);
        let half = of(0.5);
        let sampled = (0..1_000).filter(|offset| {
            half.of_event(None, LOG, Position { offset: *offset, ..AT }).accept.sampled
        });
        let sampled = sampled.count();
        assert!((400..600).contains(&sampled), "{sampled} of 1,000");
        assert!(!Tracer::default().of_event(None, LOG, AT).accept.sampled);
    }

    #[test]
    fn only_what_is_sampled_is_taken() {
        let kept = Arc::new(Kept::default());
        let tracer = Tracer::new(Arc::clone(&kept) as _, 1.0);
        for sampled in [true, false] {
            let context = TraceContext { sampled, ..TraceContext::parse(PARENT).unwrap() };
            tracer.take(Span {
                context,
                parent: None,
                name: "accept",
                kind: SpanKind::Server,
                start_ns: 1,
                end_ns: 2,
                attributes: Vec::new(),
                failure: None,
            });
        }
        assert_eq!(kept.0.lock().unwrap().len(), 1);
    }
}
