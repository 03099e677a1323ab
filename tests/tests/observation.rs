//! What the hub tells of itself and keeps to itself: metrics, traces, secrets, erasing.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends, in what it is made of too"
)]

#[path = "observation/erasing.rs"]
mod erasing;
#[path = "observation/metrics.rs"]
mod metrics;
#[path = "observation/pages.rs"]
mod pages;
#[path = "observation/secrets.rs"]
mod secrets;
#[path = "observation/traces.rs"]
mod traces;

use std::{
    fs,
    path::{Path, PathBuf},
};

use evoke_tests::fault::error::FaultError;

type Done = Result<(), FaultError>;

/// Files below a folder that hold these bytes.
fn holding(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let inside = fs::read_dir(&path).into_iter().flatten().flatten();
            left.extend(inside.map(|entry| entry.path()));
        } else if let Ok(content) = fs::read(&path)
            && content.windows(bytes.len()).any(|part| part == bytes)
        {
            found.push(path);
        }
    }
    found
}
