//! A data directory with something of everything, packed to be kept: what a later version must
//! still open.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    e2e::{
        caller::{Ask, Caller},
        entities::{action, node, records, records_when, text, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};

/// Name of the packed directory, in a folder for each version.
pub const PACKED: &str = "data.tar.gz";
/// What is expected of it, in the packed file.
const EXPECTED: &str = "expected.json";
/// From then on the actions that keep a delivery open when the fixture is made let it end.
const OPEN_FOR: Duration = Duration::from_secs(240);
/// The token of the trigger `hook`.
const BEARER: &str = "a-token-that-is-sealed-at-rest";
/// Files that say where a hub runs, and room that is only reserved.
const LEFT_OUT: &[&str] = &["address", "control.sock", "lock", "spare"];

/// What a fixture has.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Expected {
    /// By path, members that must stay.
    pub entities: BTreeMap<String, Value>,
    /// Records, whole.
    pub activations: Vec<Value>,
    /// Positions of events.
    pub events: Vec<String>,
    /// Activation ids of dead letters.
    pub dead: Vec<String>,
    /// `uuid:key` of the namespace `shop`.
    pub shop: String,
    /// The token that fires `hook`.
    pub bearer: String,
}

/// Makes a fixture with the hub under test and packs it into `to`.
///
/// # Errors
/// The hub, or the files.
pub async fn make(to: &Path) -> Result<(), FaultError> {
    let mut place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let added = place.run(&["key", "add", "shop", "--data", "DATA"]).await?;
    let shop = String::from_utf8_lossy(&added.stdout).trim().to_owned();
    let mut expected = Expected { shop, bearer: BEARER.to_owned(), ..Expected::default() };
    furnish(&caller).await?;
    node(&place.caller_with(&expected.shop), "mine", "function main() { return {} }").await?;
    deliver(&caller, &mut expected).await?;
    // A checkpoint is written at a clean end.
    hub.stop().await?;
    let (hub, caller) = place.start().await?;
    leave_undelivered(&caller).await?;
    describe(&caller, &mut expected).await?;
    hub.kill().await?;
    pack(place.data(), &expected, to)?;
    place.done();
    Ok(())
}

/// Something of every sort of entity.
async fn furnish(caller: &Caller) -> Result<(), FaultError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + OPEN_FOR;
    let until = since.as_millis();
    node(caller, "echo", "function main(args) { console.log('seen'); return args }").await?;
    node(caller, "fail", "function main() { throw new Error('as it must') }").await?;
    let held = format!(
        "async function main({{ number }}) {{
  const wait = Math.min({until} - Date.now(), 240000);
  if (wait > 0) await new Promise(done => setTimeout(done, wait));
  return {{ number }};
}}"
    );
    let body =
        json!({"exec": {"kind": "nodejs:default", "code": held}, "limits": {"timeout": 300_000}});
    action(caller, "held", &body).await?;
    let flaky = format!(
        "function main({{ number }}) {{
  if (Date.now() < {until}) throw new Error('not yet');
  return {{ number }};
}}"
    );
    node(caller, "flaky", &flaky).await?;
    caller.put("packages/tools", &json!({"parameters": [{"key": "b", "value": 40}]})).await?;
    let sum = "def main(args):\n    return {'sum': args['a'] + args['b']}\n";
    action(caller, "tools/sum", &json!({"exec": {"kind": "python:default", "code": sum}})).await?;
    let orders = json!({"annotations": [{"key": "subscription", "value": {"type": "order.*"}}]});
    trigger(caller, "orders", &orders, &["echo"], &Value::Null).await?;
    trigger(caller, "broken", &json!({}), &["fail"], &Value::Null).await?;
    trigger(caller, "late", &json!({}), &["held"], &json!({"concurrency": 1})).await?;
    let retry = json!({"attempts": 20, "backoffMs": 2_000, "maxBackoffMs": 2_000});
    trigger(caller, "again", &json!({}), &["flaky"], &retry).await?;
    trigger(
        caller,
        "hook",
        &json!({"webhook": {"bearer": {"token": BEARER}}}),
        &["echo"],
        &Value::Null,
    )
    .await?;
    caller.put("triggers/yearly", &json!({})).await?;
    let feed =
        json!({"provider": "alarms", "trigger": "yearly", "parameters": {"cron": "0 0 1 1 *"}});
    caller.put("feeds/year", &feed).await.map(drop)
}

