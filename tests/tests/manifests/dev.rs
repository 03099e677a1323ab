//! `evoke dev`: what is saved is live at once, and no event suffers from it.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use evoke_tests::{
    e2e::{
        caller::Caller,
        entities::{records, text},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::shop::{Done, command, folder};

const MANIFEST: &str = "\
project:
  name: live
  packages:
    default:
      actions:
        note: {function: actions/note.js, limits: {memorySize: 128}}
      triggers:
        t:
      rules:
        r: {trigger: t, action: note}
";

/// A run that is long enough to be under way when the next version is saved.
fn code(version: u32) -> String {
    format!(
        "function main() {{\n  return new Promise((done) => setTimeout(() => done({{ version: {version} }}), 300));\n}}\n"
    )
}

/// The program at work, and its lines.
struct Dev {
    program: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    fn start(place: &Place, folder: &Path) -> Result<Self, FaultError> {
        let mut command = command(place, &["dev", &folder.display().to_string()]);
        let mut program = command.stdout(Stdio::piped()).spawn()?;
        let Some(out) = program.stdout.take() else { panic!("no output") };
        Ok(Self { program, lines: BufReader::new(out).lines() })
    }

    /// Reads on to a line with these words.
    async fn says(&mut self, words: &str) -> Result<String, FaultError> {
        let mut seen = Vec::new();
        loop {
            let Ok(line) = timeout(SOON, self.lines.next_line()).await else {
                panic!("no `{words}` in:\n{}", seen.join("\n"))
            };
            let Some(line) = line? else { panic!("ended before `{words}`:\n{}", seen.join("\n")) };
            if line.contains(words) {
                return Ok(line);
            }
            seen.push(line);
        }
    }
}

/// Fires the trigger at a steady pace until it is told to stop; how often it did.
fn fire(caller: &Caller, stop: oneshot::Receiver<()>) -> JoinHandle<Result<usize, FaultError>> {
    let caller = caller.clone();
    tokio::spawn(async move {
        let mut stop = stop;
        let mut fired = 0;
        let mut pace = tokio::time::interval(Duration::from_millis(60));
        loop {
            tokio::select! {
                _ = &mut stop => return Ok(fired),
                _ = pace.tick() => {
                    caller.post("triggers/t", &json!({"n": fired})).await?;
                    fired += 1;
                }
            }
        }
    })
}

fn version(record: &Value) -> u64 {
    record.pointer("/response/result/version").and_then(Value::as_u64).unwrap_or_default()
}

async fn records_of_version(caller: &Caller, wanted: u64, count: usize) -> Done {
    until("runs of the version", SOON, async || {
        let all = records(caller, "note").await?;
        let found = all.iter().filter(|record| version(record) == wanted).count();
        Ok(if found >= count { Ok(()) } else { Err(format!("{found} of {count} of {wanted}")) })
    })
    .await
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "the time is told, and nothing depends on it")]
async fn a_saved_file_is_live_and_no_event_fails() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let folder = folder(&place, MANIFEST)?;
    let file = folder.join("actions/note.js");
    fs::write(&file, code(1))?;
    let mut dev = Dev::start(&place, &folder)?;
    dev.says(": created action note, created trigger t, created rule r").await?;
    let (stop, stopped) = oneshot::channel();
    let firing = fire(&caller, stopped);
    records_of_version(&caller, 1, 5).await?;

    let (saved, saved_ms) = (Instant::now(), now_ms());
    fs::write(&file, code(2))?;
    until("the new code", SOON, async || {
        let action = caller.get("actions/note").await?;
        Ok(if text(&action, "/exec/code") == code(2) { Ok(()) } else { Err("the old".into()) })
    })
    .await?;
    eprintln!("save to live: at most {} ms", saved.elapsed().as_millis());
    eprintln!("{}", dev.says(": updated action note").await?);
    records_of_version(&caller, 2, 5).await?;
    assert!(stop.send(()).is_ok(), "the firing ended early");
    let fired = match firing.await {
        Ok(fired) => fired?,
        Err(error) => panic!("{error}"),
    };
    let all = evoke_tests::e2e::entities::records_when(&caller, "note", fired).await?;
    assert_eq!(all.len(), fired, "each event ran once");
    for record in &all {
        assert_eq!(text(record, "/response/status"), "success", "{record}");
        assert!([1, 2].contains(&version(record)), "{record}");
    }
    let at = |record: &Value, member: &str| record[member].as_u64().unwrap_or_default();
    let in_flight =
        all.iter().filter(|one| at(one, "start") < saved_ms && at(one, "end") > saved_ms);
    let in_flight: Vec<u64> = in_flight.map(version).collect();
    assert!(!in_flight.is_empty() && in_flight.iter().all(|one| *one == 1), "{in_flight:?}");
    assert!(dev.says("note").await?.contains("  ok  "), "a line for each activation");
    dev.program.kill().await?;
    place.end(hub).await
}

#[tokio::test]
async fn a_mistake_is_told_and_the_watching_goes_on() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let folder = folder(&place, MANIFEST)?;
    let manifest = folder.join("manifest.yaml");
    let mut dev = Dev::start(&place, &folder)?;
    dev.says(": created action note").await?;
    fs::write(&manifest, MANIFEST.replace("trigger: t", "triger: t"))?;
    let line = dev.says("not applied").await?;
    assert!(line.contains("manifest.yaml") || line.contains("mistakes"), "{line}");
    // A file that is not there yet is waited for as well.
    fs::write(&manifest, MANIFEST.replace("actions/note.js", "more/new.js"))?;
    dev.says("cannot read").await?;
    fs::create_dir(folder.join("more"))?;
    dev.says("cannot read").await?;
    fs::write(folder.join("more/new.js"), code(7))?;
    dev.says(": updated action note").await?;
    // As editors do it: another file takes the place.
    fs::write(folder.join("more/.new.js.swp"), code(8))?;
    fs::rename(folder.join("more/.new.js.swp"), folder.join("more/new.js"))?;
    dev.says(": updated action note").await?;
    let action = caller.get("actions/note").await?;
    assert_eq!(text(&action, "/exec/code"), code(8));
    // What goes out of the manifest goes.
    fs::write(
        &manifest,
        MANIFEST
            .replace("      rules:\n        r: {trigger: t, action: note}\n", "")
            .replace("actions/note.js", "more/new.js"),
    )?;
    dev.says(": deleted rule r").await?;
    dev.program.kill().await?;
    place.end(hub).await
}
