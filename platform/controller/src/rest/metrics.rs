//! `GET /metrics`, in Prometheus' text format: to a namespace its own, to operators everything.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response};

use super::{
    answer,
    at::At,
    error::ApiError,
    health,
    openapi::{Answer, Content, Operation, Routes},
};
use crate::{
    hub::Hub,
    metrics::{Reader, gather},
};

pub(super) fn routes() -> Routes {
    Routes::about("metrics").at(
        "/metrics",
        [Operation::get("getMetrics", "Shows how the caller's namespace is.", of_namespace)
            .answers(text())
            .fails([503])],
    )
}

/// Every path that operators have.
pub(super) fn operators(hub: Arc<Hub>) -> Router {
    let all = Operation::get("getAllMetrics", "Shows how the hub is.", of_hub).for_anybody();
    Routes::about("metrics")
        .at("/metrics", [all.answers(text())])
        .merge(health::routes())
        .into_router()
        .with_state(hub)
}

fn text() -> Answer {
    Answer::new(200, "Prometheus' text format, 0.0.4.").with(Content::of::<String>("text/plain"))
}

async fn of_namespace(at: At) -> Result<Response, ApiError> {
    let reader = Reader::Namespace(at.caller.namespace.clone());
    Ok(answer::metrics(gather(&at.hub, &reader).await?))
}

async fn of_hub(State(hub): State<Arc<Hub>>) -> Result<Response, ApiError> {
    Ok(answer::metrics(gather(&hub, &Reader::Operator).await?))
}
