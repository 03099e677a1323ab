//! Triggers' own credentials: for services that cannot do Basic, and for that one trigger only.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use evoke_schemas::{EntityName, Namespace, Trigger, trigger::WebhookCredential};
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, header};
use sha2::Sha256;

/// Credentials by trigger, in memory: a request with one must not read the store.
#[derive(Debug, Default)]
pub(crate) struct Webhooks(RwLock<HashMap<(Namespace, EntityName), Arc<WebhookCredential>>>);

impl Webhooks {
    /// Takes over a trigger's credential, or that it has none.
    pub(crate) fn put(&self, trigger: &Trigger) {
        let key = (trigger.namespace.clone(), trigger.name.clone());
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match &trigger.webhook {
            Some(webhook) => {
                all.insert(key, Arc::new(webhook.clone()));
            }
            None => {
                all.remove(&key);
            }
        }
    }

    pub(crate) fn remove(&self, namespace: &Namespace, name: &EntityName) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&(namespace.clone(), name.clone()));
    }

    pub(crate) fn get(
        &self,
        namespace: &Namespace,
        name: &EntityName,
    ) -> Option<Arc<WebhookCredential>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&(namespace.clone(), name.clone())).cloned()
    }
}

/// Whether the request proves that it knows the credential. A bearer token may also come as the
/// query parameter `access_token` (spec 7.5).
pub(crate) fn proves(
    credential: &WebhookCredential,
    headers: &HeaderMap,
    access_token: Option<&str>,
    body: &[u8],
) -> bool {
    match credential {
        WebhookCredential::Bearer { token } => {
            let sent = bearer(headers).or(access_token);
            // Hashes compare in constant time, whatever the lengths.
            sent.is_some_and(|sent| {
                blake3::hash(sent.as_bytes()) == blake3::hash(token.reveal().as_bytes())
            })
        }
        WebhookCredential::Hmac { secret, header } => {
            let sent = headers.get(header).and_then(|value| value.to_str().ok());
            let sent = sent.map(|text| text.strip_prefix("sha256=").unwrap_or(text));
            let Some(Ok(signature)) = sent.map(hex::decode) else { return false };
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else {
                return false;
            };
            mac.update(body);
            mac.verify_slice(&signature).is_ok()
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use evoke_schemas::Secret;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_token_comes_as_header_or_parameter() {
        let credential = WebhookCredential::Bearer { token: Secret::new("t0ken") };
        let check = |headers: &HeaderMap, parameter| proves(&credential, headers, parameter, b"");
        assert!(check(&headers("authorization", "Bearer t0ken"), None));
        assert!(check(&headers("authorization", "bearer t0ken"), None));
        assert!(check(&HeaderMap::new(), Some("t0ken")));
        assert!(!check(&headers("authorization", "Bearer t0ke"), None));
        assert!(!check(&headers("authorization", "Bearer wrong"), Some("t0ken")));
        assert!(!check(&headers("authorization", "Basic t0ken"), None));
        assert!(!check(&HeaderMap::new(), None));
    }

    #[test]
    fn a_signature_is_of_this_very_body() {
        let (secret, header) = (Secret::new("key"), "x-hub-signature-256".to_owned());
        let credential = WebhookCredential::Hmac { secret, header };
        // RFC 2104 with SHA-256 over this text, as any tool gives it.
        let good = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        let text = b"The quick brown fox jumps over the lazy dog";
        let check = |value: &str, body: &[u8]| {
            proves(&credential, &headers("x-hub-signature-256", value), None, body)
        };
        assert!(check(good, text));
        assert!(check(&format!("sha256={good}"), text));
        assert!(!check(good, b"another"));
        assert!(!check("sha256=", text));
        assert!(!check("nothex", text));
        assert!(!proves(&credential, &HeaderMap::new(), None, text));
    }
}
