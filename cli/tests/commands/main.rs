//! Every command against a scripted hub: which requests it makes, what it prints, how it ends.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod hub;

use evoke_cli::{Command, Output, execute};
use hub::{Script, reply};
use serde_json::{Value, json};

#[derive(clap::Parser)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

/// How a command ended.
struct Ended {
    code: u8,
    out: String,
    err: String,
}

async fn run_at(host: &str, args: &[&str]) -> Ended {
    let all = [&["evoke"], args, &["--host", host, "--key", "id:key"]].concat();
    let program = <Program as clap::Parser>::try_parse_from(all).expect("a command line");
    let (mut output, captured) = Output::captured(args.contains(&"--json"));
    let code = execute(program.command, &mut output).await;
    Ended { code, out: captured.out(), err: captured.err() }
}

/// Runs a command against a hub that expects exactly these requests.
async fn run(args: &[&str], script: Script) -> Ended {
    let hub = script.start().await;
    let ended = run_at(hub.host(), args).await;
    hub.all_used();
    ended
}

fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    let path = path.display().to_string();
    (folder, path)
}

const NS: &str = "/api/v1/namespaces/_";

#[tokio::test]
async fn action_create_sends_code_parameters_and_limits() {
    let (_folder, path) = file("hello.py", "def main(a): return a");
    let expected = json!({
        "exec": {"kind": "python:default", "code": "def main(a): return a", "main": "go"},
        "parameters": [{"key": "n", "value": 1}],
        "annotations": [{"key": "final", "value": true}],
        "limits": {"timeout": 500, "memory": 128},
    });
    let saved = json!({"exec": {"kind": "python:3.11", "code": "…"}, "version": "0.0.1"});
    let script = Script::new().put(
        &format!("{NS}/actions/p/hello?overwrite=false"),
        expected,
        reply(200, &saved),
    );
    let args = ["action", "create", "p/hello", &path, "--main", "go", "-p", "n", "1"];
    let more = ["-a", "final", "true", "-t", "500", "-m", "128"];
    let ended = run(&[&args[..], &more[..]].concat(), script).await;
    assert_eq!(ended.out, "ok: created action p/hello (python:3.11, version 0.0.1)\n");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[tokio::test]
async fn action_update_without_a_file_leaves_the_code() {
    let expected = json!({"limits": {"logs": 0}});
    let saved = json!({"exec": {"kind": "nodejs:20"}, "version": "0.0.2"});
    let path = "/api/v1/namespaces/shop/actions/hello?overwrite=true";
    let script = Script::new().put(path, expected, reply(200, &saved));
    let ended = run(&["action", "update", "/shop/hello", "-l", "0"], script).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[tokio::test]
async fn what_exists_is_a_conflict_with_its_own_exit_code() {
    let (_folder, path) = file("a.js", "x");
    let body = json!({"error": "resource already exists", "code": "t"});
    let script =
        Script::new().put_any(&format!("{NS}/actions/a?overwrite=false"), reply(409, &body));
    let ended = run(&["action", "create", "a", &path], script).await;
    assert_eq!((ended.code, ended.err.as_str()), (6, "error: action a: resource already exists\n"));
}

#[tokio::test]
async fn an_invocation_prints_what_was_asked_for() {
    let path = |blocking| format!("{NS}/actions/hello?blocking={blocking}");
    let accepted = reply(202, &json!({"activationId": "ab"}));
    let script = Script::new().post(&path(false), json!({"a": 1, "b": "x"}), accepted);
    let ended = run(&["action", "invoke", "hello", "-p", "a", "1", "-p", "b", "x"], script).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "ok: invoked hello with id ab\n"));

    let response = json!({"status": "success", "success": true, "result": {"n": 2}});
    let record = json!({"activationId": "ab", "response": response});
    let script = Script::new().post(&path(true), json!({}), reply(200, &record));
    let ended = run(&["action", "invoke", "hello", "-r"], script).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "{\n  \"n\": 2\n}\n"));

    let script = Script::new().post(&path(true), json!({}), reply(200, &record));
    let ended = run(&["action", "invoke", "hello", "-b"], script).await;
    assert_eq!(serde_json::from_str::<Value>(&ended.out).expect("JSON"), record);
}

