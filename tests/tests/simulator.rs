//! The simulator's share of every change: ten thousand seeds, the same twice, and planted defects.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use evoke_tests::simulator::campaign::{Campaign, Report};
use evoke_tests::simulator::plan::{LEAST_CRASHES, LEAST_EVENTS};
use evoke_tests::simulator::tally::Group;
use evoke_tests::simulator::world;

/// Seeds of a build that was made to be fast.
const SEEDS: u64 = 10_000;
/// Seeds of one that was not.
const FEWER_SEEDS: u64 = 2_000;
/// Seeds that tell one from the other, and what they take at most where it was.
const PROBE: (u64, Duration) = (100, Duration::from_secs(7));

#[test]
fn ten_thousand_seeds_break_no_promise_and_leave_nothing_untried() {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let campaign = |seeds| Campaign { from: 0, seeds, threads, stop_at_failure: true };
    let began = Instant::now();
    let probe = campaign(PROBE.0).run();
    assert_eq!(probe.seeds, PROBE.0, "{:#?}", first(&probe));
    let seeds = if began.elapsed() < PROBE.1 { SEEDS } else { FEWER_SEEDS };
    let report = campaign(seeds).run();
    assert!(report.failures.is_empty(), "replay with `simulate --seed N`: {:#?}", first(&report));
    assert_eq!(report.seeds, seeds);
    if seeds == SEEDS {
        assert_eq!(report.missing(), [], "what never occurs is not tested");
    }
}

fn first(report: &Report) -> Option<(u64, &[String])> {
    report.failures.first().map(|verdict| (verdict.seed, verdict.violations.as_slice()))
}

#[test]
fn a_seed_is_as_large_as_it_must_be_and_the_same_twice() {
    for seed in 0..40 {
        let (one, two) = (world::run(seed, true), world::run(seed, false));
        assert_eq!(one.hash, two.hash, "seed {seed} is another one the second time");
        assert!(!one.trace.is_empty());
        let accepted = one.tally.of(Group::Load, "acknowledged");
        assert!(accepted >= LEAST_EVENTS as u64, "seed {seed}: {accepted} events");
        let crashes =
            one.tally.of(Group::Fault, "power cut") + one.tally.of(Group::Fault, "process killed");
        assert!(crashes >= LEAST_CRASHES as u64, "seed {seed}: {crashes} crashes");
    }
    assert_ne!(world::run(1, false).hash, world::run(2, false).hash);
}

#[test]
fn every_planted_defect_still_applies() {
    defects(&["--check"]);
}

#[test]
fn each_planted_defect_is_found() {
    defects(&[]);
}

fn defects(arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("defects/run.sh");
    let output = Command::new(script).args(arguments).output();
    assert!(output.as_ref().is_ok_and(|output| output.status.success()), "{output:#?}");
}
