//! The frames between the hub and a launcher: four bytes of length and four of the call's number,
//! big endian, then JSON. An answer has the number of its call.
//!
//! ```text
//! hub → {"init":{name, main, binary, env, perRun}}, then a frame that is the code's own bytes
//!                                                          launcher → {"ok":true} | {"error":…}
//! hub → {"run":{value, env}}                               launcher → {"result":…} | {"error":…}
//! ```
//! A launcher's first frame, of number 0 and sent unasked once its interpreter stands, is
//! `{"ok":true}`. What
//! comes from a launcher is the action's to forge: it is judged, never believed.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use evoke_schemas::limits::{MAX_CODE_BYTES, MAX_RESULT_BYTES};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::run::{PlatformFailure, Run};

/// Bytes of a frame before its JSON.
pub(crate) const HEADER: usize = 8;
/// Bytes kept of an answer; longer ones are counted and thrown away.
pub(crate) const MAX_KEPT: usize = MAX_RESULT_BYTES + RESULT.len() + 1;

const RESULT: &[u8] = b"{\"result\":";
const ERROR: &[u8] = b"{\"error\":";
const OK: &[u8] = b"{\"ok\":true}";

/// An answer as read from the channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// The beginning of the JSON, [`MAX_KEPT`] bytes at most.
    pub(crate) kept: &'a [u8],
    /// Bytes of the whole JSON.
    pub(crate) length: u64,
}

/// What an answer is by its form; its inside is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// `{"ok":true}`.
    Ok,
    /// `{"result":…}`, the inside.
    Result {
        /// Its beginning; all of it where it is as long as `length`.
        kept: &'a [u8],
        /// Bytes of all of it.
        length: u64,
    },
    /// `{"error":…}`, as a whole.
    Error(&'a [u8]),
    /// Nothing that a launcher sends.
    Garbled,
}

#[derive(Serialize)]
struct Init<'a> {
    name: &'a str,
    main: &'a str,
    binary: bool,
    env: Constants<'a>,
    #[serde(rename = "perRun")]
    per_run: PerRun<'a>,
}

/// The environment that stays the same while a sandbox serves its action.
#[derive(Serialize)]
struct Constants<'a> {
    #[serde(flatten)]
    own: &'a std::collections::BTreeMap<String, String>,
    #[serde(rename = "__OW_NAMESPACE")]
    namespace: &'a str,
    #[serde(rename = "__OW_ACTION_NAME")]
    name: String,
    #[serde(rename = "__OW_ACTION_VERSION")]
    version: String,
}

/// The environment that changes from run to run.
#[derive(Serialize)]
struct PerRun<'a> {
    #[serde(rename = "__OW_ACTIVATION_ID")]
    activation_id: String,
    #[serde(rename = "__OW_TRANSACTION_ID")]
    transaction_id: &'a str,
    #[serde(rename = "__OW_DEADLINE")]
    deadline: String,
    #[serde(rename = "__OW_EVENT_ID", skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(rename = "__OW_TRACEPARENT", skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(rename = "__OW_API_KEY", skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
}

/// The frame that announces the code of `run`'s action, its header still empty.
pub(crate) fn init_frame(run: &Run, deadline_ms: u64) -> Vec<u8> {
    let action = &run.action;
    let init = Init {
        name: action.name.name.as_str(),
        main: action.main.as_deref().unwrap_or("main"),
        binary: action.binary,
        env: Constants {
            own: &action.environment,
            namespace: run.namespace.as_str(),
            name: format!("/{}", action.name),
            version: action.version.to_string(),
        },
        per_run: per_run(run, deadline_ms),
    };
    let mut frame = vec![0; HEADER];
    frame.extend_from_slice(b"{\"init\":");
    write_json(&mut frame, &init);
    frame.push(b'}');
    frame
}

