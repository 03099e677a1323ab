//! Telling whether a secret is still the same without keeping it: a slow, salted hash, so that who
//! reads the annotation cannot try out passwords at speed.

use std::{collections::HashSet, num::NonZeroU32};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    pbkdf2::{self, PBKDF2_HMAC_SHA256},
    rand::{SecureRandom as _, SystemRandom},
};
use serde_json::Value;

use crate::error::CliError;

const NAME: &str = "pbkdf2-sha256";
/// Some 30 ms: felt by who guesses, not by who applies.
const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
/// Most rounds that are followed: an annotation could ask for any number.
const MAX_ROUNDS: u32 = 1_000_000;
const BYTES: usize = 16;

/// Fingerprints that were found right, so that each is worked out once.
#[derive(Debug, Default)]
pub(super) struct Fingerprints(HashSet<(String, String)>);

impl Fingerprints {
    /// Whether the fingerprint is of this value.
    pub(super) fn is_of(&mut self, fingerprint: &str, value: &Value) -> bool {
        let pair = (fingerprint.to_owned(), canonical(value));
        let is_so = self.0.contains(&pair) || verify(&pair.0, &pair.1).is_some();
        if is_so {
            self.0.insert(pair);
        }
        is_so
    }

    /// A fresh fingerprint of a value.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn make(&mut self, value: &Value) -> Result<String, CliError> {
        let mut salt = [0; BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_unspecified| CliError::Local {
            what: "get random bytes".to_owned(),
            source: std::io::ErrorKind::Other.into(),
        })?;
        let text = canonical(value);
        let mut hash = [0; BYTES];
        pbkdf2::derive(PBKDF2_HMAC_SHA256, ROUNDS, &salt, text.as_bytes(), &mut hash);
        let (salt, hash) = (STANDARD.encode(salt), STANDARD.encode(hash));
        let fingerprint = format!("{NAME}${ROUNDS}${salt}${hash}");
        self.0.insert((fingerprint.clone(), text));
        Ok(fingerprint)
    }
}

fn verify(fingerprint: &str, text: &str) -> Option<()> {
    let mut parts = fingerprint.split('$');
    let (name, rounds) = (parts.next()?, parts.next()?.parse::<NonZeroU32>().ok()?);
    let salt = STANDARD.decode(parts.next()?).ok()?;
    let hash = STANDARD.decode(parts.next()?).ok()?;
    if name != NAME || rounds.get() > MAX_ROUNDS || hash.len() != BYTES {
        return None;
    }
    pbkdf2::verify(PBKDF2_HMAC_SHA256, rounds, &salt, text.as_bytes(), &hash).ok()
}

/// As text in which the order of members does not count.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fingerprint_is_of_one_value_and_does_not_tell_it() {
        let value = json!({"password": "hunter2", "host": "h"});
        let made = Fingerprints::default().make(&value).unwrap();
        assert!(!made.contains("hunter2"));
        assert!(Fingerprints::default().is_of(&made, &json!({"host": "h", "password": "hunter2"})));
        assert!(
            !Fingerprints::default().is_of(&made, &json!({"host": "h", "password": "hunter3"}))
        );
        assert!(made != Fingerprints::default().make(&value).unwrap());
        for wrong in ["", "pbkdf2-sha256$9000000$AA==$AA==", "x$1$AA==$AAAAAAAAAAAAAAAAAAAAAA=="] {
            assert!(!Fingerprints::default().is_of(wrong, &value), "{wrong}");
        }
    }
}
