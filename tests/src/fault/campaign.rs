//! One whole test: events are posted while the hub is killed again and again, then what came of them is judged.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use super::{
    cut::{Cut, Loss},
    error::FaultError,
    hub::{Hub, Launch},
    powercut::{PowerCut, Watch},
    verdict::{Evidence, Problem},
    workload::{self, Load, Posting},
};

/// Longest pause between a threshold of events and the kill; short, so that most kills fall amid work.
const KILL_JITTER: Duration = Duration::from_millis(400);
/// Longest time from start to a kill that does not wait for readiness.
const EARLY_KILL: Duration = Duration::from_millis(150);
/// Pause between looks at the number of records.
const LOOK: Duration = Duration::from_millis(100);

/// What happens to the disk at each kill.
#[derive(Clone, Debug)]
pub enum Disk {
    /// Nothing: the page cache outlives a process.
    Kept,
    /// It forgets what was not synced.
    Forgets(Watch),
}

/// The size of a campaign.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The events.
    pub load: Load,
    /// How often the hub is killed.
    pub kills: usize,
    /// With the power, or without.
    pub disk: Disk,
    /// No new record for so long: what is missing then is lost.
    pub stall: Duration,
    /// Repeats the moments of the kills, as far as the machine's own timing allows.
    pub seed: u64,
}

/// What is known at the end.
#[derive(Debug)]
pub struct Outcome {
    /// Sent, acknowledged, recorded.
    pub evidence: Evidence,
    /// Breaches of the promise.
    pub problems: Vec<Problem>,
    /// Processes of the hub that lived when it was killed, over all kills.
    pub family: usize,
    /// Kills before the hub was ready again.
    pub early: usize,
    /// Kills after the last event was acknowledged.
    pub late: usize,
    /// What the power cuts did, summed.
    pub cut: Cut,
    /// Longest time to ready after a kill.
    pub slowest_start: Duration,
}

impl Outcome {
    /// The first problems of many, and the numbers around them.
    #[must_use]
    pub fn story(&self) -> String {
        let shown: Vec<_> =
            self.problems.iter().take(12).map(|problem| format!("  {problem:?}")).collect();
        format!(
            "{} sent, {} acknowledged, {} records, {} dead letters; {} kills before ready, {} after the last event; \
             {} processes outlived by none; slowest start {:?}; {:?}\n{} problems\n{}",
            self.evidence.sent.len(),
            self.evidence.acknowledged.len(),
            self.evidence.records.len(),
            self.evidence.dead.len(),
            self.early,
            self.late,
            self.family,
            self.slowest_start,
            self.cut,
            self.problems.len(),
            shown.join("\n"),
        )
    }
}

/// Runs it in `room` with the program that `launch` starts.
///
/// # Errors
/// The hub does not come up, answers what no retry can change, or leaves processes behind.
pub async fn run(plan: &Plan, mut launch: Launch, room: &Path) -> Result<Outcome, FaultError> {
    let disk = match &plan.disk {
        Disk::Kept => None,
        Disk::Forgets(watch) => {
            let disk = PowerCut::new(&launch.data, &room.join("side"), watch.clone())?;
            launch.environment.extend(disk.environment());
            Some(disk)
        }
    };
    let rules = workload::rules(plan.seed);
    let mut hub = launch.start()?;
    hub.ready().await?;
    if let Some(disk) = &disk {
        assert_watched(disk, &hub)?;
    }
    workload::set_up(&mut launch.client()?, &rules).await?;
    let posting = Posting::start(plan.load, &launch)?;
    let mut faults = Faults {
        chance: StdRng::seed_from_u64(plan.seed),
        launch: &launch,
        disk: disk.as_ref(),
        posting,
        outcome: Outcome {
            evidence: Evidence::default(),
            problems: Vec::new(),
            family: 0,
            early: 0,
            late: 0,
            cut: Cut::default(),
            slowest_start: Duration::ZERO,
        },
    };
    let mut hub =
        faults.kill_all(plan, hub).await.map_err(|error| explain(error, disk.as_ref()))?;
    faults.posting.acknowledged(plan.load.events).await?;
    let mut outcome = faults.outcome;
    outcome.evidence = faults.posting.evidence(&rules).await;
    drain(plan, &mut hub, &launch, &outcome.evidence).await?;
    // What is left undone, or is done again, shows after a clean restart at the latest.
    hub.stop().await?;
    let mut hub = launch.start()?;
    hub.ready().await?;
    drain(plan, &mut hub, &launch, &outcome.evidence).await?;
    workload::collect(&mut launch.client()?, &mut outcome.evidence).await?;
    hub.stop().await?;
    outcome.problems = outcome.evidence.problems();
    Ok(outcome)
}

/// `EVOKE_SEED`, else a new one; print it.
#[must_use]
pub fn seed() -> u64 {
    let asked = std::env::var_os("EVOKE_SEED").and_then(|text| text.to_str()?.parse().ok());
    asked.unwrap_or_else(|| u64::from(rand::random::<u32>()))
}

/// A directory of the test's own on the disk of the build. It stays when the test fails, as evidence.
///
/// # Errors
/// What the file system says.
pub fn room(name: &str) -> io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(3).unwrap_or(Path::new("."));
    let room = target.join("tmp").join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&room)?;
    Ok(room)
}

struct Faults<'a> {
    chance: StdRng,
    launch: &'a Launch,
    disk: Option<&'a PowerCut>,
    posting: Posting,
    outcome: Outcome,
}

