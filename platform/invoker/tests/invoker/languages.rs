//! Corner cases of one language each, as OpenWhisk's runtimes decide them.

use std::collections::BTreeMap;

use evoke_schemas::ActivationStatus as Status;
use serde_json::{Value, json};

use crate::site::{Site, lines, told};

const NODE: &str = "nodejs:20";
const PYTHON: &str = "python:3.11";

async fn check(kind: &str, cases: &[(&str, Status, Value)]) {
    let site = Site::open().await;
    for (code, status, expected) in cases {
        let end = site.once(site.action(kind, code), "{}").await;
        let (given, mut result) = told(&end);
        if let Some(error) = result.pointer_mut("/error").and_then(Value::as_object_mut) {
            error.remove("stack");
        }
        assert_eq!((given, &result), (*status, expected), "{code}");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_promises_are_the_functions_own_failure() {
    let failed = |error: Value| json!({ "error": error });
    check(
        NODE,
        &[
            (
                "function main() { return Promise.reject(new Error('boom')) }",
                Status::ApplicationError,
                failed(json!({"name": "Error", "message": "boom"})),
            ),
            (
                "async function main() { throw Object.assign(new TypeError('t'), {code: 'E', more: {n: 1}}) }",
                Status::ApplicationError,
                failed(json!({"name": "TypeError", "message": "t", "code": "E", "more": {"n": 1}})),
            ),
            (
                "function main() { return Promise.reject({code: 7, message: 'm'}) }",
                Status::ApplicationError,
                failed(json!({"code": 7, "message": "m"})),
            ),
            (
                "function main() { const e = {a: 1}; e.self = e; return Promise.reject(e) }",
                Status::ApplicationError,
                failed(json!({"a": 1, "self": "[Circular]"})),
            ),
            (
                "function main() { return Promise.reject('text') }",
                Status::ApplicationError,
                failed(json!("text")),
            ),
            (
                "function main() { return Promise.reject() }",
                Status::ApplicationError,
                failed(json!({})),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_javascript_returns_is_judged_as_openwhisk_does() {
    let no_dictionary = json!({"error": "The action did not return a dictionary."});
    let not_json = |text: &str| json!({"error": format!("The action did not produce a valid JSON or JSON Array response: {text}")});
    check(
        NODE,
        &[
            ("function main() { return 42 }", Status::DeveloperError, no_dictionary.clone()),
            ("function main() { return true }", Status::DeveloperError, no_dictionary.clone()),
            ("function main() { return main }", Status::DeveloperError, no_dictionary),
            ("function main() { return null }", Status::DeveloperError, not_json("null")),
            (
                "function main() { return new Date(0) }",
                Status::DeveloperError,
                not_json("\"1970-01-01T00:00:00.000Z\""),
            ),
            ("function main() { return; }", Status::Success, json!({})),
            (
                "function main() { return {then: r => r({thenable: 1})} }",
                Status::Success,
                json!({"thenable": 1}),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_is_loaded_as_openwhisk_loads_it() {
    check(
        NODE,
        &[
            ("exports.main = () => ({exported: 1})", Status::Success, json!({"exported": 1})),
            ("module.exports = {main: () => ({exported: 2})}", Status::Success, json!({"exported": 2})),
            ("const main = async () => ({arrow: 1}) // and a comment", Status::Success, json!({"arrow": 1})),
            (
                "function main() { undeclared = 1; return {sloppy: undeclared} }",
                Status::Success,
                json!({"sloppy": 1}),
            ),
            (
                "const {sep} = require('path'); function main() { return {sep} }",
                Status::Success,
                json!({"sep": "/"}),
            ),
            (
                "JSON.stringify = null; process.nextTick = null; function main() { return {own: 1} }",
                Status::Success,
                json!({"own": 1}),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_told() {
    let site = Site::open().await;
    let code = "function main() { const a = {}; a.a = a; return a }";
    let (status, result) = told(&site.once(site.action(NODE, code), "{}").await);
    assert_eq!(status, Status::DeveloperError);
    let text = result["error"].as_str().unwrap();
    assert!(text.starts_with("An error has occurred: TypeError: Converting circular"), "{text}");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_promises_print_belongs_to_the_activation() {
    let site = Site::open().await;
    let code = "function main() { let p = Promise.resolve();
        for (let i = 0; i < 20; i++) p = p.then(() => {});
        p.then(() => console.log('late')); return {} }";
    let end = site.once(site.action(NODE, code), "{}").await;
    assert_eq!(lines(&end), ["stdout: late"]);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_outside_of_the_call_ends_the_process() {
    let site = Site::open().await;
    let code = "function main() { return new Promise(() => setTimeout(() => { throw new Error('astray') }, 1)) }";
    let end = site.once(site.action(NODE, code), "{}").await;
    let message = "The action did not produce a valid response and exited unexpectedly.";
    assert_eq!(told(&end), (Status::DeveloperError, json!({ "error": message })));
    assert!(lines(&end).iter().any(|line| line.contains("Error: astray")), "the log says why");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_python_returns_is_judged_as_openwhisk_does() {
    let not_json = |text: &str| json!({"error": format!("The action did not produce a valid JSON or JSON Array response: {text}")});
    let no_dictionary = json!({"error": "The action did not return a dictionary or array."});
    check(
        PYTHON,
        &[
            ("def main(a):\n  return (1, 2)", Status::Success, json!([1, 2])),
            ("def main(a):\n  return {1: None}", Status::Success, json!({"1": null})),
            ("def main(a):\n  return None", Status::DeveloperError, no_dictionary.clone()),
            ("def main(a):\n  return {'x': object()}", Status::DeveloperError, no_dictionary),
            ("def main(a):\n  return {'x': float('nan')}", Status::DeveloperError, not_json("{\"x\":NaN}")),
            ("def main(a):\n  return {'x': 'é😀'}", Status::Success, json!({"x": "é😀"})),
            ("def main(a):\n  return {}['x']", Status::ApplicationError, json!({"error": "'x'"})),
            (
                "import dataclasses, pickle\n@dataclasses.dataclass\nclass P:\n  x: int\ndef main(a):\n  return {'x': pickle.loads(pickle.dumps(P(3))).x}",
                Status::Success,
                json!({"x": 3}),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_cannot_be_set_is_told() {
    let site = Site::open().await;
    for (kind, code) in [(NODE, "function main() {}"), (PYTHON, "def main(a):\n  return {}")] {
        let mut action = site.action(kind, code);
        action.environment = BTreeMap::from([("A=B".to_owned(), "\0".to_owned())]);
        let end = site.once(action, "{}").await;
        assert!(matches!(end.outcome.status(), Status::Success | Status::DeveloperError));
        if kind == PYTHON {
            let expected = json!({"error": "Cannot start action. Check logs for details."});
            assert_eq!(told(&end).1, expected);
        }
    }
    site.close().await;
}
