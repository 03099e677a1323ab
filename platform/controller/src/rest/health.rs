//! Whether the hub lives, and whether it takes work.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{
    answer,
    error::ApiError,
    openapi::{Answer, Content, Operation, Routes},
};
use crate::hub::Hub;

pub(super) fn routes() -> Routes {
    let plain = |text| Answer::new(200, text).with(Content::of::<String>("text/plain"));
    Routes::about("hub")
        .at(
            "/ping",
            [Operation::get("ping", "Answers `pong`.", async || answer::plain("pong"))
                .for_anybody()
                .answers(plain("`pong`"))],
        )
        .at(
            "/healthz",
            [Operation::get("getHealth", "Whether the hub lives.", async || answer::plain("ok"))
                .for_anybody()
                .answers(plain("`ok`"))],
        )
        .at(
            "/readyz",
            [Operation::get("getReadiness", "Whether the hub takes work.", ready)
                .for_anybody()
                .answers(plain("`ready`"))
                .fails([503])],
        )
}

async fn ready(State(hub): State<Arc<Hub>>) -> Result<Response, ApiError> {
    if hub.is_ready() {
        Ok(answer::plain("ready"))
    } else {
        Err(ApiError::Unavailable("The hub is starting or ending.".to_owned()))
    }
}
