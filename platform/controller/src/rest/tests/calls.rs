//! Calls of actions and their activations.

use serde_json::{Value, json};

use crate::{
    Config,
    bench::{Bench, GUEST, basic, media},
};

async fn with_actions(names: &[&str]) -> Bench {
    let bench = Bench::new().await;
    for name in names {
        let action = json!({"exec": {"kind": "nodejs:20", "code": "x"}});
        bench.set_up("PUT", &format!("actions/{name}"), action).await;
    }
    bench
}

#[tokio::test]
async fn a_blocking_call_gives_the_record_and_the_record_is_kept() {
    let bench = with_actions(&["echo"]).await;
    let answer = bench.guest("POST", "actions/echo?blocking=true", Some(json!({"x": 1}))).await;
    let record = answer.json();
    assert_eq!(answer.status, 200);
    let id = answer.header("x-openwhisk-activation-id").unwrap();
    assert_eq!(record["activationId"], json!(id));
    assert_eq!(record["logs"], json!([]));
    assert_eq!(
        record["response"],
        json!({"status": "success", "success": true, "result": {"x": 1}, "size": 7})
    );
    let limits = json!({"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1});
    assert_eq!(
        record["annotations"],
        json!([
            {"key": "initTime", "value": 3}, {"key": "kind", "value": "nodejs:20"},
            {"key": "limits", "value": limits}, {"key": "path", "value": "guest/echo"},
            {"key": "timeout", "value": false}, {"key": "waitTime", "value": 2},
        ])
    );
    assert_eq!((record["duration"].clone(), record["end"].clone()), (json!(7), json!(1007)));
    let kept = bench.guest("GET", &format!("activations/{id}"), None).await.json();
    assert_eq!(kept["logs"], json!(["a line"]));
    let logs = bench.guest("GET", &format!("activations/{id}/logs"), None).await.json();
    assert_eq!(logs, json!({"logs": ["a line"]}));
    let result = bench.guest("GET", &format!("activations/{id}/result"), None).await.json();
    assert_eq!(result, record["response"]);
    let listed = bench.guest("GET", "activations?name=echo", None).await.json();
    assert_eq!(listed[0]["statusCode"], json!(0));
    assert_eq!(listed[0].get("response"), None);
    let count = bench.guest("GET", "activations?count=true&name=other", None).await.json();
    assert_eq!(count, json!({"activations": 0}));
}

#[tokio::test]
async fn failures_are_somebodys() {
    let bench = with_actions(&["fails", "throws", "lost"]).await;
    for (name, status, word, result) in [
        ("fails", 502, "application error", json!({"error": "bad"})),
        ("throws", 502, "action developer error", json!({"error": "boom"})),
        (
            "lost",
            500,
            "whisk internal error",
            json!({"error": "Failed to provision resources to run the action."}),
        ),
    ] {
        let path = format!("actions/{name}?blocking=true");
        let answer = bench.guest("POST", &path, Some(json!({}))).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.json()["response"]["status"], json!(word));
        let path = format!("{path}&result=true");
        let answer = bench.guest("POST", &path, Some(json!({}))).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (status, result), "{name}");
        assert!(answer.header("x-openwhisk-activation-id").is_some());
    }
}

#[tokio::test]
async fn a_wait_that_expires_leaves_the_call_under_way() {
    let bench = with_actions(&["slow"]).await;
    let path = "actions/slow?blocking=true&result=true&timeout=20";
    let answer = bench.guest("POST", path, Some(json!({}))).await;
    assert_eq!(answer.status, 202);
    let id = answer.json()["activationId"].as_str().unwrap().to_owned();
    let path = format!("activations/{id}");
    assert_eq!(bench.guest("GET", &path, None).await.status, 404);
    bench.runner.let_go.add_permits(1);
    bench.hub.parts.invocations.drained().await;
    assert_eq!(bench.guest("GET", &path, None).await.json()["name"], json!("slow"));
}

