//! Where the API is described: the OpenAPI document for programs, a page of it for people.

mod page;

use std::sync::LazyLock;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

use super::{
    answer,
    openapi::{Answer, Content, Operation, Routes},
};

/// Where the page is, as OpenWhisk has it.
const AT: &str = "/api/v1/docs/index.html";

/// The document does not change while the program runs.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| super::routes().document());
static TEXT: LazyLock<Bytes> = LazyLock::new(|| DOCUMENT.to_string().into());
static PAGE: LazyLock<Bytes> = LazyLock::new(|| page::of(&DOCUMENT).into());

/// The OpenAPI document of the API, indented, as `schemas/openapi.json` has it.
#[must_use]
pub fn openapi() -> String {
    format!("{:#}\n", *DOCUMENT)
}

pub(super) fn routes() -> Routes {
    // The second and third are where OpenWhisk and many tools look.
    let same = |id| {
        Operation::get(id, "The API as an OpenAPI document.", document)
            .for_anybody()
            .answers(Answer::new(200, "OpenAPI 3.1.").with(Content::json::<Map<String, Value>>()))
    };
    Routes::about("hub")
        .at("/api/v1/api-docs", [same("getApiDocs")])
        .at("/api-docs", [same("getRootApiDocs")])
        .at("/openapi.json", [same("getOpenApi")])
        .at(
            "/api/v1/docs",
            [Operation::get("findDocs", "Where the page is.", async || answer::elsewhere(AT))
                .for_anybody()
                .answers(Answer::new(308, "There.").headers(&["Location"]))],
        )
        .at(
            AT,
            [Operation::get("getDocs", "The API as a page for people.", shown)
                .for_anybody()
                .answers(Answer::new(200, "A page.").with(Content::of::<String>("text/html")))],
        )
}

async fn document() -> Response {
    answer::text_of_json(StatusCode::OK, TEXT.clone())
}

async fn shown() -> Response {
    answer::page(PAGE.clone())
}
