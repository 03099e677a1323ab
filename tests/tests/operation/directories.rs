//! Data directories: one hub to each, and only of a version that the program can read.

use std::{collections::BTreeMap, fs, path::PathBuf};

use evoke_tests::{e2e::place::Place, fault::error::FaultError};

use super::{Done, ends, files};

/// The files, without what a running hub writes at any time.
fn quiet(place: &Place) -> Result<BTreeMap<PathBuf, Vec<u8>>, FaultError> {
    let mut all = files(place.data())?;
    all.retain(|path, _| !path.starts_with(place.data().join("log")));
    Ok(all)
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_the_process_that_has_it() -> Done {
    let place = Place::new()?;
    let (hub, _) = place.start().await?;
    let lock = fs::read_to_string(place.data().join("lock"))?;
    assert_eq!(lock.trim(), hub.pid().to_string());
    let text = ends(&place, 3, &["up", "--listen", "127.0.0.1:0", "--data", "DATA"]).await?;
    let sentence = format!("already in use by another hub (process {})", hub.pid());
    assert!(text.contains(&sentence), "{text}");
    assert_eq!(fs::read_to_string(place.data().join("lock"))?, lock);
    place.end(hub).await
}

#[tokio::test]
async fn a_directory_of_a_newer_version_is_refused_and_left_alone() -> Done {
    let mut place = Place::new()?;
    let (hub, _) = place.start().await?;
    hub.stop().await?;
    let version = place.data().join("version");
    let former = fs::read_to_string(&version)?;
    fs::write(&version, "7\nwritten by evoke 9.0.0\n")?;
    let before = files(place.data())?;
    for words in [
        ["up", "--listen", "127.0.0.1:0", "--data", "DATA"].as_slice(),
        &["key", "add", "more", "--data", "DATA"],
        &["backup", "--data", "DATA", "/nowhere/backup.tar"],
    ] {
        let text = ends(&place, 4, words).await?;
        assert!(text.contains("has format 7"), "{text}");
        assert!(text.contains("run the newer evoke"), "it says what to do: {text}");
    }
    assert!(files(place.data())? == before, "nothing is changed");
    // A directory of before there was such a file is of the first version.
    fs::remove_file(&version)?;
    let (hub, _) = place.start().await?;
    assert_eq!(fs::read_to_string(&version)?, former);
    hub.stop().await?;
    let log = place.data().join("log/log.json");
    let text = fs::read_to_string(&log)?;
    fs::write(&log, text.replace("\"format\": 1", "\"format\": 2"))?;
    let before = quiet(&place)?;
    let text = ends(&place, 4, &["up", "--listen", "127.0.0.1:0", "--data", "DATA"]).await?;
    assert!(text.contains("format 2"), "{text}");
    let mut after = quiet(&place)?;
    after.insert(place.data().join("lock"), before[&place.data().join("lock")].clone());
    assert!(after == before, "nothing but the lock's number is changed");
    place.done();
    Ok(())
}
