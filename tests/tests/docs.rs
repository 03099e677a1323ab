//! The documentation: every example of its pages does what the page says.
//!
//! `PAGE=docs/actions.md` plays one page alone.

use std::{
    collections::BTreeSet,
    error::Error as _,
    fs, io,
    path::{Path, PathBuf},
};

use evoke_tests::e2e::page::{
    parse::Page,
    play::{PageError, play},
};
use tokio::task::JoinSet;

/// Pages whose examples nothing here runs, and why.
const UNPLAYED: &[(&str, &str)] = &[
    ("CONTRIBUTING.md", "its diffs are applied: tests/contributing.rs"),
    ("docs/README.md", "the list of pages"),
    ("docs/api.md", "tests/api_page.rs runs its examples"),
    ("docs/cli.md", "written by the program, whose own tests read its examples: evoke/src/args"),
    ("docs/compatibility.md", "a list, which tests/golden.rs holds to recordings of OpenWhisk"),
    ("docs/couchdb.md", "needs a server of CouchDB: tests/feeds.rs, tests/feed_actions.rs"),
    ("docs/feed-cases.md", "a table, which tests/tidy.rs holds to the tests that it names"),
    ("docs/kafka.md", "needs a broker: tests/feeds.rs"),
    ("docs/metrics.md", "tests/observation.rs runs its examples"),
    ("docs/openwhisk-feeds.md", "OpenWhisk's own clients: tests/feed_actions.rs"),
    ("docs/operating.md", "tests/operation.rs runs its examples"),
    ("docs/providers.md", "quotes code, which tests/tidy.rs compares"),
    ("docs/secrets.md", "tests/observation.rs runs its examples"),
    ("docs/tracing.md", "tests/observation.rs runs its examples"),
    ("docs/webhooks.md", "tests/events.rs does what it says"),
];

/// Pages that are played at once: each has a hub of its own.
const AT_ONCE: usize = 2;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pages that hold examples, by their path in the project.
fn pages() -> io::Result<Vec<String>> {
    let mut pages = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    for file in fs::read_dir(root().join("docs"))? {
        let name = file?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages.sort();
    Ok(pages)
}

fn text(page: &str) -> io::Result<String> {
    fs::read_to_string(root().join(page))
}

/// The error with its causes.
fn told(error: &PageError) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        told.push_str(&format!(": {source}"));
        cause = source.source();
    }
    told
}

#[tokio::test]
async fn every_example_does_what_its_page_says() -> io::Result<()> {
    let only = std::env::var_os("PAGE").map(|page| page.to_string_lossy().into_owned());
    let project = root().canonicalize()?;
    let mut playing = JoinSet::new();
    let mut ends = Vec::new();
    let is_chosen = |page: &String| only.as_ref().is_none_or(|only| only == page);
    for page in pages()?.into_iter().filter(is_chosen) {
        let text = text(&page)?;
        if Page::parse(&text).is_ok_and(|page| page.is_without_examples()) {
            continue;
        }
        if playing.len() == AT_ONCE {
            ends.extend(playing.join_next().await);
        }
        let project = project.clone();
        playing.spawn(async move { play(&page, &text, &project).await });
    }
    ends.extend(playing.join_all().await.into_iter().map(Ok));
    assert!(!ends.is_empty(), "no page was played");
    let mut failures = Vec::new();
    for end in ends {
        failures.extend(end?.err());
    }
    let failures: Vec<_> = failures.iter().map(told).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn a_page_that_differs_says_where_and_how() -> io::Result<()> {
    let text = "# A\n\n<!-- hub: none -->\n\n```console\n$ echo one\none\n$ echo two\nthree\n```\n";
    let played = play("docs/a.md", text, &root().canonicalize()?).await;
    let said = played.err().map(|error| told(&error)).unwrap_or_default();
    for part in
        ["docs/a.md:8", "$ echo two", "wanted (exit status 0)\nthree", "(exit status 0)\ntwo"]
    {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    Ok(())
}

/// Files, variables and folders stay from command to command; a hub in the background can be ended.
#[tokio::test]
async fn a_page_is_one_shell_and_may_start_its_own_hub() -> io::Result<()> {
    let text = r#"<!-- hub: none -->
```txt words/a.txt
of http://127.0.0.1:3233
```
```console
$ word=one
$ cd words
$ echo "$word $(cat a.txt)"
one of http://127.0.0.1:3233
$ cd ..
$ false
[exit 1]
$ evoke up --log-format json &
…
…"ready","address":"127.0.0.1:3233"…
…
$ evoke trigger create t
ok: created trigger t
$ kill %1
$ evoke trigger create u
error: no hub at …
[exit 5]
```
"#;
    let played = play("docs/a.md", text, &root().canonicalize()?).await;
    assert!(played.is_ok(), "{}", played.err().map(|error| told(&error)).unwrap_or_default());
    Ok(())
}

#[test]
fn every_page_is_played_or_listed_with_the_reason() -> io::Result<()> {
    let unplayed: BTreeSet<_> = UNPLAYED.iter().map(|(page, _)| *page).collect();
    for page in pages()? {
        let parsed = Page::parse(&text(&page)?);
        let parsed = parsed.unwrap_or_else(|mistake| panic!("{page}, {mistake}"));
        let is_listed = unplayed.contains(page.as_str());
        let is_played = !parsed.is_without_examples();
        assert!(is_played || is_listed, "{page} has no example (a fence `console`) that is run");
        assert!(!(is_played && is_listed), "{page} is played: take it off the list");
    }
    Ok(())
}

/// The list of pages has each of them.
#[test]
fn every_page_is_in_the_list() -> io::Result<()> {
    let list = text("docs/README.md")?;
    for page in pages()? {
        let Some(name) = page.strip_prefix("docs/") else { continue };
        assert!(name == "README.md" || list.contains(&format!("]({name})")), "{page} is not in it");
    }
    Ok(())
}

/// The sentences of failed activations begin as the invoker and the launchers write them.
#[test]
fn sentences_of_failed_activations_are_in_the_code() -> io::Result<()> {
    let page = text("docs/errors.md")?;
    let section =
        page.split("\n## ").find(|part| part.starts_with("What a failed activation says"));
    let code =
        ["src/judge.rs", "src/logs.rs", "src/run.rs", "launchers/nodejs.js", "launchers/python.py"];
    let mut code: String = code
        .iter()
        .map(|file| text(&format!("platform/invoker/{file}")))
        .collect::<Result<_, _>>()?;
    code.push_str(&text("platform/controller/src/invocations.rs")?);
    let mut sentences = 0;
    for line in section.unwrap_or_default().lines() {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        for cell in cells.filter(|cell| cell.ends_with('.') || cell.ends_with('…')).take(1) {
            let beginning = cell.split('…').next().unwrap_or_default().trim_end();
            assert!(code.contains(beginning), "nothing says `{beginning}`");
            sentences += 1;
        }
    }
    assert!(sentences > 12, "only {sentences} sentences were found");
    Ok(())
}
