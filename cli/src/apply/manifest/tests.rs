//! Manifests read, and every mistake of them told.

use std::path::Path;

use serde_json::{Value, json};

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
          webhook: {hmac: {secret: $SECRET}}
      rules:
        on-tick: {trigger: tick, action: hello, delivery: {attempts: 3}}
      feeds:
        clock: {provider: alarms, trigger: tick, parameters: {every: 1s}}
    tools:
      inputs: {level: 2}
      actions:
        sum: {code: 'y', runtime: 'python:3.11', main: sum, inputs: {a: 1}, web: raw}
      triggers:
        nightly: {feed: /whisk.system/alarms/alarm, inputs: {cron: '0 2 * * *'}}
      rules:
        on-order: {trigger: orders, action: sum}
        far: {trigger: orders, action: /whisk.system/utils/echo, status: inactive}
";

fn lookup(name: &str) -> Option<String> {
    (name == "SECRET").then(|| "hunter2".to_owned())
}

fn read_text(text: &str) -> Result<Project, CliError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.yaml");
    fs::write(&file, text).unwrap();
    read(&file, &lookup, &mut Vec::new())
}

fn one(name: &str) -> Wanted {
    let project = read_text(MANIFEST).unwrap();
    project.wanted.into_iter().find(|entity| entity.to_string() == name).unwrap()
}

#[test]
fn entities_come_in_the_order_in_which_they_can_be_made() {
    let project = read_text(MANIFEST).unwrap();
    assert_eq!(project.name.as_deref(), Some("shop"));
    let names: Vec<_> = project.wanted.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "package tools",
            "action hello",
            "action tools/sum",
            "trigger tick",
            "trigger orders",
            "trigger nightly",
            "rule on-tick",
            "rule on-order",
            "rule far",
            "feed clock",
        ]
    );
}

#[test]
fn bodies_are_as_the_hub_takes_them() {
    let body = |name: &str| one(name).put_body(None, None);
    assert_eq!(
        body("rule on-order"),
        json!({"trigger": "/_/orders", "action": "/_/tools/sum", "annotations": []})
    );
    assert_eq!(body("rule far")["action"], "/whisk.system/utils/echo");
    assert!(one("rule far").is_inactive);
    let delivery = json!([{"key": "delivery", "value": {"attempts": 3}}]);
    assert_eq!(body("rule on-tick")["annotations"], delivery);
    assert_eq!(
        body("trigger orders"),
        json!({
            "parameters": [], "webhook": {"hmac": {"secret": "hunter2", "header": "x-hub-signature-256"}},
            "annotations": [{"key": "subscription", "value": {"type": "com.shop.*"}}],
        })
    );
    assert_eq!(
        body("action hello"),
        json!({
            "exec": {"kind": "nodejs:default", "code": "x"}, "parameters": [], "annotations": [],
            "limits": {"timeout": 500, "memory": 128},
        })
    );
    let web = json!([{"key": "final", "value": true}, {"key": "raw-http", "value": true},
                     {"key": "web-export", "value": true}]);
    assert_eq!(body("action tools/sum")["annotations"], web);
    assert_eq!(
        body("feed clock"),
        json!({"provider": "alarms", "trigger": "tick", "parameters": {"every": "1s"},
               "paused": false, "annotations": []})
    );
    let nightly = one("trigger nightly");
    let feed = json!([{"key": "feed", "value": "/whisk.system/alarms/alarm"}]);
    assert_eq!(nightly.put_body(None, None), json!({"parameters": [], "annotations": feed}));
    let parameters = Value::Object(nightly.feed.unwrap().parameters);
    assert_eq!(parameters, json!({"cron": "0 2 * * *"}));
}

#[test]
fn a_project_and_a_fingerprint_are_annotations() {
    assert_eq!(
        one("trigger orders").put_body(Some("shop"), Some("abc"))["annotations"],
        json!([
            {"key": "evoke-fingerprints", "value": {"webhook": "abc"}},
            {"key": "subscription", "value": {"type": "com.shop.*"}},
            {"key": "whisk-managed", "value": {"projectName": "shop"}},
        ])
    );
}

/// Checks that exactly these mistakes are told.
fn check(text: &str, expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.yaml");
    fs::write(&file, text).unwrap();
    let error = read(&file, &lookup, &mut Vec::new()).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), 2);
    let told = error.to_string().replace(&format!("{}/", folder.path().display()), "");
    let told: Vec<_> = told.lines().filter(|line| !line.contains("mistakes; nothing")).collect();
    assert_eq!(told, expected);
}

