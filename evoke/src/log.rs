//! `evoke log verify`: the log of a data directory, checked whole.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

/// Checks the log and prints the report; fails where anything is damaged.
///
/// # Errors
/// Those of standard output and of JSON.
pub(crate) fn verify(data: &Path, json: bool) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let report = evoke_event_log::verify::verify(&data.join("log"))?;
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
