//! `GET /metrics`, in Prometheus' text format: to a namespace its own, to operators everything.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};

use super::{answer, at::At, error::ApiError, health};
use crate::{
    hub::Hub,
    metrics::{Reader, gather},
};

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new().route("/metrics", get(of_namespace))
}

/// What operators are shown on a listener of its own: it asks for no credentials.
pub fn operator_router(hub: Arc<Hub>) -> Router {
    Router::new().route("/metrics", get(of_hub)).merge(health::routes()).with_state(hub)
}

async fn of_namespace(at: At) -> Result<Response, ApiError> {
    let reader = Reader::Namespace(at.caller.namespace.clone());
    Ok(answer::metrics(gather(&at.hub, &reader).await?))
}

async fn of_hub(State(hub): State<Arc<Hub>>) -> Result<Response, ApiError> {
    Ok(answer::metrics(gather(&hub, &Reader::Operator).await?))
}
