//! What goes wrong, as a table: who, method, path, body, status, sentence.

use serde_json::json;

use crate::bench::{Bench, GUEST, SYSTEM, basic, media};

const NOT_FOUND: &str = "The requested resource could not be found.";
const MISSING: &str = "The requested resource does not exist.";
const OTHER: &str = "Resource by this name exists but is not in this collection.";
const LIST: &str = "The query parameter 'limit' was malformed:\nThe value '201' is not in the range of 0 to 200 for";

/// A hub with action `a`, package `p` with action `p/a`, trigger `t`, rule `r`.
async fn furnished() -> Bench {
    let bench = Bench::new().await;
    let action = json!({"exec": {"kind": "nodejs:default", "code": "x y"}});
    bench.set_up("PUT", "actions/a", action.clone()).await;
    bench.set_up("PUT", "packages/p", json!({})).await;
    bench.set_up("PUT", "actions/p/a", action).await;
    bench.set_up("PUT", "triggers/t", json!({})).await;
    bench.set_up("PUT", "rules/r", json!({"trigger": "/_/t", "action": "/_/a"})).await;
    bench
}

async fn check(bench: &Bench, cases: &[(&str, &str, &str, u16, &str)]) {
    for (method, path, body, status, sentence) in cases {
        let headers = [basic(GUEST), media("application/json")];
        let body = (!body.is_empty()).then(|| (*body).to_owned());
        let answer = bench.ask(method, path, &headers, body.clone()).await;
        let (got, text) = answer.error();
        let context = format!("{method} {path} {body:?}: {got} {text}");
        assert_eq!(got, *status, "{context}");
        assert!(text.starts_with(sentence), "{context}\nwanted {sentence}");
        assert_eq!(answer.header("allow"), None, "{context}");
        let id = answer.header("x-request-id").map(ToOwned::to_owned);
        assert_eq!(answer.json().get("code").and_then(|c| c.as_str()), id.as_deref(), "{context}");
    }
}

#[tokio::test]
async fn paths_and_verbs_that_are_not_there() {
    check(
        &furnished().await,
        &[
            ("GET", "/nope", "", 404, NOT_FOUND),
            ("GET", "/api/v1/nope", "", 404, NOT_FOUND),
            ("GET", "/api/v1/namespaces/guest", "", 404, NOT_FOUND),
            ("PUT", "actions", "{}", 404, NOT_FOUND),
            ("PATCH", "actions/a", "{}", 404, NOT_FOUND),
            ("GET", "actions/a/b/c", "", 404, NOT_FOUND),
            ("DELETE", "actions/p/", "", 404, NOT_FOUND),
            ("POST", "packages/p", "{}", 404, NOT_FOUND),
            ("GET", "packages/p/x", "", 404, NOT_FOUND),
            ("GET", "triggers/t/x", "", 404, NOT_FOUND),
            ("POST", "rules", "{}", 404, NOT_FOUND),
            ("DELETE", "activations", "", 404, NOT_FOUND),
            ("PUT", "limits", "{}", 404, NOT_FOUND),
            ("GET", "limits/x", "", 400, "Inner entity level routes"),
            ("GET", "/api/v1/web/guest/default/a.json", "", 404, MISSING),
            ("POST", "/api/v1/web/guest/p/a", "{}", 404, MISSING),
        ],
    )
    .await;
}

#[tokio::test]
async fn names_queries_and_ids() {
    let long = format!("actions/{}", "n".repeat(257));
    check(
        &furnished().await,
        &[
            ("GET", "actions/%24x", "", 400, "The name of the entity contains illegal characters."),
            ("GET", "actions/%C3%A9", "", 400, "The name of the entity contains illegal"),
            ("GET", "actions/%ff", "", 400, "The name of the entity contains illegal"),
            ("GET", &long, "", 400, "Name segement longer than allowed: 257 > 256."),
            ("GET", "/api/v1/namespaces/%24x/actions", "", 400, "The namespace contains illegal"),
            ("GET", "rules?limit=201", "", 400, &format!("{LIST} rules.")),
            ("GET", "activations?limit=201", "", 400, &format!("{LIST} activations.")),
            ("GET", "activations?since=x", "", 400, "The query parameter 'since' was malformed"),
            ("GET", "activations?name=a/b/c", "", 400, "The query parameter 'name' was malformed:\nParameter may be a 'simple' name"),
            ("GET", "activations?docs=true&count=true", "", 400, "The parameter 'docs' is not"),
            ("GET", "activations/abc", "", 400, "Activation id length is 3 but must be 32."),
            ("GET", "activations/gggggggggggggggggggggggggggggggg", "", 400, "The activation id is"),
            ("GET", "activations/00000000000000000000000000000000", "", 404, MISSING),
            ("GET", "actions/a?code=maybe", "", 400, "The query parameter 'code' was malformed:\n'maybe' is not a valid Boolean value"),
            ("POST", "actions/a?timeout=0", "{}", 400, "The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to 60000."),
        ],
    )
    .await;
}

