//! A disk that is full, and a budget of it that is used up.

use std::{
    fs::{File, remove_file},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller, Reply},
        entities::{action, call},
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use serde_json::json;

use super::{Done, accept, accepts_again, cap, furnish, nothing_lost};

/// Size of the disk: log, its spare and the reserve take 192 MB.
const DISK: &str = "size=320m";
/// Bytes of a large event, within the bound.
const LARGE: usize = 1_000_000;
/// Large events that fit into what the log has taken already, and more.
const MAX_LARGE: u64 = 400;
/// A small disk mounted over a folder until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path) -> io::Result<Self> {
        let words = ["-t", "tmpfs", "-o", DISK, "tmpfs"];
        let done = Command::new("mount").args(words).arg(folder).output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            return Err(io::Error::other(format!("a disk of its own must be mounted: {said}")));
        }
        Ok(Self(folder.to_owned()))
    }

    /// Takes all room that is left.
    fn fill(&self) -> io::Result<()> {
        let mut file = File::create(self.0.join("ballast"))?;
        for bytes in [1 << 20, 4_096] {
            let block = vec![1; bytes];
            loop {
                match file.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn free(&self) -> io::Result<()> {
        remove_file(self.0.join("ballast"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Sandboxes that are being removed may hold it for a moment more.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

async fn large(caller: &Caller, number: u64) -> Result<Reply, FaultError> {
    let event = json!({"number": number, "ballast": "x".repeat(LARGE)});
    caller.send(Ask::new("POST", "triggers/t").json(&event)).await
}

/// Accepts large events until one is refused.
async fn until_refused(caller: &Caller, accepted: &mut u64) -> Result<Reply, FaultError> {
    let most = *accepted + MAX_LARGE;
    while *accepted < most {
        let reply = large(caller, *accepted).await?;
        if reply.status != 202 {
            return Ok(reply);
        }
        *accepted += 1;
    }
    panic!("{MAX_LARGE} events are accepted where there is no room for them")
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_finishes_what_is_not_and_recovers() -> Done {
    let mut place = Place::new()?;
    let disk = Disk::mount(place.data())?;
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    let mut accepted = 0;
    accept(&caller, &mut accepted, 0).await?;
    disk.fill()?;
    let refusal = until_refused(&caller, &mut accepted).await?;
    let sentence = "Too many requests: the disk is full.";
    assert_eq!((refusal.status, refusal.error().as_str()), (429, sentence));
    assert_eq!(cap(&refusal), "disk");
    assert!(!refusal.header("retry-after").is_empty());
    // What was accepted is delivered and put down while nothing new is taken.
    nothing_lost(&caller, accepted).await?;
    until("everything new to be refused", SOON, async || {
        let action = json!({"exec": {"kind": "nodejs:default", "code": "x"}});
        let kept = caller.send(Ask::new("PUT", "actions/more").json(&action)).await?;
        let called = call(&caller, "number", &json!({})).await?;
        let both = (kept.status, called.status);
        Ok(if both == (429, 429) { Ok(()) } else { Err(format!("{both:?}")) })
    })
    .await?;
    disk.free()?;
    accepts_again(&caller, &mut accepted, "disk full").await?;
    nothing_lost(&caller, accepted).await?;
    let log = place.log();
    assert!(!log.contains("cannot be made durable"), "{log}");
    hub.stop().await?;
    drop(disk);
    place.done();
    Ok(())
}

/// Large calls that go through a budget of 512 MB.
const THROUGH: u64 = 420;
/// An action that is under way as long as the test needs it.
const LONG: &str = "function main() {
  return new Promise((done) => setTimeout(() => done({}), 120000));
}";

/// Calls an action without waiting for it: the log has the payload, and no record has.
async fn later(caller: &Caller, name: &str, number: u64) -> Result<Reply, FaultError> {
    let arguments = json!({"number": number, "ballast": "x".repeat(LARGE)});
    caller.send(Ask::new("POST", &format!("actions/{name}")).json(&arguments)).await
}

#[tokio::test]
async fn a_disk_budget_is_kept_by_retention_first_and_named_when_that_is_not_enough() -> Done {
    let mut place = Place::new()?;
    place.launch.environment.push(("EVOKE_DISK_BUDGET", "512".into()));
    place.launch.environment.push(("EVOKE_UNDELIVERED_SIZE", "4GB".into()));
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    let body =
        json!({"exec": {"kind": "nodejs:default", "code": LONG}, "limits": {"timeout": 180_000}});
    action(&caller, "long", &body).await?;
    // What is done may go: more goes through than there is room for.
    for number in 0..THROUGH {
        until("a call to be accepted", SOON, async || {
            let reply = later(&caller, "number", number).await?;
            Ok(if reply.status == 202 { Ok(()) } else { Err(reply.text()) })
        })
        .await?;
    }
    nothing_lost(&caller, THROUGH).await?;
    // What is not done stays, until the budget is used up.
    let mut refusal = None;
    for number in 0..MAX_LARGE {
        let reply = later(&caller, "long", number).await?;
        if reply.status != 202 {
            refusal = Some(reply);
            break;
        }
    }
    let Some(refusal) = refusal else { panic!("{MAX_LARGE} calls are accepted") };
    let sentence = "Too many requests: the disk budget of the data directory is full.";
    assert_eq!((refusal.status, refusal.error().as_str()), (429, sentence));
    assert_eq!(cap(&refusal), "disk-budget");
    let used = Command::new("du").args(["-sm"]).arg(place.data()).output()?;
    let used = String::from_utf8_lossy(&used.stdout).into_owned();
    let megabytes: u64 = used.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(0);
    // What is accepted between two looks goes beyond it.
    assert!((400..=768).contains(&megabytes), "{used}");
    // Runs of two minutes are cut off: they are made again at the next start.
    hub.kill().await?;
    place.done();
    Ok(())
}
