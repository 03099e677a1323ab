//! Whether the hub lives, and whether it takes work.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};

use super::{answer, error::ApiError};
use crate::hub::Hub;

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/ping", get(async || answer::plain("pong")))
        .route("/healthz", get(async || answer::plain("ok")))
        .route("/readyz", get(ready))
}

async fn ready(State(hub): State<Arc<Hub>>) -> Result<Response, ApiError> {
    if hub.is_ready() {
        Ok(answer::plain("ready"))
    } else {
        Err(ApiError::Unavailable("The hub is starting or ending.".to_owned()))
    }
}