#[tokio::test]
async fn wrong_bodies() {
    let malformed = "The request content was malformed:\n";
    let with = |what: &str| format!("{malformed}{what}");
    check(
        &furnished().await,
        &[
            ("PUT", "actions/b", "{", 400, &with("Unexpected JSON")),
            ("PUT", "actions/b", "[]", 400, &with("Object expected")),
            ("PUT", "actions/b", "", 400, &with("Unexpected JSON")),
            ("PUT", "actions/b", "{}", 400, "exec undefined"),
            ("PUT", "actions/b", r#"{"exec":{"code":"x"}}"#, 400, &with("'kind' must be a string defined in 'exec'")),
            ("PUT", "actions/b", r#"{"exec":{"kind":"cobol:1","code":"x"}}"#, 400, &with("The specified runtime 'cobol:1' is not supported by this platform. Valid values are: 'nodejs:18', ")),
            ("PUT", "actions/b", r#"{"exec":{"kind":"nodejs:default"}}"#, 400, &with("'code' must be a string or attachment object defined in 'exec' for 'nodejs:default' actions")),
            ("PUT", "actions/b", r#"{"exec":{"kind":"nodejs:default","code":1}}"#, 400, &with("Could not deserialize as attachment record: 1")),
            ("PUT", "actions/b", r#"{"exec":{"kind":"nodejs:default","code":"x","main":1}}"#, 400, &with("if defined, 'main' be a string in 'exec' for 'nodejs:default' actions")),
            ("PUT", "actions/b", r#"{"exec":{"kind":"nodejs:default","code":"x"},"limits":{"memory":513}}"#, 400, "requirement failed: memory size 513 MB exceeds allowed threshold of 512 MB"),
            ("PUT", "actions/b", r#"{"exec":{"kind":"nodejs:default","code":"x"},"annotations":[{"key":"network","value":"all"}]}"#, 400, "annotation `network` must be `egress` or `none`"),
            ("PUT", "packages/q", r#"{"parameters":{"a":1}}"#, 400, &with("parameters malformed!")),
            ("PUT", "packages/q", r#"{"parameters":[{"key":"a"}]}"#, 400, &with("parameters malformed!")),
            ("PUT", "packages/q", r#"{"version":"one"}"#, 400, &with("semantic version malformed")),
            ("PUT", "packages/q", r#"{"publish":"yes"}"#, 400, &with("Expected Boolean")),
            ("PUT", "packages/default", "{}", 400, "Package name 'default' is reserved."),
            ("PUT", "triggers/u", r#"{"limits":1}"#, 400, &with("Object expected")),
            ("PUT", "triggers/u", r#"{"annotations":[{"key":"feed","value":1}]}"#, 400, "Feed name is not valid"),
            ("PUT", "triggers/u", r#"{"annotations":[{"key":"subscription","value":{"typ":"x"}}]}"#, 400, "annotation `subscription`: unknown field `typ`"),
            ("PUT", "triggers/u", r#"{"webhook":{"bearer":{"token":""}}}"#, 400, "`webhook`: the secret may not be empty"),
            ("PUT", "triggers/u", r#"{"webhook":{"hmac":{"secret":"x","header":"a b"}}}"#, 400, "`webhook`: `a b` is no name of a header"),
            ("PUT", "triggers/u", r#"{"webhook":{"basic":{}}}"#, 400, "`webhook` must be"),
            ("PUT", "rules/s", r#"{"trigger":"/_/t"}"#, 400, "rule requires a valid trigger and a valid action"),
            ("PUT", "rules/s", r#"{"trigger":"t","action":"/_/a"}"#, 400, &with("requirement failed: The fully qualified name")),
            ("PUT", "rules/s", r#"{"trigger":"/_/none","action":"/_/a"}"#, 400, "trigger /guest/none does not exist"),
            ("PUT", "rules/s", r#"{"trigger":"/_/t","action":"/_/none"}"#, 400, "action /guest/none does not exist"),
            ("PUT", "rules/s", r#"{"trigger":"/_/a","action":"/_/a"}"#, 400, "/guest/a is not a trigger"),
            ("PUT", "rules/s", r#"{"trigger":"/_/t","action":"/_/a","annotations":[{"key":"delivery","value":{"attempts":0}}]}"#, 400, "annotation `delivery`: `attempts` must be within 1 to 1000"),
            ("PUT", "rules/s", r#"{"trigger":"/_/t","action":"/_/a","annotations":[{"key":"delivery","value":{"tries":1}}]}"#, 400, "annotation `delivery`: unknown field `tries`"),
            ("PUT", "rules/s", r#"{"trigger":"/_/t","action":"/_/a","annotations":[{"key":"delivery","value":{"deadLetterTrigger":"t"}}]}"#, 400, "annotation `delivery`: `deadLetterTrigger` may not be"),
            ("PUT", "rules/s", r#"{"trigger":"/_/t","action":"/_/a","annotations":[{"key":"delivery","value":{"deadLetterTrigger":"none"}}]}"#, 400, "annotation `delivery`: `deadLetterTrigger`: trigger /guest/none does not exist"),
            ("POST", "rules/r", r#"{"status":"asleep"}"#, 400, &with("requirement failed: asleep is not a recognized rule state")),
            ("POST", "rules/r", "{}", 400, &with("Object is missing")),
            ("POST", "actions/a", "[1]", 400, &with("Object expected")),
            ("POST", "triggers/t", "null", 400, &with("Object expected")),
            ("PUT", "feeds/f", r#"{"provider":"nothing","trigger":"t"}"#, 400, "unknown provider `nothing` (known: silent)"),
            ("PUT", "feeds/f", r#"{"trigger":"t"}"#, 400, &with("Unexpected feed: missing field `provider`")),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_later_versions_will_have_is_refused_whole() {
    let bench = furnished().await;
    check(
        &bench,
        &[
            (
                "PUT",
                "actions/b",
                r#"{"exec":{"kind":"sequence","components":["/_/a"]}}"#,
                400,
                "a sequence is not in this version",
            ),
            (
                "PUT",
                "actions/b",
                r#"{"exec":{"kind":"blackbox","image":"a/b"}}"#,
                400,
                "kind `blackbox` is not in this version",
            ),
            (
                "PUT",
                "packages/q",
                r#"{"binding":{"namespace":"_","name":"p"}}"#,
                400,
                "a package binding is not in this version",
            ),
        ],
    )
    .await;
    for key in ["web-export", "raw-http", "require-whisk-auth", "web-custom-options", "conductor"] {
        let body = format!(
            r#"{{"exec":{{"kind":"nodejs:default","code":"x"}},"annotations":[{{"key":"{key}","value":true}}]}}"#
        );
        let sentence = format!("annotation `{key}` is not in this version");
        check(&bench, &[("PUT", "actions/b", &body, 400, &sentence)]).await;
        check(&bench, &[("PUT", "actions/a?overwrite=true", &body, 400, &sentence)]).await;
    }
    check(&bench, &[("GET", "actions/b", "", 404, MISSING)]).await;
    let off = json!({
        "exec": {"kind": "nodejs:default", "code": "x"},
        "annotations": [{"key": "web-export", "value": false}, {"key": "raw-http", "value": false}],
    });
    bench.set_up("PUT", "actions/b", off).await;
}

#[tokio::test]
async fn conflicts_and_what_is_missing() {
    check(
        &furnished().await,
        &[
            (
                "PUT",
                "actions/a",
                r#"{"exec":{"kind":"nodejs:20","code":"x"}}"#,
                409,
                "resource already exists",
            ),
            ("PUT", "triggers/a?overwrite=true", "{}", 409, OTHER),
            ("GET", "triggers/a", "", 409, OTHER),
            ("POST", "triggers/a", "{}", 409, OTHER),
            ("DELETE", "rules/a", "", 409, OTHER),
            ("GET", "actions/p", "", 409, OTHER),
            ("POST", "actions/p", "{}", 409, OTHER),
            ("GET", "actions/a/b", "", 409, OTHER),
            ("PUT", "actions/a/b", r#"{"exec":{"kind":"nodejs:20","code":"x"}}"#, 409, OTHER),
            ("DELETE", "packages/p", "", 409, "Package not empty (contains 1 entity). Set force"),
            ("PUT", "actions/none/b", r#"{"exec":{"kind":"nodejs:20","code":"x"}}"#, 404, MISSING),
            (
                "GET",
                "packages/none",
                "",
                404,
                "The requested resource 'guest/none' does not exist.",
            ),
            ("DELETE", "packages/none", "", 404, MISSING),
            ("GET", "actions/none", "", 404, MISSING),
            ("POST", "actions/none", "{}", 404, MISSING),
            ("POST", "actions/none/a", "{}", 404, MISSING),
            ("POST", "triggers/none", "{}", 404, MISSING),
            ("POST", "rules/none", r#"{"status":"active"}"#, 404, MISSING),
            ("GET", "feeds/none", "", 404, MISSING),
        ],
    )
    .await;
}

#[tokio::test]
async fn who_is_not_known_learns_nothing() {
    let bench = furnished().await;
    let none = "The resource requires authentication, which was not supplied with the request";
    let bad = "The supplied authentication is invalid";
    let bearer = ("authorization", "Bearer abc".to_owned());
    for (header, sentence) in [
        (None, none),
        (Some(bearer), none),
        (Some(("authorization", "Basic %%%".to_owned())), none),
        (Some(basic("nobody")), bad),
        (Some(basic(&format!("nobody:{}", "a".repeat(64)))), bad),
        (Some(basic(&GUEST.replace("123z", "123y"))), bad),
        (Some(basic(&GUEST[..GUEST.len() - 1])), bad),
    ] {
        for path in ["actions/a", "triggers/t", "/api/v1/nope", "/api/v1/namespaces"] {
            let headers: Vec<_> = header.clone().into_iter().collect();
            let answer = bench.ask("POST", path, &headers, Some("{")).await;
            assert_eq!(answer.error(), (401, sentence.to_owned()), "{header:?} {path}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge, Some("Basic realm=\"OpenWhisk secure realm\",charset=UTF-8"));
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
}

#[tokio::test]
async fn other_namespaces_are_closed_but_for_public_packages() {
    let bench = furnished().await;
    let system = [basic(SYSTEM), media("application/json")];
    let forbidden =
        |what: &str| format!("The supplied authentication is not authorized to access '{what}'.");
    for (method, path, what) in [
        ("GET", "actions", "guest"),
        ("GET", "triggers", "guest"),
        ("GET", "activations", "guest"),
        ("GET", "actions/a", "guest/a"),
        ("POST", "actions/a", "guest/a"),
        ("POST", "actions/none", "guest/none"),
        ("PUT", "actions/a", "guest/a"),
        ("GET", "actions/p/a", "guest/p"),
        ("POST", "actions/p/a", "guest/p"),
        ("DELETE", "actions/p/a", "guest/p/a"),
        ("GET", "packages/p", "guest/p"),
        ("POST", "triggers/t", "guest/t"),
        ("POST", "events", "guest"),
        ("GET", "feeds/f", "guest/f"),
    ] {
        let path = format!("/api/v1/namespaces/guest/{path}");
        let answer = bench.ask(method, &path, &system, Some("{}")).await;
        assert_eq!(answer.error(), (403, forbidden(what)), "{method} {path}");
    }
    let all = "/api/v1/namespaces/guest/packages";
    assert_eq!(bench.ask("GET", all, &system, None::<String>).await.json(), json!([]));
    bench.set_up("PUT", "packages/p?overwrite=true", json!({"publish": true})).await;
    assert_eq!(bench.ask("GET", all, &system, None::<String>).await.json()[0]["name"], json!("p"));
    let call = "/api/v1/namespaces/guest/actions/p/a?blocking=true&result=true";
    let answer = bench.ask("POST", call, &system, Some("{\"x\":1}")).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"x": 1})));
}

#[tokio::test]
async fn bodies_that_are_too_large_or_of_another_type() {
    let bench = furnished().await;
    let json = [basic(GUEST), media("application/json")];
    let text = [basic(GUEST), media("text/plain")];
    let big = format!("{{\"p\":\"{}\"}}", "x".repeat(1_048_576));
    for path in ["triggers/t", "actions/a", "actions/a?blocking=true"] {
        let answer = bench.ask("POST", path, &json, Some(big.clone())).await;
        let sentence = "Request larger than allowed: 1048584 > 1048576 bytes.".to_owned();
        assert_eq!(answer.error(), (413, sentence), "{path}");
        let answer = bench.ask("POST", path, &text, Some("{}")).await;
        let sentence =
            "The request's Content-Type [text/plain] is not supported. Expected:\napplication/json";
        assert_eq!(answer.error(), (415, sentence.to_owned()), "{path}");
        let answer = bench.ask("POST", path, &json[..1], Some("{}")).await;
        assert_eq!(answer.status.as_u16(), 415, "{path}");
    }
    let parameters = json!({"parameters": [{"key": "p", "value": "x".repeat(1_048_576)}]});
    let answer = bench.guest("PUT", "packages/q", Some(parameters)).await;
    let sentence = "parameters larger than allowed: 1048579 > 1048576 bytes.".to_owned();
    assert_eq!(answer.error(), (413, sentence));
}
