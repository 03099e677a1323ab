//! One hub to a directory, and only of a version that it can read.

use std::{
    error::Error,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{Directory, DirectoryError};

/// Format of data directories that this program writes; it reads all up to it. A directory without
/// a `version` file is of format 1.
pub(crate) const FORMAT: u32 = 1;
/// File that says the format in its first line, for people the program in the second.
const VERSION: &str = "version";
/// File whose lock is held by the hub, with its process number.
const LOCK: &str = "lock";
/// File that is there as long as a restore goes on.
pub(crate) const RESTORING: &str = "restoring";

/// Exit code: another hub has the directory.
const IN_USE: u8 = 3;
/// Exit code: the directory is of another version.
const OTHER_VERSION: u8 = 4;
/// Exit code of everything else.
const FAILED: u8 = 1;

/// The directory is this process's until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Claim {
    _lock: File,
}

/// Looks at the directory, which is not touched, whether this program can read it.
pub(super) fn check(path: &Path) -> Result<(), DirectoryError> {
    if path.join(RESTORING).exists() {
        return Err(DirectoryError::HalfRestored(path.to_owned()));
    }
    let file = path.join(VERSION);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(DirectoryError::Io { what: "read", path: file, source }),
    };
    match text.lines().next().unwrap_or_default().trim().parse::<u32>() {
        Ok(found) if found > FORMAT => Err(DirectoryError::Newer { path: path.to_owned(), found }),
        Ok(found) if found > 0 => Ok(()),
        Ok(_) | Err(_) => Err(DirectoryError::NoVersion(file)),
    }
}

/// The exit code that says what is wrong with a data directory; 1 for every other failure.
pub(crate) fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    use evoke_event_log::OpenError;
    if let Some(error) = error.downcast_ref::<DirectoryError>() {
        return match error {
            DirectoryError::InUse { .. } => IN_USE,
            DirectoryError::Newer { .. }
            | DirectoryError::NoVersion(_)
            | DirectoryError::HalfRestored(_) => OTHER_VERSION,
            DirectoryError::Io { .. } => FAILED,
        };
    }
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::InUse { .. }) => IN_USE,
        Some(OpenError::Format { .. }) => OTHER_VERSION,
        Some(OpenError::NoIdentity | OpenError::Identity { .. } | OpenError::Io(_)) | None => {
            FAILED
        }
    }
}

impl Directory {
    /// Takes the directory for this process, and says in it which format it has.
    ///
    /// # Errors
    /// [`DirectoryError::InUse`] names who has it; nothing is changed then.
    pub(crate) fn claim(&self) -> Result<Claim, DirectoryError> {
        let path = self.join(LOCK);
        let fail = |source| DirectoryError::Io { what: "lock", path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.in_use(&path)),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(fail)?;
        if !self.join(VERSION).exists() {
            self.keep_version()?;
        }
        Ok(Claim { _lock: file })
    }

    /// Says in the directory which format it has.
    pub(crate) fn keep_version(&self) -> Result<(), DirectoryError> {
        let program = env!("CARGO_PKG_VERSION");
        self.replace(VERSION, &format!("{FORMAT}\nwritten by evoke {program}"))
    }

    fn in_use(&self, lock: &Path) -> DirectoryError {
        let pid = fs::read_to_string(lock).ok().and_then(|text| text.trim().parse::<u32>().ok());
        let owner = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
        DirectoryError::InUse { path: self.path().to_owned(), owner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let claim = directory.claim().unwrap();
        let refused = Directory::open(folder.path()).unwrap().claim().unwrap_err();
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())));
        assert_eq!(exit_code(&refused), 3);
        drop(claim);
        drop(directory.claim().unwrap());
    }

    #[test]
    fn a_directory_of_another_version_is_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        drop(directory.claim().unwrap());
        let version = folder.path().join(VERSION);
        let former = fs::read_to_string(&version).unwrap();
        assert!(former.starts_with("1\n"), "{former}");
        for (text, sentence) in [
            ("2\n", "has format 2"),
            ("", "does not begin"),
            ("0\n", "does not begin"),
            ("x\n", "does not begin"),
        ] {
            fs::write(&version, text).unwrap();
            let refused = Directory::open(folder.path()).unwrap_err();
            assert!(refused.to_string().contains(sentence), "{refused}");
            assert_eq!(exit_code(&refused), 4);
            assert_eq!(fs::read_to_string(&version).unwrap(), text);
        }
        fs::write(&version, &former).unwrap();
        fs::write(folder.path().join(RESTORING), "").unwrap();
        assert_eq!(exit_code(&Directory::open(folder.path()).unwrap_err()), 4);
    }
}
