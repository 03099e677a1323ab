//! Handshakes that the hub could not grant by itself: kept for the trigger's owner, who grants one
//! by opening its callback.
//!
//! The hub never calls an address that a stranger gave it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use evoke_schemas::{EntityName, Namespace};
use schemars::JsonSchema;
use serde::Serialize;

/// Most handshakes kept of one trigger; then the oldest goes.
const MAX_OF_TRIGGER: usize = 16;
/// Most handshakes kept at all; then the oldest goes.
const MAX_KEPT: usize = 1_024;
/// How long one is kept: long enough for people. Unit: milliseconds.
const KEPT_MS: u64 = 24 * 3_600_000;
/// Longest address.
const MAX_URL: usize = 2_048;

/// Who asked to deliver to which trigger.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    namespace: Namespace,
    trigger: EntityName,
    asked: Asked,
}

/// A sender's wish to deliver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Handshake")]
pub(crate) struct Asked {
    /// DNS name that the sender gave itself; nobody has proved it.
    pub(crate) origin: String,
    /// Opening this address with GET or POST grants it. Look at it first: the sender chose it.
    pub(crate) callback: String,
    /// Requests a minute that it wants to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u32>,
    /// When it asked, epoch milliseconds.
    pub(crate) asked: u64,
}

impl Handshakes {
    /// Keeps one; who asks again has one all the same.
    pub(crate) fn keep(&self, namespace: &Namespace, trigger: &EntityName, asked: Asked) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_its = |kept: &Kept| kept.namespace == *namespace && kept.trigger == *trigger;
        all.retain(|kept| {
            kept.is_fresh(asked.asked)
                && !(is_its(kept)
                    && kept.asked.origin == asked.origin
                    && kept.asked.callback == asked.callback)
        });
        if all.iter().filter(|kept| is_its(kept)).count() >= MAX_OF_TRIGGER
            && let Some(oldest) = all.iter().position(is_its)
        {
            all.remove(oldest);
        }
        if all.len() >= MAX_KEPT {
            all.pop_front();
        }
        all.push_back(Kept { namespace: namespace.clone(), trigger: trigger.clone(), asked });
    }

    /// Those of a trigger, the newest first.
    pub(crate) fn of(
        &self,
        namespace: &Namespace,
        trigger: &EntityName,
        now_ms: u64,
    ) -> Vec<Asked> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let its = all.iter().rev().filter(|kept| {
            kept.namespace == *namespace && kept.trigger == *trigger && kept.is_fresh(now_ms)
        });
        its.map(|kept| kept.asked.clone()).collect()
    }

    /// Forgets those of a trigger that is no more.
    pub(crate) fn forget(&self, namespace: &Namespace, trigger: &EntityName) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept| kept.namespace != *namespace || kept.trigger != *trigger);
    }
}

impl Kept {
    fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.asked.asked) < KEPT_MS
    }
}

/// Whether a callback may be shown to people: an HTTPS address of plain characters.
pub(crate) fn is_callback(url: &str) -> bool {
    let rest = url.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let host = url.get(8..).unwrap_or_default();
    rest.is_some()
        && url.len() <= MAX_URL
        && host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(origin: &str, asked: u64) -> Asked {
        let callback = format!("https://{origin}/grant?key=1");
        Asked { origin: origin.to_owned(), callback, rate: None, asked }
    }

    #[test]
    fn handshakes_are_kept_by_trigger_within_bounds() {
        let (all, ns) = (Handshakes::default(), Namespace::new("guest").unwrap());
        let (one, other) = (EntityName::new("one").unwrap(), EntityName::new("other").unwrap());
        all.keep(&ns, &other, asked("other", 1));
        for number in 0..100 {
            all.keep(&ns, &one, asked(&format!("o{number}"), number));
        }
        let kept = all.of(&ns, &one, 100);
        assert_eq!((kept.len(), kept[0].origin.as_str()), (MAX_OF_TRIGGER, "o99"));
        all.keep(&ns, &one, asked("o99", 200));
        assert_eq!(all.of(&ns, &one, 200).len(), MAX_OF_TRIGGER, "the same again is one");
        assert_eq!(all.of(&ns, &other, 100).len(), 1);
        all.forget(&ns, &one);
        assert!(all.of(&ns, &one, 200).is_empty());
        assert_eq!(all.of(&ns, &other, KEPT_MS).len(), 1);
        assert!(all.of(&ns, &other, KEPT_MS + 1).is_empty(), "it is kept for a day");
        for number in 0..2_000 {
            all.keep(&ns, &EntityName::new(&format!("t{number}")).unwrap(), asked("o", 5));
        }
        assert_eq!(all.0.lock().unwrap().len(), MAX_KEPT);
    }

    #[test]
    fn only_https_is_a_callback() {
        assert!(is_callback("https://events.example.com/grant?key=a%20b&c"));
        assert!(is_callback("HTTPS://[::1]:8443/x"));
        for bad in ["http://a/b", "https://", "https:///x", "https://a b", "https://é.example/", ""]
        {
            assert!(!is_callback(bad), "{bad}");
        }
        assert!(!is_callback(&format!("https://a/{}", "x".repeat(MAX_URL))));
    }
}
