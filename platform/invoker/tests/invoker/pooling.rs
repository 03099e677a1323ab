//! What the invoker does with sandboxes: reuse, growth, pauses, deaths, refusals, the end.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use evoke_invoker::{Config, Outcome, PlatformFailure, RunEnd, pool::Usage};
use evoke_schemas::{ActivationStatus as Status, Namespace, action::CodeRef};
use futures::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::site::{Site, run_of, told};

const PYTHON: &str = "python:3.11";
const NODE: &str = "nodejs:20";
const PATIENCE: Duration = Duration::from_secs(30);

fn config() -> Config {
    Config { stem_cells: false, ..Config::default() }
}

/// Waits until the pool is as wanted.
async fn until(site: &Site, what: &str, wanted: impl Fn(Usage) -> bool) {
    let reached = async {
        while !wanted(site.invoker.usage()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "never {what}: {:?}", site.invoker.usage());
}

fn reason(end: RunEnd) -> PlatformFailure {
    match end.outcome {
        Outcome::Platform { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_warm_actions_in_turn_are_not_initialised_again() {
    let site = Site::open().await;
    let actions: Vec<_> = (0..100)
        .map(|n| {
            let code = format!("def main(a):\n  return {{'n': {n}}}\n");
            Arc::new(site.action(PYTHON, &code))
        })
        .collect();
    for round in 0..3 {
        for (n, action) in actions.iter().enumerate() {
            let end = site.run(action, "{}").await;
            assert_eq!(told(&end), (Status::Success, json!({"n": n})));
            assert_eq!(end.init_ms.is_some(), round == 0, "action {n}, round {round}");
        }
    }
    assert_eq!(site.invoker.usage().idle, 100);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_never_share_a_sandbox() {
    let site = Site::open().await;
    let action = Arc::new(
        site.action(PYTHON, "n = 0\ndef main(a):\n  global n\n  n += 1\n  return {'n': n}\n"),
    );
    for namespace in ["one", "two"] {
        let mut run = run_of(&action, "{}");
        run.namespace = Namespace::new(namespace).unwrap();
        assert_eq!(told(&site.invoker.run(run).await).1, json!({"n": 1}), "{namespace}");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_each_get_their_own_answer_from_few_sandboxes() {
    let site = Site::open().await;
    let action = Arc::new(site.action(NODE, "function main(a) { return a }"));
    let caller = |caller: usize| {
        let (site, action) = (&site, &action);
        async move {
            for call in 0..100 {
                let arguments = json!({"caller": caller, "call": call});
                let end = site.run(action, &arguments.to_string()).await;
                assert_eq!(told(&end), (Status::Success, arguments));
            }
        }
    };
    join_all((0..32).map(caller)).await;
    let usage = site.invoker.usage();
    assert!(usage.sandboxes < 32, "calls of a moment share sandboxes: {usage:?}");
    assert_eq!((usage.busy, usage.waiting), (0, 0));
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_calls_get_a_sandbox_each() {
    let site = Site::open().await;
    let code = "import time\ndef main(a):\n  time.sleep(0.3)\n  return {}\n";
    let action = Arc::new(site.action(PYTHON, code));
    site.run(&action, "{}").await;
    join_all((0..12).map(|_| site.run(&action, "{}"))).await;
    assert!(site.invoker.usage().sandboxes >= 8, "{:?}", site.invoker.usage());
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_run_takes_its_sandbox_with_it() {
    let site = Site::open().await;
    let code = "import time\ndef main(a):\n  if a:\n    time.sleep(1000)\n  return {}\n";
    let action = Arc::new(site.action(PYTHON, code));
    site.run(&action, "{}").await;
    assert_eq!(site.invoker.usage().idle, 1);
    {
        let run = site.run(&action, r#"{"sleep": true}"#);
        let given_up = timeout(Duration::from_millis(100), run).await;
        assert!(given_up.is_err());
    }
    until(&site, "empty", |usage| usage.sandboxes == 0).await;
    let end = site.run(&action, "{}").await;
    assert!(end.init_ms.is_some(), "another sandbox");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_gives_up_waiting_leaves_no_trace() {
    let site = Site::open_with(Config { max_sandboxes: Some(1), ..config() }).await;
    let code = "import time\ndef main(a):\n  time.sleep(a['s'])\n  return {}\n";
    let action = Arc::new(site.action(PYTHON, code));
    site.run(&action, r#"{"s": 0}"#).await;
    let long = site.run(&action, r#"{"s": 0.5}"#);
    let others = async {
        until(&site, "busy", |usage| usage.busy == 1).await;
        let mut run = run_of(&action, r#"{"s": 0}"#);
        run.longest_wait = Some(Duration::from_millis(50));
        let refused = reason(site.invoker.run(run).await);
        assert_eq!(refused, PlatformFailure::NoCapacity(50));
        assert!(refused.retryable());
        let dropped = timeout(Duration::from_millis(50), site.run(&action, r#"{"s": 0}"#)).await;
        assert!(dropped.is_err());
        assert_eq!(site.invoker.usage().waiting, 0);
    };
    let (end, ()) = tokio::join!(long, others);
    assert_eq!(end.outcome.status(), Status::Success);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses() {
    let limits = Config { max_sandboxes: Some(1), max_waiting: 1, ..config() };
    let site = Site::open_with(limits).await;
    let action = Arc::new(
        site.action(PYTHON, "import time\ndef main(a):\n  time.sleep(0.3)\n  return {}\n"),
    );
    let ends = join_all((0..3).map(|_| site.run(&action, "{}"))).await;
    let refused: Vec<_> =
        ends.into_iter().filter(|end| matches!(end.outcome, Outcome::Platform { .. })).collect();
    assert!(!refused.is_empty(), "one runs, one waits");
    for end in refused {
        assert_eq!(reason(end), PlatformFailure::QueueFull(1));
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_stand_still_and_go_on_when_called() {
    let site = Site::open_with(Config { pause_ms: 20, ..config() }).await;
    let code = "let ticks = 0; setInterval(() => ticks++, 5); function main() { return {ticks} }";
    let action = Arc::new(site.action(NODE, code));
    let ticks = |end: RunEnd| told(&end).1["ticks"].as_u64().unwrap();
    let before = ticks(site.run(&action, "{}").await);
    until(&site, "paused", |usage| usage.paused == 1).await;
    sleep(Duration::from_millis(1500)).await;
    let end = site.run(&action, "{}").await;
    assert_eq!(end.init_ms, None);
    let after = ticks(end);
    assert!(after < before + 280, "it stood still: {before}, then {after} of some 300 and more");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_long_idle_are_removed() {
    let site = Site::open_with(Config { pause_ms: 20, remove_ms: 100, ..config() }).await;
    let action = site.action(PYTHON, "def main(a):\n  return {}\n");
    site.once(action, "{}").await;
    until(&site, "empty", |usage| usage.sandboxes == 0).await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stem_cells_stand_ready_and_are_refilled() {
    let site = Site::open_with(Config::default()).await;
    let full = |usage: Usage| usage.idle == 3 && usage.sandboxes == 3;
    until(&site, "filled", full).await;
    let mut action = site.action(NODE, "function main() { return {} }");
    action.network = evoke_sandbox::Network::Egress;
    let end = site.once(action, "{}").await;
    assert_eq!(told(&end), (Status::Success, json!({})));
    assert!(end.init_ms.is_some(), "a stem cell is not initialised");
    until(&site, "refilled", |usage| usage.idle == 4).await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_sandbox_that_dies_is_replaced_and_no_run_sees_it() {
    let site = Site::open().await;
    let code = "function main() { setTimeout(() => process.exit(1), 1); return {} }";
    let action = Arc::new(site.action(NODE, code));
    for _ in 0..3 {
        let end = site.run(&action, "{}").await;
        assert_eq!(told(&end), (Status::Success, json!({})), "{end:?}");
        assert!(end.init_ms.is_some());
        until(&site, "noticed", |usage| usage.sandboxes == 0).await;
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_between_runs_does_not_block_the_next() {
    let site = Site::open().await;
    let code =
        "function main() { setInterval(() => console.log('x'.repeat(10000)), 0); return {} }";
    let action = Arc::new(site.action(NODE, code));
    for _ in 0..5 {
        let end = timeout(PATIENCE, site.run(&action, "{}")).await.expect("an answer");
        assert_eq!(told(&end), (Status::Success, json!({})));
        sleep(Duration::from_millis(20)).await;
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_revision_goes() {
    let site = Site::open().await;
    let action = Arc::new(site.action(PYTHON, "def main(a):\n  return {}\n"));
    site.run(&action, "{}").await;
    site.invoker.retire(action.uid, Some(action.revision));
    assert_eq!(site.invoker.usage().idle, 1);
    site.invoker.retire(action.uid, Some(action.revision + 1));
    until(&site, "gone", |usage| usage.sandboxes == 0).await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_says_why() {
    let limits = Config { memory_mb: Some(200), ..config() };
    let site = Site::open_with(limits).await;
    let unknown = site.once(site.action("cobol:1", ""), "{}").await;
    assert!(matches!(reason(unknown), PlatformFailure::UnknownKind { .. }));
    let large = reason(site.once(site.action(PYTHON, ""), "{}").await);
    assert_eq!(large, PlatformFailure::TooLarge { limit: 256, budget: 200 });
    assert!(!large.retryable());
    let mut lost = site.action(PYTHON, "");
    lost.limits.memory = 128;
    lost.code = CodeRef { hash: "0".repeat(64), bytes: 0 };
    assert!(matches!(reason(site.once(lost, "{}").await), PlatformFailure::Code(_)));
    assert_eq!(site.invoker.usage().idle, 1, "the sandbox was not touched and stays");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_interpreter_names_where_it_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let manifest: PathBuf = folder.path().join("runtimes.json");
    let text = r#"{"families": {"python": {"launcher": "python.py", "interpreters": ["/no/python"],
        "kinds": [{"kind": "python:9", "image": {"prefix": "p", "name": "n", "tag": "t"}}]}}}"#;
    std::fs::write(&manifest, text).unwrap();
    let site = Site::open_with(Config { manifest: Some(manifest), ..config() }).await;
    let failure = reason(site.once(site.action("python:9", ""), "{}").await);
    let expected = "no interpreter for `python:9` is installed (looked for: /no/python)";
    assert_eq!(failure.to_string(), expected);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interpreter_that_does_not_come_up_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let manifest: PathBuf = folder.path().join("runtimes.json");
    let launcher = folder.path().join("launcher.py");
    std::fs::write(&launcher, "raise SystemExit('not today')").unwrap();
    let text = format!(
        r#"{{"families": {{"python": {{"launcher": {launcher:?}, "interpreters": ["/usr/bin/python3"],
        "kinds": [{{"kind": "python:3", "image": {{"prefix": "p", "name": "n", "tag": "t"}}}}]}}}}}}"#
    );
    std::fs::write(&manifest, text).unwrap();
    let site = Site::open_with(Config { manifest: Some(manifest), ..config() }).await;
    let failure = reason(site.once(site.action("python:3", ""), "{}").await);
    assert!(failure.to_string().contains("stderr: not today"), "{failure}");
    assert!(failure.retryable());
    assert_eq!(site.invoker.usage().sandboxes, 0);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_runs_end_and_kills_those_that_do_not() {
    let site = Site::open().await;
    let code = "import time\ndef main(a):\n  time.sleep(a['s'])\n  return {}\n";
    let action = Arc::new(site.action(PYTHON, code));
    let (short, long) = (site.run(&action, r#"{"s": 0.2}"#), site.run(&action, r#"{"s": 1000}"#));
    let shutdown = async {
        until(&site, "busy", |usage| usage.busy == 2).await;
        site.invoker.shutdown(Duration::from_secs(1)).await;
    };
    let begun = Instant::now();
    let (short, long, ()) = tokio::join!(short, long, shutdown);
    assert_eq!(short.outcome.status(), Status::Success);
    assert_eq!(reason(long), PlatformFailure::ShuttingDown);
    assert!(begun.elapsed() < PATIENCE);
    let refused = site.run(&action, r#"{"s": 0}"#).await;
    assert_eq!(reason(refused), PlatformFailure::ShuttingDown);
    site.close().await;
}

/// The future of a run is small enough to live in its caller's task.
#[tokio::test]
async fn a_runs_future_is_small() {
    fn size<T: Future>(_: &T) -> usize {
        std::mem::size_of::<T>()
    }
    let site = Site::open().await;
    let action = Arc::new(site.action(PYTHON, ""));
    let run = site.invoker.run(run_of(&action, "{}"));
    assert!(size(&run) < 8192, "{}", size(&run));
    drop(run);
    site.close().await;
}
