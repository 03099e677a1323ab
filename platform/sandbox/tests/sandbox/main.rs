//! Real sandboxes, as root and as an ordinary user.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod bounds;
mod escapes;
mod kill9;
mod life;
mod network;
mod stage;
mod v2;
