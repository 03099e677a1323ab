//! Judges how a run ended: whose success or failure an answer, a death or a time-out is.
//!
//! Texts are OpenWhisk's (`Messages.scala`, `ActivationResult.scala`; spec 5.1, 5.5, 11.25, 11.29).

use std::borrow::Cow;

use evoke_sandbox::{Ending, Exit};
use evoke_schemas::{activation::error_result, limits::MAX_RESULT_BYTES};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    protocol::{Answer, Frame},
    run::{Outcome, PlatformFailure},
};

/// Bytes shown of a result that is too long or not JSON.
const MAX_QUOTED: usize = MAX_RESULT_BYTES;

/// What the function was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Being initialised.
    Init,
    /// Running.
    Run,
}

/// Why a sandbox ended before it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    /// How.
    pub(crate) exit: Exit,
    /// Whether the interpreter said that its own memory bound was reached.
    pub(crate) said_exhausted: bool,
    /// Whether the machine's own memory ran out meanwhile.
    pub(crate) host_short: bool,
}

/// How the answer to a run ends it, and the size of that answer as its record tells it.
pub(crate) fn judge_run(frame: Frame<'_>) -> (Outcome, Option<u64>) {
    match frame.answer() {
        Answer::Result { kept, length } => (judge_result(kept, length), Some(size(kept, length))),
        Answer::Error(body) => (developer_body(body), Some(frame.length)),
        Answer::Ok | Answer::Garbled => (not_json(frame.kept), Some(frame.length)),
    }
}

/// Size of a result as OpenWhisk counts it: characters of UTF-16, as its strings are made of them; of
/// one that is cut, bytes.
fn size(kept: &[u8], length: u64) -> u64 {
    if kept.is_ascii() || length > MAX_RESULT_BYTES as u64 {
        return length;
    }
    let units = |byte: u8| match byte {
        0x80..0xC0 => 0,
        0xF0.. => 2,
        _ => 1,
    };
    kept.iter().copied().map(units).sum()
}

/// How the answer to an initialisation ends the run; none when it may go on.
pub(crate) fn judge_init(frame: Frame<'_>) -> Option<(Outcome, Option<u64>)> {
    match frame.answer() {
        Answer::Ok => None,
        Answer::Error(body) => Some((developer_body(body), Some(frame.length))),
        Answer::Result { .. } | Answer::Garbled => {
            let text = quote(frame.kept);
            let message = format!("The action failed during initialization: {text}");
            Some((Outcome::developer(&message), Some(frame.length)))
        }
    }
}

/// How a time-out ends a run.
pub(crate) fn judge_timeout(phase: Phase, limit_ms: u64) -> Outcome {
    let during = match phase {
        Phase::Init => " during initialization",
        Phase::Run => "",
    };
    let message =
        format!("The action exceeded its time limits of {limit_ms} milliseconds{during}.");
    Outcome::DeveloperError { result: error_result(&message), timeout: true }
}

/// How the death of the sandbox ends a run.
///
/// A death during initialisation is told at once; OpenWhisk 2.0.0 waits for the time limit there
/// (spec 11.28).
pub(crate) fn judge_death(phase: Phase, death: Death) -> Outcome {
    if death.exit.oom_killed || death.said_exhausted {
        return Outcome::developer("The action exhausted its memory and was aborted.");
    }
    match death.exit.ending {
        Ending::Signal(KILL) if death.host_short => {
            return Outcome::Platform { reason: PlatformFailure::HostMemory };
        }
        // Only a shutdown kills a sandbox under its run.
        Ending::Killed => return Outcome::Platform { reason: PlatformFailure::ShuttingDown },
        Ending::Code(_) | Ending::Signal(_) | Ending::Lost => {}
    }
    Outcome::developer(match phase {
        Phase::Init => "The action did not initialize and exited unexpectedly.",
        Phase::Run => "The action did not produce a valid response and exited unexpectedly.",
    })
}

/// SIGKILL.
const KILL: i32 = 9;

impl Outcome {
    /// How a run ends whose answer is this text.
    #[must_use]
    pub fn of_result(text: &[u8]) -> Self {
        judge_result(text, text.len() as u64)
    }
}