/// The code as a launcher takes it: archives as they are, not as base64. What is no base64 goes as
/// it came, and the launcher says that it is no archive.
pub(crate) fn code_bytes(code: &Bytes, binary: bool) -> Result<Bytes, PlatformFailure> {
    if code.len() > MAX_CODE_BYTES {
        return Err(PlatformFailure::Code(format!("{} bytes are too many", code.len())));
    }
    let decoded = if binary { BASE64.decode(code).ok() } else { None };
    Ok(decoded.map_or_else(|| code.clone(), Bytes::from))
}

/// As lenient as OpenWhisk's runtimes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Replaces the content of `frame` by the frame that starts `run`, its header still empty.
pub(crate) fn run_frame(frame: &mut Vec<u8>, run: &Run, deadline_ms: u64) {
    frame.clear();
    frame.extend_from_slice(&[0; HEADER]);
    frame.extend_from_slice(b"{\"run\":{\"value\":");
    frame.extend_from_slice(&run.arguments);
    frame.extend_from_slice(b",\"env\":");
    write_json(frame, &per_run(run, deadline_ms));
    frame.extend_from_slice(b"}}");
}

fn per_run(run: &Run, deadline_ms: u64) -> PerRun<'_> {
    let key = run.api_key.as_ref().filter(|_| run.action.provide_api_key);
    PerRun {
        activation_id: run.activation_id.to_string(),
        transaction_id: &run.transaction_id,
        deadline: deadline_ms.to_string(),
        event_id: run.event_id.as_deref(),
        traceparent: run.traceparent.as_deref(),
        api_key: key.map(evoke_schemas::Secret::reveal),
    }
}

#[expect(clippy::expect_used, reason = "structs of strings written to memory cannot fail")]
fn write_json(frame: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(frame, value).expect("strings are JSON");
}

/// Writes the header of a frame that is complete otherwise.
pub(crate) fn seal(frame: &mut [u8], call: u32) {
    let filled = header(frame.len().saturating_sub(HEADER), call);
    if let Some(place) = frame.first_chunk_mut() {
        *place = filled;
    }
}

/// The header of a frame of `length` bytes.
pub(crate) fn header(length: usize, call: u32) -> [u8; HEADER] {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    (u64::from(length) << 32 | u64::from(call)).to_be_bytes()
}

/// Length of the JSON, and the number of the call.
pub(crate) fn read_header(header: [u8; HEADER]) -> (u64, u32) {
    let both = u64::from_be_bytes(header);
    (both >> 32, (both & u64::from(u32::MAX)) as u32)
}

