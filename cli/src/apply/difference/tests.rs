//! What counts as already so, and what is told of what does not.

use super::*;
use crate::{apply::mistakes::At, yaml::parse};

fn wanted(collection: Collection, body: Value, annotations: Value) -> Wanted {
    let at = At { line: 1, path: String::new() };
    let mut wanted = Wanted::new(collection, Name::parse("a"), &at, &parse("").unwrap());
    wanted.body = body.as_object().unwrap().clone();
    wanted.annotations = annotations.as_object().unwrap().clone();
    wanted
}

fn told(wanted: &Wanted, current: &Value, project: Option<&str>) -> Vec<String> {
    let mut fingerprints = Fingerprints::default();
    let changes = difference(wanted, current, project, &mut fingerprints);
    changes.iter().map(ToString::to_string).collect()
}

/// Checks that `current` counts as it shall be, and what is told once `pointer` is `value`.
fn check(wanted: &Wanted, current: &Value, changes: &[(&str, Value, &str)]) {
    assert_eq!(told(wanted, current, None), Vec::<String>::new());
    for (pointer, value, expected) in changes {
        let mut other = current.clone();
        *other.pointer_mut(pointer).unwrap() = value.clone();
        assert_eq!(told(wanted, &other, None), [*expected], "{pointer}");
    }
}

#[test]
fn what_the_hub_adds_to_an_action_is_no_change_and_all_else_is() {
    let action = wanted(
        Collection::Actions,
        json!({
            "exec": {"kind": "python:default", "code": "y", "main": "sum"},
            "parameters": [{"key": "a", "value": 1}], "limits": {"timeout": 500},
        }),
        json!({"final": true}),
    );
    check(
        &action,
        &json!({
            "namespace": "guest/tools", "name": "a", "version": "0.0.7",
            "exec": {"kind": "python:3.11", "code": "y", "main": "sum", "binary": false},
            "parameters": [{"key": "a", "value": 1}],
            "annotations": [{"key": "exec", "value": "python:3.11"}, {"key": "final", "value": true}],
            "limits": {"timeout": 500, "memory": 256, "logs": 10, "concurrency": 1},
        }),
        &[
            ("/exec/code", json!("z"), "code"),
            ("/exec/main", json!("go"), "main: go → sum"),
            ("/exec/kind", json!("nodejs:20"), "runtime: nodejs:20 → python:default"),
            ("/parameters", json!([]), "inputs.a"),
            ("/parameters/0/value", json!(2), "inputs.a"),
            ("/limits/memory", json!(128), "limits.memorySize: 128 → 256"),
            ("/limits/timeout", json!(100), "limits.timeout: 100 → 500"),
            ("/annotations/1/value", json!(false), "annotations.final"),
            ("/annotations/0/key", json!("more"), "annotations.more"),
        ],
    );
}

#[test]
fn a_rules_references_have_their_namespace() {
    let rule = wanted(
        Collection::Rules,
        json!({"trigger": "/_/tick", "action": "/whisk.system/utils/echo"}),
        json!({"delivery": {"attempts": 3}}),
    );
    check(
        &rule,
        &json!({
            "namespace": "guest", "trigger": {"path": "guest", "name": "tick"},
            "action": {"path": "whisk.system/utils", "name": "echo"}, "status": "active",
            "annotations": [{"key": "delivery", "value": {"attempts": 3}}],
        }),
        &[
            ("/trigger/name", json!("tock"), "trigger: tock → tick"),
            ("/action/path", json!("guest/utils"), "action: utils/echo → /whisk.system/utils/echo"),
            ("/status", json!("inactive"), "status: inactive → active"),
            ("/annotations/0/value/attempts", json!(4), "delivery.attempts: 4 → 3"),
            (
                "/annotations/0/value",
                json!({"attempts": 3, "ordered": true}),
                "delivery.ordered: true → (none)",
            ),
        ],
    );
}

#[test]
fn secrets_are_told_apart_and_not_told() {
    let mut feed = wanted(
        Collection::Feeds,
        json!({"provider": "couchdb", "trigger": "t", "paused": false,
               "parameters": {"url": "http://u:hunter2@h/db", "password": "hunter2", "n": 1}}),
        json!({}),
    );
    let parameters = feed.body["parameters"].clone();
    feed.hidden = Some(("parameters", parameters.clone()));
    let fingerprint = Fingerprints::default().make(&parameters).unwrap();
    let current = json!({
        "provider": "couchdb", "trigger": "t", "paused": false,
        "parameters": {"url": "http://***@h/db", "password": "***", "n": 1},
        "annotations": [{"key": FINGERPRINTS, "value": {"parameters": fingerprint}}],
    });
    check(
        &feed,
        &current,
        &[
            ("/parameters/url", json!("http://***@other/db"), "parameters.url"),
            ("/parameters/n", json!(2), "parameters.n"),
            ("/paused", json!(true), "paused: true → false"),
            ("/annotations", json!([]), "parameters"),
        ],
    );
    feed.hidden = Some(("parameters", json!({"password": "hunter3"})));
    assert_eq!(told(&feed, &current, None), ["parameters"]);
}

#[test]
fn a_secret_input_is_told_by_its_fingerprint() {
    let input = |value: &str| json!([{"key": "token", "value": value, "secret": true}]);
    let body = |value: &str| json!({ "parameters": input(value) });
    let fingerprint = Fingerprints::default().make(&json!({"token": "hunter2"})).unwrap();
    let known = json!([{"key": FINGERPRINTS, "value": {"inputs": fingerprint}}]);
    let current = json!({"parameters": input("***"), "annotations": known});
    let package = |value: &str| wanted(Collection::Packages, body(value), json!({}));
    let changes = [("/parameters/0/secret", json!(false), "inputs.token")];
    check(&package("hunter2"), &current, &changes);
    assert_eq!(told(&package("hunter3"), &current, None), ["inputs"]);
    let put = package("hunter2").put_body(None, Some("f"));
    assert_eq!(put["annotations"], json!([{"key": FINGERPRINTS, "value": {"inputs": "f"}}]));
}

#[test]
fn a_webhook_that_is_no_longer_wanted_is_a_change() {
    let trigger = wanted(Collection::Triggers, json!({"parameters": []}), json!({}));
    let current = json!({"parameters": [], "annotations": [], "webhook": {"kind": "bearer"}});
    assert_eq!(told(&trigger, &current, None), ["webhook"]);
}

#[test]
fn a_project_takes_over_what_belongs_to_nobody() {
    let trigger = wanted(Collection::Triggers, json!({"parameters": []}), json!({}));
    let current = |annotations: Value| json!({"parameters": [], "annotations": annotations});
    let of =
        |name: &str| json!([{"key": MANAGED, "value": {"projectName": name, "projectHash": "x"}}]);
    assert_eq!(told(&trigger, &current(json!([])), Some("shop")), ["project: (none) → shop"]);
    assert_eq!(told(&trigger, &current(of("shop")), Some("shop")), Vec::<String>::new());
    // Without a name nothing is said about whose it is.
    assert_eq!(told(&trigger, &current(of("shop")), None), Vec::<String>::new());
}
