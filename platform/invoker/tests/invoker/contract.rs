//! What every runtime promises, asked of every kind that this machine can serve.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use evoke_invoker::{RunEnd, RunnableAction};
use evoke_schemas::{ActivationStatus as Status, Secret};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    site::{Site, lines, run_of, told},
    snippets::{SNIPPETS, Snippets},
};

const WARNING: &str =
    "stderr: The action did not initialize or run as expected. Log data might be missing.";

/// Kinds that can run here, with their snippets.
fn served(site: &Site) -> Vec<(String, &'static Snippets)> {
    let reports = site.invoker.runtimes().report();
    let served: Vec<_> = reports
        .into_iter()
        .filter(|report| report.interpreter.is_some())
        .map(|report| {
            let family = report.kind.split(':').next().unwrap().to_owned();
            let snippets = SNIPPETS.iter().find(|snippets| snippets.family == family);
            (report.kind, snippets.expect("every family has its snippets"))
        })
        .collect();
    for family in ["nodejs:", "python:"] {
        assert!(served.iter().any(|(kind, _)| kind.starts_with(family)), "install {family}");
    }
    served
}

/// Runs `code` of every kind once and compares status and result.
async fn check(
    pick: fn(&Snippets) -> &'static str,
    arguments: &str,
    status: Status,
    result: impl Fn(&Snippets) -> Value,
) {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let end = site.once(site.action(&kind, pick(snippets)), arguments).await;
        assert_eq!(told(&end), (status, result(snippets)), "{kind}: {end:?}");
    }
    site.close().await;
}

fn error(message: &str) -> Value {
    json!({ "error": message })
}

