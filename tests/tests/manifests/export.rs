//! Exporting: a namespace goes to another hub and comes out of it the same.

use std::{collections::BTreeMap, fs, path::Path};

use evoke_tests::{e2e::place::Place, fault::error::FaultError};

use crate::shop::{Done, MANIFEST, apply, command, folder, says, texts, versions};

/// Files of a folder and their text, by their paths.
fn files(folder: &Path) -> Result<BTreeMap<String, String>, FaultError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(inside)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).map_err(std::io::Error::other)?;
            found.insert(name.display().to_string(), fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn an_export_applies_elsewhere_and_comes_out_the_same() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    apply(&place, &folder(&place, MANIFEST)?).await?;
    let before = versions(&caller).await?;
    let first = place.room().join("first");
    let path = first.display().to_string();
    let out = says(&place, &["export", &path]).await?;
    let variables = [
        ("ACTION_NOTE_APITOKEN", "action note: apiToken"),
        ("FEED_HOURLY_TRIGGER_PAYLOAD_TOKEN", "feed hourly: trigger_payload token"),
        ("TRIGGER_ORDERS_WEBHOOK_SECRET", "trigger orders: webhook secret"),
    ];
    for (name, of) in variables {
        assert!(out.lines().any(|line| line.contains(name) && line.ends_with(of)), "{out}");
    }
    let exported = files(&first)?;
    let names: Vec<_> = exported.keys().map(String::as_str).collect();
    assert_eq!(names, ["actions/note.js", "actions/tools/sum.py", "manifest.yaml"]);
    for text in exported.values().chain([&out]) {
        assert!(!text.contains("hunter"), "{text}");
    }
    // What is exported is what is there: applied to the same hub it changes nothing.
    let applied = |place: &Place, file: &str| {
        let mut command = command(place, &["apply", "-f", file]);
        command
            .env("ACTION_NOTE_APITOKEN", "hunter3")
            .env("FEED_HOURLY_TRIGGER_PAYLOAD_TOKEN", "hunter2")
            .env("TRIGGER_ORDERS_WEBHOOK_SECRET", "hunter2");
        command
    };
    let (out, err) = texts(&applied(&place, &path).output().await?);
    assert!(out.lines().all(|line| line.starts_with("unchanged")), "{out}{err}");
    assert_eq!(versions(&caller).await?, before);
    // A folder that has a manifest is not written over by the way.
    let ended = command(&place, &["export", &path]).output().await?;
    assert_eq!(ended.status.code(), Some(2), "{:?}", texts(&ended));

    let other = Place::new()?;
    let (other_hub, _) = other.start().await?;
    let (out, err) = texts(&applied(&other, &path).output().await?);
    assert_eq!(out.lines().filter(|line| line.starts_with("created")).count(), 11, "{out}{err}");
    let second = other.room().join("second");
    says(&other, &["export", &second.display().to_string()]).await?;
    assert_eq!(files(&second)?, exported);
    other.end(other_hub).await?;
    place.end(hub).await
}

#[tokio::test]
async fn one_project_of_several_can_be_exported() -> Done {
    let place = Place::new()?;
    let (hub, _) = place.start().await?;
    for name in ["one", "two"] {
        let manifest = format!(
            "project: {{name: {name}, packages: {{default: {{triggers: {{t-{name}: }}}}}}}}\n"
        );
        apply(&place, &folder(&place, &manifest)?).await?;
    }
    let (both, one) = (place.room().join("both"), place.room().join("only"));
    let out = says(&place, &["export", &both.display().to_string()]).await?;
    assert!(out.contains("not all belongs to one project (one, two)"), "{out}");
    let text = fs::read_to_string(both.join("manifest.yaml"))?;
    assert_eq!(text, "packages:\n  default:\n    triggers:\n      t-one:\n      t-two:\n");
    says(&place, &["export", &one.display().to_string(), "--project", "one"]).await?;
    let text = fs::read_to_string(one.join("manifest.yaml"))?;
    assert_eq!(
        text,
        "project:\n  name: one\n  packages:\n    default:\n      triggers:\n        t-one:\n"
    );
    place.end(hub).await
}
