//! The life of a hub: ready, alone in its directory, drained at its end, resumed at its start.
#![expect(clippy::panic, reason = "a test that cannot go on ends, in what it is made of too")]

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{self, ECHO, call, node, record, records, records_when, text, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::{error::FaultError, hub::Hub},
};
use serde_json::{Value, json};
use tokio::{
    process::Command,
    task::JoinSet,
    time::{Instant, timeout},
};

type Done = Result<(), FaultError>;

/// Longest time of a command that is refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);
/// Longest time from SIGTERM to the end: the hub's own bounds, and a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// An ordinary user: `nobody` of Debian.
const ORDINARY: u32 = 65_534;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat())
        .into_owned()
}

async fn refused(place: &Place, words: &[&str]) -> Result<(i32, String), FaultError> {
    let ended = timeout(REFUSED_WITHIN, place.run(words)).await;
    let ended = ended.unwrap_or_else(|_| panic!("{words:?} goes on instead of being refused"))?;
    Ok((ended.status.code().unwrap_or(-1), said(&ended)))
}

/// Where the address file says that the hub listens.
async fn address(data: &Path) -> Result<SocketAddr, FaultError> {
    until("the address file", SOON, async || {
        let text = fs::read_to_string(data.join("address")).unwrap_or_default();
        let parsed = text.trim().strip_prefix("http://").and_then(|text| text.parse().ok());
        Ok(parsed.ok_or(text))
    })
    .await
}

#[tokio::test]
async fn a_hub_says_where_it_is_and_keeps_its_secrets_to_its_owner() -> Done {
    let mut place = Place::new()?;
    fs::remove_dir(place.data())?;
    place.launch.address = ([127, 0, 0, 1], 0).into();
    let hub = place.launch.start()?;
    place.launch.address = address(place.data()).await?;
    assert_ne!(place.launch.address.port(), 0);
    let caller = place.caller()?;
    for (path, answer) in [("/healthz", "ok"), ("/readyz", "ready"), ("/ping", "pong")] {
        let reply = caller.nobody().send(Ask::new("GET", path)).await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, answer), "{path}");
    }
    let mode = |name: &str| {
        fs::metadata(place.data().join(name)).map(|about| about.permissions().mode() & 0o777)
    };
    assert_eq!(mode("credentials")?, 0o600);
    assert_eq!(mode("secrets.key")?, 0o600);
    assert_eq!(mode("")?, 0o700);
    let credentials = fs::read_to_string(place.data().join("credentials"))?;
    let (uuid, key) = credentials.trim().split_once(':').expect("uuid:key");
    assert_eq!((uuid.len(), key.len()), (36, 64));
    assert_eq!(caller.get("/api/v1/namespaces").await?, json!(["guest"]));
    // The command line finds address and credentials by itself.
    let listed = place.run(&["action", "list", "--data", "DATA", "--json"]).await?;
    assert!(listed.status.success(), "{}", said(&listed));
    hub.stop().await?;
    assert!(!place.data().join("address").exists(), "a hub that has ended is nowhere");
    assert_eq!(fs::read_to_string(place.data().join("credentials"))?, credentials);
    place.done();
    Ok(())
}

#[tokio::test]
async fn a_second_hub_on_the_directory_is_refused() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    let (code, text) =
        refused(&place, &["up", "--listen", "127.0.0.1:0", "--data", "DATA"]).await?;
    assert_eq!(code, 3, "{text}");
    let line = text.lines().last().unwrap_or_default();
    let is_clear =
        ["another", "hub", "already", "use"].iter().filter(|word| line.contains(**word)).count()
            >= 2;
    assert!(is_clear, "{text}");
    let reply = call(&caller, "echo", &json!({})).await?;
    assert_eq!(reply.status, 200, "the first goes on: {}", reply.text());
    assert_eq!(address(place.data()).await?, caller.address, "and is still the one that is found");
    place.end(hub).await
}

