//! Faults from outside: a hub that is killed, a disk that forgets what was not synced, and the proof that nothing is lost.
//!
//! `powercut`, `picture`, `cut`: the disk. `machine`: its clock and its syncs. `hub`, `ports`: the process. `client`, `workload`: events in, records out.
//! `verdict`: the assertion, on values. `campaign`: one whole test.

pub mod campaign;
pub mod client;
pub mod cut;
pub mod error;
pub mod hub;
pub mod load;
pub mod machine;
pub mod picture;
pub mod ports;
pub mod powercut;
pub mod verdict;
pub mod workload;
