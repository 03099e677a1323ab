//! A number of bytes as people write it: `48MB`, `512KB`, `1048576`.

use std::{fmt, str::FromStr};

/// A number of bytes. `KB`, `MB` and `GB` are 2^10, 2^20 and 2^30 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size: give a whole number with B, KB, MB or GB, such as 512KB")]
pub struct ByteSizeError(String);

const UNITS: [(&str, u64); 4] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let wrong = || ByteSizeError(text.to_owned());
        let upper = text.trim().to_ascii_uppercase();
        let of = |(unit, bytes): &(&str, u64)| Some((upper.strip_suffix(unit)?, *bytes));
        let (number, unit) = UNITS.iter().find_map(of).unwrap_or((&upper, 1));
        let number: u64 = number.trim_end().parse().map_err(|_not_whole| wrong())?;
        number.checked_mul(unit).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that it is a whole number of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole =
            UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        let (unit, bytes) = whole.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown_with_their_unit() {
        for (text, bytes, shown) in [
            ("48MB", 48 << 20, "48MB"),
            ("512 kb", 512 << 10, "512KB"),
            ("1048576", 1 << 20, "1MB"),
            ("7B", 7, "7B"),
            ("1025", 1_025, "1025B"),
            ("0", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown), "{text}");
        }
        for text in ["", "MB", "1.5MB", "-1", "1TB", "99999999999GB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
