//! Encryption of secrets at rest (decision 27): XChaCha20-Poly1305 with one key.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, AeadCore as _, OsRng, Payload},
};

use crate::disk;

/// Seals and opens secrets with one key.
#[derive(Clone)]
pub struct Seal(XChaCha20Poly1305);

/// A key could not be had, or something sealed could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file is not 64 hexadecimal digits.
    #[error("`{0}` holds no key of 64 hexadecimal digits")]
    NoKey(PathBuf),
    /// Others than the owner may read the key file.
    #[error("`{path}` can be read by others (mode {mode:o}): chmod 600 it")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file cannot be read or written.
    #[error("the key file failed: {0}")]
    Io(#[from] io::Error),
    /// The data was sealed with another key than the one given.
    #[error(
        "the secrets of this data directory are sealed with another key: give the key file that they were sealed with"
    )]
    OtherKey,
    /// Another key, or damage.
    #[error("a secret cannot be opened: another key, or damage")]
    Unreadable,
}

const NONCE: usize = 24;

impl Seal {
    /// A seal with this key, for one that comes from outside the data directory.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    /// The key of the file; made, mode 0600, where there is none. The flag tells whether it was
    /// made now, so that the caller can warn that the key lies beside what it protects.
    ///
    /// # Errors
    /// [`SealError`], each with the file named.
    pub fn from_file(path: &Path) -> Result<(Self, bool), SealError> {
        match Self::of_file(path) {
            Err(SealError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                let key: [u8; 32] = XChaCha20Poly1305::generate_key(&mut OsRng).into();
                disk::write_whole(path, hex::encode(key).as_bytes())?;
                Ok((Self::new(&key), true))
            }
            known => Ok((known?, false)),
        }
    }

    /// The key of a file that must be there.
    ///
    /// # Errors
    /// [`SealError`], each with the file named.
    pub fn of_file(path: &Path) -> Result<Self, SealError> {
        let text = fs::read_to_string(path)?;
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SealError::Open { path: path.to_owned(), mode });
        }
        let mut key = [0; 32];
        match hex::decode_to_slice(text.trim(), &mut key) {
            Ok(()) => Ok(Self::new(&key)),
            Err(_malformed) => Err(SealError::NoKey(path.to_owned())),
        }
    }

    /// Seals a secret; `place` must be given again to open it, so that it cannot be moved.
    ///
    /// # Errors
    /// [`SealError::Unreadable`] for more than the cipher takes, which no secret here is.
    pub fn seal(&self, place: &[u8], secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
        let sealed = self
            .0
            .encrypt(&nonce, Payload { msg: secret, aad: place })
            .map_err(|_opaque| SealError::Unreadable)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// [`SealError::Unreadable`].
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE).ok_or(SealError::Unreadable)?;
        self.0
            .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: place })
            .map_err(|_opaque| SealError::Unreadable)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_at_its_place_only() {
        let seal = Seal::new(&[7; 32]);
        let sealed = seal.seal(b"a", b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        assert_eq!(seal.open(b"a", &sealed).unwrap(), b"hunter2");
        assert!(seal.open(b"b", &sealed).is_err());
        assert!(Seal::new(&[8; 32]).open(b"a", &sealed).is_err());
        assert!(seal.open(b"a", b"short").is_err());
        assert_ne!(sealed, seal.seal(b"a", b"hunter2").unwrap());
    }

    #[test]
    fn the_key_file_is_made_once_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let (first, made) = Seal::from_file(&path).unwrap();
        assert!(made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (second, made) = Seal::from_file(&path).unwrap();
        assert!(!made);
        assert_eq!(second.open(b"", &first.seal(b"", b"x").unwrap()).unwrap(), b"x");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Seal::from_file(&path), Err(SealError::Open { mode: 0o644, .. })));
    }
}
