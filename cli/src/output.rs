//! What is printed: aligned tables for people, JSON for programs.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    error::CliError,
    name::{number, text},
    time::date,
};

/// Where a command prints, and how.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    json: bool,
    colour: bool,
    /// Whether somebody watches standard error.
    is_watched: bool,
    captured: Option<Captured>,
}

/// A word's meaning, shown as a colour on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Faint,
    Plain,
}

/// What was printed, for tests: standard output and standard error.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<(Vec<u8>, Vec<u8>)>>);

struct Part {
    captured: Captured,
    is_error: bool,
}

// === impl Output ===

impl Output {
    /// Prints to the standard streams.
    #[must_use]
    pub fn standard(json: bool) -> Self {
        let colour = io::stdout().is_terminal();
        let is_watched = io::stderr().is_terminal() && !json;
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            json,
            colour,
            is_watched,
            captured: None,
        }
    }

    /// Prints into memory.
    #[must_use]
    pub fn captured(json: bool) -> (Self, Captured) {
        let captured = Captured::default();
        (Self::kept_in(captured.clone(), json), captured)
    }

    /// Another one that prints to the same place.
    pub(crate) fn twin(&self) -> Self {
        match &self.captured {
            None => Self::standard(self.json),
            Some(captured) => Self::kept_in(captured.clone(), self.json),
        }
    }

    fn kept_in(captured: Captured, json: bool) -> Self {
        let part = |is_error| Box::new(Part { captured: captured.clone(), is_error });
        let (out, err) = (part(false), part(true));
        Self { out, err, json, colour: false, is_watched: false, captured: Some(captured) }
    }

    /// Whether JSON is wanted.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one line.
    ///
    /// # Errors
    /// [`CliError::Closed`] where nobody reads any more.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).map_err(closed)
    }

    pub(crate) fn json(&mut self, value: &Value) -> Result<(), CliError> {
        self.line(&format!("{value:#}"))
    }

    /// The value as JSON where that is wanted, else the line.
    pub(crate) fn value_or_line(&mut self, value: &Value, line: &str) -> Result<(), CliError> {
        if self.json { self.json(value) } else { self.line(line) }
    }

    /// A remark beside the output.
    pub(crate) fn remark(&mut self, text: &str) {
        // Standard error may be closed; there is nobody left to tell.
        let _told = writeln!(self.err, "{text}").is_ok();
    }

    /// What is being done, on one line that the next one replaces; on a terminal only.
    pub(crate) fn progress(&mut self, text: &str) {
        if self.is_watched {
            let line = short(text, 76);
            let _told =
                write!(self.err, "\r\u{1b}[K{line}").and_then(|()| self.err.flush()).is_ok();
        }
    }

    /// Takes the line of progress away.
    pub(crate) fn progress_over(&mut self) {
        if self.is_watched {
            let _told = write!(self.err, "\r\u{1b}[K").and_then(|()| self.err.flush()).is_ok();
        }
    }

    /// Tells the failure and gives its exit code.
    pub(crate) fn failure(&mut self, error: &CliError) -> u8 {
        match error {
            CliError::Closed => {}
            error if self.json => {
                let text = json!({"error": error.to_string(), "exit": error.code()}).to_string();
                self.remark(&text);
            }
            error => self.remark(&format!("error: {error}")),
        }
        error.code()
    }

    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Plain => return text.to_owned(),
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Name and value, a line each; those without value are left out.
    pub(crate) fn card(&mut self, rows: &[(&str, String)]) -> Result<(), CliError> {
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
            self.line(&format!("{name:width$}  {value}"))?;
        }
        Ok(())
    }

    /// A list of entities as a table of name, version and time of the last change.
    pub(crate) fn entities(&mut self, listed: &Value) -> Result<(), CliError> {
        if self.json {
            return self.json(listed);
        }
        let row = |entity: &Value| {
            let updated = number(entity, "updated").map(date).unwrap_or_default();
            vec![text(entity, "name").to_owned(), text(entity, "version").to_owned(), updated]
        };
        let rows: Vec<_> = listed.as_array().into_iter().flatten().map(row).collect();
        self.table(&["name", "version", "updated"], &rows)
    }

    /// A table with a heading; one line saying that there is nothing where there are no rows.
    pub(crate) fn table(&mut self, heading: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
        if rows.is_empty() {
            let line = self.paint(Tone::Faint, "(none)");
            return self.line(&line);
        }
        let heading: Vec<_> = heading.iter().map(|name| name.to_uppercase()).collect();
        for line in aligned(&[&[heading], rows].concat()) {
            self.line(&line)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("json", &self.json).finish_non_exhaustive()
    }
}

fn closed(_broken_pipe: io::Error) -> CliError {
    CliError::Closed
}

/// Rows as lines, each column as wide as its widest cell.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

/// The text on one line, cut after `width` characters.
pub(crate) fn short(text: &str, width: usize) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if one_line.chars().count() <= width {
        return one_line;
    }
    one_line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

// === impl Captured ===

impl Captured {
    /// What was printed to standard output.
    #[must_use]
    pub fn out(&self) -> String {
        let both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&both.0).into_owned()
    }

    /// What was printed to standard error.
    #[must_use]
    pub fn err(&self) -> String {
        let both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&both.1).into_owned()
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut both = self.captured.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = if self.is_error { &mut both.1 } else { &mut both.0 };
        part.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [vec!["NAME".to_owned(), "KIND".to_owned()], vec!["é".to_owned(), "x".to_owned()]];
        assert_eq!(aligned(&rows), ["NAME  KIND", "é     x"]);
    }

    #[test]
    fn long_and_broken_text_becomes_one_short_line() {
        assert_eq!(short("a\nb", 5), "a b");
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(short("éééé", 4), "éééé");
    }
}