#[tokio::test]
async fn a_function_that_fails_is_exit_code_1_and_a_hub_that_fails_is_8() {
    let path = format!("{NS}/actions/hello?blocking=true");
    let response =
        json!({"status": "application error", "success": false, "result": {"error": "no"}});
    let record = json!({"activationId": "ab", "response": response});
    let script = Script::new().post(&path, json!({}), reply(502, &record));
    let ended = run(&["action", "invoke", "hello", "-r"], script).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, "{\n  \"error\": \"no\"\n}\n"));
    assert_eq!(
        ended.err,
        "error: the function ended with application error; its logs: `evoke activation logs ab`\n"
    );

    let busy =
        reply(429, &json!({"error": "Too many requests", "code": "t"})).header("retry-after: 7");
    let script = Script::new().post(&path, json!({}), busy);
    let ended = run(&["action", "invoke", "hello", "-b"], script).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (8, "error: Too many requests (try again in 7 s)\n")
    );
}

#[tokio::test]
async fn actions_are_a_table() {
    let listed = json!([
        {"namespace": "guest/p", "name": "long-name", "version": "0.0.3", "updated": 0,
         "annotations": [{"key": "exec", "value": "nodejs:20"}]},
        {"namespace": "guest", "name": "a", "version": "0.0.1",
         "annotations": [{"key": "exec", "value": "python:3.11"}]},
    ]);
    let path = format!("{NS}/actions?limit=5&skip=1");
    let script = Script::new().get(&path, reply(200, &listed));
    let ended = run(&["action", "list", "--limit", "5", "--skip", "1"], script).await;
    let lines: Vec<_> = ended.out.lines().map(|line| line.get(..32).unwrap_or(line)).collect();
    assert_eq!(
        lines,
        [
            "NAME         KIND         VERSION",
            "p/long-name  nodejs:20    0.0.3 ",
            "a            python:3.11  0.0.1"
        ]
        .map(|line| line.get(..32).unwrap_or(line))
    );
    let script =
        Script::new().get(&format!("{NS}/actions?limit=30&skip=0"), reply(200, &json!([])));
    assert_eq!(run(&["action", "list"], script).await.out, "(none)\n");
}

#[tokio::test]
async fn json_is_printed_as_the_hub_gives_it() {
    let listed = json!([{"name": "a", "anything": {"else": 1}}]);
    let script = Script::new().get(&format!("{NS}/triggers?limit=30&skip=0"), reply(200, &listed));
    let ended = run(&["trigger", "list", "--json"], script).await;
    assert_eq!(serde_json::from_str::<Value>(&ended.out).expect("JSON"), listed);
    let body = json!({"error": "The requested resource does not exist.", "code": "t"});
    let script = Script::new().get(&format!("{NS}/triggers/t"), reply(404, &body));
    let ended = run(&["trigger", "get", "t", "--json"], script).await;
    assert_eq!(
        serde_json::from_str::<Value>(&ended.err).expect("JSON"),
        json!({"error": "trigger t does not exist", "exit": 3})
    );
}

#[tokio::test]
async fn a_trigger_takes_subscription_and_credentials() {
    let path = format!("{NS}/triggers/orders?overwrite=false");
    let expected = json!({
        "annotations": [{"key": "subscription", "value": {"type": "order.*", "source": "/shop"}}],
        "webhook": {"hmac": {"secret": "s", "header": "x-signature"}},
    });
    let script = Script::new().put(&path, expected, reply(200, &json!({})));
    let args = ["trigger", "create", "orders", "--subscribe", "type=order.*", "--subscribe"];
    let more = ["source=/shop", "--webhook-hmac", "s", "--signature-header", "X-Signature"];
    let ended = run(&[&args[..], &more[..]].concat(), script).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "ok: created trigger orders\n"));

    let expected = json!({"webhook": {"bearer": {"token": "t"}}});
    let path = format!("{NS}/triggers/orders?overwrite=true");
    let script = Script::new().put(&path, expected, reply(200, &json!({})));
    let ended = run(&["trigger", "update", "orders", "--webhook-bearer", "t"], script).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[tokio::test]