impl Faults<'_> {
    /// Where syncs are taken out, nothing is left to chance: the test is to fail.
    fn loss(&mut self, plan: &Plan, number: usize) -> Loss {
        let certain = matches!(&plan.disk, Disk::Forgets(watch) if watch.drop_sync.is_some());
        if certain || self.chance.random_bool(0.3) {
            Loss::All
        } else {
            Loss::Some(plan.seed ^ ((number as u64) << 32))
        }
    }

    /// Most kills fall among the posts, some right after a start, some after the last post.
    async fn kill_all(&mut self, plan: &Plan, mut hub: Hub) -> Result<Hub, FaultError> {
        let mut thresholds: Vec<_> = (0..plan.kills)
            .map(|_| self.chance.random_range(0..plan.load.events * 6 / 5).min(plan.load.events))
            .collect();
        thresholds.sort_unstable();
        let mut early = false;
        for (number, threshold) in thresholds.into_iter().enumerate() {
            if early {
                sleep(EARLY_KILL.mul_f64(self.chance.random())).await;
                self.outcome.early += 1;
            } else {
                self.outcome.slowest_start = self.outcome.slowest_start.max(hub.ready().await?);
                self.posting.acknowledged(threshold).await?;
                self.outcome.late += usize::from(threshold == plan.load.events);
                sleep(KILL_JITTER.mul_f64(self.chance.random())).await;
            }
            self.outcome.family += hub.kill().await?;
            if let Some(disk) = self.disk {
                let loss = self.loss(plan, number);
                add(&mut self.outcome.cut, disk.cut(loss)?);
            }
            hub = self.launch.start()?;
            early = self.chance.random_bool(0.2);
        }
        self.outcome.slowest_start = self.outcome.slowest_start.max(hub.ready().await?);
        Ok(hub)
    }
}

/// Waits until everything is accounted for, or nothing comes any more.
async fn drain(
    plan: &Plan,
    hub: &mut Hub,
    launch: &Launch,
    evidence: &Evidence,
) -> Result<(), FaultError> {
    let due = evidence.acknowledged.len() * evidence.rules.len();
    let mut client = launch.client()?;
    let (mut last, mut since) = (0, Instant::now());
    loop {
        hub.alive("the backlog was drained")?;
        let now = workload::count(&mut client, &evidence.rules).await?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if now >= due || since.elapsed() > plan.stall {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

fn assert_watched(disk: &PowerCut, hub: &Hub) -> Result<(), FaultError> {
    if disk.watches(hub.pid()) {
        return Ok(());
    }
    Err(FaultError::Preload("the hub runs without it; is it linked statically?".into()))
}

fn explain(error: FaultError, disk: Option<&PowerCut>) -> FaultError {
    match disk.and_then(PowerCut::refused) {
        Some(refused) => FaultError::Preload(refused),
        None => error,
    }
}

fn add(sum: &mut Cut, one: Cut) {
    sum.names += one.names;
    sum.names_lost += one.names_lost;
    sum.sectors += one.sectors;
    sum.sectors_lost += one.sectors_lost;
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/powercut/fakehub.py");
    const SEED: u64 = 3;

    async fn fake(defect: &'static str, disk: Disk) -> Result<Outcome, FaultError> {
        let room = tempfile::tempdir().expect("a directory");
        // The interpreter itself and not a script that looks for it, which would lose the preloaded library.
        let python = std::process::Command::new("python3")
            .args(["-c", "import sys; print(sys.executable, end='')"])
            .output()
            .expect("python3");
        let python = String::from_utf8(python.stdout).expect("a path");
        let program = [python.as_str(), FAKE].map(PathBuf::from);
        let mut launch = Launch::of(program.into(), room.path()).expect("a launch");
        launch.environment.push(("FAKE_DEFECT", defect.into()));
        let load = Load { events: 150, connections: 4, per_second: 100, seed: SEED };
        let plan = Plan { load, kills: 4, disk, stall: Duration::from_secs(1), seed: SEED };
        run(&plan, launch, room.path()).await
    }

    fn forgets(drop_sync: Option<&str>) -> Disk {
        Disk::Forgets(Watch { drop_sync: drop_sync.map(Into::into), ..Watch::default() })
    }

    #[tokio::test]
    async fn a_hub_that_keeps_the_promise_passes() {
        for disk in [Disk::Kept, forgets(None)] {
            let outcome = fake("", disk).await.expect("carried out");
            assert_eq!(outcome.problems, [], "{}", outcome.story());
            assert_eq!(outcome.evidence.acknowledged.len(), 150);
            assert_eq!(outcome.evidence.records.len(), 300);
            assert!(outcome.family >= 2, "{}", outcome.story());
        }
    }

    #[tokio::test]
    async fn an_event_acknowledged_before_it_is_written_is_missed() {
        let outcome = fake("early-ack", Disk::Kept).await.expect("carried out");
        assert!(
            matches!(outcome.problems.first(), Some(Problem::Lost { .. })),
            "{}",
            outcome.story()
        );
    }

    #[tokio::test]
    async fn an_event_run_twice_under_two_ids_is_found() {
        let outcome = fake("double", Disk::Kept).await.expect("carried out");
        assert!(
            matches!(outcome.problems.first(), Some(Problem::Double { .. })),
            "{}",
            outcome.story()
        );
    }

    #[tokio::test]
    async fn a_process_that_outlives_the_hub_is_named() {
        let error = fake("orphan", Disk::Kept).await.expect_err("an orphan");
        assert!(error.to_string().contains("`sleep 30`"), "{error}");
    }

    #[tokio::test]
    async fn a_log_whose_syncs_are_taken_out_is_missed() {
        let outcome = fake("slow", forgets(Some("/events"))).await.expect("carried out");
        assert!(
            outcome.problems.iter().any(|one| matches!(one, Problem::Lost { .. })),
            "{}",
            outcome.story()
        );
    }
}
