//! A project with one of everything, in a folder, and the program at work on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use evoke_tests::{
    e2e::{caller::Caller, place::Place},
    fault::error::FaultError,
};
use serde_json::Value;
use tokio::process::Command;

pub(crate) type Done = Result<(), FaultError>;

/// Variables of the environment that the manifest wants.
pub(crate) const VARIABLES: [(&str, &str); 2] =
    [("SHOP_SECRET", "hunter2"), ("SHOP_TOKEN", "hunter3")];

pub(crate) const MANIFEST: &str = "\
project:
  name: shop
  packages:
    default:
      actions:
        note:
          function: actions/note.js
          limits: {timeout: 5000, memorySize: 128}
          inputs:
            level: 2
            price: $$5
            apiToken: ${SHOP_TOKEN}
          annotations: {team: tea}
      triggers:
        orders:
          subscription: {type: order.*}
          webhook: {hmac: {secret: $SHOP_SECRET}}
        tick:
        nightly:
          feed: /whisk.system/alarms/alarm
          inputs: {cron: '0 2 * * *', trigger_payload: {night: true}}
      rules:
        orders-note: {trigger: orders, action: note, delivery: {attempts: 3, ordered: true}}
        tick-sum: {trigger: tick, action: tools/sum, status: inactive}
        nightly-echo: {trigger: nightly, action: tools/sum}
      feeds:
        clock: {provider: alarms, trigger: tick, parameters: {every: 1h}, paused: true}
        hourly:
          provider: alarms
          trigger: tick
          parameters: {every: 2h, trigger_payload: {token: $SHOP_SECRET}}
    tools:
      inputs: {unit: kg}
      public: true
      actions:
        sum: {function: actions/sum.py, main: add, inputs: {start: {value: 1, init: true}}}
";

/// A folder with the project.
pub(crate) fn folder(place: &Place, manifest: &str) -> Result<PathBuf, FaultError> {
    let folder = place.room().join("shop");
    fs::create_dir_all(folder.join("actions"))?;
    fs::write(folder.join("actions/note.js"), "function main(args) { return { v: 1, args } }\n")?;
    fs::write(folder.join("actions/sum.py"), "def add(args):\n    return {\"sum\": 1}\n")?;
    fs::write(folder.join("manifest.yaml"), manifest)?;
    Ok(folder)
}

/// The program with these words, the manifest's variables, and the hub of the place.
pub(crate) fn command(place: &Place, words: &[&str]) -> Command {
    let mut command = Command::new(place.program());
    command.args(words).arg("--data").arg(place.data()).envs(VARIABLES).stdin(Stdio::null());
    command.kill_on_drop(true);
    command
}

/// What the program says; it must succeed.
pub(crate) async fn says(place: &Place, words: &[&str]) -> Result<String, FaultError> {
    let ended = command(place, words).output().await?;
    let (out, err) = texts(&ended);
    assert!(ended.status.success(), "{words:?}: {out}{err}");
    Ok(out)
}

pub(crate) fn texts(ended: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&ended.stdout), text(&ended.stderr))
}

/// Applies the folder and gives the lines.
pub(crate) async fn apply(place: &Place, folder: &Path) -> Result<Vec<String>, FaultError> {
    let out = says(place, &["apply", "-f", &folder.display().to_string()]).await?;
    Ok(out.lines().map(str::to_owned).collect())
}

/// Versions and times of the last change of everything in the namespace.
pub(crate) async fn versions(caller: &Caller) -> Result<Vec<String>, FaultError> {
    let mut all = Vec::new();
    for collection in ["packages", "actions", "triggers", "rules", "feeds"] {
        let Value::Array(listed) = caller.get(&format!("{collection}?limit=200")).await? else {
            panic!("no list of {collection}")
        };
        for entity in listed {
            let members = ["name", "version", "generation", "updated"];
            let members = members.map(|member| entity.get(member).unwrap_or(&Value::Null));
            let [name, version, generation, updated] = members;
            all.push(format!("{collection} {name} {version} {generation} {updated}"));
        }
    }
    all.sort();
    Ok(all)
}