#[tokio::test]
async fn settings_that_cannot_be_are_told_all_at_once_and_nothing_is_made() -> Done {
    let mut place = Place::new()?;
    fs::remove_dir(place.data())?;
    let up = |more: &[&'static str]| [&["up", "--data", "DATA"], more].concat();
    let (code, text) = refused(&place, &up(&["--listen", "0.0.0.0:0"])).await?;
    assert_eq!(code, 2, "{text}");
    let sentence = "--listen 0.0.0.0:0 can be reached from outside: give --tls-cert and --tls-key, or --insecure for plain HTTP";
    assert!(text.contains(sentence), "{text}");
    let wrong = [
        "--listen",
        "0.0.0.0:0",
        "--dev-keys",
        "--log-size",
        "1",
        "--tls-cert",
        "x",
        "--allow-network",
        "here",
        "--apply",
        "/none.yaml",
    ];
    let (code, text) = refused(&place, &up(&wrong)).await?;
    assert_eq!(code, 2, "{text}");
    for word in [
        "can be reached from outside",
        "--dev-keys is for loopback only",
        "--log-size must be at least",
        "--tls-cert and --tls-key go together",
        "--allow-network",
        "there is no file /none.yaml",
    ] {
        assert!(text.contains(word), "`{word}` is not told:\n{text}");
    }
    assert!(!place.data().exists(), "nothing is made");
    let (code, text) = refused(&place, &up(&["--listen", "nowhere"])).await?;
    assert_eq!(code, 2, "{text}");
    place.done();
    Ok(())
}

#[tokio::test]
async fn a_manifest_that_cannot_be_applied_ends_the_hub_clean() -> Done {
    let mut place = Place::new()?;
    let manifest = place.room().join("manifest.yaml");
    let words = [
        "up",
        "--listen",
        "127.0.0.1:0",
        "--data",
        "DATA",
        "--apply",
        manifest.to_str().unwrap_or_default(),
    ];
    let unreadable = ("project:\n  packages: 7\n", "manifest.yaml:2");
    let without_action = "project:\n  name: x\n  packages:\n    default:\n      triggers:\n        t:\n      \
                          rules:\n        r: {trigger: t, action: none}\n";
    for (text, sentence) in [unreadable, (without_action, "none")] {
        fs::write(&manifest, text)?;
        let (code, said) = refused(&place, &words).await?;
        assert!(code == 1 || code == 2, "{code}: {said}");
        assert!(said.lines().last().unwrap_or_default().contains(sentence), "{said}");
        for name in ["address", "control.sock"] {
            assert!(!place.data().join(name).exists(), "`{name}` is left: {said}");
        }
    }
    let (hub, _) = place.start().await?;
    hub.stop().await?;
    place.done();
    Ok(())
}

#[tokio::test]
async fn a_key_is_added_with_the_hub_running_or_not() -> Done {
    let place = Place::new()?;
    let add = async |name: &str| {
        let added = place.run(&["key", "add", name, "--data", "DATA"]).await?;
        Ok::<_, FaultError>((
            added.status.code(),
            String::from_utf8_lossy(&added.stdout).into_owned(),
            said(&added),
        ))
    };
    let (code, before, text) = add("before").await?;
    assert_eq!(code, Some(0), "{text}");
    let (hub, guest) = place.start().await?;
    let (code, during, text) = add("during").await?;
    assert_eq!(code, Some(0), "{text}");
    for (name, key) in [("before", before), ("during", during)] {
        let caller = place.caller_with(&key);
        assert_eq!(caller.get("/api/v1/namespaces").await?, json!([name]));
        node(&caller, "echo", ECHO).await?;
        let reply = call(&caller, "echo", &json!({"of": name})).await?;
        assert_eq!(
            reply.json()["response"]["result"]["args"]["of"],
            json!(name),
            "{}",
            reply.text()
        );
        let strange = Ask::new("GET", "/api/v1/namespaces/guest/actions");
        assert_eq!(caller.send(strange).await?.status, 403, "{name} sees only its own");
    }
    assert_eq!(guest.get("actions").await?, json!([]));
    for name in ["before", "during", "guest"] {
        let (code, _, text) = add(name).await?;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("namespace `{name}` exists already")), "{text}");
    }
    let (code, _, text) = add("not/a name").await?;
    assert_eq!(code, Some(1), "{text}");
    place.end(hub).await
}

/// Tells through the API in its sandbox that it has begun; then takes its time.
const BEGUN: &str = "async function main({ wait = 1500 }) {
  const key = Buffer.from(process.env.__OW_API_KEY).toString('base64');
  const told = await fetch(process.env.__OW_API_HOST + '/api/v1/namespaces/_/triggers/begun', {
    method: 'POST', headers: { authorization: 'Basic ' + key },
  });
  await new Promise(done => setTimeout(done, wait));
  return { told: told.status };
}";

/// A hub whose action `slow` tells when it has begun, with trigger `t` and rule `t-slow`.
async fn with_slow_action(place: &Place) -> Result<(Hub, Caller), FaultError> {
    let (hub, caller) = place.start().await?;
    let action = json!({
        "exec": {"kind": "nodejs:default", "code": BEGUN},
        "annotations": [{"key": "provide-api-key", "value": true}],
    });
    entities::action(&caller, "slow", &action).await?;
    trigger(&caller, "t", &json!({}), &["slow"], &Value::Null).await?;
    caller.put("triggers/begun", &json!({})).await?;
    Ok((hub, caller))
}

