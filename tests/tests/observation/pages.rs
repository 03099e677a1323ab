//! The commands and requests that the pages of this part show, as a reader would run them.

use std::{fs, path::Path, process::Stdio};

use evoke_tests::{
    e2e::{
        entities::{ECHO, node, trigger},
        place::Place,
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::Done;

/// Indented lines of a page outside its fences, a command each; one that ends with a backslash goes on.
fn commands(page: &str) -> Result<Vec<String>, FaultError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let (mut all, mut open, mut fenced) = (Vec::<String>::new(), false, false);
    for line in fs::read_to_string(path)?.lines() {
        fenced ^= line.starts_with("```");
        let Some(line) = line.strip_prefix("    ").filter(|_| !fenced) else {
            open = false;
            continue;
        };
        let line = line.trim_end();
        let (text, more) = match line.strip_suffix('\\') {
            Some(text) => (text.trim_end().to_owned() + " ", true),
            None => (line.to_owned(), false),
        };
        match all.last_mut().filter(|_| open) {
            Some(last) => last.push_str(text.trim_start()),
            None => all.push(text),
        }
        open = more;
    }
    Ok(all)
}

/// Runs the commands of a page one after the other, against the hub of `place`.
async fn run(place: &Place, page: &str) -> Result<String, FaultError> {
    let mut said = String::new();
    let program = fs::canonicalize(place.program())?;
    let folder = program.parent().unwrap_or(Path::new("."));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = format!("{}:{}", folder.display(), path.display());
    let address = place.caller()?.address;
    for command in commands(page)? {
        let command = command.replace("127.0.0.1:3233", &address.to_string());
        let ended = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &command])
            .current_dir(place.room())
            .env("PATH", &path)
            .env("EVOKE_DATA", place.data())
            .stdin(Stdio::null())
            .output()
            .await?;
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        let error = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{page}: {command}\n{text}{error}");
        said.push_str(&text);
    }
    Ok(said)
}

#[tokio::test]
async fn the_page_of_metrics_shows_what_works() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, "t", &json!({}), &["echo"], &Value::Null).await?;
    caller.post("triggers/t", &json!({})).await?;
    let said = run(&place, "metrics.md").await?;
    assert!(said.contains("evoke_rule_lag{namespace=\"guest\",rule=\"t-echo\"}"), "{said}");
    place.end(hub).await
}

#[tokio::test]
async fn the_page_of_traces_shows_what_works() -> Done {
    let place = Place::new()?;
    let (hub, _caller) = place.start().await?;
    let said = run(&place, "tracing.md").await?;
    assert!(said.contains("\"trace\": \"00-") && said.contains("traceId"), "{said}");
    place.end(hub).await
}

#[tokio::test]
async fn the_page_of_secrets_shows_what_works() -> Done {
    let place = Place::new()?;
    let (hub, _caller) = place.start().await?;
    let said = run(&place, "secrets.md").await?;
    assert!(said.contains("\"with\": 28") && said.contains("***"), "{said}");
    assert!(said.contains("ok: erased event ") && said.contains("\"by\": \"guest\""), "{said}");
    assert!(!said.contains("battery"), "{said}");
    place.end(hub).await
}
