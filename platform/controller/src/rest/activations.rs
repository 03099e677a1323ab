//! Activations: what became of calls and deliveries.

use std::sync::Arc;

use axum::{Router, response::Response, routing::get};
use evoke_schemas::{Activation, ActivationId, EntityName, activation::ActivationResponse};
use evoke_store::ActivationQuery;
use serde_json::{Value, json};

use super::{answer, at::At, error::ApiError};
use crate::hub::Hub;

const COLLECTION: &str = "activations";

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/api/v1/namespaces/{ns}/activations", get(list))
        .route("/api/v1/namespaces/{ns}/activations/", get(list))
        .route("/api/v1/namespaces/{ns}/activations/{id}", get(read))
        .route("/api/v1/namespaces/{ns}/activations/{id}/logs", get(logs))
        .route("/api/v1/namespaces/{ns}/activations/{id}/result", get(result))
}

async fn list(at: At) -> Result<Response, ApiError> {
    let page = at.query.page(COLLECTION)?;
    let docs = at.query.flag("docs")?;
    let query = ActivationQuery {
        path: path(&at)?,
        since: at.query.time("since")?,
        upto: at.query.time("upto")?,
        skip: page.skip,
        limit: page.limit,
    };
    let namespace = at.own_namespace()?;
    let store = &at.hub.parts.activations;
    if page.count {
        if docs {
            let text = "The parameter 'docs' is not permitted with 'count'.";
            return Err(ApiError::Bad(text.to_owned()));
        }
        let all = store.count(namespace, &query).await?;
        return Ok(answer::json(&json!({ COLLECTION: all.saturating_sub(page.skip) })));
    }
    let listed = store.list(namespace, &query).await?;
    if docs {
        return Ok(answer::json(&listed));
    }
    Ok(answer::json(&listed.iter().map(Activation::summary).collect::<Vec<Value>>()))
}

async fn read(at: At) -> Result<Response, ApiError> {
    Ok(answer::json(&find(&at).await?))
}

async fn logs(at: At) -> Result<Response, ApiError> {
    Ok(answer::json(&json!({ "logs": find(&at).await?.logs })))
}

async fn result(at: At) -> Result<Response, ApiError> {
    let response: ActivationResponse = find(&at).await?.response;
    Ok(answer::json(&response))
}

async fn find(at: &At) -> Result<Activation, ApiError> {
    let id: ActivationId = at.names.item()?.parse()?;
    let namespace = at.own_namespace()?;
    at.hub.parts.activations.get(namespace, id).await?.ok_or(ApiError::Missing)
}

/// The filter `name`: `name` or `package/name`, blank for none.
fn path(at: &At) -> Result<Option<String>, ApiError> {
    let Some(name) = at.query.get("name") else { return Ok(None) };
    if name.trim().is_empty() {
        return Ok(None);
    }
    let trimmed = name.strip_suffix('/').unwrap_or(&name);
    let legal = trimmed.split('/').all(|part| EntityName::new(part).is_ok());
    if !legal || trimmed.split('/').count() > 2 {
        let detail =
            format!("Parameter may be a 'simple' name or 'package-name/simple' name: {name}");
        return Err(ApiError::Query { name: "name", detail });
    }
    Ok(Some(trimmed.to_owned()))
}
