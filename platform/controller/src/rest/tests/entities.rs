//! Entities as they are made, changed, shown and listed.

use serde_json::{Value, json};

use crate::bench::{Bench, GUEST, basic, media};

fn without_time(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        assert!(members.remove("updated").is_none_or(|time| time.as_u64() > Some(0)));
    }
    value
}

#[tokio::test]
async fn an_action_has_openwhisks_shape_and_merges_on_update() {
    let bench = Bench::new().await;
    let made = bench
        .set_up(
            "PUT",
            "actions/a",
            json!({
                "exec": {"kind": " NodeJS:Default ", "code": "function main() {}", "main": "go"},
                "annotations": [{"key": "x", "value": 1}, {"key": "y", "value": 1}],
                "limits": {"timeout": 5000}, "name": "other", "foo": 1,
            }),
        )
        .await;
    let wanted = json!({
        "namespace": "guest", "name": "a", "version": "0.0.1", "publish": false, "parameters": [],
        "exec": {"kind": "nodejs:20", "code": "function main() {}", "main": "go", "binary": false},
        "annotations": [
            {"key": "exec", "value": "nodejs:20"}, {"key": "provide-api-key", "value": false},
            {"key": "x", "value": 1}, {"key": "y", "value": 1},
        ],
        "limits": {"timeout": 5000, "memory": 256, "logs": 10, "concurrency": 1},
    });
    assert_eq!(without_time(made), wanted);
    let update = json!({
        "annotations": [{"key": "y", "value": 2}], "delAnnotations": ["x"], "limits": {"logs": 2},
        "parameters": [{"key": "p", "value": 1}],
    });
    let changed = bench.set_up("PUT", "actions/a?overwrite=true", update).await;
    assert_eq!(changed["version"], json!("0.0.2"));
    assert_eq!(changed["exec"]["code"], json!("function main() {}"));
    assert_eq!(
        changed["annotations"],
        json!([
            {"key": "exec", "value": "nodejs:20"}, {"key": "provide-api-key", "value": false},
            {"key": "y", "value": 2},
        ])
    );
    assert_eq!(changed["limits"]["logs"], json!(2));
    assert_eq!(changed["limits"]["timeout"], json!(5000));
    let bare = bench.guest("GET", "actions/a?code=false", None).await.json();
    assert_eq!(bare["exec"], json!({"kind": "nodejs:20", "main": "go", "binary": false}));
    let gone = bench.guest("DELETE", "actions/a", None).await;
    assert_eq!(gone.json()["version"], json!("0.0.2"));
    assert_eq!(bench.guest("GET", "actions/a", None).await.status, 404);
}

#[tokio::test]
async fn a_package_shows_its_actions_and_gives_them_its_parameters() {
    let bench = Bench::new().await;
    let package = json!({"parameters": [{"key": "a", "value": 1}, {"key": "b", "value": 1}]});
    let made = bench.set_up("PUT", "packages/p", package).await;
    assert_eq!(made["binding"], json!({}));
    let code = json!({"kind": "nodejs:20", "code": "x"});
    let action = json!({"exec": code, "parameters": [{"key": "b", "value": 2}]});
    bench.set_up("PUT", "actions/p/a", action).await;
    let feed = json!({"exec": code, "annotations": [{"key": "feed", "value": true}]});
    bench.set_up("PUT", "actions/p/f", feed).await;
    let shown = bench.guest("GET", "packages/p", None).await.json();
    assert_eq!(shown["actions"][0]["name"], json!("a"));
    assert_eq!(shown["feeds"][0]["name"], json!("f"));
    let action = bench.guest("GET", "actions/p/a", None).await.json();
    assert_eq!(action["namespace"], json!("guest/p"));
    let merged = json!([{"key": "a", "value": 1}, {"key": "b", "value": 2}]);
    assert_eq!(action["parameters"], merged);
    let inside = bench.guest("GET", "actions/p/?count=true&skip=1", None).await.json();
    assert_eq!(inside, json!({"actions": 1}));
    let listed = bench.guest("GET", "packages", None).await.json();
    assert_eq!(listed[0]["binding"], json!(false));
    assert_eq!(bench.guest("DELETE", "packages/p?force=true", None).await.status, 200);
    assert_eq!(bench.guest("GET", "actions", None).await.json(), json!([]));
}

#[tokio::test]
async fn a_trigger_shows_its_rules_and_never_its_secret() {
    let bench = Bench::new().await;
    bench.set_up("PUT", "actions/a", json!({"exec": {"kind": "nodejs:20", "code": "x"}})).await;
    let hook = json!({"webhook": {"hmac": {"secret": "hunter2", "header": "X-Sig"}}});
    let made = bench.set_up("PUT", "triggers/t", hook).await;
    assert_eq!(made["webhook"], json!({"kind": "hmac", "header": "x-sig"}));
    assert_eq!(made.get("rules"), None);
    bench.set_up("PUT", "rules/r", json!({"trigger": "/_/t", "action": "/_/a"})).await;
    let shown = bench.guest("GET", "triggers/t", None).await;
    let link = json!({"action": {"name": "a", "path": "guest"}, "status": "active"});
    assert_eq!(shown.json()["rules"], json!({ "guest/r": link }));
    let kept = bench.set_up("PUT", "triggers/t?overwrite=true", json!({})).await;
    assert_eq!(kept["webhook"]["kind"], json!("hmac"));
    for path in ["triggers/t", "triggers"] {
        let answer = bench.guest("GET", path, None).await;
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    }
    bench.guest("DELETE", "rules/r", None).await;
    let shown = bench.guest("GET", "triggers/t", None).await.json();
    assert_eq!(shown["rules"], json!({}));
    let none = bench.set_up("PUT", "triggers/t?overwrite=true", json!({"webhook": null})).await;
    assert_eq!(none.get("webhook"), None);
}