#[tokio::test]
async fn parameters_are_laid_over_each_other() {
    let bench = Bench::new().await;
    let package = json!({"parameters": [{"key": "a", "value": "p"}, {"key": "b", "value": "p"}]});
    bench.set_up("PUT", "packages/p", package).await;
    let action = json!({
        "exec": {"kind": "nodejs:20", "code": "x"},
        "parameters": [
            {"key": "b", "value": "a"}, {"key": "c", "value": {"x": 1, "y": 1}},
            {"key": "E", "value": "env", "init": true},
        ],
    });
    bench.set_up("PUT", "actions/p/echo", action).await;
    let call = async |body: Value| {
        bench.guest("POST", "actions/p/echo?blocking=true&result=true", Some(body)).await.json()
    };
    let bound = json!({"a": "p", "b": "a", "c": {"x": 1, "y": 1}});
    assert_eq!(call(json!({})).await, bound);
    let got = call(json!({"c": {"x": 2}, "d": null})).await;
    assert_eq!(got, json!({"a": "p", "b": "a", "c": {"x": 2}, "d": null}));
    let run = bench.runner.runs.lock().unwrap()[0].clone();
    assert_eq!(run.action.environment.get("E").map(String::as_str), Some("env"));
    assert_eq!((&run.event_id, &run.api_key), (&None, &None));
    // A change of the package is seen by the next call, and its old sandboxes are let go.
    bench.set_up("PUT", "packages/p?overwrite=true", json!({"parameters": []})).await;
    assert_eq!(call(json!({})).await, json!({"b": "a", "c": {"x": 1, "y": 1}}));
    let runs = bench.runner.runs.lock().unwrap();
    let revisions: Vec<u64> = runs.iter().map(|run| run.action.revision).collect();
    assert!(revisions[0] == revisions[1] && revisions[1] < revisions[2], "{revisions:?}");
    let retired = bench.runner.retired.lock().unwrap();
    assert_eq!(*retired, [(run.action.uid, Some(revisions[2]))]);
}

#[tokio::test]
async fn final_parameters_cannot_be_set() {
    let bench = Bench::new().await;
    let action = json!({
        "exec": {"kind": "nodejs:20", "code": "x"}, "annotations": [{"key": "final", "value": true}],
        "parameters": [{"key": "a", "value": 1}, {"key": "n", "value": null}],
    });
    bench.set_up("PUT", "actions/echo", action).await;
    let sentence = "Request defines parameters that are not allowed (e.g., reserved properties).";
    for query in ["?blocking=true", ""] {
        let path = format!("actions/echo{query}");
        let answer = bench.guest("POST", &path, Some(json!({"a": 2}))).await;
        assert_eq!(answer.error(), (400, sentence.to_owned()), "{path}");
        let answer = bench.guest("POST", &path, Some(json!({"n": 2}))).await;
        assert!(answer.status.is_success(), "{path}");
    }
}

#[tokio::test]
async fn a_call_that_does_not_block_is_accepted_with_an_id() {
    let bench = with_actions(&["echo"]).await;
    for query in ["", "?result=true", "?blocking=false&result=true"] {
        let answer = bench.guest("POST", &format!("actions/echo{query}"), None).await;
        assert_eq!(answer.status, 202, "{query}");
        let id = answer.json()["activationId"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("x-openwhisk-activation-id"), Some(id.as_str()));
        assert!(answer.header("x-evoke-position").is_some());
    }
    assert!(bench.runner.runs.lock().unwrap().is_empty(), "nothing runs before it is dispatched");
}

#[tokio::test]
async fn a_function_gets_the_request_id_the_trace_and_the_key_where_it_may() {
    let bench = Bench::new().await;
    let action = json!({
        "exec": {"kind": "nodejs:20", "code": "x"},
        "annotations": [{"key": "provide-api-key", "value": true}],
    });
    bench.set_up("PUT", "actions/echo", action).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        basic(GUEST),
        media("application/json"),
        ("x-request-id", "mine".to_owned()),
        ("traceparent", trace.to_owned()),
    ];
    bench.ask("POST", "actions/echo?blocking=true", &headers, Some("{}")).await;
    let run = bench.runner.runs.lock().unwrap()[0].clone();
    assert_eq!(run.transaction_id, "mine");
    assert_eq!(run.traceparent.as_deref(), Some(trace));
    assert_eq!(run.api_key.unwrap().reveal(), GUEST);
}

#[tokio::test]
async fn too_many_calls_under_way_are_answered_with_when_to_come_again() {
    let config = Config { max_blocking: 1, ..Config::default() };
    let bench = Bench::with(config, tempfile::tempdir().unwrap()).await;
    bench.set_up("PUT", "actions/slow", json!({"exec": {"kind": "nodejs:20", "code": "x"}})).await;
    let path = "actions/slow?blocking=true&timeout=10";
    assert_eq!(bench.guest("POST", path, None).await.status, 202);
    let answer = bench.guest("POST", path, None).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("1"));
    bench.runner.let_go.add_permits(1);
    bench.hub.parts.invocations.drained().await;
    bench.runner.let_go.add_permits(1);
    assert_eq!(bench.runner.runs.lock().unwrap().len(), 1);
}
