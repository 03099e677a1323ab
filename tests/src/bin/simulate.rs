//! Runs seeds of the simulator: many of them, or one with its trace.
//!
//! ```text
//! simulate --from N --seeds M [--threads T] [--stop]     counts, failures; 1 if any, or a 0 count
//! simulate --seed N                                      one seed with its whole trace
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]

use std::process::ExitCode;
use std::time::Instant;

use evoke_tests::simulator::campaign::Campaign;
use evoke_tests::simulator::world::{self, Verdict};

/// Failures that are printed.
const SHOWN: usize = 10;
/// Lines of a failing seed's trace that are printed.
const TRACE_LINES: usize = 60;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| -> Option<u64> {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    if let Some(seed) = number("--seed") {
        return one(seed);
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    many(Campaign {
        from: number("--from").unwrap_or(0),
        seeds: number("--seeds").unwrap_or(1_000),
        threads: number("--threads").map_or(threads, |threads| threads as usize),
        stop_at_failure: arguments.iter().any(|argument| argument == "--stop"),
    })
}

fn one(seed: u64) -> ExitCode {
    let verdict = world::run(seed, true);
    for line in &verdict.trace {
        println!("{line}");
    }
    println!("{}", verdict.tally);
    println!("seed {seed}: trace hash {:016x}", verdict.hash);
    complain(&verdict);
    if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(campaign: Campaign) -> ExitCode {
    let began = Instant::now();
    let report = campaign.run();
    println!("{}", report.tally);
    let took = began.elapsed();
    println!("{} seeds from {} in {took:.1?}", report.seeds, campaign.from);
    for verdict in report.failures.iter().take(SHOWN) {
        complain(verdict);
    }
    if let Some(first) = report.failures.first() {
        let replayed = world::run(first.seed, true);
        let from = replayed.trace.len().saturating_sub(TRACE_LINES);
        println!("the end of seed {}:", first.seed);
        for line in replayed.trace.iter().skip(from) {
            println!("{line}");
        }
        eprintln!(
            "{} seeds failed; replay one: simulate --seed {}",
            report.failures.len(),
            first.seed
        );
        return ExitCode::FAILURE;
    }
    // Who looks for the first failure runs too few seeds to count on rare things.
    let missing = if campaign.stop_at_failure { Vec::new() } else { report.missing() };
    for (group, name) in &missing {
        eprintln!("never occurred: {group:?} `{name}`");
    }
    if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(verdict: &Verdict) {
    for violation in verdict.violations.iter().take(SHOWN) {
        println!("seed {}: BROKEN: {violation}", verdict.seed);
    }
}
