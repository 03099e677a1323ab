//! Code that does not load, ends early, never ends, or takes more than it may.

use std::time::Duration;

use evoke_tests::e2e::{
    caller::Ask,
    entities::{self, call, text},
    wait::{SOON, until},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Done, accept, furnished, nothing_lost, still_good};

/// Code that misbehaves, and how its run ends.
struct Case {
    what: &'static str,
    kind: &'static str,
    code: &'static str,
    /// JSON.
    limits: &'static str,
    /// Of the response; the HTTP status of both that there are is 502.
    status: &'static str,
    /// How it begins.
    error: &'static str,
}

const NODE: &str = "nodejs:default";
const PYTHON: &str = "python:default";
const DEVELOPER: &str = "action developer error";
const APPLICATION: &str = "application error";
const EXITED: &str = "The action did not produce a valid response and exited unexpectedly.";
const EXITED_AT_INIT: &str = "The action did not initialize and exited unexpectedly.";
const OUT_OF_MEMORY: &str = "The action exhausted its memory and was aborted.";
const OUT_OF_TIME: &str = "The action exceeded its time limits of 1500 milliseconds";
const SHORT: &str = r#"{"timeout":1500}"#;
const SHORT_AND_LARGE: &str = r#"{"timeout":1500,"memory":512}"#;
const SMALL: &str = r#"{"memory":128}"#;
const ANY: &str = "{}";
/// Base64 of what is no archive.
const GARBAGE: &str = "Z2FyYmFnZSB0aGF0IGlzIG5vIGFyY2hpdmUh";

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { what: "code that does not parse, Node.js", kind: NODE, limits: ANY, status: DEVELOPER,
        code: "function main( {",
        error: "Initialization has failed due to: " },
    Case { what: "code that does not parse, Python", kind: PYTHON, limits: ANY, status: DEVELOPER,
        code: "def main(:\n",
        error: "Cannot start action. Check logs for details." },
    Case { what: "code without main", kind: NODE, limits: ANY, status: DEVELOPER,
        code: "const a = 1;",
        error: "Initialization has failed due to: " },
    Case { what: "a broken archive, Node.js", kind: NODE, limits: ANY, status: DEVELOPER,
        code: GARBAGE,
        error: "Initialization has failed due to: There was an error uncompressing the action archive." },
    Case { what: "a broken archive, Python", kind: PYTHON, limits: ANY, status: DEVELOPER,
        code: GARBAGE,
        error: "Cannot start action. Check logs for details." },
    Case { what: "an exit while loading", kind: NODE, limits: ANY, status: DEVELOPER,
        code: "process.exit(3);",
        error: EXITED_AT_INIT },
    Case { what: "an exit, Node.js", kind: NODE, limits: ANY, status: DEVELOPER,
        code: "function main() { process.exit(0); }",
        error: EXITED },
    Case { what: "an exit, Python", kind: PYTHON, limits: ANY, status: DEVELOPER,
        code: "import os\ndef main(args):\n  os._exit(0)\n",
        error: EXITED },
    Case { what: "a signal to itself", kind: NODE, limits: ANY, status: DEVELOPER,
        code: "function main() { process.kill(process.pid, 'SIGKILL'); return new Promise(() => {}); }",
        error: EXITED },
    Case { what: "an exception, Node.js", kind: NODE, limits: ANY, status: DEVELOPER,
        code: "function main() { throw new Error('boom'); }",
        error: "An error has occurred: Error: boom" },
    Case { what: "an exception, Python", kind: PYTHON, limits: ANY, status: APPLICATION,
        code: "def main(args):\n  raise ValueError('boom')\n",
        error: "boom" },
    Case { what: "a text as result", kind: NODE, limits: ANY, status: DEVELOPER,
        code: "function main() { return 'hm'; }",
        error: "The action did not return a dictionary." },
    Case { what: "a result too long", kind: NODE, limits: ANY, status: APPLICATION,
        code: "function main() { return { long: 'x'.repeat(2 << 20) }; }",
        error: "The action produced a response that exceeded the allowed length: 2097163 > 1048576 bytes. The truncated response was: {\"long\":\"xxx" },
    Case { what: "an endless loop while loading", kind: NODE, limits: SHORT, status: DEVELOPER,
        code: "for (;;);",
        error: "The action exceeded its time limits of 1500 milliseconds during initialization." },
    Case { what: "an endless wait", kind: PYTHON, limits: SHORT, status: DEVELOPER,
        code: "import time\ndef main(args):\n  time.sleep(600)\n",
        error: OUT_OF_TIME },
    Case { what: "memory without end, Node.js", kind: NODE, limits: SMALL, status: DEVELOPER,
        code: "function main() { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)); }",
        error: OUT_OF_MEMORY },
    Case { what: "objects without end, Node.js", kind: NODE, limits: SMALL, status: DEVELOPER,
        code: "function main() { const all = []; for (;;) all.push({ a: all.length }); }",
        error: OUT_OF_MEMORY },
    Case { what: "memory without end, Python", kind: PYTHON, limits: SMALL, status: DEVELOPER,
        code: "def main(args):\n  all = []\n  while True:\n    all.append(bytearray(b'1' * (1 << 20)))\n",
        error: OUT_OF_MEMORY },
    Case { what: "forks without end", kind: PYTHON, limits: SHORT_AND_LARGE, status: DEVELOPER,
        code: "import os\ndef main(args):\n  while True:\n    try:\n      os.fork()\n    except OSError:\n      pass\n",
        error: OUT_OF_TIME },
    Case { what: "processes without end", kind: NODE, limits: SHORT_AND_LARGE, status: DEVELOPER,
        code: "function main() { for (;;) { try { require('child_process').spawn('/proc/self/exe', ['-e', 'for(;;);']); } catch (e) {} } }",
        error: OUT_OF_TIME },
    Case { what: "rubbish where answers go", kind: NODE, limits: SHORT, status: DEVELOPER,
        code: "function main() { require('fs').writeSync(3, 'rubbish'.repeat(9)); return new Promise(() => {}); }",
        error: "The action " },
    Case { what: "no way to answer any more", kind: NODE, limits: SHORT, status: DEVELOPER,
        code: "function main() { require('fs').closeSync(3); return new Promise(() => {}); }",
        error: "The action " },
];

