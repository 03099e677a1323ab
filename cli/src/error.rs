//! Why a command did not do what it was asked, and the exit code that says so.

use std::{io, time::Duration};

use crate::apply::WrongManifest;

/// The exit codes, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 the function failed · 2 wrong usage, file or manifest · 3 not found
4 refused: key or rights · 5 hub unreachable · 6 conflict: it exists, or changed meanwhile
7 the hub found the request wrong · 8 the hub is full or failed";

/// A command failed. Each variant is an exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The function ran and failed; its result has been printed.
    #[error("{0}")]
    Function(String),
    /// The command line, a file or a manifest is wrong.
    #[error("{0}")]
    Usage(String),
    /// A manifest is wrong, with every mistake in it.
    #[error("{0}")]
    Manifest(WrongManifest),
    /// A file of this machine cannot be used.
    #[error("cannot {what}: {source}")]
    Local {
        /// What was tried, such as "read `a.js`".
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// What was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// The key is missing, wrong or not allowed to.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// It exists already, or somebody else changed it.
    #[error("{0}")]
    Conflict(String),
    /// The hub says that the request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The hub has no room or failed.
    #[error("{message}{}", hint(*retry_after))]
    Hub {
        /// What it said.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Nobody reads the output any more; not told to anybody.
    #[error("the output was closed")]
    Closed,
}

/// A value on the command line that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("want {0}")]
pub(crate) struct Want(pub(crate) &'static str);

fn hint(retry_after: Option<Duration>) -> String {
    retry_after.map(|wait| format!(" (try again in {} s)", wait.as_secs())).unwrap_or_default()
}

impl CliError {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Function(_) => 1,
            Self::Usage(_) | Self::Manifest(_) | Self::Local { .. } => 2,
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Unreachable(_) => 5,
            Self::Conflict(_) => 6,
            Self::Invalid(_) => 7,
            Self::Hub { .. } => 8,
        }
    }

    pub(crate) fn read(path: &std::path::Path, source: io::Error) -> Self {
        Self::Local { what: format!("read `{}`", path.display()), source }
    }
}
