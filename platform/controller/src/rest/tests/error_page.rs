//! `docs/errors.md` has a row for every error that the API answers, and no others.

use std::{collections::BTreeSet, time::Duration};

use evoke_schemas::{
    EntityName, Namespace,
    event::EventError,
    limits::{LimitError, Side},
    rule::PolicyError,
    uid::IdError,
};
use evoke_store::StoreError;
use evoke_trigger_engine::{Cap, IngestError};

use crate::{
    feed_control::FeedRefused, history::HistoryError, invocations::CallRefused, rest::ApiError,
};

const PAGE: &str = include_str!("../../../../../docs/errors.md");
const CODE: &str = include_str!("../error.rs");

/// An error as it is answered for each variant, and for each sentence worth a row of its own.
fn examples() -> Vec<ApiError> {
    let kinds = [framework(), names(), requests(), missing(), conflicts(), sizes(), capacity()];
    kinds.into_iter().flatten().collect()
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn framework() -> Vec<ApiError> {
    vec![
        ApiError::NoCredentials,
        ApiError::BadCredentials,
        ApiError::NoRoute,
        ApiError::Malformed(text("Object expected")),
        ApiError::Query { name: "limit", detail: text("The value 'x' is not an integer.") },
        ApiError::ContentType(text("text/plain")),
        ApiError::CloudEventFormat(text("application/cloudevents+xml")),
        ApiError::NotAcceptable,
        ApiError::BodyTooSlow,
        ApiError::LimitsInner,
    ]
}

fn names() -> Vec<ApiError> {
    let long = "x".repeat(257);
    vec![
        EntityName::new("a/b").unwrap_err().into(),
        EntityName::new(&long).unwrap_err().into(),
        Namespace::new("a/b").unwrap_err().into(),
        Namespace::new(&long).unwrap_err().into(),
        IdError::Length(3).into(),
        "x".repeat(32).parse::<evoke_schemas::ActivationId>().unwrap_err().into(),
    ]
}

fn requests() -> Vec<ApiError> {
    let policy = PolicyError { field: "attempts", range: "1 to 1000" };
    let unknown = "unknown provider `x` (known: alarms)";
    let mistakes = "provider `alarms`: `every` must be a duration";
    let name = EntityName::new("r").unwrap();
    vec![
        LimitError::Memory(1, Side::Below, 128).into(),
        LimitError::Timeout(1, Side::Below, 100).into(),
        LimitError::Logs(11, Side::Exceeds, 10).into(),
        LimitError::Concurrency(2, Side::Exceeds, 1).into(),
        ApiError::Bad(text("exec undefined")),
        ApiError::Bad(text("trigger /guest/t does not exist")),
        ApiError::Bad(text("header `idempotency-key` must be text that is not empty")),
        ApiError::Bad(policy.to_string()),
        ApiError::NotInThisVersion(text("a sequence")),
        HistoryError::NoRule(name).into(),
        EventError::Missing("id").into(),
        FeedRefused::Parameters(text(unknown)).into(),
        FeedRefused::Parameters(text(mistakes)).into(),
        CallRefused::Reserved.into(),
        ApiError::Forbidden(text("other/a")),
        ApiError::Kind(text("python:3.12")),
        ApiError::Bad(text(
            "The 'nodejs:18' runtime is no longer supported. You may read and delete but not \
             update or invoke this action.",
        )),
    ]
}

fn missing() -> Vec<ApiError> {
    vec![
        ApiError::Missing,
        ApiError::MissingNamed(text("guest/p")),
        ApiError::RuleWithoutTrigger,
        IngestError::TriggerMissing(EntityName::new("t").unwrap()).into(),
    ]
}

fn conflicts() -> Vec<ApiError> {
    vec![
        ApiError::Exists,
        ApiError::OtherCollection,
        ApiError::Concurrent,
        ApiError::PackageNotEmpty(1),
        ApiError::PackageNotEmpty(2),
        StoreError::Conflict(text("a")).into(),
    ]
}

fn sizes() -> Vec<ApiError> {
    vec![
        ApiError::FieldTooLarge { field: "exec", bytes: 2, most: 1 },
        ApiError::TooLarge { bytes: 2, most: 1 },
        IngestError::EventTooLarge { index: 0, bytes: 2, limit: 1 }.into(),
        IngestError::BatchTooLarge { bytes: 2, limit: 1 }.into(),
        IngestError::TooManyEvents { count: 2, limit: 1 }.into(),
    ]
}

fn capacity() -> Vec<ApiError> {
    vec![
        IngestError::Closed { cap: Cap::UndeliveredBytes, retry_after_ms: 1 }.into(),
        IngestError::Closed { cap: Cap::DiskBudget, retry_after_ms: 1 }.into(),
        CallRefused::TooMany { count: 2, allowed: 1 }.into(),
        CallRefused::NoSandbox { count: 2, allowed: 1 }.into(),
        ApiError::TooMany {
            cap: "entities",
            reason: text("Too many entities in the namespace (count: 2, allowed: 1)."),
            retry_after: Duration::from_secs(1),
        },
        ApiError::Unavailable(text("The hub is starting.")),
        ApiError::Corrupted(StoreError::Closed),
        ApiError::Internal("boom".into()),
    ]
}

/// Status and sentence of each row of the page's table of answers.
fn rows() -> Vec<(u16, String)> {
    let section = PAGE.split("\n## ").find(|part| part.starts_with("Answers of the API"));
    let lines = section.unwrap().lines().filter_map(|line| line.strip_prefix("| "));
    let row = |line: &str| {
        let (status, rest) = line.split_once(" | ")?;
        Some((status.parse().ok()?, rest.split(" | ").next()?.to_owned()))
    };
    lines.filter_map(row).collect()
}

/// Whether a row's sentence, where `…` is any text, is this one.
fn is_sentence(row: &str, sentence: &str) -> bool {
    let sentence = sentence.replace('\n', " ");
    let mut parts = row.split('…');
    let Some(mut rest) = sentence.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// The row that says most about an error.
fn row_of<'a>(rows: &'a [(u16, String)], error: &ApiError) -> Option<&'a (u16, String)> {
    let sentence = error.to_string();
    let mut fitting: Vec<_> = rows
        .iter()
        .filter(|(status, row)| *status == error.status().as_u16() && is_sentence(row, &sentence))
        .collect();
    fitting.sort_by_key(|(_, row)| row.len());
    fitting.pop()
}