/// Waits until `slow` has begun so often.
async fn begun(caller: &Caller, count: usize) -> Done {
    until("the action to begin", SOON, async || {
        let begun = caller.get("events?trigger=begun").await?;
        let seen = begun.as_array().map_or(0, Vec::len);
        Ok(if seen == count { Ok(()) } else { Err(format!("{seen} times instead of {count}")) })
    })
    .await
}

/// Calls under way at the stop.
const CALLS: usize = 4;

#[tokio::test]
async fn a_stop_lets_requests_and_deliveries_under_way_finish() -> Done {
    let place = Place::new()?;
    let (hub, caller) = with_slow_action(&place).await?;
    let mut answers = JoinSet::new();
    for _ in 0..CALLS {
        let caller = caller.clone();
        answers.spawn(async move { call(&caller, "slow", &json!({})).await });
    }
    caller.post("triggers/t", &json!({})).await?;
    begun(&caller, CALLS + 1).await?;
    let start = Instant::now();
    hub.stop().await?;
    let took = start.elapsed();
    assert!(took < ENDS_WITHIN, "{took:?}");
    let mut replies = Vec::new();
    while let Some(answer) = answers.join_next().await {
        let reply = answer.map_err(std::io::Error::from)??;
        let result = &reply.json()["response"]["result"];
        assert_eq!(result, &json!({"told": 204}), "{} {}", reply.status, reply.text());
        replies.push(reply.json());
    }
    assert!(caller.send(Ask::new("GET", "/healthz")).await.is_err(), "nobody listens any more");

    let (hub, caller) = place.start().await?;
    for reply in &replies {
        let kept = record(&caller, &text(reply, "/activationId")).await?;
        assert_eq!(kept["response"], reply["response"], "its record outlives the stop");
    }
    records_when(&caller, "slow", CALLS + 1).await?;
    let later = caller.post("triggers/t", &json!({"wait": 0})).await?;
    assert_eq!(later.status, 202);
    records_when(&caller, "slow", CALLS + 2).await?;
    // What ended before the stop does not begin again after it.
    begun(&caller, CALLS + 2).await?;
    place.end(hub).await
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_loses_nothing() -> Done {
    let place = Place::new()?;
    let (hub, caller) = with_slow_action(&place).await?;
    caller.post("triggers/t", &json!({"wait": 6000})).await?;
    begun(&caller, 1).await?;
    let start = Instant::now();
    Command::new("kill").args(["-TERM", &hub.pid().to_string()]).status().await?;
    until("the hub to say that it ends", SOON, async || {
        let log = place.log();
        Ok(if log.contains("ending:") { Ok(()) } else { Err(log) })
    })
    .await?;
    // `stop` is the second signal.
    let ended = hub.stop().await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let is_cut = matches!(&ended, Err(FaultError::Ended { status, .. }) if status.contains("130"));
    assert!(is_cut, "{ended:?}");
    let (hub, caller) = place.start().await?;
    let run = records_when(&caller, "slow", 1).await?.remove(0);
    assert_eq!(run["response"]["result"], json!({"told": 204}), "{run}");
    place.end(hub).await
}

const SLOW: &str = "function main({ number }) {
  return new Promise(done => setTimeout(() => done({ number }), 150));
}";

#[tokio::test]
async fn deliveries_under_way_are_resumed_at_the_next_start() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "slow", SLOW).await?;
    trigger(&caller, "t", &json!({}), &["slow"], &json!({"concurrency": 2})).await?;
    for number in 0..40 {
        let reply = caller.post("triggers/t", &json!({"number": number})).await?;
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    records_when(&caller, "slow", 3).await?;
    let start = Instant::now();
    hub.stop().await?;
    let took = start.elapsed();
    assert!(took < ENDS_WITHIN, "{took:?}");

    let (hub, caller) = place.start().await?;
    let done = records_when(&caller, "slow", 10).await?.len();
    assert!(done < 40, "the next end comes amid work");
    hub.kill().await?;

    let (hub, caller) = place.start().await?;
    let runs = records_when(&caller, "slow", 40).await?;
    let mut numbers: Vec<_> =
        runs.iter().filter_map(|run| run.pointer("/response/result/number")?.as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "each once");
    assert_eq!(caller.get("deadletters").await?, json!([]));
    place.end(hub).await
}

/// The segments of the log, the oldest first.
fn segments(place: &Place) -> Result<Vec<PathBuf>, FaultError> {
    let all = fs::read_dir(place.data().join("log"))?.flatten().map(|file| file.path());
    let mut all: Vec<_> =
        all.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    all.sort();
    Ok(all)
}

