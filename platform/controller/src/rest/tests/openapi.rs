//! The API's document: it has what the router has, and nothing else.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Map, Value};

use crate::bench::{Bench, GUEST, basic, media};

const NOWHERE: &str = "The requested resource could not be found.";
const METHODS: [&str; 6] = ["get", "put", "post", "delete", "options", "patch"];

fn document() -> Value {
    serde_json::from_str(&crate::openapi()).unwrap()
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            let methods = methods.filter(|(method, _)| METHODS.contains(&method.as_str()));
            methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

/// The path with the examples of its parts.
fn filled(path: &str, item: &Value) -> String {
    let parameters = item["parameters"].as_array().into_iter().flatten();
    parameters.fold(path.to_owned(), |path, parameter| {
        let part = format!("{{{}}}", parameter["name"].as_str().unwrap());
        path.replace(&part, parameter["example"].as_str().unwrap())
    })
}

/// Whether the router knows the path with that method.
async fn is_a_route(bench: &Bench, method: &str, path: &str) -> bool {
    let origin = ("webhook-request-origin", "sender.example.com".to_owned());
    let headers = [basic(GUEST), media("application/json"), origin];
    let answer = bench.ask(&method.to_uppercase(), path, &headers, None::<String>).await;
    answer.status != 404 || !answer.text.contains(NOWHERE)
}

#[tokio::test]
async fn the_router_has_what_is_described_and_no_more() {
    let (bench, document) = (Bench::new().await, document());
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let is_there = is_a_route(&bench, method, &filled(path, item)).await;
            assert_eq!(is_there, item.get(method).is_some(), "{method} {path}");
        }
    }
    assert!(!is_a_route(&bench, "get", "/api/v1/nothing").await, "the check finds nothing");
}

/// A route can only be made where it is described.
#[test]
fn no_route_is_made_beside_its_description() {
    fn check(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path, found);
            } else if fs::read_to_string(&path).unwrap().contains(concat!(".rou", "te(")) {
                found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert_eq!(found, ["openapi.rs"]);
}

#[test]
fn operations_are_whole() {
    let document = document();
    let mut ids = BTreeSet::new();
    let tags: Vec<&Value> =
        document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    for (path, method, operation) in operations(&document) {
        let what = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{what}: id");
        assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{what}: summary");
        assert!(tags.contains(&&operation["tags"][0]), "{what}: tag");
        let answers = operation["responses"].as_object().unwrap();
        let kind = |first| answers.keys().any(|status| status.starts_with(first));
        assert!(
            kind('2') || kind('3') || path.ends_with("limits/{item}"),
            "{what}: no good answer"
        );
        assert!(answers.contains_key("500"), "{what}: 500");
        let is_secured = !operation["security"].as_array().unwrap().is_empty();
        assert_eq!(answers.contains_key("401"), is_secured, "{what}: 401");
        let contents = operation.pointer("/requestBody/content").and_then(Value::as_object);
        for (media, content) in contents.into_iter().flatten() {
            assert!(content.get("example").is_some(), "{what}: no example of {media}");
        }
    }
    assert!(ids.len() > 40, "{}", ids.len());
}

#[test]
fn every_reference_leads_somewhere() {
    fn follow(document: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|value| follow(document, value));
            }
            Value::Array(items) => items.iter().for_each(|value| follow(document, value)),
            _ => {}
        }
    }
    let document = document();
    follow(&document, &document);
    let schemas: &Map<String, Value> = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
    }
}

/// `EVOKE_WRITE=1` writes it anew (`make openapi`).
#[test]
fn the_committed_copy_is_the_generated_document() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi.json");
    let generated = crate::openapi();
    if std::env::var_os("EVOKE_WRITE").is_some() {
        fs::write(&file, &generated).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == generated, "schemas/openapi.json is another: `make openapi` writes it anew");
}

#[tokio::test]
async fn the_document_is_served_to_anybody() {
    let (bench, document) = (Bench::new().await, document());
    for path in ["/api/v1/api-docs", "/api-docs", "/openapi.json"] {
        let answer = bench.ask("GET", path, &[], None::<String>).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json(), document);
    }
    let there = bench.ask("GET", "/api/v1/docs", &[], None::<String>).await;
    assert_eq!(
        (there.status.as_u16(), there.header("location")),
        (308, Some("/api/v1/docs/index.html"))
    );
    let page = bench.ask("GET", "/api/v1/docs/index.html", &[], None::<String>).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("/api/v1/namespaces/{ns}/rules/{name}"), "{}", page.text);
    assert!(!page.text.contains("<script"), "{}", page.text);
}
