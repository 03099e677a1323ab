//! Operation: settings from every source, one hub to a directory, backup, upgrade, TLS, the end.
#![expect(clippy::expect_used, reason = "a test that cannot go on ends, in what it is made of too")]

#[path = "operation/backups.rs"]
mod backups;
#[path = "operation/certificates.rs"]
mod certificates;
#[path = "operation/directories.rs"]
mod directories;
#[path = "operation/ends.rs"]
mod ends;
#[path = "operation/keys.rs"]
mod keys;
#[path = "operation/page.rs"]
mod page;
#[path = "operation/settings.rs"]
mod settings;
#[path = "operation/upgrades.rs"]
mod upgrades;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Output,
};

use evoke_tests::{
    e2e::{caller::Caller, place::Place},
    fault::{
        error::FaultError,
        hub::{Hub, Launch},
        ports::free_port,
    },
};

type Done = Result<(), FaultError>;

/// What a command printed.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat())
        .into_owned()
}

/// Runs the program to its end, which must be this one.
async fn ends(place: &Place, code: i32, words: &[&str]) -> Result<String, FaultError> {
    let output = place.run(words).await?;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
    Ok(text)
}

/// A path as a word of a command line.
fn word(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// Starts a hub of the same room on another data directory.
async fn start_on(place: &Place, data: &Path) -> Result<(Hub, Caller), FaultError> {
    let launch = Launch {
        data: data.canonicalize()?,
        address: ([127, 0, 0, 1], free_port()?).into(),
        ..place.launch.clone()
    };
    let mut hub = launch.start()?;
    hub.ready().await?;
    let pair = fs::read_to_string(data.join("credentials"))?;
    Ok((hub, Caller { address: launch.address, ..place.caller_with(&pair) }))
}

/// Every file below a folder with its bytes, but for sockets.
fn files(root: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                found.insert(path.clone(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}
