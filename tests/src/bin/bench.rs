//! `bench --evoke PROGRAM [--dir DIR] [--only idle|calls|deliveries|ingest|feeds|restart]`: prints the table
//! of `SPECIFICATION.md`, or a part of it.
//!
//! `bench control NAME DIR` is a control: this program again, as a process of its own.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use evoke_tests::bench::{
    alarm_rows, control, feed_rows, idle_rows, ingest_rows, invoke_rows, kafka_rows, table,
};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["control", name, folder] => control::run(name, &PathBuf::from(folder)).await,
        _ => bench(&arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Parts of the table.
const PARTS: [&str; 6] = ["idle", "calls", "deliveries", "ingest", "feeds", "restart"];
/// What this is told.
const USAGE: &str = "usage: bench [--evoke PROGRAM] [--dir DIR] [--only idle|calls|deliveries|ingest|feeds|restart]";

async fn bench(arguments: &[String]) -> io::Result<()> {
    let known = |pair: &[String]| {
        let name = pair.first().map_or("", String::as_str);
        pair.len() == 2 && ["--evoke", "--dir", "--only"].contains(&name)
    };
    if !arguments.chunks(2).all(known) {
        return Err(io::Error::other(USAGE));
    }
    let value = |name: &str| {
        let place = arguments.iter().position(|word| word == name)?;
        arguments.get(place + 1).cloned()
    };
    let program = PathBuf::from(value("--evoke").unwrap_or_else(|| "target/release/evoke".into()));
    let program = std::fs::canonicalize(&program)?;
    let parent = PathBuf::from(value("--dir").unwrap_or_else(|| "target".into()));
    let only = value("--only").unwrap_or_default();
    if !only.is_empty() && !PARTS.contains(&only.as_str()) {
        return Err(io::Error::other(USAGE));
    }
    let wanted = |word: &str| only.is_empty() || only == word;
    let mut rows = Vec::new();
    if wanted("idle") {
        rows.extend(idle_rows::idle(&program, &parent).await?);
    }
    if wanted("calls") {
        rows.extend(invoke_rows::calls(&program, &parent).await?);
    }
    if wanted("deliveries") {
        rows.extend(invoke_rows::deliveries(&program, &parent).await?);
    }
    if wanted("ingest") {
        rows.extend(ingest_rows::rows(&program, &parent).await?);
    }
    if wanted("feeds") {
        rows.extend(feeds(&program, &parent).await?);
    }
    if wanted("restart") {
        rows.push(idle_rows::restart(&program, &parent).await?);
    }
    print!("{}", table::render(&rows));
    Ok(())
}

async fn feeds(program: &Path, parent: &Path) -> io::Result<Vec<table::Row>> {
    let mut rows = alarm_rows::rows(program, parent).await?;
    rows.extend(kafka_rows::rows(program, parent).await?);
    rows.extend(feed_rows::rows(program, parent).await?);
    Ok(rows)
}