async fn a_package_is_made_shown_and_deleted_with_what_is_in_it() {
    let expected = json!({"parameters": [{"key": "level", "value": 2}]});
    let path = format!("{NS}/packages/p?overwrite=false");
    let script = Script::new().put(&path, expected, reply(200, &json!({})));
    let ended = run(&["package", "create", "p", "-p", "level", "2"], script).await;
    assert_eq!(ended.out, "ok: created package p\n");
    let package =
        json!({"namespace": "guest", "name": "p", "actions": [{"name": "a"}, {"name": "b"}]});
    let script = Script::new().get(&format!("{NS}/packages/p"), reply(200, &package));
    let ended = run(&["package", "get", "p"], script).await;
    assert_eq!(ended.out, "package      /guest/p\nactions      a b\n");
    let script =
        Script::new().delete(&format!("{NS}/packages/p?force=true"), reply(200, &json!({})));
    let ended = run(&["package", "delete", "p", "--force"], script).await;
    assert_eq!(ended.out, "ok: deleted package p and its actions\n");
}

#[tokio::test]
async fn firing_says_whether_a_rule_took_it() {
    let path = format!("{NS}/triggers/t");
    let fired = reply(202, &json!({"activationId": "ab"}));
    let script = Script::new().post(&path, json!({"a": 1}), fired);
    let ended = run(&["trigger", "fire", "t", "-p", "a", "1"], script).await;
    assert_eq!(ended.out, "ok: fired trigger t with id ab\n");
    let script = Script::new().post(&path, json!({}), reply(204, &Value::Null));
    let ended = run(&["trigger", "fire", "t"], script).await;
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "ok: fired trigger t; no active rule took it\n")
    );
}

#[tokio::test]
async fn a_rule_carries_how_it_delivers() {
    let path = format!("{NS}/rules/r?overwrite=false");
    let delivery = json!({
        "attempts": 3, "backoffMs": 500, "ordered": true, "concurrency": 8, "deadlineMs": 600_000,
        "deadLetterTrigger": "dead",
    });
    let expected = json!({
        "trigger": "/_/t", "action": "/whisk.system/utils/echo",
        "annotations": [{"key": "delivery", "value": delivery}],
    });
    let script = Script::new().put(&path, expected, reply(200, &json!({})));
    let args = ["rule", "create", "r", "t", "/whisk.system/utils/echo", "--attempts", "3"];
    let more = ["--backoff", "500ms", "--ordered", "--concurrency", "8", "--deadline", "10m"];
    let last = ["--dead-letter-trigger", "dead"];
    let ended = run(&[&args[..], &more[..], &last[..]].concat(), script).await;
    assert_eq!(ended.out, "ok: created rule r: t → /whisk.system/utils/echo\n", "{}", ended.err);

    let body = json!({"status": "inactive"});
    let script = Script::new().post(&format!("{NS}/rules/r"), body, reply(200, &json!("OK")));
    let ended = run(&["rule", "disable", "r"], script).await;
    assert_eq!(ended.out, "ok: rule r is inactive\n");
}

#[tokio::test]
async fn a_list_of_rules_asks_for_each_status() {
    let rule = |name: &str| {
        json!({"name": name, "trigger": {"path": "guest", "name": "t"},
               "action": {"path": "guest/p", "name": "a"}})
    };
    let script = Script::new()
        .get(&format!("{NS}/rules?limit=30&skip=0"), reply(200, &json!([rule("r"), rule("gone")])))
        .get(&format!("{NS}/rules/r"), reply(200, &json!({"status": "active"})))
        .get(&format!("{NS}/rules/gone"), reply(404, &json!({"error": "gone"})));
    let ended = run(&["rule", "list"], script).await;
    let words: Vec<Vec<_>> =
        ended.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        words,
        [vec!["NAME", "TRIGGER", "ACTION", "STATUS", "UPDATED"], vec!["r", "t", "p/a", "active"]]
    );
}

#[tokio::test]
async fn a_feed_is_put_and_shown_with_its_state() {
    let body = json!({"provider": "alarms", "trigger": "t", "parameters": {"every": "1s"}});
    let script = Script::new().put(&format!("{NS}/feeds/f"), body, reply(200, &json!({})));
    let args =
        ["feed", "create", "f", "--provider", "alarms", "--trigger", "t", "-p", "every", "1s"];
    let ended = run(&args, script).await;
    assert_eq!(ended.out, "ok: feed f: alarms → trigger t\n");
    let status = json!({"state": "failed", "reason": "no route", "lastError": "no route"});
    let feed = json!({"namespace": "guest", "name": "f", "provider": "alarms", "status": status});
    let script = Script::new().get(&format!("{NS}/feeds/f"), reply(200, &feed));
    let ended = run(&["feed", "get", "f"], script).await;
    assert_eq!(
        ended.out,
        "feed        /guest/f\nprovider    alarms\nstate       failed\nreason      no route\n\
         last error  no route\n"
    );
}