impl<'a> Frame<'a> {
    /// What it is by its form.
    pub(crate) fn answer(self) -> Answer<'a> {
        if self.kept == OK {
            return Answer::Ok;
        }
        if let Some(inside) = self.kept.strip_prefix(RESULT) {
            let length = self.length.saturating_sub(RESULT.len() as u64 + 1);
            let whole = self.kept.len() as u64 == self.length;
            let kept = if whole { inside.strip_suffix(b"}") } else { Some(inside) };
            return kept.map_or(Answer::Garbled, |kept| Answer::Result { kept, length });
        }
        if self.kept.starts_with(ERROR) && serde_json::from_slice::<&RawValue>(self.kept).is_ok() {
            return Answer::Error(self.kept);
        }
        Answer::Garbled
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use evoke_sandbox::Network;
    use evoke_schemas::{
        ActivationId, EntityUid, FullName, Namespace, Secret, SemVer, action::CodeRef,
        limits::LimitRanges,
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::run::RunnableAction;

    fn run(provide_api_key: bool) -> Run {
        let guest = Namespace::new("guest").unwrap();
        Run {
            activation_id: ActivationId([0xab; 16]),
            namespace: guest.clone(),
            action: Arc::new(RunnableAction {
                name: FullName::parse("/other/p/a", &guest).unwrap(),
                uid: EntityUid([1; 16]),
                revision: 1,
                version: SemVer(0, 1, 2),
                kind: "nodejs:20".to_owned(),
                main: None,
                binary: false,
                code: CodeRef { hash: String::new(), bytes: 0 },
                environment: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
                limits: LimitRanges::default().defaults(),
                network: Network::None,
                provide_api_key,
            }),
            arguments: Bytes::from_static(b"{\"x\":1.50}"),
            transaction_id: "tid\"".to_owned(),
            event_id: None,
            traceparent: None,
            api_key: Some(Secret::new("u:k")),
            longest_wait: None,
        }
    }

    fn open(frame: &[u8]) -> Value {
        serde_json::from_slice(&frame[HEADER..]).unwrap()
    }

    #[test]
    fn a_header_tells_length_and_number() {
        let mut frame = vec![0; HEADER + 300];
        seal(&mut frame, 0xfffe_fdfc);
        assert_eq!(frame[..HEADER], [0, 0, 1, 44, 0xff, 0xfe, 0xfd, 0xfc]);
        assert_eq!(read_header(*frame.first_chunk().unwrap()), (300, 0xfffe_fdfc));
    }

    #[test]
    fn an_initialisation_carries_the_environment() {
        let frame = init_frame(&run(false), 5);
        assert_eq!(
            open(&frame),
            json!({"init": {
                "name": "a", "main": "main", "binary": false,
                "env": {
                    "A": "b", "__OW_NAMESPACE": "guest", "__OW_ACTION_NAME": "/other/p/a",
                    "__OW_ACTION_VERSION": "0.1.2",
                },
                "perRun": {
                    "__OW_ACTIVATION_ID": "ab".repeat(16), "__OW_TRANSACTION_ID": "tid\"",
                    "__OW_DEADLINE": "5",
                },
            }})
        );
    }

    #[test]
    fn archives_go_as_bytes_and_all_else_as_it_came() {
        let check = |code: &'static str, binary, expected: &[u8]| {
            assert_eq!(code_bytes(&Bytes::from_static(code.as_bytes()), binary).unwrap(), expected);
        };
        check("aGk=", true, b"hi");
        check("aGl=", true, b"hi");
        check("aGk=", false, b"aGk=");
        check("no base64", true, b"no base64");
        let large = Bytes::from(vec![b'x'; MAX_CODE_BYTES + 1]);
        assert!(matches!(code_bytes(&large, false), Err(PlatformFailure::Code(_))));
    }

    #[test]
    fn a_run_carries_the_arguments_as_they_came_and_the_key_where_granted() {
        let mut frame = b"left over".to_vec();
        let mut asked = run(true);
        asked.event_id = Some("e1".to_owned());
        run_frame(&mut frame, &asked, 7);
        assert_eq!(open(&frame)["run"]["env"]["__OW_API_KEY"], "u:k");
        assert_eq!(open(&frame)["run"]["env"]["__OW_EVENT_ID"], "e1");
        assert!(
            frame.windows(10).any(|bytes| bytes == b"{\"x\":1.50}"),
            "arguments are not rewritten"
        );
        run_frame(&mut frame, &run(false), 7);
        assert_eq!(open(&frame)["run"]["env"].get("__OW_API_KEY"), None);
    }

    fn check(frame: &[u8], expected: Answer<'_>) {
        assert_eq!(Frame { kept: frame, length: frame.len() as u64 }.answer(), expected);
    }

    #[test]
    fn answers_are_told_apart_by_their_form() {
        check(b"{\"ok\":true}", Answer::Ok);
        check(b"{\"result\":[1]}", Answer::Result { kept: b"[1]", length: 3 });
        check(b"{\"error\":\"x\"}", Answer::Error(b"{\"error\":\"x\"}"));
        check(b"{\"error\":\"x\"", Answer::Garbled);
        check(b"{\"result\":1", Answer::Garbled);
        check(b"", Answer::Garbled);
        check(b"{\"ok\":false}", Answer::Garbled);
        let cut = Frame { kept: b"{\"result\":[1,2", length: 30 };
        assert_eq!(cut.answer(), Answer::Result { kept: b"[1,2", length: 19 });
    }
}