/// Changes one byte of what an event of this name carries.
fn flip(place: &Place, mark: &str) -> Done {
    for path in segments(place)? {
        let mut bytes = fs::read(&path)?;
        let at = bytes.windows(mark.len()).position(|part| part == mark.as_bytes());
        if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1;
            fs::write(&path, bytes)?;
            return Ok(());
        }
    }
    panic!("`{mark}` is not in the log");
}

#[tokio::test]
async fn a_changed_byte_of_the_log_is_found() -> Done {
    let mut place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, "t", &json!({}), &["echo"], &Value::Null).await?;
    for number in 0..10 {
        caller.post("triggers/t", &json!({"name": format!("find-me-{number}-")})).await?;
    }
    records_when(&caller, "echo", 10).await?;
    let verify = async || place.run(&["log", "verify", "--data", "DATA"]).await;
    hub.stop().await?;
    let good = verify().await?;
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    flip(&place, "find-me-4-")?;
    let bad = verify().await?;
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    assert!(said(&bad).contains("damage"), "{}", said(&bad));
    let as_json = place.run(&["log", "verify", "--data", "DATA", "--json"]).await?;
    let report: Value = serde_json::from_slice(&as_json.stdout).expect("a report in JSON");
    assert!(report.pointer("/segments/0/damage/0").is_some(), "{report}");

    let (hub, caller) = place.start().await?;
    let reply = call(&caller, "echo", &json!({})).await?;
    assert_eq!(reply.status, 200, "the hub starts all the same: {}", reply.text());
    caller.post("triggers/t", &json!({"name": "after"})).await?;
    records_when(&caller, "echo", 12).await?;
    let events = caller.get("events").await?;
    assert_eq!(text(&events, "/0/event/data/name"), "after", "{events}");
    hub.stop().await?;
    place.done();
    Ok(())
}

#[tokio::test]
async fn an_ordinary_users_hub_runs_functions_and_says_what_is_missing() -> Done {
    let mut place = Place::new()?;
    let is_root = fs::metadata("/proc/self")?.uid() == 0;
    if is_root {
        let program = place.room().join("evoke");
        fs::copy(place.program(), &program)?;
        fs::set_permissions(place.room(), fs::Permissions::from_mode(0o755))?;
        chown(place.data(), Some(ORDINARY), Some(ORDINARY))?;
        let user =
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
        place.launch.program = user.iter().map(PathBuf::from).chain([program]).collect();
    }
    let (hub, caller) = place.start().await?;
    let owner = fs::metadata(place.data().join("credentials"))?.uid();
    assert_eq!(owner == 0, !is_root && owner == 0, "the hub is an ordinary user's");
    assert!(place.log().contains("not root: sandboxes reach the API only"), "{}", place.log());
    node(&caller, "echo", ECHO).await?;
    let python = "import os\ndef main(args):\n    return {'uid': os.getuid(), 'n': args['n']}\n";
    entities::action(
        &caller,
        "python",
        &json!({"exec": {"kind": "python:default", "code": python}}),
    )
    .await?;
    trigger(&caller, "t", &json!({}), &["echo", "python"], &Value::Null).await?;
    caller.post("triggers/t", &json!({"n": 7})).await?;
    for action in ["echo", "python"] {
        let run = records_when(&caller, action, 1).await?.remove(0);
        assert_eq!(run["response"]["success"], json!(true), "{run}");
    }
    let limited = json!({
        "exec": {"kind": "nodejs:default", "code": "function main() { for (;;); }"},
        "limits": {"timeout": 1500},
    });
    entities::action(&caller, "loop", &limited).await?;
    let reply = call(&caller, "loop", &json!({})).await?;
    let error = text(&reply.json(), "/response/result/error");
    assert!(
        error.starts_with("The action exceeded its time limits of 1500 milliseconds"),
        "{}",
        reply.text()
    );
    let count = records(&caller, "echo").await?.len();
    hub.kill().await?;
    let (hub, caller) = place.start().await?;
    assert_eq!(records(&caller, "echo").await?.len(), count);
    let reply = call(&caller, "echo", &json!({})).await?;
    assert_eq!(reply.status, 200, "{}", reply.text());
    place.end(hub).await
}

#[tokio::test]
async fn development_keys_are_taken_only_where_told() -> Done {
    const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
    let mut place = Place::new()?;
    for (told, status) in [(false, 401), (true, 200)] {
        if told {
            place.launch.environment.push(("EVOKE_DEV_KEYS", "true".into()));
        }
        let (hub, _) = place.start().await?;
        let known: Caller = place.caller_with(GUEST);
        let reply = known.send(Ask::new("GET", "actions")).await?;
        assert_eq!(reply.status, status, "{}", reply.text());
        hub.stop().await?;
    }
    place.done();
    Ok(())
}