fn with_limits(
    mut action: RunnableAction,
    timeout_ms: u64,
    memory_mb: u64,
    logs_mb: u64,
) -> RunnableAction {
    action.limits.timeout = timeout_ms;
    action.limits.memory = memory_mb;
    action.limits.logs = logs_mb;
    action
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_come_back_as_they_were() {
    let arguments =
        json!({"é😀": ["\u{0}\n\"\\", 1.5, -0.25, null, true, {}], "deep": {"a": {"b": []}}});
    let text = arguments.to_string();
    check(|s| s.echo, &text, Status::Success, |_| arguments.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_goes_in_and_comes_out() {
    let arguments = json!({"p": "é".repeat(500_000)});
    let text = arguments.to_string();
    check(|s| s.echo, &text, Status::Success, |_| arguments.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_are_results_and_nothing_is_an_empty_object() {
    check(|s| s.array, "{}", Status::Success, |_| json!([1, {"a": 2}])).await;
    check(|s| s.nothing, "{}", Status::Success, |_| json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_may_be_asynchronous() {
    check(|s| s.asynchronous, "{}", Status::Success, |_| json!({"late": true})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_member_is_the_functions_own_failure() {
    check(|s| s.fails, "{}", Status::ApplicationError, |_| error("bad")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_object_is_the_developers_error() {
    check(|s| s.string, "{}", Status::DeveloperError, |s| error(s.no_object)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_initialised_once_and_then_only_called() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let action = Arc::new(site.action(&kind, snippets.counts));
        for n in 1..=3 {
            let end = site.run(&action, "{}").await;
            assert_eq!(told(&end), (Status::Success, json!({"n": n})), "{kind}");
            assert_eq!(end.init_ms.is_some(), n == 1, "{kind}: initialised at the first call only");
            assert_eq!(end.size, Some(7), "{kind}");
            assert!(end.end_ms >= end.start_ms && end.start_ms > 1_700_000_000_000);
        }
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_entry_point_may_be_named() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let mut action = site.action(&kind, snippets.other_main);
        action.main = Some("other".to_owned());
        let end = site.once(action, "{}").await;
        assert_eq!(told(&end), (Status::Success, json!({"other": true})), "{kind}");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_openwhisks() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let mut action = site.action(&kind, snippets.environment);
        action.environment = BTreeMap::from([("OWN".to_owned(), "é=1".to_owned())]);
        let action = Arc::new(action);
        let mut run = run_of(&action, "{}");
        run.api_key = Some(Secret::new("uuid:key"));
        run.event_id = Some("event".to_owned());
        run.traceparent = Some("00-aa-bb-01".to_owned());
        let first = told(&site.invoker.run(run.clone()).await).1;
        let mut expected = json!({
            "OWN": "é=1", "__OW_NAMESPACE": "guest", "__OW_ACTION_NAME": "/guest/p/a",
            "__OW_ACTION_VERSION": "0.0.3", "__OW_TRANSACTION_ID": "tid",
            "__OW_ACTIVATION_ID": run.activation_id.to_string(),
            "__OW_EVENT_ID": "event", "__OW_TRACEPARENT": "00-aa-bb-01",
        });
        let deadline = first["run"]["__OW_DEADLINE"].as_str().unwrap().parse::<u64>().unwrap();
        assert!(deadline > 1_700_000_000_000, "{kind}: epoch milliseconds");
        for when in ["init", "run"] {
            let mut seen = first[when].clone();
            seen.as_object_mut().unwrap().remove("__OW_DEADLINE").expect("a deadline");
            assert_eq!(seen, expected, "{kind} at {when}");
        }

        let run = run_of(&action, "{}");
        expected["__OW_ACTIVATION_ID"] = run.activation_id.to_string().into();
        for gone in ["__OW_EVENT_ID", "__OW_TRACEPARENT"] {
            expected.as_object_mut().unwrap().remove(gone);
        }
        let mut seen = told(&site.invoker.run(run).await).1["run"].clone();
        seen.as_object_mut().unwrap().remove("__OW_DEADLINE");
        assert_eq!(seen, expected, "{kind}: what a run does not have is gone");

        let mut granted = (*action).clone();
        (granted.provide_api_key, granted.revision) = (true, 2);
        let mut run = run_of(&Arc::new(granted), "{}");
        run.api_key = Some(Secret::new("uuid:key"));
        let seen = told(&site.invoker.run(run).await).1;
        assert_eq!(seen["init"]["__OW_API_KEY"], "uuid:key", "{kind}");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_a_run_starts_have_its_environment() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let action = Arc::new(site.action(&kind, snippets.child_environment));
        for _ in 0..2 {
            let run = run_of(&action, "{}");
            let id = run.activation_id.to_string();
            let end = site.invoker.run(run).await;
            assert_eq!(told(&end), (Status::Success, json!({"id": id})), "{kind}: {end:?}");
        }
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_activation_has_its_own_lines() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let action = Arc::new(site.action(&kind, snippets.prints));
        for _ in 0..3 {
            let end = site.run(&action, "{}").await;
            let mut lines = lines(&end);
            lines.sort();
            assert_eq!(lines, ["stderr: err", "stdout: out", "stdout: é"], "{kind}");
        }
        let mut silent = (*action).clone();
        (silent.limits.logs, silent.revision) = (0, 2);
        assert_eq!(site.once(silent, "{}").await.logs, Vec::<String>::new(), "{kind}");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_lines_is_cut_and_stops_nothing() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let action = site.action(&kind, snippets.floods);
        let action = Arc::new(with_limits(action, 60_000, 256, 1));
        let end = site.run(&action, r#"{"lines": 200000}"#).await;
        assert_eq!(told(&end), (Status::Success, json!({})), "{kind}");
        let lines = lines(&end);
        assert_eq!(lines.len(), (1 << 20) / (99 + 71) + 1, "{kind}");
        assert_eq!(
            lines.last().unwrap(),
            "stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes."
        );
        let end = site.run(&action, r#"{"lines": 1}"#).await;
        assert_eq!(
            (end.logs.len(), end.init_ms),
            (1, None),
            "{kind}: nothing of the flood is left"
        );
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_is_told_as_openwhisk_tells_it() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let end = site.once(site.action(&kind, snippets.throws), "{}").await;
        let expected = if snippets.family == "nodejs" {
            (Status::DeveloperError, error("An error has occurred: Error: boom"))
        } else {
            (Status::ApplicationError, error("boom"))
        };
        assert_eq!(told(&end), expected, "{kind}");
        let lines = lines(&end);
        assert!(lines.iter().any(|line| line.contains("boom")), "{kind}: {lines:?}");
        assert_eq!(lines.last().unwrap() == WARNING, expected.0 == Status::DeveloperError);
    }
    site.close().await;
}

/// Runs code that cannot be loaded; the message must begin so.
async fn check_cannot_start(pick: fn(&Snippets) -> &'static str, node: &str) {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let action = Arc::new(site.action(&kind, pick(snippets)));
        for _ in 0..2 {
            let end = site.run(&action, "{}").await;
            let (status, result) = told(&end);
            let message = result["error"].as_str().unwrap();
            assert_eq!(status, Status::DeveloperError, "{kind}");
            assert!(message.starts_with(snippets.cannot_start), "{kind}: {message}");
            assert!(snippets.family != "nodejs" || message.contains(node), "{kind}: {message}");
            assert!(end.init_ms.is_some(), "{kind}: each time anew");
            assert!(lines(&end).len() > 1, "{kind}: the log says why");
        }
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_does_not_parse_is_told_at_initialisation() {
    check_cannot_start(|s| s.broken, "SyntaxError").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_entry_point_is_told_at_initialisation() {
    check_cannot_start(|s| s.no_main, "Action entrypoint 'main' is not a function.").await;
}

/// Runs code that ends badly; the next run of it starts anew.
async fn check_end(
    pick: fn(&Snippets) -> &'static str,
    (timeout_ms, memory_mb): (u64, u64),
    message: &str,
    also: impl Fn(&RunEnd),
) {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let action = site.action(&kind, pick(snippets));
        let action = Arc::new(with_limits(action, timeout_ms, memory_mb, 10));
        let end = site.run(&action, "{}").await;
        assert_eq!(told(&end), (Status::DeveloperError, error(message)), "{kind}: {end:?}");
        assert_eq!(end.size, None, "{kind}: no answer came");
        assert_eq!(lines(&end).last().unwrap(), WARNING, "{kind}");
        also(&end);
        assert_eq!(site.invoker.usage().busy, 0, "{kind}");
        let next = site.run(&action, "{}").await;
        assert!(next.init_ms.is_some(), "{kind}: in another sandbox");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_exits_is_noticed_at_once() {
    let message = "The action did not produce a valid response and exited unexpectedly.";
    let begun = Instant::now();
    check_end(|s| s.exits, (60_000, 256), message, |end| assert!(!end.timed_out())).await;
    let message = "The action did not initialize and exited unexpectedly.";
    check_end(|s| s.exits_early, (60_000, 256), message, |end| assert!(!end.timed_out())).await;
    assert!(begun.elapsed() < Duration::from_secs(50), "no time limit was waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_ends_a_run_and_what_it_printed_is_kept() {
    let message = "The action exceeded its time limits of 400 milliseconds.";
    check_end(
        |s| s.loops,
        (400, 256),
        message,
        |end| {
            assert!(end.timed_out());
            assert_eq!(lines(end)[0], "stdout: begun");
            assert!(end.end_ms - end.start_ms < 10_000);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_ends_an_initialisation() {
    let message = "The action exceeded its time limits of 300 milliseconds during initialization.";
    check_end(|s| s.loops_early, (300, 256), message, |end| assert!(end.timed_out())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_limit_ends_a_run() {
    let message = "The action exhausted its memory and was aborted.";
    check_end(|s| s.hogs, (60_000, 128), message, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heap_that_grows_is_memory_too() {
    let site = Site::open().await;
    let code =
        "const kept = []; function main() { for (let i = 0; ; i++) kept.push({i, s: 'x' + i}) }";
    let action = with_limits(site.action("nodejs:default", code), 60_000, 128, 0);
    let kind = site.invoker.runtimes().manifest().resolve("nodejs:default").unwrap().kind.clone();
    let end = site.once(RunnableAction { kind, ..action }, "{}").await;
    let message = "The action exhausted its memory and was aborted.";
    assert_eq!(told(&end), (Status::DeveloperError, error(message)));
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_too_large_is_cut_and_the_sandbox_kept() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let action = Arc::new(site.action(&kind, snippets.large));
        let end = site.run(&action, r#"{"size": 20000000}"#).await;
        let (status, result) = told(&end);
        assert_eq!(status, Status::ApplicationError, "{kind}");
        assert_eq!(end.size, Some(20_000_008), "{kind}");
        let message = result["error"].as_str().unwrap();
        let start = "The action produced a response that exceeded the allowed length: \
                     20000008 > 1048576 bytes. The truncated response was: {\"x\":\"xxx";
        assert!(message.starts_with(start), "{kind}: {message:.200}");
        assert!(message.len() < (1 << 20) + 200, "{kind}: {}", message.len());
        let end = site.run(&action, r#"{"size": 2}"#).await;
        assert_eq!((told(&end), end.init_ms), ((Status::Success, json!({"x": "xx"})), None));
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_the_sandboxes_own() {
    check(|s| s.fills_disk, "{}", Status::Success, |_| json!({"full": true})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_ends_and_nothing_of_it_is_left() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let action = with_limits(site.action(&kind, snippets.forks), 1000, 256, 1);
        let (status, result) = told(&site.once(action, "{}").await);
        let message = result["error"].as_str().unwrap();
        // Where no control group shares out what processes have in common, it counts for each.
        let expected = ["exceeded its time limits of 1000", "exhausted its memory"];
        assert_eq!(status, Status::DeveloperError, "{kind}");
        assert!(expected.iter().any(|part| message.contains(part)), "{kind}: {message}");
        let end = site.once(site.action(&kind, snippets.echo), "{}").await;
        assert_eq!(told(&end), (Status::Success, json!({})), "{kind}: the machine goes on");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_answer_ends_its_own_run_and_the_sandbox() {
    let site = Site::open().await;
    for (kind, snippets) in served(&site) {
        let forges = |call: u32| (snippets.forges, json!({ "call": call }).to_string());
        // The first call of a sandbox is its initialisation, the second the run.
        for (call, result) in [(1, json!({"own": true})), (2, json!({})), (3, json!({"own": true}))]
        {
            let (code, arguments) = forges(call);
            let action = Arc::new(site.action(&kind, code));
            let first = site.run(&action, &arguments).await;
            assert_eq!(told(&first), (Status::Success, result), "{kind}, forging {call}");
            let second = told(&site.run(&action, r#"{"call": 1}"#).await);
            assert_eq!(second.1, json!({"own": true}), "{kind}: never the answer to another run");
        }
        let action = site.action(&kind, snippets.promises_too_much);
        let end = site.once(with_limits(action, 300, 256, 1), "{}").await;
        assert!(end.timed_out(), "{kind}");
    }
    site.close().await;
}
