//! The REST API: OpenWhisk's paths and ours, one file for each collection.

mod actions;
mod activations;
mod answer;
mod api;
mod at;
pub(crate) mod body;
mod deadletters;
mod docs;
pub(crate) mod entities;
mod error;
mod events;
mod feeds;
mod frame;
mod health;
mod info;
mod metrics;
mod namespaces;
mod openapi;
mod packages;
mod query;
mod replays;
mod rules;
#[cfg(test)]
mod tests;
mod triggers;

use std::sync::Arc;

use axum::{Router, extract::State};
use http::{HeaderMap, Uri};

use self::openapi::Routes;
pub use self::{api::Api, docs::openapi, error::ApiError};
use crate::hub::Hub;
pub(crate) use frame::BASE;

/// Every path over a hub.
fn served(hub: Arc<Hub>) -> Router {
    routes().into_router().fallback(nowhere).method_not_allowed_fallback(nowhere).with_state(hub)
}

/// Every path that there is.
fn routes() -> Routes {
    actions::routes()
        .merge(activations::routes())
        .merge(packages::routes())
        .merge(triggers::routes())
        .merge(rules::routes())
        .merge(namespaces::routes())
        .merge(events::routes())
        .merge(deadletters::routes())
        .merge(replays::routes())
        .merge(feeds::routes())
        .merge(metrics::routes())
        .merge(info::routes())
        .merge(health::routes())
        .merge(docs::routes())
}

/// No such path, or not with that method. Below the API only who is known learns so.
async fn nowhere(State(hub): State<Arc<Hub>>, uri: Uri, headers: HeaderMap) -> ApiError {
    let web = uri.path().strip_prefix(frame::BASE).is_some_and(|rest| rest.starts_with("/web/"));
    if web {
        // As for a web action that is not exported: none is in this version.
        return ApiError::Missing;
    }
    if frame::is_inside(uri.path())
        && let Err(error) = at::authenticate(&hub, &headers).await
    {
        return error;
    }
    ApiError::NoRoute
}