#[test]
fn every_answer_has_a_row_and_every_row_an_answer() {
    let rows = rows();
    let mut used = BTreeSet::new();
    for error in examples() {
        let row = row_of(&rows, &error);
        let row = row.unwrap_or_else(|| panic!("docs/errors.md has no row of {error:?}: {error}"));
        used.insert(row.clone());
    }
    let unused: Vec<_> = rows.iter().filter(|row| !used.contains(*row)).collect();
    assert_eq!(unused, [] as [&(u16, String); 0], "rows that nothing is answered with");
}

#[test]
fn every_variant_has_an_example() {
    let variants = CODE.split("pub enum ApiError {").nth(1).unwrap();
    let variants = variants.split("\n}\n").next().unwrap();
    let name = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let end = line.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(line.len());
        line.starts_with(|c: char| c.is_ascii_uppercase()).then(|| line[..end].to_owned())
    };
    let variants: BTreeSet<_> = variants.lines().filter_map(name).collect();
    let word = |error: &ApiError| {
        let text = format!("{error:?}");
        text[..text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len())].to_owned()
    };
    let shown: BTreeSet<_> = examples().iter().map(word).collect();
    assert!(variants.len() > 25, "{variants:?}");
    assert_eq!(variants, shown, "each variant of ApiError is to be among the examples");
}

#[test]
fn sentences_are_told_apart() {
    assert!(is_sentence("a … c", "a b c"));
    assert!(is_sentence("a b", "a\nb"));
    assert!(is_sentence("…", "x"));
    assert!(!is_sentence("a … c", "a b"));
    assert!(!is_sentence("a", "a b"));
    assert!(row_of(&rows(), &ApiError::PayloadTooLarge(text("x"))).is_none());
}