#[tokio::test]
async fn an_event_is_sent_as_a_structured_cloudevent() {
    let expected = json!({
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed",
        "subject": "s", "partitionkey": "k", "datacontenttype": "application/json",
        "data": {"count": 2},
    });
    let taken = json!({"id": "1", "position": "0:7", "triggers": [{"name": "orders"}]});
    let answer = reply(202, &json!({"accepted": 1, "events": [taken]}));
    let script = Script::new()
        .post(&format!("{NS}/events"), expected, answer)
        .with_header("content-type: application/cloudevents+json");
    let args = ["event", "send", "-t", "order.placed", "-s", "/shop", "--id", "1", "--subject"];
    let more = ["s", "-x", "partitionkey=k", "{\"count\": 2}"];
    let ended = run(&[&args[..], &more[..]].concat(), script).await;
    assert_eq!(ended.out, "ok: sent event 1 at 0:7 → orders\n", "{}", ended.err);
}

#[tokio::test]
async fn a_feed_action_is_told_of_its_trigger() {
    let feed = "/api/v1/namespaces/whisk.system/actions/alarms/alarm?blocking=true";
    let told =
        |event: &str| json!({"lifecycleEvent": event, "triggerName": "/_/t", "authKey": "id:key"});
    let annotation = json!([{"key": "feed", "value": "/whisk.system/alarms/alarm"}]);
    let created = {
        let mut told = told("CREATE");
        told["cron"] = "0 2 * * *".into();
        told
    };
    let done = || reply(200, &json!({"response": {"success": true, "result": {}}}));
    let path = format!("{NS}/triggers/t");
    let script = Script::new()
        .put(
            &format!("{path}?overwrite=false"),
            json!({"annotations": annotation}),
            reply(200, &json!({})),
        )
        .post(feed, created, done())
        .get(&path, reply(200, &json!({"annotations": annotation})))
        .post(feed, told("DELETE"), done())
        .delete(&path, reply(200, &json!({})));
    let hub = script.start().await;
    let create = ["trigger", "create", "t", "--feed", "/whisk.system/alarms/alarm", "-p", "cron"];
    let ended = run_at(hub.host(), &[&create[..], &["0 2 * * *"]].concat()).await;
    assert_eq!(
        ended.out, "ok: created trigger t, fired by /whisk.system/alarms/alarm\n",
        "{}",
        ended.err
    );
    assert_eq!(run_at(hub.host(), &["trigger", "delete", "t"]).await.code, 0);
    hub.all_used();
}

#[tokio::test]
async fn dead_letters_are_acted_upon_by_id_or_by_rule() {
    let replay = json!({"action": "replay"});
    let script =
        Script::new().post(&format!("{NS}/deadletters/ab"), replay, reply(200, &json!({})));
    let ended = run(&["deadletter", "replay", "ab"], script).await;
    assert_eq!(ended.out, "ok: replayed dead letter ab\n");
    let discard = json!({"action": "discard", "rule": "r"});
    let script =
        Script::new().post(&format!("{NS}/deadletters"), discard, reply(200, &json!({"count": 4})));
    let ended = run(&["deadletter", "discard", "--rule", "r"], script).await;
    assert_eq!(ended.out, "ok: discarded 4 dead letters of rule r\n");
    let replay = json!({"action": "replay", "rule": "r"});
    let script =
        Script::new().post(&format!("{NS}/deadletters"), replay, reply(200, &json!({"count": 1})));
    let ended = run(&["deadletter", "replay", "--rule", "r"], script).await;
    assert_eq!(ended.out, "ok: replayed 1 dead letter of rule r\n");
}

#[tokio::test]
async fn a_replay_is_of_positions_or_times() {
    let body = json!({"rule": "r", "from": "0:5", "to": 2_000});
    let script =
        Script::new().post(&format!("{NS}/replays"), body, reply(200, &json!({"id": "x"})));
    let args = ["replay", "create", "r", "--from", "0:5", "--to", "1970-01-01T00:00:02Z"];
    let ended = run(&args, script).await;
    assert_eq!(ended.out, "ok: replay x delivers to rule r again\n");
    let script = Script::new().delete(&format!("{NS}/replays/x"), reply(200, &json!({})));
    assert_eq!(run(&["replay", "cancel", "x"], script).await.out, "ok: cancelled replay x\n");
}

