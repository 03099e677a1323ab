//! End to end: faults, escapes, the simulator's long runs, benchmarks.

pub mod bench;
pub mod e2e;
pub mod fault;
pub mod fixture;
pub mod simulator;
