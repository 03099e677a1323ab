//! The power goes at random while events are posted, and the disk forgets what was not synced: nothing acknowledged is lost.
//!
//! 20 cuts and 2,000 events; with EVOKE_FULL=1, 50 and 20,000. `EVOKE_SEED` repeats a run's choices.
//! That the test can fail is shown by the same test with the log's syncs taken out, and that it sees every write by an audit.

use std::{fs, path::Path, time::Duration};

use evoke_tests::fault::{
    campaign::{self, Disk, Outcome, Plan},
    cut::Loss,
    error::FaultError,
    hub::Launch,
    powercut::{PowerCut, Watch},
    verdict::Problem,
    workload::{self, Load, Posting},
};

/// Below the data directory: where acknowledged events are kept.
const LOG: &str = "/data/log";
/// Added to each sync, so that about every second cut falls into one.
const SLOW_SYNC: Duration = Duration::from_millis(3);
/// Ways in which each cut of a first start is made.
const CHANCES: u64 = 2;

#[expect(clippy::print_stdout, reason = "the seed repeats a failing run")]
async fn cuts(
    cuts: usize,
    events: usize,
    watch: Watch,
    room: &Path,
) -> Result<Outcome, FaultError> {
    let seed = campaign::seed();
    println!("EVOKE_SEED={seed}: {cuts} cuts, {events} events, {watch:?}");
    let shows_loss = watch.drop_sync.is_some();
    // What has run by the time of a cut is lost unseen: the faster they come, the more have not.
    let per_second = if shows_loss { 10_000 } else { 300 };
    let load = Load { events, connections: 8, per_second, seed };
    let stall = Duration::from_secs(if shows_loss { 5 } else { 30 });
    let plan = Plan { load, kills: cuts, disk: Disk::Forgets(watch), stall, seed };
    let outcome = campaign::run(&plan, Launch::of_the_hub(room)?, room).await?;
    println!("{}", outcome.story());
    Ok(outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_event_outlives_every_power_cut() {
    let full = std::env::var_os("EVOKE_FULL").is_some();
    let (count, events) = if full { (50, 20_000) } else { (20, 2_000) };
    let room = campaign::room("power-cut").expect("a room");
    let outcome = cuts(count, events, Watch { slow_sync: SLOW_SYNC, ..Watch::default() }, &room)
        .await
        .expect("carried out");
    assert_eq!(outcome.problems, [], "{}: {}", room.display(), outcome.story());
    assert_eq!(outcome.evidence.acknowledged.len(), events);
    assert!(outcome.cut.sectors_lost > 0, "the cuts lost nothing: {}", outcome.story());
    fs::remove_dir_all(room).expect("cleaned up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_syncs_of_the_log_taken_out_events_are_lost() {
    let room = campaign::room("power-cut-unsynced").expect("a room");
    let watch = Watch { drop_sync: Some(LOG.into()), ..Watch::default() };
    let outcome = cuts(6, 3_000, watch, &room).await.expect("carried out");
    let lost = outcome.problems.iter().any(|problem| matches!(problem, Problem::Lost { .. }));
    assert!(lost, "without syncs nothing was lost: {}", outcome.story());
    fs::remove_dir_all(room).expect("cleaned up");
}

/// Cuts the power as the hub begins sync after sync of its first start, until it makes no more of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_loses_power_at_any_sync_is_begun_again() {
    let mut syncs = 0;
    'starts: for number in 1.. {
        for seed in 0..CHANCES {
            let room = campaign::room("power-cut-first").expect("a room");
            let mut launch = Launch::of_the_hub(&room).expect("the hub");
            let watch = Watch { kill_at_sync: Some(number), ..Watch::default() };
            let disk = PowerCut::new(&launch.data, &room.join("side"), watch).expect("prepared");
            launch.environment = disk.environment();
            let Err(FaultError::Ended { status, .. }) =
                launch.start().expect("started").ready().await
            else {
                fs::remove_dir_all(room).expect("cleaned up");
                break 'starts;
            };
            assert!(status.contains("signal: 9"), "{status}: {:?}", disk.refused());
            disk.cut(Loss::Some(u64::from(number) << 8 | seed)).expect("cut");
            launch.environment.clear();
            let mut hub = launch.start().expect("started");
            let ready = hub.ready().await;
            assert!(ready.is_ok(), "sync {number}, seed {seed}, {}: {ready:?}", room.display());
            let mut client = launch.client().expect("credentials");
            workload::set_up(&mut client, &workload::rules(1)).await.expect("set up");
            hub.stop().await.expect("stopped");
            fs::remove_dir_all(room).expect("cleaned up");
        }
        syncs = number;
    }
    assert!(syncs > 5, "a first start makes more than {syncs} syncs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_to_the_data_directory_goes_past_libc() {
    let room = campaign::room("power-cut-audit").expect("a room");
    let mut launch = Launch::of_the_hub(&room).expect("the hub");
    let watch = Watch { audit: true, ..Watch::default() };
    let disk = PowerCut::new(&launch.data, &room.join("side"), watch).expect("prepared");
    launch.environment.extend(disk.environment());
    let rules = workload::rules(1);
    // The second start recovers what the first left: another code path that writes.
    for seed in [1, 2] {
        let mut hub = launch.start().expect("started");
        hub.ready().await.expect("ready");
        assert!(disk.watches(hub.pid()));
        let mut client = launch.client().expect("credentials");
        workload::set_up(&mut client, &rules).await.expect("set up");
        let load = Load { events: 100, connections: 4, per_second: 100, seed };
        let mut posting = Posting::start(load, &launch).expect("started");
        posting.acknowledged(load.events).await.expect("posted");
        hub.stop().await.expect("stopped");
        let unseen = disk.audit().expect("readable");
        assert!(
            unseen.is_empty(),
            "{}: written past libc or by another process: {unseen:#?}",
            room.display()
        );
    }
    fs::remove_dir_all(room).expect("cleaned up");
}