#[tokio::test]
async fn logs_are_lines_and_the_last_activation_can_be_meant() {
    // The newest is a trigger's own: it has no end.
    let newest = json!([{"activationId": "fired"}, {"activationId": "ab", "end": 1}]);
    let logs = json!({"logs": ["one", "two"]});
    let script = Script::new()
        .get(&format!("{NS}/activations?limit=200"), reply(200, &newest))
        .get(&format!("{NS}/activations/ab/logs"), reply(200, &logs));
    let ended = run(&["activation", "logs", "--last"], script).await;
    assert_eq!(ended.out, "one\ntwo\n");
}

#[tokio::test]
async fn following_prints_each_new_activation_once_and_waits_for_a_lost_hub() {
    let record = |id: &str, start: u64| {
        json!({"name": "hello", "activationId": id, "start": start, "end": start, "duration": 1,
               "response": {"status": "success", "result": {"n": 1}}})
    };
    let trigger = json!({"name": "t", "activationId": "fired", "start": 3});
    let script = Script::new()
        .get(&format!("{NS}/activations?limit=1"), reply(200, &json!([record("old", 1)])))
        .get_begins(&format!("{NS}/activations?docs=true"), reply(200, &json!([record("old", 1)])))
        .get_begins(&format!("{NS}/activations?docs=true"), reply(503, &json!({"error": "busy"})))
        .get_begins(
            &format!("{NS}/activations?docs=true"),
            reply(200, &json!([trigger, record("new", 2), record("old", 1)])),
        );
    let ended = run(&["activation", "poll", "--exit", "2"], script.repeat_last()).await;
    let ids: Vec<_> = ended.out.lines().map(|line| line.contains("new")).collect();
    assert_eq!((ended.code, ids), (0, vec![true]), "{}", ended.out);
    assert!(ended.err.contains("waiting: busy") && ended.err.contains("the hub is back"));
}

#[tokio::test]
async fn runtimes_come_from_the_root() {
    let kinds =
        json!([{"kind": "nodejs:20", "default": true}, {"kind": "nodejs:18", "default": false}]);
    let about = json!({"runtimes": {"nodejs": kinds}});
    let ended = run(&["runtimes"], Script::new().get("/", reply(200, &about))).await;
    assert_eq!(
        ended.out,
        "KIND       FAMILY  DEFAULT\nnodejs:20  nodejs  yes\nnodejs:18  nodejs\n"
    );
}

#[tokio::test]
async fn a_wrong_key_is_4_a_wrong_request_7_and_a_hub_that_is_not_there_5() {
    let path = format!("{NS}/triggers/t");
    let body = json!({"error": "The supplied authentication is invalid", "code": "t"});
    let ended = run(&["trigger", "get", "t"], Script::new().get(&path, reply(401, &body))).await;
    assert_eq!(ended.code, 4);
    assert!(ended.err.contains("--key"), "{}", ended.err);
    let body = json!({"error": "wrong", "code": "t"});
    let ended = run(&["trigger", "get", "t"], Script::new().get(&path, reply(400, &body))).await;
    assert_eq!(ended.code, 7);
    let free = hub::free_port().await;
    let ended = run_at(&format!("http://127.0.0.1:{free}"), &["trigger", "get", "t"]).await;
    assert_eq!(ended.code, 5);
    assert!(ended.err.contains("start it with `evoke up`"), "{}", ended.err);
}

#[tokio::test]
async fn names_cannot_leave_their_place() {
    let ended = run(&["trigger", "delete", ".."], Script::new()).await;
    assert_eq!((ended.code, ended.err.as_str()), (2, "error: `triggers/..` is not a name\n"));
    let path = format!("{NS}/triggers/a%2Fb%20c");
    let script =
        Script::new().get(&path, reply(200, &json!({}))).delete(&path, reply(200, &json!({})));
    assert_eq!(run(&["trigger", "delete", "a/b c"], script).await.code, 0);
}

#[test]
fn the_command_line_is_well_formed() {
    <Program as clap::CommandFactory>::command().debug_assert();
}
