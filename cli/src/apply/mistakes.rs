//! Mistakes of a manifest: all of them, each with its line and field.

use std::{fmt, path::PathBuf};

use crate::error::CliError;

/// A field of the manifest, for sentences about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) line: usize,
    /// Such as `packages.default.rules.r`.
    pub(super) path: String,
}

/// Everything that is wrong.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<(At, String)>);

/// A manifest that cannot be applied; nothing was changed.
#[derive(Debug)]
pub struct WrongManifest {
    file: PathBuf,
    mistakes: Vec<(At, String)>,
}

impl At {
    /// The member of this name, on its own line where that is known.
    pub(super) fn member(&self, name: &str, line: usize) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Self { line, path }
    }
}

impl Mistakes {
    pub(super) fn add(&mut self, at: &At, text: impl Into<String>) {
        self.0.push((at.clone(), text.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The error that tells all of them, in the order of their lines.
    pub(super) fn into_error(mut self, file: PathBuf) -> CliError {
        self.0.sort();
        self.0.dedup();
        CliError::Manifest(WrongManifest { file, mistakes: self.0 })
    }
}

impl fmt::Display for WrongManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len();
        if count > 1 {
            writeln!(f, "{count} mistakes; nothing was changed")?;
        }
        for (index, (at, text)) in self.mistakes.iter().enumerate() {
            let end = if index + 1 == count { "" } else { "\n" };
            write!(f, "{}:{}: ", self.file.display(), at.line)?;
            if !at.path.is_empty() {
                write!(f, "{}: ", at.path)?;
            }
            write!(f, "{text}{end}")?;
        }
        Ok(())
    }
}
