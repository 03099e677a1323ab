//! The REST API: OpenWhisk's paths and ours, one file for each collection.

mod actions;
mod activations;
mod answer;
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

use axum::{Router, extract::State, middleware};
use http::{HeaderMap, Uri};

use self::openapi::Routes;
pub use self::{docs::openapi, error::ApiError, metrics::operator_router};
use crate::hub::Hub;
pub(crate) use frame::BASE;

/// The API over a hub. Serve it on as many listeners as there are.
pub fn router(hub: Arc<Hub>) -> Router {
    let measured = Arc::clone(&hub.http);
    let api = routes()
        .into_router()
        .fallback(nowhere)
        .method_not_allowed_fallback(nowhere)
        .with_state(hub);
    // The frame is around the whole router, not around its routes: only so it has the last word
    // on the headers.
    Router::new()
        .fallback_service(api)
        .layer(middleware::from_fn_with_state(measured, frame::frame))
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