fn action(kind: &str, code: &str, limits: &Value) -> Value {
    json!({"exec": {"kind": kind, "code": code}, "limits": limits})
}

#[tokio::test]
async fn code_that_misbehaves_gets_its_error_and_harms_nobody() -> Done {
    let (place, hub, caller) = furnished().await?;
    let mut accepted = Vec::new();
    for case in CASES {
        let limits: Value = serde_json::from_str(case.limits).unwrap_or_default();
        // Limits that are not given stay as they were, so each case has an action of its own.
        caller.send(Ask::new("DELETE", "actions/bad")).await?;
        entities::action(&caller, "bad", &action(case.kind, case.code, &limits)).await?;
        accept(&caller, &mut accepted).await?;
        let reply = call(&caller, "bad", &json!({})).await?;
        let shown: String = reply.text().chars().take(600).collect();
        let context = format!("{}: {} {shown}", case.what, reply.status);
        let record = reply.json();
        let error = text(&record, "/response/result/error");
        assert_eq!(
            (reply.status, text(&record, "/response/status").as_str()),
            (502, case.status),
            "{context}"
        );
        assert!(error.starts_with(case.error), "{context}\nwanted: {}", case.error);
        let kept = entities::record(&caller, &text(&record, "/activationId")).await?;
        assert_eq!(kept["response"], record["response"], "{context}");
        still_good(&caller, case.what).await?;
    }
    nothing_lost(&caller, &accepted).await?;
    place.end(hub).await
}

