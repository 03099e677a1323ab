//! Secrets: the function gets them, and they are nowhere else.

use std::fs;

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{action, call, record, records_when, text, trigger},
        place::Place,
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};

use super::{Done, holding};

const SECRETS: [&str; 4] = ["s3cret-action", "s3cret-package", "s3cret-trigger", "s3cret-environ"];

/// Tells of each secret how long it is, and never what.
const COUNTS: &str = "function main(args) {
  const length = (value) => (value === undefined ? 0 : value.length);
  return { action: length(args.token), package: length(args.shared), trigger: length(args.hook),
           environment: length(process.env.KEY), plain: args.plain };
}";

async fn furnish(caller: &Caller) -> Done {
    let secret = |key: &str, value: &str| json!({"key": key, "value": value, "secret": true});
    let shared = json!({"parameters": [secret("shared", SECRETS[1])]});
    caller.put("packages/p", &shared).await?;
    let environment = json!({"key": "KEY", "value": SECRETS[3], "secret": true, "init": true});
    let body = json!({
        "exec": {"kind": "nodejs:default", "code": COUNTS},
        "parameters": [secret("token", SECRETS[0]), environment, {"key": "plain", "value": "open"}],
    });
    action(caller, "p/counts", &body).await?;
    let hook = json!({"parameters": [secret("hook", SECRETS[2])]});
    caller.put("triggers/t", &hook).await?;
    let rule = json!({"trigger": "/_/t", "action": "/_/p/counts"});
    caller.put("rules/r", &rule).await.map(drop)
}

/// Whether the function has them all.
fn has_all(result: &Value, with_trigger: bool) {
    let length = SECRETS[0].len();
    let trigger = if with_trigger { SECRETS[2].len() } else { 0 };
    let wanted = json!({
        "action": length, "package": SECRETS[1].len(), "trigger": trigger,
        "environment": SECRETS[3].len(), "plain": "open",
    });
    assert_eq!(*result, wanted);
}

fn parameter<'a>(entity: &'a Value, key: &str) -> &'a Value {
    let mut all = entity.get("parameters").and_then(Value::as_array).into_iter().flatten();
    all.find(|one| one.get("key") == Some(&json!(key))).unwrap_or(&Value::Null)
}

async fn result_of(caller: &Caller) -> Result<Value, FaultError> {
    let reply = call(caller, "p/counts", &json!({})).await?;
    Ok(reply.json().pointer("/response/result").cloned().unwrap_or_default())
}

#[tokio::test]
async fn a_secret_reaches_the_function_and_nobody_else() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    has_all(&result_of(&caller).await?, false);
    caller.post("triggers/t", &json!({})).await?;
    let runs = records_when(&caller, "p/counts", 2).await?;
    has_all(&runs.last().expect("two runs")["response"]["result"], true);

    let mut shown = String::new();
    for path in [
        "actions",
        "actions/p/counts",
        "packages",
        "packages/p",
        "triggers",
        "triggers/t",
        "rules",
        "events",
        "activations?docs=true",
        "deadletters",
    ] {
        shown.push_str(&caller.get(path).await?.to_string());
    }
    shown.push_str(&caller.good(Ask::new("GET", "/metrics")).await?.text());
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
    }
    let masked = json!({"key": "token", "value": "***", "secret": true});
    let mut whole = caller.get("actions/p/counts").await?;
    assert_eq!(*parameter(&whole, "token"), masked);

    // Sent back as it was shown, without what the package has: it stays as it was.
    let own = whole["parameters"].as_array().into_iter().flatten();
    let own: Vec<_> = own.filter(|one| one["key"] != "shared").cloned().collect();
    whole["parameters"] = json!(own);
    caller.put("actions/p/counts", &whole).await?;
    has_all(&result_of(&caller).await?, false);
    let unknown = json!({"parameters": [{"key": "other", "value": "***", "secret": true}]});
    let ask = Ask::new("PUT", "actions/p/counts?overwrite=true").json(&unknown);
    let refused = caller.send(ask).await?;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.error().contains("`other` is secret and its value is not known"));

    hub.stop().await?;
    for secret in SECRETS {
        assert_eq!(holding(place.data(), secret.as_bytes()), Vec::<std::path::PathBuf>::new());
        assert!(!place.log().contains(secret), "{secret} is in the hub's log");
    }
    assert!(place.log().contains("sealed with a key that lies beside them"));
    let (hub, caller) = place.start().await?;
    has_all(&result_of(&caller).await?, false);
    place.end(hub).await
}

