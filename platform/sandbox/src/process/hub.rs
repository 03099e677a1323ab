//! The hub's mark on what it makes: derived from its data directory, the same after a restart.

use std::{fmt, fs, io, os::unix::fs::MetadataExt, path::Path, time::UNIX_EPOCH};

/// Eight hexadecimal digits, so that the name of a link has room for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct HubId([u8; 8]);

// === impl HubId ===

impl HubId {
    /// The mark of the hub on `data_dir`, which must exist.
    pub(super) fn of(data_dir: &Path) -> io::Result<Self> {
        let meta = fs::metadata(data_dir)?;
        // A number is given again to a later directory; with its birth it is one for ever.
        let born = meta.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.map_or(0, |born| born.as_nanos() as u64);
        Ok(Self::from_numbers([meta.dev(), meta.ino(), born]))
    }

    /// FNV-1a: one directory, one mark, whatever the path to it.
    fn from_numbers(numbers: [u64; 3]) -> Self {
        let bytes = numbers.into_iter().flat_map(u64::to_le_bytes);
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let folded = hash ^ (hash >> 32);
        let mut digits = [0; 8];
        for (place, digit) in digits.iter_mut().enumerate() {
            let nibble = (folded >> (4 * place)) & 0xf;
            *digit = char::from_digit(nibble as u32, 16).map_or(b'0', |c| c as u8);
        }
        Self(digits)
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_mark_by_every_path() {
        let dir = tempfile::tempdir().unwrap();
        let mark = HubId::of(dir.path()).unwrap();
        assert_eq!(HubId::of(&dir.path().join("../").join(dir.path())).unwrap(), mark);
        assert_ne!(HubId::of(Path::new("/")).unwrap(), mark);
        assert!(mark.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
