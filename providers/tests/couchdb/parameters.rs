//! Parameters: OpenWhisk's by their names, ours beside them, every mistake at once.

use evoke_providers::registry;
use serde_json::{Map, Value, json};

fn check(more: Value) -> Result<(), String> {
    let whole = json!({"host": "couch.example.org", "dbname": "fruit"});
    let mut members: Map<String, Value> = whole.as_object().cloned().unwrap();
    members.extend(more.as_object().cloned().unwrap());
    members.retain(|_, value| !value.is_null());
    registry().check("couchdb", &members).map_err(|error| error.to_string())
}

#[test]
fn c2_the_parameters_of_openwhisk_are_taken() {
    for good in [
        json!({"username": "u", "password": "p"}),
        json!({"iamApiKey": "k", "iamUrl": "https://iam.example.org/token"}),
        json!({"port": 5984, "protocol": "http", "since": "0", "maxTriggers": -1}),
        json!({"port": "5984", "since": 0, "maxTriggers": 10}),
        json!({"filter": "pick/fruit", "query_params": {"type": "fruit", "n": 3}}),
        json!({"filter": "pick/fruit", "query_params": "{\"type\": \"fruit\"}"}),
        json!({"host": "proxy.example.org/couch"}),
    ] {
        assert_eq!(check(good.clone()), Ok(()), "{good}");
    }
}

#[test]
fn ours_are_taken() {
    for good in [
        json!({"view": "by/fruit"}),
        json!({"selector": {"type": "fruit"}}),
        json!({"doc_ids": ["a"]}),
        json!({"filter": "_design"}),
        json!({"include_docs": true, "conflicts": true, "att_encoding_info": true}),
        json!({"style": "all_docs", "diff": true, "heartbeat": 5000}),
        json!({"batch": {"maxMessages": 10, "maxBytes": 1000, "maxWaitMs": 5}}),
    ] {
        assert_eq!(check(good.clone()), Ok(()), "{good}");
    }
}

#[test]
fn c2_each_mistake_is_named() {
    for (bad, says) in [
        (json!({"host": null}), "`host` is missing"),
        (json!({"dbname": null}), "`dbname` is missing"),
        (json!({"host": "a b"}), "`host` must be"),
        (json!({"host": "u:p@couch"}), "`host` must be"),
        (json!({"protocol": "ftp"}), "`protocol` must be"),
        (json!({"port": 0}), "`port` must be"),
        (json!({"username": "u"}), "`username` and `password` go together"),
        (json!({"username": "u", "password": "p", "iamApiKey": "k"}), "exclude each other"),
        (json!({"since": ["1"]}), "`since` must be"),
        (json!({"maxTriggers": "many"}), "`maxTriggers` must be"),
        (json!({"filter": "fruit"}), "`filter` must be"),
        (json!({"view": "fruit"}), "`view` must be"),
        (json!({"filter": "a/b", "selector": {}}), "`filter` and `selector` exclude each other"),
        (json!({"doc_ids": []}), "`doc_ids` must be"),
        (json!({"query_params": {"a": 1}}), "`query_params` need a `filter` or a `view`"),
        (json!({"filter": "a/b", "query_params": 3}), "`query_params` must be"),
        (json!({"filter": "a/b", "query_params": {"since": 3}}), "may not have `since`"),
        (json!({"conflicts": true}), "need `include_docs`"),
        (json!({"style": "odd"}), "`style` must be"),
        (json!({"heartbeat": 60_000}), "`heartbeat` must be"),
        (json!({"batch": {"maxMessages": 0}}), "`batch` must be"),
        (json!({"batch": {"most": 3}}), "`batch` must be"),
        (json!({"includeDoc": true}), "unknown parameter `includeDoc`"),
    ] {
        let error = check(bad.clone()).expect_err(&bad.to_string());
        assert!(error.contains(says), "{bad}: {error}");
    }
    let both = check(json!({"host": null, "style": "odd"})).unwrap_err();
    assert!(both.contains("`host`") && both.contains("`style`"), "{both}");
}
