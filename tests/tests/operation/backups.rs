//! Backups: taken while the hub works, restored elsewhere, refused where they are not whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{node, record, records, records_when, text, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};

use super::{Done, ends, files, start_on, word};

/// Orders of a load: the slow action has to get through them.
const ORDERS: u64 = 60;

/// Fires without end, orders first; each accepted order's number goes to `accepted`.
struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<std::sync::Mutex<BTreeSet<u64>>>,
    task: tokio::task::JoinHandle<Done>,
}

impl Load {
    fn start(caller: &Caller) -> Self {
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (caller, is_over, taken) = (caller.clone(), Arc::clone(&stop), Arc::clone(&accepted));
        let taken: Arc<std::sync::Mutex<BTreeSet<u64>>> = taken;
        let task = tokio::spawn(async move {
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                let is_order = number < ORDERS;
                let trigger = if is_order { "triggers/orders" } else { "triggers/noise" };
                let fired = caller.post(trigger, &json!({"number": number})).await?;
                assert_eq!(fired.status, if is_order { 202 } else { 204 }, "{}", fired.text());
                if is_order {
                    taken.lock().expect("sound").insert(number);
                }
                number += 1;
            }
            Ok(())
        });
        Self { stop, accepted, task }
    }

    fn accepted(&self) -> BTreeSet<u64> {
        self.accepted.lock().expect("sound").clone()
    }

    async fn end(self) -> Result<BTreeSet<u64>, FaultError> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.map_err(std::io::Error::from)??;
        let all = self.accepted.lock().expect("sound").clone();
        Ok(all)
    }
}

const QUICK: &str = "function main({ number }) { return { number } }";
const SLOW: &str = "function main({ number }) {
  return new Promise(done => setTimeout(() => done({ number }), 150));
}";

/// Actions, rules and a feed; one of the rules falls behind under load.
async fn furnish(caller: &Caller) -> Done {
    node(caller, "quick", QUICK).await?;
    node(caller, "slow", SLOW).await?;
    trigger(caller, "orders", &json!({}), &["quick"], &Value::Null).await?;
    trigger(caller, "orders", &json!({}), &["slow"], &json!({"concurrency": 1})).await?;
    caller.put("triggers/nightly", &json!({})).await?;
    caller.put("triggers/noise", &json!({})).await?;
    let feed =
        json!({"provider": "alarms", "trigger": "nightly", "parameters": {"cron": "0 3 * * *"}});
    caller.put("feeds/night", &feed).await.map(drop)
}

fn numbers(runs: &[Value]) -> BTreeSet<u64> {
    runs.iter().filter_map(|run| run.pointer("/response/result/number")?.as_u64()).collect()
}

/// Every record of the action.
async fn every(caller: &Caller, action: &str) -> Result<Vec<Value>, FaultError> {
    let mut all = Vec::new();
    for skip in (0..).step_by(200) {
        let path = format!("activations?docs=true&limit=200&skip={skip}&name={action}");
        let Value::Array(page) = caller.get(&path).await? else { break };
        let is_last = page.len() < 200;
        all.extend(page);
        if is_last {
            break;
        }
    }
    Ok(all)
}

/// Waits until the action has a record of each of these numbers.
async fn delivered(caller: &Caller, action: &str, wanted: &BTreeSet<u64>) -> Done {
    until("the deliveries", SOON * 3, async || {
        let seen = numbers(&every(caller, action).await?);
        let missing: Vec<_> = wanted.difference(&seen).collect();
        Ok(if missing.is_empty() { Ok(()) } else { Err(format!("`{action}` lacks {missing:?}")) })
    })
    .await
}

