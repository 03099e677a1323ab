//! Who asks for what: the caller and the names in the path.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequestParts, RawPathParams},
};
use base64::Engine as _;
use bytes::Bytes;
use evoke_schemas::{EntityName, FullName, NameError, Namespace};
use evoke_store::Identity;
use http::{HeaderMap, header, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{body, error::ApiError, frame::RequestId, query::Query};
use crate::hub::Hub;

/// Length of the secret half of a credential.
const KEY_LENGTH: usize = evoke_store::identities::KEY_LENGTH;

/// A request of somebody known, to a path whose names are legal.
#[derive(Debug)]
pub(super) struct At {
    pub(super) hub: Arc<Hub>,
    pub(super) caller: Arc<Identity>,
    pub(super) request_id: RequestId,
    pub(super) query: Query,
    pub(super) names: Names,
}

/// The names in a path.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The namespace, the caller's for `_`.
    pub(super) namespace: Namespace,
    package: Option<EntityName>,
    name: Option<EntityName>,
    /// What is not a name of an entity: an activation's id, a position.
    item: Option<String>,
}

impl FromRequestParts<Arc<Hub>> for At {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, ApiError> {
        let caller = authenticate(hub, &parts.headers).await?;
        let names = Names::of(parts, hub, &caller.namespace).await?;
        Ok(Self {
            hub: Arc::clone(hub),
            caller,
            request_id: request_id(parts),
            query: Query::new(parts.uri.query()),
            names,
        })
    }
}

/// The request's id, as the frame gave it.
pub(super) fn request_id(parts: &Parts) -> RequestId {
    parts.extensions.get().cloned().unwrap_or_else(RequestId::fresh)
}

/// Whose Basic credential the request has.
pub(super) async fn authenticate(
    hub: &Hub,
    headers: &HeaderMap,
) -> Result<Arc<Identity>, ApiError> {
    let credential = basic(headers).ok_or(ApiError::NoCredentials)?;
    let (uuid, key) = credential.split_once(':').ok_or(ApiError::BadCredentials)?;
    if uuid.is_empty() || key.len() != KEY_LENGTH {
        return Err(ApiError::BadCredentials);
    }
    let identity = hub.parts.identities.authenticate(uuid, key).await?;
    identity.ok_or(ApiError::BadCredentials)
}

/// The decoded credential of a Basic header; none for other schemes.
pub(super) fn basic(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    String::from_utf8(bytes).ok()
}

// === impl Names ===

impl Names {
    /// The names in the path of a request of `caller`.
    pub(super) async fn of(
        parts: &mut Parts,
        hub: &Arc<Hub>,
        caller: &Namespace,
    ) -> Result<Self, ApiError> {
        let mut names = Self { namespace: caller.clone(), package: None, name: None, item: None };
        let Ok(path) = RawPathParams::from_request_parts(parts, hub).await else {
            return Err(NameError::IllegalName.into());
        };
        for (key, value) in &path {
            match key {
                "ns" if value == Namespace::CALLER => {}
                "ns" => names.namespace = Namespace::new(value)?,
                "package" => names.package = Some(EntityName::new(value)?),
                "name" => names.name = Some(EntityName::new(value)?),
                _ => names.item = Some(value.to_owned()),
            }
        }
        Ok(names)
    }

    /// The entity that the path names.
    pub(super) fn entity(&self) -> Result<FullName, ApiError> {
        let name = self.name.clone().ok_or(ApiError::NoRoute)?;
        Ok(FullName { namespace: self.namespace.clone(), package: self.package.clone(), name })
    }

    /// The package that the path names.
    pub(super) fn package(&self) -> Result<EntityName, ApiError> {
        self.package.clone().ok_or(ApiError::NoRoute)
    }

    /// What the path names that is no entity.
    pub(super) fn item(&self) -> Result<&str, ApiError> {
        self.item.as_deref().ok_or(ApiError::NoRoute)
    }
}

// === impl At ===

impl At {
    /// Whether the namespace of the path is the caller's own.
    pub(super) fn is_own(&self) -> bool {
        self.names.namespace == self.caller.namespace
    }

    /// The path's entity, in the caller's own namespace.
    pub(super) fn own_entity(&self) -> Result<FullName, ApiError> {
        let name = self.names.entity()?;
        if self.is_own() { Ok(name) } else { Err(ApiError::Forbidden(name.to_string())) }
    }

    /// The path's namespace, if it is the caller's own.
    pub(super) fn own_namespace(&self) -> Result<&Namespace, ApiError> {
        let namespace = &self.names.namespace;
        if self.is_own() { Ok(namespace) } else { Err(ApiError::Forbidden(namespace.to_string())) }
    }

    /// The request's body, which must be JSON, or empty.
    pub(super) async fn json(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
        let config = &self.hub.parts.config;
        let bytes = body::read(headers, body, self.hub.bounds(config.max_entity_bytes)).await?;
        body::expect_json(headers, &bytes)?;
        Ok(bytes)
    }

    /// The request's body, which must be an object of this form.
    pub(super) async fn object<T: DeserializeOwned>(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<T, ApiError> {
        let members = body::object(&self.json(headers, body).await?)?;
        serde_json::from_value(Value::Object(members))
            .map_err(|error| ApiError::Malformed(error.to_string()))
    }

    /// The same of what OpenWhisk has not: the sentence names what is malformed.
    pub(super) async fn named<T: DeserializeOwned>(
        &self,
        what: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<T, ApiError> {
        let members = body::object(&self.json(headers, body).await?)?;
        serde_json::from_value(Value::Object(members))
            .map_err(|error| ApiError::Malformed(format!("Unexpected {what}: {error}")))
    }

    /// Epoch milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.hub.parts.clock.now_ms()
    }
}