#[tokio::test]
async fn a_call_of_a_warm_sandbox_is_cut_at_its_limit() -> Done {
    let (place, hub, caller) = furnished().await?;
    let code = "function main({ loop, wait }) {
      while (loop);
      return wait ? new Promise(() => {}) : {};
    }";
    for how in ["loop", "wait"] {
        entities::action(&caller, "bad", &action(NODE, code, &json!({"timeout": 500}))).await?;
        // Warm first: a busy machine may take longer than the limit to initialise.
        until("a warm sandbox", SOON, async || {
            let reply = call(&caller, "bad", &json!({})).await?;
            Ok(if reply.status == 200 { Ok(()) } else { Err(reply.text()) })
        })
        .await?;
        let start = Instant::now();
        let reply = call(&caller, "bad", &json!({how: true})).await?;
        let took = start.elapsed();
        let record = reply.json();
        assert_eq!(reply.status, 502, "{how}: {}", reply.text());
        let error = text(&record, "/response/result/error");
        assert_eq!(error, "The action exceeded its time limits of 500 milliseconds.", "{how}");
        let annotations = record["annotations"].as_array().cloned().unwrap_or_default();
        assert!(annotations.contains(&json!({"key": "timeout", "value": true})), "{how}: {record}");
        assert!(took >= Duration::from_millis(500), "{how}: {took:?}");
        let duration = record["duration"].as_u64().unwrap_or_default();
        assert!((500..5_000).contains(&duration), "{how}: {duration} ms");
        still_good(&caller, how).await?;
    }
    place.end(hub).await
}

const FILL: &str = "const fs = require('fs');
function main() {
  const piece = Buffer.alloc(1 << 20, 1);
  const file = fs.openSync('/tmp/fill', 'w');
  let bytes = 0;
  try { for (;;) bytes += fs.writeSync(file, piece); } catch (e) {
    return { code: e.code, bytes };
  }
}";

const FLOOD: &str = "function main() {
  for (let i = 0; i < 3000; i++) console.log('x'.repeat(1000));
  return { done: true };
}";

const ANSWER_TWICE: &str = "import os
def main(args):
    os.fork()
    return {'number': args['number']}
";

#[tokio::test]
async fn what_fills_the_disk_is_told_that_it_is_full() -> Done {
    let (place, hub, caller) = furnished().await?;
    entities::action(&caller, "fill", &action(NODE, FILL, &json!({"memory": 128}))).await?;
    for round in 0..2 {
        let reply = call(&caller, "fill", &json!({})).await?;
        let result = &reply.json()["response"]["result"];
        assert_eq!(result["code"], "ENOSPC", "round {round}: {}", reply.text());
        let bytes = result["bytes"].as_u64().unwrap_or(u64::MAX);
        assert!(bytes <= 128 << 20, "round {round}: {bytes} bytes");
    }
    still_good(&caller, "a full disk").await?;
    place.end(hub).await
}

#[tokio::test]
async fn logs_without_end_are_cut_and_it_is_said() -> Done {
    let (place, hub, caller) = furnished().await?;
    entities::action(&caller, "flood", &action(NODE, FLOOD, &json!({"logs": 1}))).await?;
    let reply = call(&caller, "flood", &json!({})).await?;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let record = entities::record(&caller, &text(&reply.json(), "/activationId")).await?;
    let logs: Vec<_> =
        record["logs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let last = logs.last().copied().unwrap_or_default();
    let sentence = "stderr: Logs were truncated because the total bytes size exceeds the limit of \
                    1048576 bytes.";
    assert!(last.ends_with(sentence), "{last}");
    let bytes: usize = logs.iter().map(|line| line.len()).sum();
    assert!((500_000..1_200_000).contains(&bytes), "{bytes} bytes of logs");
    still_good(&caller, "a flood of logs").await?;
    place.end(hub).await
}

#[tokio::test]
async fn a_second_answer_to_a_call_is_nobodys() -> Done {
    let (place, hub, caller) = furnished().await?;
    entities::action(&caller, "twice", &action(PYTHON, ANSWER_TWICE, &json!({}))).await?;
    for number in 0..20 {
        let reply = call(&caller, "twice", &json!({"number": number})).await?;
        let result = &reply.json()["response"]["result"];
        assert_eq!(result, &json!({"number": number}), "{}", reply.text());
    }
    still_good(&caller, "two answers to each call").await?;
    place.end(hub).await
}