#[tokio::test]
async fn the_key_lies_elsewhere_and_changes() -> Done {
    let mut place = Place::new()?;
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    hub.stop().await?;
    let (first, second) = (place.room().join("first.key"), place.room().join("second.key"));
    let (first_name, second_name) = (first.display().to_string(), second.display().to_string());
    let moved = place.run(&["key", "reseal", "--data", "DATA", "--to", &first_name]).await?;
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    assert!(!place.data().join("secrets.key").exists(), "no key lies beside the secrets");

    place.launch.environment.push(("EVOKE_SEAL_KEY_FILE", first.clone().into()));
    let (hub, caller) = place.start().await?;
    has_all(&result_of(&caller).await?, false);
    hub.stop().await?;
    let moved = place.run(&["key", "reseal", "--data", "DATA", "--to", &second_name]).await?;
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));

    let refused = place.run(&["up", "--data", "DATA", "--seal-key-file", &first_name]).await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("sealed with another key"), "{said}");
    place.launch.environment.pop();
    place.launch.environment.push(("EVOKE_SEAL_KEY_FILE", second.into()));
    let (hub, caller) = place.start().await?;
    has_all(&result_of(&caller).await?, false);
    let id = caller.post("actions/p/counts", &json!({})).await?.json();
    let run = record(&caller, &text(&id, "/activationId")).await?;
    has_all(&run["response"]["result"], false);
    let mode = fs::metadata(&first)?.permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    place.end(hub).await
}

#[tokio::test]
async fn the_command_line_marks_what_is_secret() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let code = place.room().join("counts.js");
    fs::write(&code, COUNTS)?;
    let code = code.display().to_string();
    let more = place.room().join("secrets.json");
    fs::write(&more, json!({"shared": SECRETS[1]}).to_string())?;
    let more = more.display().to_string();
    let words = ["action", "create", "counts", &code, "--data", "DATA"];
    let secret = ["--secret", "token", SECRETS[0], "--secret-file", &more, "-p", "plain", "open"];
    let made = place.run(&[&words[..], &secret[..]].concat()).await?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let shown = place.run(&["action", "get", "counts", "--data", "DATA"]).await?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("***") && !shown.contains("s3cret"), "{shown}");
    let reply = call(&caller, "counts", &json!({})).await?.json();
    let result = &reply["response"]["result"];
    assert_eq!(result["action"], json!(SECRETS[0].len()), "{reply}");
    assert_eq!(result["package"], json!(SECRETS[1].len()), "{reply}");
    trigger(&caller, "t", &json!({}), &["counts"], &Value::Null).await?;
    place.end(hub).await
}

#[tokio::test]
async fn a_manifest_marks_what_is_secret() -> Done {
    let mut place = Place::new()?;
    let (hub, caller) = place.start().await?;
    fs::write(place.room().join("counts.js"), COUNTS)?;
    let file = place.room().join("manifest.yaml");
    let write = |secret: &str| {
        let inputs = format!("{{token: {{value: {secret}, secret: true}}, plain: open}}");
        let action = format!("counts: {{function: counts.js, inputs: {inputs}}}");
        fs::write(&file, format!("packages: {{p: {{actions: {{{action}}}}}}}\n"))
    };
    let name = file.display().to_string();
    let words = ["apply", "-f", &name, "--data", "DATA"];
    for (secret, told) in [
        (SECRETS[0], "created    action p/counts"),
        (SECRETS[0], "unchanged  action p/counts"),
        ("longer-s3cret-action", "updated    action p/counts"),
    ] {
        write(secret)?;
        let applied = place.run(&words).await?;
        let said = String::from_utf8_lossy(&applied.stdout).into_owned();
        let error = String::from_utf8_lossy(&applied.stderr).into_owned();
        assert!(applied.status.success() && said.contains(told), "{said}{error}");
        assert!(!said.contains("s3cret"), "{said}");
        let reply = call(&caller, "p/counts", &json!({})).await?.json();
        assert_eq!(reply["response"]["result"]["action"], json!(secret.len()), "{reply}");
    }
    let folder = place.room().join("exported");
    let exported = place.run(&["export", &folder.display().to_string(), "--data", "DATA"]).await?;
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let said = fs::read_to_string(folder.join("manifest.yaml"))?;
    assert!(said.contains("secret: true") && !said.contains("s3cret"), "{said}");
    hub.stop().await?;
    assert_eq!(holding(place.data(), b"s3cret"), Vec::<std::path::PathBuf>::new());
    place.done();
    Ok(())
}
