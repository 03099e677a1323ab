//! The page about the API: its examples are run, and answered as it shows.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Stdio};

use evoke_tests::{e2e::place::Place, fault::error::FaultError};
use serde_json::Value;
use tokio::process::Command;

/// A block of commands, and the answer that is shown for it.
struct Example {
    commands: String,
    answer: Option<Value>,
}

fn examples(page: &str) -> Vec<Example> {
    let mut all: Vec<Example> = Vec::new();
    for block in page.split("\n```").filter(|block| !block.starts_with('\n')) {
        if let Some(commands) = block.strip_prefix("sh\n") {
            all.push(Example { commands: commands.to_owned(), answer: None });
        } else if let Some(text) = block.strip_prefix("json\n") {
            let answer = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
            let example = all.last_mut().expect("an answer comes after its commands");
            assert!(example.answer.replace(answer).is_none(), "two answers: {text}");
        }
    }
    all
}

/// What is shown is there; `…` stands for anything, and more may be there.
fn check(shown: &Value, got: &Value, commands: &str) {
    match (shown, got) {
        (Value::String(any), got) if any == "…" => assert!(!got.is_null(), "{commands}"),
        (Value::Object(shown), Value::Object(members)) => {
            for (name, value) in shown {
                let member = members.get(name).unwrap_or(&Value::Null);
                check(value, member, commands);
            }
        }
        (Value::Array(shown), Value::Array(items)) => {
            assert_eq!(shown.len(), items.len(), "{commands}: {got}");
            shown.iter().zip(items).for_each(|(shown, item)| check(shown, item, commands));
        }
        _ => assert_eq!(shown, got, "{commands}"),
    }
}

#[tokio::test]
async fn the_pages_examples_are_answered_as_it_shows() -> Result<(), FaultError> {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let examples = examples(&fs::read_to_string(file)?);
    assert!(examples.len() >= 9, "{}", examples.len());
    let key = fs::read_to_string(place.data().join("credentials"))?;
    for Example { commands, answer } in examples {
        let ended = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &commands])
            .env("HUB", caller.address.to_string())
            .env("KEY", key.trim())
            .stdin(Stdio::null())
            .output()
            .await?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{commands}: {}", ended.status);
        let got: Value =
            serde_json::from_str(&said).unwrap_or_else(|e| panic!("{commands}: {e}: {said}"));
        match answer {
            Some(shown) => check(&shown, &got, &commands),
            None => assert!(got.get("error").is_none(), "{commands}: {said}"),
        }
    }
    place.end(hub).await
}