fn judge_result(kept: &[u8], length: u64) -> Outcome {
    if length > MAX_RESULT_BYTES as u64 {
        return too_long(kept, length);
    }
    if !matches!(kept.first(), Some(b'{' | b'[')) {
        return not_json(kept);
    }
    let Ok(result) = serde_json::from_slice::<Box<RawValue>>(kept) else {
        return not_json(kept);
    };
    if may_have_error(kept)
        && let Some(error) = error_member(result.get())
    {
        return Outcome::ApplicationError { result: error };
    }
    Outcome::Success { result }
}

/// False where no member can be called `error`; spares most results the look inside.
fn may_have_error(json: &[u8]) -> bool {
    json.first() == Some(&b'{')
        && (memchr::memmem::find(json, b"error").is_some()
            || memchr::memmem::find(json, b"\\u").is_some())
}

/// `{"error": …}` where the object has such a member, whatever its value (spec 11.25).
fn error_member(json: &str) -> Option<Box<RawValue>> {
    struct Find;
    impl<'de> Visitor<'de> for Find {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                if key == "error" {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    let mut json = serde_json::Deserializer::from_str(json);
    let error = json.deserialize_map(Find).ok().flatten()?;
    RawValue::from_string(format!("{{\"error\":{}}}", error.get())).ok()
}

fn too_long(kept: &[u8], length: u64) -> Outcome {
    let prefix = quote(kept);
    Outcome::ApplicationError {
        result: error_result(&format!(
            "The action produced a response that exceeded the allowed length: \
             {length} > {MAX_RESULT_BYTES} bytes. The truncated response was: {prefix}"
        )),
    }
}

fn not_json(text: &[u8]) -> Outcome {
    let text = quote(text);
    Outcome::developer(&format!(
        "The action did not produce a valid JSON or JSON Array response: {text}"
    ))
}

/// The answer's own `{"error": …}` object.
fn developer_body(body: &[u8]) -> Outcome {
    match serde_json::from_slice::<Box<RawValue>>(body) {
        Ok(result) => Outcome::DeveloperError { result, timeout: false },
        Err(_malformed) => not_json(body),
    }
}

fn quote(bytes: &[u8]) -> Cow<'_, str> {
    let end = bytes.len().min(MAX_QUOTED);
    let shown = bytes.get(..end).unwrap_or_default();
    match std::str::from_utf8(shown) {
        Ok(text) => Cow::Borrowed(text),
        Err(cut) if cut.error_len().is_none() => {
            String::from_utf8_lossy(shown.get(..cut.valid_up_to()).unwrap_or_default())
        }
        Err(_foreign) => String::from_utf8_lossy(shown),
    }
}

#[cfg(test)]
mod tests {
    use evoke_schemas::ActivationStatus;
    use serde_json::{Value, json};

    use super::*;

    const OK: ActivationStatus = ActivationStatus::Success;
    const APPLICATION: ActivationStatus = ActivationStatus::ApplicationError;
    const DEVELOPER: ActivationStatus = ActivationStatus::DeveloperError;

    fn check(frame: &str, status: ActivationStatus, result: Value, size: u64) {
        let frame = Frame { kept: frame.as_bytes(), length: frame.len() as u64 };
        let (outcome, answered) = judge_run(frame);
        let given: Value = serde_json::from_str(outcome.result().get()).unwrap();
        assert_eq!((outcome.status(), given, answered), (status, result, Some(size)));
    }

    #[test]
    fn results_are_judged_as_openwhisk_does() {
        check(r#"{"result":{"a":1}}"#, OK, json!({"a": 1}), 7);
        check(r#"{"result":[]}"#, OK, json!([]), 2);
        check(r#"{"result":{"s":"é😀€"}}"#, OK, json!({"s": "é😀€"}), 12);
        check(r#"{"result":{"a":{"error":1}}}"#, OK, json!({"a": {"error": 1}}), 17);
        check(r#"{"result":[{"error":1}]}"#, OK, json!([{"error": 1}]), 13);
        check(r#"{"result":{"error":"bad","more":1}}"#, APPLICATION, json!({"error": "bad"}), 24);
        check(r#"{"result":{"error":null}}"#, APPLICATION, json!({"error": null}), 14);
        check(r#"{"result":{"more":1,"error":false}}"#, APPLICATION, json!({"error": false}), 24);
        check("{\"result\":{\"\\u0065rror\":0}}", APPLICATION, json!({"error": 0}), 16);
        let text = "The action did not return a dictionary.";
        check(&json!({"error": text}).to_string(), DEVELOPER, json!({"error": text}), 51);
    }

    #[test]
    fn what_is_no_object_is_the_developers_error() {
        let text = |shown: &str| json!({"error": format!("The action did not produce a valid JSON or JSON Array response: {shown}")});
        check(r#"{"result":"1970"}"#, DEVELOPER, text("\"1970\""), 6);
        check(r#"{"result":null}"#, DEVELOPER, text("null"), 4);
        check(r#"{"result":{"a":NaN}}"#, DEVELOPER, text("{\"a\":NaN}"), 9);
        check(r#"{"result":{"a":1} }}"#, DEVELOPER, text("{\"a\":1} }"), 9);
        check("hello", DEVELOPER, text("hello"), 5);
        check(r#"{"ok":true}"#, DEVELOPER, text("{\"ok\":true}"), 11);
    }

    #[test]
    fn a_result_one_byte_too_long_is_cut_and_the_functions_error() {
        let at_the_limit = format!("{{\"result\":[\"{}\"]}}", "x".repeat(MAX_RESULT_BYTES - 4));
        let frame = Frame { kept: at_the_limit.as_bytes(), length: at_the_limit.len() as u64 };
        assert_eq!(judge_run(frame).0.status(), OK);
        let over = format!("{{\"result\":[\"{}é\"]}}", "x".repeat(MAX_RESULT_BYTES - 5));
        let kept = &over.as_bytes()[..crate::protocol::MAX_KEPT];
        let (outcome, size) = judge_run(Frame { kept, length: over.len() as u64 });
        assert_eq!((outcome.status(), size), (APPLICATION, Some(1_048_577)));
        let start = "{\"error\":\"The action produced a response that exceeded the allowed length: \
                     1048577 > 1048576 bytes. The truncated response was: [\\\"xxx";
        assert!(outcome.result().get().starts_with(start), "{:.200}", outcome.result().get());
    }

    #[test]
    fn a_failed_initialisation_ends_the_run() {
        let init = |text: &'static str| {
            judge_init(Frame { kept: text.as_bytes(), length: text.len() as u64 })
        };
        assert!(init("{\"ok\":true}").is_none());
        let (outcome, size) = init("{\"error\":\"x\"}").unwrap();
        assert_eq!(
            (outcome.status(), outcome.result().get(), size),
            (DEVELOPER, "{\"error\":\"x\"}", Some(13))
        );
        let (outcome, _) = init("hm").unwrap();
        assert_eq!(
            outcome.result().get(),
            "{\"error\":\"The action failed during initialization: hm\"}"
        );
    }

    #[test]
    fn a_death_is_somebodys() {
        let death = |ending, oom_killed, said_exhausted, host_short| Death {
            exit: Exit { ending, oom_killed },
            said_exhausted,
            host_short,
        };
        let words = |phase, death| judge_death(phase, death).result().get().to_owned();
        let exit = death(Ending::Code(1), false, false, true);
        assert!(words(Phase::Run, exit).contains("did not produce a valid response and exited"));
        assert!(words(Phase::Init, exit).contains("did not initialize and exited"));
        for death in [
            death(Ending::Signal(9), true, false, true),
            death(Ending::Signal(6), false, true, false),
        ] {
            assert!(words(Phase::Run, death).contains("exhausted its memory"));
        }
        let taken = judge_death(Phase::Run, death(Ending::Signal(9), false, false, true));
        assert!(matches!(taken, Outcome::Platform { reason: PlatformFailure::HostMemory }));
        let own = judge_death(Phase::Run, death(Ending::Signal(9), false, false, false));
        assert_eq!(own.status(), DEVELOPER);
    }

    #[test]
    fn a_time_out_names_the_limit() {
        let outcome = judge_timeout(Phase::Init, 500);
        assert_eq!(
            outcome.result().get(),
            "{\"error\":\"The action exceeded its time limits of 500 milliseconds during initialization.\"}"
        );
        assert!(matches!(outcome, Outcome::DeveloperError { timeout: true, .. }));
    }
}
