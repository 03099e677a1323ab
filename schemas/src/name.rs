//! Names of entities and namespaces, with OpenWhisk's rules and sentences.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest name of an entity or namespace, in characters.
pub const MAX_NAME: usize = 256;

/// Name of one action, package, trigger or rule, without its namespace.
///
/// Shape: 1 to 256 characters, `\w` first, then also space `@ . & -`, no space last.
/// Source: OpenWhisk `EntityPath.scala`; spec 1.3.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityName(Box<str>);

/// Name of a namespace; same shape as an entity's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Box<str>);

/// Namespace, package if any, and name: `/ns/[pkg/]name`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FullName {
    /// Namespace.
    pub namespace: Namespace,
    /// Package, for an action inside one.
    pub package: Option<EntityName>,
    /// Name of the entity.
    pub name: EntityName,
}

/// A name is not allowed. The texts are OpenWhisk's, which clients compare.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Too long, with the number of characters.
    #[error("Name segement longer than allowed: {0} > 256.")]
    NameTooLong(usize),
    /// Too long, with the number of characters.
    #[error("Namespace longer than allowed: {0} > 256.")]
    NamespaceTooLong(usize),
    /// A character that a name cannot have there.
    #[error("The name of the entity contains illegal characters.")]
    IllegalName,
    /// A character that a namespace cannot have there.
    #[error("The namespace contains illegal characters.")]
    IllegalNamespace,
    /// Not of the form `/ns/[pkg/]name`.
    #[error(
        "requirement failed: The fully qualified name of the entity must contain at least the namespace and the name of the entity."
    )]
    NotFullyQualified,
}

fn legal(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            word(*first) && *last != b' ' && bytes.iter().all(|b| word(*b) || b" @.&-".contains(b))
        }
        _ => false,
    }
}

// === impl EntityName ===

impl EntityName {
    /// Checks and keeps the name.
    ///
    /// # Errors
    /// [`NameError::NameTooLong`] and [`NameError::IllegalName`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        let length = text.chars().count();
        if length > MAX_NAME {
            return Err(NameError::NameTooLong(length));
        }
        if legal(text) { Ok(Self(text.into())) } else { Err(NameError::IllegalName) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Namespace ===

impl Namespace {
    /// Stands for the caller's own namespace in paths and names.
    pub const CALLER: &'static str = "_";

    /// Checks and keeps the name.
    ///
    /// # Errors
    /// [`NameError::NamespaceTooLong`] and [`NameError::IllegalNamespace`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        let length = text.chars().count();
        if length > MAX_NAME {
            return Err(NameError::NamespaceTooLong(length));
        }
        if legal(text) { Ok(Self(text.into())) } else { Err(NameError::IllegalNamespace) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl FullName ===

impl FullName {
    /// An entity in the namespace's default package.
    #[must_use]
    pub fn new(namespace: Namespace, name: EntityName) -> Self {
        Self { namespace, package: None, name }
    }

    /// The path without the name: `ns` or `ns/pkg`, as `namespace` and `path` in JSON have it.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.package {
            None => self.namespace.to_string(),
            Some(package) => format!("{}/{package}", self.namespace),
        }
    }

    /// Reads `/ns/[pkg/]name`, the leading slash optional, `_` being `caller`.
    ///
    /// # Errors
    /// [`NameError::NotFullyQualified`] for other shapes, and those of the parts.
    pub fn parse(text: &str, caller: &Namespace) -> Result<Self, NameError> {
        let parts: Vec<&str> = text.trim_start_matches('/').split('/').collect();
        let resolve = |part: &str| {
            if part == Namespace::CALLER { Ok(caller.clone()) } else { Namespace::new(part) }
        };
        match parts.as_slice() {
            [namespace, name] => Ok(Self::new(resolve(namespace)?, EntityName::new(name)?)),
            [namespace, package, name] => Ok(Self {
                namespace: resolve(namespace)?,
                package: Some(EntityName::new(package)?),
                name: EntityName::new(name)?,
            }),
            _ => Err(NameError::NotFullyQualified),
        }
    }
}

impl fmt::Display for FullName {
    /// `ns/[pkg/]name`, without leading slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.package {
            None => write!(f, "{}/{}", self.namespace, self.name),
            Some(package) => write!(f, "{}/{package}/{}", self.namespace, self.name),
        }
    }
}

impl fmt::Debug for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FullName({self})")
    }
}

impl Serialize for FullName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FullName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let nobody = Namespace(Namespace::CALLER.into());
        Self::parse(&text, &nobody).map_err(de::Error::custom)
    }
}

macro_rules! name_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(de::Error::custom)
            }
        }
    };
}

name_text!(EntityName);
name_text!(Namespace);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_openwhisk() {
        for good in ["a", "_", "a b", "a@b.c&d-e", "9", "x-", "A_"] {
            assert_eq!(EntityName::new(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", " a", "a ", "-a", "a/b", "é", "a\n", "@a"] {
            assert_eq!(EntityName::new(bad), Err(NameError::IllegalName), "{bad}");
        }
        assert_eq!(EntityName::new(&"x".repeat(257)), Err(NameError::NameTooLong(257)));
        assert_eq!(Namespace::new(&"x".repeat(257)), Err(NameError::NamespaceTooLong(257)));
    }

    #[test]
    fn full_names_resolve_the_caller() {
        let caller = Namespace::new("guest").unwrap();
        let parse = |text: &str| FullName::parse(text, &caller).map(|name| name.to_string());
        assert_eq!(parse("/_/a"), Ok("guest/a".to_owned()));
        assert_eq!(parse("_/p/a"), Ok("guest/p/a".to_owned()));
        assert_eq!(parse("/ns/a"), Ok("ns/a".to_owned()));
        assert_eq!(parse("a"), Err(NameError::NotFullyQualified));
        assert_eq!(parse("/a/b/c/d"), Err(NameError::NotFullyQualified));
    }
}
