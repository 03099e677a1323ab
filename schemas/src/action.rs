//! An action: code of a kind, with its parameters and limits.

use serde::{Deserialize, Serialize};

use crate::{
    key_value::KeyValues, limits::ActionLimits, name::FullName, uid::EntityUid, version::SemVer,
};

/// An action as the store keeps it; the code itself is in the code store under [`Exec::code`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Where it is.
    pub name: FullName,
    /// Which life of the name this is.
    pub uid: EntityUid,
    /// What runs.
    pub exec: Exec,
    /// Bound parameters.
    pub parameters: KeyValues,
    /// Annotations, `exec` and `provide-api-key` among them.
    pub annotations: KeyValues,
    /// What one run may use.
    pub limits: ActionLimits,
    /// Version.
    pub version: SemVer,
    /// Stored and shown; only a package's counts.
    pub publish: bool,
    /// Time of the last change. Unit: epoch milliseconds.
    pub updated: u64,
}

/// What an action runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Kind with its version, never `:default`.
    pub kind: String,
    /// The code's address in the code store.
    pub code: CodeRef,
    /// Entry point, where given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
    /// Whether the code as sent is base64 of an archive or binary (computed, spec 1.8.2).
    pub binary: bool,
}

/// Address of code: its blake3 hash and length, as sent (base64 stays base64).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CodeRef {
    /// Hash, 64 hexadecimal digits.
    pub hash: String,
    /// Unit: bytes.
    pub bytes: u64,
}

/// Kind of the actions that the hub runs by itself, without a sandbox.
pub const NATIVE_KIND: &str = "native";
/// Annotation: the kind, always written by the hub.
pub const EXEC_ANNOTATION: &str = "exec";
/// Annotation: whether the function gets the namespace's key; `false` is written at creation.
pub const PROVIDE_API_KEY: &str = "provide-api-key";
/// Annotation: `none` takes the outside and the API away from the sandbox.
pub const NETWORK_ANNOTATION: &str = "network";

/// Whether text counts as base64 and hence as binary code: not empty, a multiple of four, and of
/// the base64 grammar. Short plain words are binary by this rule, as in OpenWhisk (spec 1.8.2).
#[must_use]
pub fn is_binary_code(code: &str) -> bool {
    let bytes = code.as_bytes();
    if bytes.is_empty() || !bytes.len().is_multiple_of(4) {
        return false;
    }
    let body = code.trim_end_matches('=');
    bytes.len() - body.len() <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_is_what_base64_could_be() {
        for (code, want) in [
            ("abcd", true),
            ("abc=", true),
            ("ab==", true),
            ("a===", false),
            ("", false),
            ("abc", false),
            ("function main() {}  ", false),
        ] {
            assert_eq!(is_binary_code(code), want, "{code}");
        }
    }
}
