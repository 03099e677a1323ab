//! The data directory: who may read it, the credentials file, the address file.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A data directory that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Directory(PathBuf);

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("data directory: cannot {what} {path}: {source}")]
pub(crate) struct DirectoryError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Directory {
    /// Makes the directory where it is missing, for its owner only.
    ///
    /// # Errors
    /// Names the path.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let fail = |what, path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError { what, path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(fail("make", path))?;
        let path = fs::canonicalize(path).map_err(fail("find", path))?;
        Ok(Self(path))
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
            Err(source) => Err(DirectoryError { what: "read", path, source }),
        }
    }

    /// Writes the key of the default namespace, readable by its owner only.
    ///
    /// # Errors
    /// Names the path.
    pub(crate) fn keep_credentials(&self, key: &str) -> Result<(), DirectoryError> {
        self.replace("credentials", key)
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
        write().map_err(|source| DirectoryError { what: "write", path: path.clone(), source })
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