#[test]
fn one_mistake_is_told_with_file_line_and_field() {
    check(
        "project:\n  packages: {}\n  color: red\n",
        &["m.yaml:3: project.color: unknown field (known: `name`, `version`, `packages`)"],
    );
    check(
        "packages:\n  p:\n    feeds:\n      f: 3\n",
        &["m.yaml:4: packages.p.feeds.f: must be a map, not a number"],
    );
    check("{}", &["m.yaml:1: neither `project` nor `packages` is there"]);
    check(
        "packages: [",
        &["m.yaml:2: no YAML: while parsing a node, did not find expected node content"],
    );
    check(
        "packages: {default: {actions: {a: {code: x}}}}",
        &[
            "m.yaml:1: packages.default.actions.a.code: wants `runtime` too, such as `nodejs:default`",
        ],
    );
}

const WRONG: &str = "packages:
  default:
    inputs: {a: 1}
    actions:
      a:
        function: none.js
        limits: {timeout: soon, size: 3}
      b: {}
      c/d: {code: x, runtime: nodejs}
    triggers:
      t: {subscription: {type: 3, kind: x}}
      u:
        webhook:
          bearer: {token: $NONE}
    rules:
      r:
        trigger: t
        delivery:
          attempts: 0
          retries: 3
      r: {trigger: t, action: a/b/c, status: off}
      a: {trigger: t, action: a}
    feeds:
      f: {provider: alarms, paused: maybe}
    sequences:
      s: {actions: a, b}
";

#[test]
fn all_mistakes_are_told_at_once() {
    check(
        WRONG,
        &[
            "m.yaml:3: packages.default.inputs: package `default` stands for no package: it cannot have this",
            "m.yaml:6: packages.default.actions.a.function: cannot read `none.js`: No such file or directory (os error 2)",
            "m.yaml:7: packages.default.actions.a.limits.size: unknown field (known: `timeout`, `memorySize`, `logSize`, `concurrentActivations`)",
            "m.yaml:7: packages.default.actions.a.limits.timeout: must be a whole number, not `soon`",
            "m.yaml:8: packages.default.actions.b: wants either `function` (a file) or `code`",
            "m.yaml:9: packages.default.actions.c/d: `c/d` cannot be a name: The name of the entity contains illegal characters.",
            "m.yaml:11: packages.default.triggers.t.subscription.kind: unknown field `kind`, expected one of `type`, `source`, `subject`",
            "m.yaml:11: packages.default.triggers.t.subscription.type: invalid type: integer `3`, expected a string",
            "m.yaml:14: packages.default.triggers.u.webhook.bearer.token: may not be empty",
            "m.yaml:14: packages.default.triggers.u.webhook.bearer.token: variable `NONE` of the environment is not set",
            "m.yaml:16: packages.default.rules.r: `action` is missing",
            "m.yaml:20: packages.default.rules.r.delivery.retries: unknown field `retries`, expected one of `attempts`, `backoffMs`, `maxBackoffMs`, `deadlineMs`, `concurrency`, `ordered`, `deadLetterTrigger`",
            "m.yaml:21: packages.default.rules.r: is there twice, first in line 16",
            "m.yaml:21: packages.default.rules.r.action: `a/b/c` is not a name",
            "m.yaml:21: packages.default.rules.r.status: must be `active` or `inactive`",
            "m.yaml:22: packages.default.rules.a: the name is taken: action a, line 5",
            "m.yaml:24: packages.default.feeds.f: `trigger` is missing",
            "m.yaml:24: packages.default.feeds.f.paused: must be true or false, not `maybe`",
            "m.yaml:25: packages.default.sequences: is not in this version of Evoke",
        ],
    );
}

#[test]
fn what_is_wrong_with_a_secret_is_told_without_it() {
    check(
        "packages:\n  default:\n    triggers:\n      t:\n        webhook: {bearer: {token: [$SECRET]}}\n      u:\n        webhook: {hmac: $SECRET}\n",
        &[
            "m.yaml:5: packages.default.triggers.t.webhook.bearer.token: must be text, not a list",
            "m.yaml:7: packages.default.triggers.u.webhook.hmac: must be a map, not text",
        ],
    );
}

#[test]
fn the_examples_are_whole() {
    for example in ["quickstart", "couchdb", "kafka"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
        let project = read(&file_of(&folder), &|_| None, &mut Vec::new()).unwrap();
        assert_eq!(project.name.as_deref(), Some(example));
        let codes = project.wanted.iter().filter_map(|one| one.body.get("exec"));
        let is_code = |exec: &Value| exec["code"].as_str().unwrap().contains("main(");
        assert!(codes.into_iter().all(is_code), "{example}");
    }
}
