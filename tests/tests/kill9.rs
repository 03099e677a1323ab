//! `kill -9` of the hub at random while events are posted: nothing acknowledged is lost, nothing is recorded twice.
//!
//! 8 kills and 3,000 events; with EVOKE_FULL=1, 50 and 20,000. `EVOKE_SEED` repeats a run's choices.

use std::time::Duration;

use evoke_tests::fault::{
    campaign::{self, Disk, Plan},
    hub::Launch,
    workload::Load,
};

#[expect(clippy::print_stdout, reason = "the seed repeats a failing run")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_event_outlives_every_kill_and_no_process_does() {
    let full = std::env::var_os("EVOKE_FULL").is_some();
    let (kills, events) = if full { (50, 20_000) } else { (8, 3_000) };
    let seed = campaign::seed();
    println!("EVOKE_SEED={seed}: {kills} kills, {events} events");
    let load = Load { events, connections: 8, per_second: 500, seed };
    let plan = Plan { load, kills, disk: Disk::Kept, stall: Duration::from_secs(30), seed };
    let room = campaign::room("kill9").expect("a room");
    let launch = Launch::of_the_hub(&room).expect("the hub");
    let outcome = campaign::run(&plan, launch, &room).await.expect("carried out");
    println!("{}", outcome.story());
    assert_eq!(outcome.problems, [], "EVOKE_SEED={seed}, {}: {}", room.display(), outcome.story());
    assert_eq!(outcome.evidence.acknowledged.len(), events);
    assert!(
        outcome.family >= kills,
        "sandboxes lived when the hub was killed: {}",
        outcome.story()
    );
    std::fs::remove_dir_all(room).expect("cleaned up");
}
