//! The data directory: who may read it, whose it is, the credentials file, the address file.

mod claim;

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// File that says where the key of secrets lies.
const SEAL_KEY: &str = "seal-key-file";

/// A data directory that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Directory(PathBuf);

pub(crate) use claim::{FORMAT, RESTORING, exit_code};

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// A file of it cannot be used.
    #[error("data directory: cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another hub has it.
    #[error(
        "the data directory {} is already in use by another hub{owner}: stop that one, or give another --data",
        .path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Its number, where it is known: ` (process 7)`.
        owner: String,
    },
    /// A newer program wrote it.
    #[error(
        "the data directory {} has format {found}, and this evoke {} knows formats up to {}: \
         run the newer evoke that wrote it, or restore a backup of before into another directory",
        .path.display(), env!("CARGO_PKG_VERSION"), FORMAT
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file that says the format cannot be read.
    #[error("{} does not begin with the number of a format: restore it, its first line is a number", .0.display())]
    NoVersion(PathBuf),
    /// A restore broke off.
    #[error(
        "a restore into {} broke off: remove what is in it and restore again",
        .0.display()
    )]
    HalfRestored(PathBuf),
}

impl Directory {
    /// Makes the directory where it is missing, for its owner only. One that this program cannot
    /// read is refused and not touched.
    ///
    /// # Errors
    /// Names the path.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let fail = |what, path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError::Io { what, path, source }
        };
        claim::check(path)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(fail("make", path))?;
        let path = fs::canonicalize(path).map_err(fail("find", path))?;
        Ok(Self(path))
    }

    /// A directory that is there.
    ///
    /// # Errors
    /// Names the path; [`DirectoryError::Newer`] and its like as for [`Self::open`].
    pub(crate) fn find(path: &Path) -> Result<Self, DirectoryError> {
        claim::check(path)?;
        match fs::canonicalize(path) {
            Ok(path) => Ok(Self(path)),
            Err(source) => Err(DirectoryError::Io { what: "find", path: path.to_owned(), source }),
        }
    }

    /// The directory itself, absolute.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A place inside it.
    #[must_use]
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The key of the default namespace as the file has it, if it is there.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn credentials(&self) -> Result<Option<String>, DirectoryError> {
        let path = self.join("credentials");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DirectoryError::Io { what: "read", path, source }),
        }
    }

    /// Writes the key of the default namespace, readable by its owner only.
    ///
    /// # Errors
    /// Names the path.
    pub(crate) fn keep_credentials(&self, key: &str) -> Result<(), DirectoryError> {
        self.replace("credentials", key)
    }

    /// Where the key lies that secrets are sealed with, if it was ever named.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn seal_key(&self) -> Result<Option<PathBuf>, DirectoryError> {
        let path = self.join(SEAL_KEY);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(self.join(text.trim_end_matches('\n')))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DirectoryError::Io { what: "read", path, source }),
        }
    }

    /// Writes where the key lies that secrets are sealed with; a place inside moves along.
    ///
    /// # Errors
    /// Names the path.
    pub(crate) fn keep_seal_key(&self, file: &Path) -> Result<(), DirectoryError> {
        let file = file.strip_prefix(&self.0).unwrap_or(file);
        self.replace(SEAL_KEY, &file.display().to_string())
    }

    /// Writes where the hub listens, for the commands that look for it.
    ///
    /// # Errors
    /// Names the path.
    pub(crate) fn keep_address(
        &self,
        address: SocketAddr,
        tls: bool,
    ) -> Result<(), DirectoryError> {
        let scheme = if tls { "https" } else { "http" };
        self.replace("address", &format!("{scheme}://{address}"))
    }

    /// Takes the address away when the hub has ended.
    pub(crate) fn forget_address(&self) {
        if let Err(error) = fs::remove_file(self.join("address")) {
            tracing::debug!(%error, "no address file to remove");
        }
    }

    /// A whole new file or none: written beside, synced, renamed, the directory synced.
    fn replace(&self, name: &str, text: &str) -> Result<(), DirectoryError> {
        let path = self.join(name);
        let beside = self.join(&format!("{name}.new"));
        let write = || {
            let mut options = fs::OpenOptions::new();
            options.create(true).truncate(true).write(true).mode(0o600);
            let mut file = options.open(&beside)?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            fs::File::open(&self.0)?.sync_all()
        };
        write().map_err(|source| DirectoryError::Io { what: "write", path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn credentials_are_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(&folder.path().join("data")).unwrap();
        assert_eq!(directory.credentials().unwrap(), None);
        directory.keep_credentials("a:b").unwrap();
        assert_eq!(directory.credentials().unwrap().as_deref(), Some("a:b"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory.join("credentials")), 0o600);
        assert_eq!(mode(directory.path()), 0o700);
    }
}