/// Activation ids by number, of these numbers.
async fn ids(
    caller: &Caller,
    action: &str,
    of: &BTreeSet<u64>,
) -> Result<BTreeMap<u64, Vec<String>>, FaultError> {
    let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for run in every(caller, action).await? {
        let number = run.pointer("/response/result/number").and_then(Value::as_u64);
        if let Some(number) = number.filter(|number| of.contains(number)) {
            found.entry(number).or_default().push(text(&run, "/activationId"));
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_backup_under_load_is_whole_and_its_undelivered_events_run_elsewhere() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    ends(&place, 0, &["key", "add", "shop", "--data", "DATA"]).await?;
    let before = caller.post("triggers/orders", &json!({"number": 1_000_000})).await?;
    let kept = text(&before.json(), "/activationId");
    record(&caller, &kept).await?;
    let load = Load::start(&caller);
    records_when(&caller, "quick", 20).await?;
    let accepted = load.accepted();
    let backup = place.room().join("backup.tar.gz");
    let told = ends(&place, 0, &["backup", "--data", "DATA", word(&backup)]).await?;
    assert!(told.contains("the log up to record"), "{told}");
    let after = load.accepted();
    let more = load.end().await?;
    assert!(after.is_superset(&accepted) && more.is_superset(&after));
    let behind = records(&caller, "slow").await?.len();
    assert!(behind < after.len(), "the slow rule has more to do at the backup than it has done");

    let data = place.room().join("restored");
    ends(&place, 0, &["restore", word(&backup), "--data", word(&data)]).await?;
    let verified = ends(&place, 0, &["log", "verify", "--data", word(&data)]).await?;
    assert!(verified.ends_with("good") || verified.contains("\ngood"), "{verified}");
    let uid = |data: &Path| {
        let text = fs::read_to_string(data.join("log/log.json")).unwrap_or_default();
        let log: Value = serde_json::from_str(&text).unwrap_or_default();
        (log["uid"].clone(), log["marker"].clone())
    };
    assert_ne!(uid(&data).0, uid(place.data()).0, "a restored log is another log");
    assert_eq!(uid(&data).1, uid(place.data()).1);

    // Both run: what the one does is nothing to the other.
    let (second, elsewhere) = start_on(&place, &data).await?;
    delivered(&elsewhere, "quick", &accepted).await?;
    delivered(&elsewhere, "slow", &accepted).await?;
    record(&elsewhere, &kept).await?;
    assert_eq!(elsewhere.get("deadletters").await?, json!([]));
    let feed = elsewhere.get("feeds/night").await?;
    assert_eq!(text(&feed, "/provider"), "alarms", "{feed}");
    let key = ends(&place, 1, &["key", "add", "shop", "--data", word(&data)]).await?;
    assert!(key.contains("namespace `shop` exists already"), "keys are there too: {key}");
    let fresh = elsewhere.post("triggers/orders", &json!({"number": 2_000_000})).await?;
    record(&elsewhere, &text(&fresh.json(), "/activationId")).await?;
    delivered(&elsewhere, "slow", &[2_000_000].into()).await?;
    // What was accepted before the backup has the same activation id on both, delivered here or there.
    delivered(&caller, "slow", &more).await?;
    let here = ids(&caller, "slow", &accepted).await?;
    assert_eq!(here.len(), accepted.len());
    assert_eq!(here, ids(&elsewhere, "slow", &accepted).await?);
    second.stop().await?;
    place.end(hub).await
}

#[tokio::test]
async fn every_form_of_a_backup_restores_the_same_with_the_hub_running_or_not() -> Done {
    let mut place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "quick", QUICK).await?;
    trigger(&caller, "orders", &json!({}), &["quick"], &Value::Null).await?;
    for number in 0..5 {
        caller.post("triggers/orders", &json!({"number": number})).await?;
    }
    delivered(&caller, "quick", &(0..5).collect()).await?;
    let forms = ["running.tar", "running.tgz", "running"];
    for form in forms {
        let to = place.room().join(form);
        ends(&place, 0, &["backup", "--data", "DATA", word(&to)]).await?;
        let again = ends(&place, 1, &["backup", "--data", "DATA", word(&to)]).await?;
        assert!(again.contains("exists already"), "{again}");
    }
    hub.stop().await?;
    let to = place.room().join("stopped.tar.gz");
    ends(&place, 0, &["backup", "--data", "DATA", word(&to)]).await?;
    for form in forms.into_iter().chain(["stopped.tar.gz"]) {
        let data = place.room().join(format!("from-{form}"));
        ends(&place, 0, &["restore", word(&place.room().join(form)), "--data", word(&data)])
            .await?;
        let (hub, caller) = start_on(&place, &data).await?;
        assert_eq!(numbers(&records(&caller, "quick").await?), (0..5).collect(), "{form}");
        let reply = caller
            .send(
                Ask::new("POST", "actions/quick?blocking=true&result=true")
                    .json(&json!({"number": 9})),
            )
            .await?;
        assert_eq!(reply.json(), json!({"number": 9}), "{form}: its code is there");
        hub.stop().await?;
        // Restored over it? Never.
        let from = place.room().join(form);
        let over = ends(&place, 1, &["restore", word(&from), "--data", word(&data)]).await?;
        assert!(over.contains("is not empty"), "{over}");
    }
    place.done();
    Ok(())
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused_and_leaves_nothing_that_a_hub_would_take() -> Done {
    let mut place = Place::new()?;
    let (hub, caller) = place.start().await?;
    node(&caller, "quick", QUICK).await?;
    hub.stop().await?;
    let room = place.room().to_owned();
    let (tar, folder) = (room.join("a.tar"), room.join("folder"));
    for to in [&tar, &folder] {
        ends(&place, 0, &["backup", "--data", "DATA", word(to)]).await?;
    }
    let bytes = fs::read(&tar)?;
    let cut = room.join("cut.tar");
    fs::write(&cut, bytes.get(..bytes.len() / 2).unwrap_or_default())?;
    let flipped = room.join("flipped.tar");
    let mut wrong = bytes;
    let at = wrong.windows(6).position(|part| part == b"number").expect("the action's code");
    wrong[at] ^= 1;
    fs::write(&flipped, wrong)?;
    let changed = files(&folder)?;
    let (code, text) =
        changed.iter().find(|(path, _)| path.starts_with(folder.join("data/code"))).expect("code");
    fs::write(code, [text.as_slice(), b" "].concat())?;
    let newer = room.join("newer");
    fs::create_dir(&newer)?;
    fs::write(newer.join("backup.json"), r#"{"format": 9, "program": "9.0.0", "data": 1}"#)?;
    let strange = room.join("strange.tar");
    fs::write(&strange, "no tar at all")?;
    let cases = [
        (&cut, "is not whole"),
        (&flipped, "is damaged: data/code/"),
        (&folder, "is damaged: data/code/"),
        (&newer, "restore it with that one"),
        (&strange, "is no backup"),
    ];
    for (number, (from, sentence)) in cases.into_iter().enumerate() {
        let data = room.join(format!("to-{number}"));
        let told = ends(&place, 1, &["restore", word(from), "--data", word(&data)]).await?;
        assert!(told.contains(sentence), "{}: {told}", from.display());
        assert!(!data.exists(), "nothing is left");
    }
    // One that a crash broke off is known by its mark.
    let half = room.join("half");
    ends(&place, 0, &["restore", word(&tar), "--data", word(&half)]).await?;
    fs::write(half.join("restoring"), "")?;
    let up = ["up", "--listen", "127.0.0.1:0", "--data", word(&half)];
    let told = ends(&place, 4, &up).await?;
    assert!(told.contains("broke off"), "{told}");
    place.done();
    Ok(())
}