#[tokio::test]
async fn a_rule_is_linked_to_one_life_of_its_trigger() {
    let bench = Bench::new().await;
    bench.set_up("PUT", "actions/a", json!({"exec": {"kind": "nodejs:20", "code": "x"}})).await;
    bench.set_up("PUT", "triggers/t", json!({})).await;
    let rule =
        json!({"trigger": {"path": "_", "name": "t"}, "action": "/guest/a", "status": "inactive"});
    let made = bench.set_up("PUT", "rules/r", rule).await;
    assert_eq!(made["status"], json!("active"));
    assert_eq!(made["action"], json!({"path": "guest", "name": "a"}));
    let listed = bench.guest("GET", "rules", None).await.json();
    assert_eq!(listed[0].get("status"), None);
    let status = async || bench.guest("GET", "rules/r", None).await.json()["status"].clone();
    let fire = async || bench.guest("POST", "triggers/t", Some(json!({}))).await.status.as_u16();
    assert_eq!(fire().await, 202);
    let set = async |status: &str| {
        bench.guest("POST", "rules/r", Some(json!({"status": status, "trigger": null}))).await
    };
    let answer = set("inactive").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "OK"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!((status().await, fire().await), (json!("inactive"), 204));
    assert_eq!(set("active").await.status, 200);
    assert_eq!((status().await, fire().await), (json!("active"), 202));
    bench.guest("DELETE", "triggers/t", None).await;
    assert_eq!(status().await, json!("inactive"));
    let orphan = set("active").await;
    let sentence = "Only rules with existing triggers can be activated".to_owned();
    assert_eq!(orphan.error(), (404, sentence));
    bench.set_up("PUT", "triggers/t", json!({})).await;
    assert_eq!((status().await, fire().await), (json!("inactive"), 204));
    assert_eq!(set("active").await.status, 200);
    assert_eq!(fire().await, 202);
    let gone = bench.guest("DELETE", "rules/r", None).await;
    assert_eq!((gone.json()["status"].clone(), fire().await), (json!("inactive"), 204));
}

#[tokio::test]
async fn a_rule_can_be_made_that_never_was_active() {
    let bench = Bench::new().await;
    bench.set_up("PUT", "actions/a", json!({"exec": {"kind": "nodejs:20", "code": "x"}})).await;
    bench.set_up("PUT", "triggers/t", json!({})).await;
    let rule = json!({"trigger": "/_/t", "action": "/_/a"});
    let put = async |query: &str| {
        let path = format!("rules/r?overwrite=true{query}");
        bench.guest("PUT", &path, Some(rule.clone())).await
    };
    let fire = async || bench.guest("POST", "triggers/t", Some(json!({}))).await.status.as_u16();
    assert_eq!(put("&status=inactive").await.json()["status"], json!("inactive"));
    assert_eq!(fire().await, 204);
    assert_eq!(put("").await.json()["status"], json!("inactive"), "as it was");
    assert_eq!(put("&status=active").await.json()["status"], json!("active"));
    assert_eq!(fire().await, 202);
    let sentence =
        "The query parameter 'status' was malformed:\nasleep is not a recognized rule state";
    assert_eq!(put("&status=asleep").await.error(), (400, sentence.to_owned()));
}

#[tokio::test]
async fn rules_and_credentials_are_there_after_a_restart() {
    let bench = Bench::new().await;
    bench.set_up("PUT", "actions/a", json!({"exec": {"kind": "nodejs:20", "code": "x"}})).await;
    let hook = json!({"webhook": {"bearer": {"token": "t0ken"}}});
    bench.set_up("PUT", "triggers/t", hook).await;
    bench.set_up("PUT", "rules/r", json!({"trigger": "/_/t", "action": "/_/a"})).await;
    bench.hub.parts.invocations.drained().await;
    let folder = bench.into_folder();
    let again = Bench::with(crate::Config::default(), folder).await;
    let bearer = ("authorization", "Bearer t0ken".to_owned());
    let headers = [bearer, media("application/json")];
    let fired =
        again.ask("POST", "/api/v1/namespaces/guest/triggers/t", &headers, Some("{}")).await;
    assert_eq!(fired.status, 202);
}

#[tokio::test]
async fn every_answer_has_an_id_and_the_apis_have_cors() {
    let bench = Bench::new().await;
    let with_id = [basic(GUEST), ("x-request-id", "mine".to_owned())];
    let answer = bench.ask("GET", "/api/v1/namespaces", &with_id, None::<String>).await;
    assert_eq!(answer.json(), json!(["guest"]));
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let system = [basic(GUEST), ("x-request-id", "sid_mine".to_owned())];
    let answer = bench.ask("GET", "actions/none", &system, None::<String>).await;
    assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
    assert!(answer.header("access-control-allow-methods").is_some());
    let options = bench.ask("OPTIONS", "actions/a", &[], None::<String>).await;
    assert_eq!((options.status.as_u16(), options.text.as_str()), (200, "OK"));
    let head = bench.ask("HEAD", "triggers/t", &[basic(GUEST)], None::<String>).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (404, ""));
    let html = [basic(GUEST), ("accept", "text/html".to_owned())];
    let answer = bench.ask("GET", "/api/v1/namespaces", &html, None::<String>).await;
    assert_eq!(answer.status, 406);
    for path in ["/", "/api/v1", "/api/v1/", "/ping", "/healthz", "/readyz"] {
        let answer = bench.ask("GET", path, &[], None::<String>).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("x-request-id").is_some());
    }
    let limits = bench.guest("GET", "limits", None).await.json();
    assert_eq!(limits["maxParameterSize"], json!("1048576 B"));
}
