//! The answers recorded from Apache OpenWhisk 2.0.0, and ours: equal, but for what `docs/compatibility.md` names.
#![expect(clippy::panic, reason = "a test that cannot go on ends, in what it is made of too")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use evoke_tests::{e2e::place::Place, fault::error::FaultError};
use tokio::{process::Command, time::timeout};

/// Longest time for all cases, on a busy machine.
const ALL_WITHIN: Duration = Duration::from_secs(600);
/// Most differences from the recording that may be named.
const NAMED_AT_MOST: usize = 15;
/// OpenWhisk's well-known key of the namespace `guest`.
const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
/// The table of the page begins below this line.
const TABLE: &str = "## Differences from the recording";

/// A named difference: where it may be seen.
#[derive(Debug)]
struct Named {
    number: String,
    /// Beginnings of a difference: `case` or `case step`, and a pointer or nothing.
    places: Vec<(String, String)>,
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of the page: number, places, and words for people.
fn named(page: &str) -> Vec<Named> {
    let (_, below) = page.split_once(TABLE).unwrap_or_else(|| panic!("no `{TABLE}` in the page"));
    let rows = below
        .lines()
        .skip_while(|line| !line.starts_with("| 1 "))
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [number, places, _theirs, _ours, why] = cells.as_slice() else {
            panic!("five cells wanted: {row}")
        };
        assert!(why.len() > 10, "no reason: {row}");
        let places = places.split(',').map(|place| {
            let place = place.trim().trim_matches('`');
            let (at, pointer) = place.split_once(" /").map_or((place, ""), |(at, rest)| (at, rest));
            (format!("{at} "), pointer.to_owned())
        });
        Named { number: (*number).to_owned(), places: places.collect() }
    })
    .collect()
}

impl Named {
    /// Whether a line of the comparison, `case step [request] /pointer: …`, is one of its places.
    fn covers(&self, line: &str) -> bool {
        self.places
            .iter()
            .any(|(at, pointer)| line.starts_with(at) && line.contains(&format!("] /{pointer}")))
    }
}

#[test]
fn a_place_is_a_case_a_step_and_a_pointer() {
    let page = format!(
        "{TABLE}\n\n| 1 | `a`, `b 2 /body/x` | t | o | for safety's sake |\n| 2 | `c 1` | t | o | for safety's sake |\nend"
    );
    let named = named(&page);
    assert_eq!(named.len(), 2);
    let covers = |line: &str| {
        named
            .iter()
            .filter(|row| row.covers(line))
            .map(|row| row.number.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(covers("a 1 [GET x] /status: want 1 got 2"), ["1"]);
    assert_eq!(covers("b 2 [GET x] /body/x: want 1 got 2"), ["1"]);
    assert!(covers("b 2 [GET x] /body/y: want 1 got 2").is_empty());
    assert!(covers("b 1 [GET x] /body/x: want 1 got 2").is_empty());
    assert!(covers("ab 1 [GET x] /status: want 1 got 2").is_empty());
    assert_eq!(covers("c 1 [GET x] /status: want 1 got 2"), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_openwhisk_but_for_what_is_named() -> Result<(), FaultError> {
    let page = fs::read_to_string(project().join("docs/compatibility.md"))?;
    let named = named(&page);
    assert!(named.len() <= NAMED_AT_MOST, "{} differences are named", named.len());
    let mut place = Place::new()?;
    place.launch.environment.push(("EVOKE_DEV_KEYS", "true".into()));
    let (hub, _caller) = place.start().await?;
    let golden = project().join("tests/golden");
    let compared = Command::new("python3")
        .arg(golden.join("wire.py"))
        .args(["compare", &place.launch.address.to_string(), GUEST])
        .args([golden.join("cases"), golden.join("recorded")])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let compared = timeout(ALL_WITHIN, compared).await.unwrap_or_else(|_| panic!("no end"))?;
    let said = String::from_utf8_lossy(&compared.stdout).into_owned();
    let mut lines: Vec<_> = said.lines().collect();
    let counted = lines.pop().unwrap_or_default();
    let errors = String::from_utf8_lossy(&compared.stderr).into_owned();
    assert!(counted.starts_with("237 cases, "), "all cases ran: {counted} {errors}");
    let unnamed: Vec<_> =
        lines.iter().filter(|line| !named.iter().any(|row| row.covers(line))).collect();
    assert!(unnamed.is_empty(), "not named in docs/compatibility.md: {unnamed:#?}");
    let seen: BTreeSet<_> = named
        .iter()
        .filter(|row| lines.iter().any(|line| row.covers(line)))
        .map(|row| &row.number)
        .collect();
    let idle: Vec<_> = named.iter().filter(|row| !seen.contains(&row.number)).collect();
    assert!(idle.is_empty(), "named and not seen: {idle:#?}");
    place.end(hub).await
}
