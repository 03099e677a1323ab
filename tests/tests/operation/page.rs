//! `docs/operating.md`: its examples run, its table of settings is that of the program.

use std::{collections::BTreeSet, fs, path::Path};

use evoke_tests::e2e::place::Place;
use tokio::process::Command;

use super::{Done, ends, said};

fn page() -> std::io::Result<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md"))
}

#[tokio::test]
async fn the_examples_of_operating_run() -> Done {
    let place = Place::new()?;
    let (hub, _) = place.start().await?;
    let program = place.program().canonicalize()?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = format!("{}:{}", folder.display(), path.to_string_lossy());
    let text = page()?;
    let fences: Vec<_> = text.split("\n```").skip(1).step_by(2).collect();
    let examples: Vec<_> = fences.iter().filter_map(|fence| fence.strip_prefix("sh\n")).collect();
    assert!(examples.len() >= 3, "{fences:?}");
    for example in examples {
        let output = Command::new("sh")
            .args(["-euc", example])
            .current_dir(place.room())
            .env("PATH", &path)
            .env("DATA", place.data())
            .output()
            .await?;
        assert!(output.status.success(), "{example}\n{}", said(&output));
    }
    place.end(hub).await
}

#[tokio::test]
async fn the_table_of_settings_is_that_of_the_program() -> Done {
    let mut place = Place::new()?;
    let shown = ends(&place, 0, &["config", "show"]).await?;
    let text = page()?;
    let table = text.split("| setting |").nth(1).and_then(|rest| rest.split("\n\n").next());
    let rows: Vec<_> = table.unwrap_or_default().lines().skip(2).collect();
    let names_of = |row: &&str| -> Vec<String> {
        let first = row.split('|').nth(1).unwrap_or_default();
        first.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect()
    };
    let told: BTreeSet<String> = rows.iter().flat_map(names_of).collect();
    let mut known = BTreeSet::new();
    for line in shown.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let (name, rest) = line.split_once(' ').expect("a name and more");
        known.insert(name.to_owned());
        let row = rows.iter().find(|row| names_of(row).contains(&name.to_owned()));
        let row = row.unwrap_or_else(|| panic!("docs/operating.md has no row of `{name}`"));
        if let Some(value) = rest.strip_prefix("= ").and_then(|it| it.strip_suffix(" # default")) {
            let default = row.split('|').nth(3).unwrap_or_default().trim();
            assert_eq!(default.trim_matches('`'), value.trim_matches('"'), "default of `{name}`");
        }
    }
    assert_eq!(told, known, "rows of settings that there are not, or the other way round");
    let help = ends(&place, 0, &["up", "--help"]).await?;
    for name in known.iter().filter(|name| !["apply", "follow"].contains(&name.as_str())) {
        // OpenTelemetry has names of its own.
        let row = rows.iter().find(|row| names_of(row).contains(name)).expect("checked above");
        let standard = row.split('`').find(|word| word.starts_with("OTEL_"));
        let variable = match (name.as_str(), standard) {
            ("log-level", _) => "EVOKE_LOG".to_owned(),
            (_, Some(standard)) => standard.to_owned(),
            (name, None) => format!("EVOKE_{}", name.replace('-', "_").to_uppercase()),
        };
        // What may hold a secret is shown without its value.
        let shown = ["=", "]"].iter().any(|end| help.contains(&format!("[env: {variable}{end}")));
        assert!(shown, "`{name}` has no {variable}: {help}");
    }
    place.done();
    Ok(())
}
