//! The version of an entity: `major.minor.patch`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Version of an entity; `0.0.1` at creation, the patch goes up with each update.
///
/// Reading is lenient as OpenWhisk's is: missing parts are 0, further parts are ignored.
/// Source: OpenWhisk `SemVer.scala`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SemVer(pub u32, pub u32, pub u32);

/// The text is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("semantic version malformed")]
pub struct SemVerError;

impl SemVer {
    /// Version of a newly created entity.
    pub const FIRST: Self = Self(0, 0, 1);

    /// The version after an update that names none.
    #[must_use]
    pub fn bumped(self) -> Self {
        Self(self.0, self.1, self.2.saturating_add(1))
    }
}

impl fmt::Display for SemVer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for SemVer {
    type Err = SemVerError;

    fn from_str(text: &str) -> Result<Self, SemVerError> {
        let mut parts = text.split('.').map(|part| part.parse::<u32>().map_err(|_bad| SemVerError));
        let major = parts.next().unwrap_or(Err(SemVerError))?;
        let minor = parts.next().unwrap_or(Ok(0))?;
        let patch = parts.next().unwrap_or(Ok(0))?;
        if (major, minor, patch) == (0, 0, 0) {
            return Err(SemVerError);
        }
        Ok(Self(major, minor, patch))
    }
}

impl Serialize for SemVer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SemVer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_as_lenient_as_openwhisk() {
        for (text, want) in [
            ("1.2.3", Ok(SemVer(1, 2, 3))),
            ("1.2", Ok(SemVer(1, 2, 0))),
            ("1.2.3.4", Ok(SemVer(1, 2, 3))),
            ("", Err(SemVerError)),
            ("a.b", Err(SemVerError)),
            ("0.0.0", Err(SemVerError)),
        ] {
            assert_eq!(text.parse(), want, "{text}");
        }
        assert_eq!(SemVer::FIRST.bumped().to_string(), "0.0.2");
    }
}
