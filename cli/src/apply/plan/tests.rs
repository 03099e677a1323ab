//! Plans of small manifests, and what counts as already so.

use super::*;

const MANIFEST: &str = "
project:
  name: shop
  packages:
    default:
      actions:
        hello: {code: 'x', runtime: 'nodejs:default', limits: {timeout: 500, memorySize: 128}}
      triggers:
        tick:
        orders:
          subscription: {type: 'com.shop.*'}
      rules:
        on-tick: {trigger: tick, action: hello, delivery: {attempts: 3}}
      feeds:
        clock: {provider: alarms, trigger: tick, parameters: {every: 1s}}
    tools:
      inputs: {level: 2}
      actions:
        sum: {code: 'y', runtime: 'python:3.11', main: sum, inputs: {a: 1}}
      rules:
        on-order: {trigger: orders, action: sum}
        far: {trigger: orders, action: /whisk.system/utils/echo}
";

fn plan() -> Vec<Wanted> {
    wanted(&serde_yaml_ng::from_str(MANIFEST).unwrap(), Path::new(".")).unwrap()
}

fn one(name: &str) -> Wanted {
    plan().into_iter().find(|entity| entity.to_string() == name).unwrap()
}

#[test]
fn entities_come_in_the_order_in_which_they_can_be_made() {
    let names: Vec<_> = plan().iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "package tools",
            "action hello",
            "action tools/sum",
            "trigger orders",
            "trigger tick",
            "rule on-tick",
            "rule far",
            "rule on-order",
            "feed clock",
        ]
    );
}

#[test]
fn bodies_are_as_the_hub_takes_them() {
    assert_eq!(
        one("rule on-order").body,
        json!({"trigger": "/_/orders", "action": "/_/tools/sum", "annotations": []})
    );
    assert_eq!(one("rule far").body["action"], "/whisk.system/utils/echo");
    let delivery = json!([{"key": "delivery", "value": {"attempts": 3}}]);
    assert_eq!(one("rule on-tick").body["annotations"], delivery);
    let subscription = json!([{"key": "subscription", "value": {"type": "com.shop.*"}}]);
    assert_eq!(one("trigger orders").body["annotations"], subscription);
    assert_eq!(
        one("action hello").body,
        json!({
            "exec": {"kind": "nodejs:default", "code": "x"}, "parameters": [], "annotations": [],
            "limits": {"timeout": 500, "memory": 128},
        })
    );
    assert_eq!(
        one("feed clock").body,
        json!({"provider": "alarms", "trigger": "tick", "parameters": {"every": "1s"}})
    );
}

/// Checks that `current` counts as it shall be, and no longer once `member` is changed.
fn check(name: &str, current: &Value, changes: &[(&str, Value)]) {
    let entity = one(name);
    assert!(entity.is_so(current), "{name}");
    for (pointer, value) in changes {
        let mut other = current.clone();
        *other.pointer_mut(pointer).unwrap() = value.clone();
        assert!(!entity.is_so(&other), "{name}: {pointer}");
    }
}

#[test]
fn what_the_hub_adds_is_no_change_and_all_else_is() {
    check(
        "action tools/sum",
        &json!({
            "namespace": "guest/tools", "name": "sum", "version": "0.0.7",
            "exec": {"kind": "python:3.11", "code": "y", "main": "sum", "binary": false},
            "parameters": [{"key": "a", "value": 1}],
            "annotations": [{"key": "exec", "value": "python:3.11"}],
            "limits": {"timeout": 60000, "memory": 256, "logs": 10},
        }),
        &[
            ("/exec/code", json!("z")),
            ("/exec/main", json!("main")),
            ("/exec/kind", json!("python:3.12")),
            ("/parameters", json!([])),
            ("/parameters/0/value", json!(2)),
        ],
    );
    check(
        "action hello",
        &json!({
            "exec": {"kind": "nodejs:20", "code": "x", "binary": false}, "parameters": [],
            "annotations": [], "limits": {"timeout": 500, "memory": 128, "logs": 10},
        }),
        &[("/exec/kind", json!("python:3.11")), ("/limits/memory", json!(256))],
    );
    check(
        "rule on-tick",
        &json!({
            "trigger": {"path": "guest", "name": "tick"},
            "action": {"path": "guest", "name": "hello"}, "status": "active",
            "annotations": [{"key": "delivery", "value": {"attempts": 3}}],
        }),
        &[
            ("/trigger/name", json!("tock")),
            ("/action/path", json!("guest/tools")),
            ("/annotations/0/value/attempts", json!(4)),
        ],
    );
    check(
        "feed clock",
        &json!({
            "name": "clock", "provider": "alarms", "trigger": "tick", "paused": false,
            "parameters": {"every": "1s"}, "status": {"state": "running"},
        }),
        &[
            ("/parameters/every", json!("2s")),
            ("/parameters/every", json!("***")),
            ("/trigger", json!("tock")),
            ("/paused", json!(true)),
        ],
    );
    check(
        "trigger tick",
        &json!({"parameters": [], "annotations": [], "rules": {}}),
        &[("/parameters", json!([{"key": "a", "value": 1}]))],
    );
}

#[test]
fn mistakes_that_yaml_cannot_see_are_told() {
    let fail = |text: &str| {
        let manifest = serde_yaml_ng::from_str(text).unwrap();
        wanted(&manifest, Path::new("/nowhere")).unwrap_err().to_string()
    };
    let action = |text: &str| fail(&format!("packages: {{default: {{actions: {{a: {text}}}}}}}"));
    assert_eq!(action("{}"), "action `a`: want either `function` (a file) or `code`");
    assert_eq!(action("{code: x}"), "action `a`: `code` wants `runtime` too");
    assert!(action("{function: a.js}").starts_with("cannot read `/nowhere/a.js`"));
    assert_eq!(
        fail("{project: {packages: {p: {triggers: {t: }}}}, packages: {q: {triggers: {t: }}}}"),
        "trigger t is described twice"
    );
}

#[test]
fn the_quickstart_is_whole() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/manifest.yaml");
    let manifest = crate::apply::manifest::read(&file).unwrap();
    let all = wanted(&manifest, file.parent().unwrap()).unwrap();
    let names: Vec<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "action describe",
            "action fingerprint",
            "trigger orders",
            "trigger tick",
            "rule orders-describe",
            "rule orders-fingerprint",
            "rule tick-describe",
            "rule tick-fingerprint",
            "feed every-second",
        ]
    );
    for action in &all[..2] {
        assert!(action.body["exec"]["code"].as_str().unwrap().contains("main("), "{action}");
    }
}