/// Events that are delivered, and one that becomes a dead letter.
async fn deliver(caller: &Caller, expected: &mut Expected) -> Result<(), FaultError> {
    for number in 0..5 {
        let event = Ask::new("POST", "events")
            .header("ce-specversion", "1.0")
            .header("ce-id", format!("order-{number}"))
            .header("ce-source", "/shop")
            .header("ce-type", "order.placed")
            .json(&json!({"number": number}));
        let reply = caller.good(event).await?;
        expected.events.push(reply.header("x-evoke-position").to_owned());
    }
    caller.post("triggers/broken", &json!({"number": 6})).await?;
    expected.activations = records_when(caller, "echo", 5).await?;
    expected.activations.extend(records_when(caller, "fail", 1).await?);
    let dead = until("the dead letter", SOON, async || {
        let dead = caller.get("deadletters").await?;
        Ok(if dead == json!([]) { Err("none".to_owned()) } else { Ok(dead) })
    })
    .await?;
    let dead = dead.as_array().into_iter().flatten();
    expected.dead = dead.map(|it| text(it, "/activationId")).collect();
    Ok(())
}

/// One delivery that has begun, one that waits for another attempt.
async fn leave_undelivered(caller: &Caller) -> Result<(), FaultError> {
    caller.post("triggers/late", &json!({"number": 7})).await?;
    caller.post("triggers/again", &json!({"number": 7})).await?;
    until("a failed attempt", SOON, async || {
        let all = records(caller, "flaky").await?;
        Ok(if all.is_empty() { Err("none".to_owned()) } else { Ok(()) })
    })
    .await
}

/// The entities as they are shown.
async fn describe(caller: &Caller, expected: &mut Expected) -> Result<(), FaultError> {
    let paths = [
        "actions/echo",
        "actions/tools/sum",
        "packages/tools",
        "triggers/orders",
        "rules/orders-echo",
        "rules/again-flaky",
        "feeds/year",
    ];
    for path in paths {
        let shown = caller.get(path).await?;
        let members = ["name", "namespace", "version", "parameters", "limits", "provider"];
        let kept = members.into_iter().filter_map(|name| Some((name, shown.get(name)?)));
        let members: serde_json::Map<_, _> =
            kept.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        expected.entities.insert(path.to_owned(), members.into());
    }
    Ok(())
}

fn pack(data: &Path, expected: &Expected, to: &Path) -> Result<(), FaultError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let packed = GzEncoder::new(File::create(to)?, Compression::best());
    let mut tar = tar::Builder::new(packed);
    let text = serde_json::to_vec_pretty(expected).map_err(io::Error::from)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, EXPECTED, text.as_slice())?;
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if !LEFT_OUT.contains(&name) {
                let inside = path.strip_prefix(data).map_err(io::Error::other)?;
                tar.append_path_with_name(&path, Path::new("data").join(inside))?;
            }
        }
    }
    tar.into_inner()?.finish()?.sync_all()?;
    Ok(())
}

/// Unpacks a fixture to the data directory `to`; says what it has.
///
/// # Errors
/// The files.
pub fn unpack(packed: &Path, to: &Path) -> Result<Expected, FaultError> {
    let mut expected = Expected::default();
    for entry in tar::Archive::new(GzDecoder::new(File::open(packed)?)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if path == Path::new(EXPECTED) {
            expected = serde_json::from_reader(entry).map_err(io::Error::from)?;
            continue;
        }
        let inside = path.strip_prefix("data").map_err(io::Error::other)?;
        let place = to.join(inside);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        entry.unpack(&place)?;
    }
    Ok(expected)
}
