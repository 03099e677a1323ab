//! Activations: what became of calls and deliveries.

use axum::response::Response;
use evoke_schemas::{
    Activation, ActivationId, ActivationSummary, EntityName, activation::ActivationResponse,
};
use evoke_store::ActivationQuery;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::{
    answer,
    at::At,
    entities::{Listed, counted},
    error::ApiError,
    openapi::{Answer, Content, Operation, Routes, flag, page, query},
};

const COLLECTION: &str = "activations";

/// The lines that a run wrote.
#[derive(Debug, Serialize, JsonSchema)]
struct Logs {
    logs: Vec<String>,
}

pub(super) fn routes() -> Routes {
    let time = json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX });
    let filters = [
        query(
            "name",
            "Only of this action or trigger: `name` or `package/name`.",
            json!({
                "type": "string",
            }),
        ),
        query("since", "Only those that began then or later, epoch milliseconds.", time.clone()),
        query("upto", "Only those that began then or before, epoch milliseconds.", time),
        flag("docs", "Whether whole records are listed; not with `count`."),
    ];
    let list = Operation::get("listActivations", "Lists activations.", list)
        .with(page())
        .with(filters)
        .answers(
            Answer::new(200, "Activations, the newest first.")
                .with(Content::json::<Either<ActivationSummary<'static>, Activation>>()),
        );
    Routes::about("activations")
        .collection("/api/v1/namespaces/{ns}/activations", [list])
        .at(
            "/api/v1/namespaces/{ns}/activations/{activation}",
            [Operation::get("getActivation", "Shows an activation.", read)
                .gives::<Activation>("The record.")
                .fails([404])],
        )
        .at(
            "/api/v1/namespaces/{ns}/activations/{activation}/logs",
            [Operation::get("getActivationLogs", "Shows what the run wrote.", logs)
                .gives::<Logs>("The lines, each with its time and stream.")
                .fails([404])],
        )
        .at(
            "/api/v1/namespaces/{ns}/activations/{activation}/result",
            [Operation::get("getActivationResult", "Shows how the run ended.", result)
                .gives::<ActivationResponse>("The result.")
                .fails([404])],
        )
}

/// A list that shows records or what is left of them.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Activations")]
enum Either<S, W> {
    Summaries(Listed<S>),
    Whole(Vec<W>),
}

async fn list(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let page = at.query.page(COLLECTION)?;
    let docs = at.query.flag("docs")?;
    let query = ActivationQuery {
        path: path(&at)?,
        since: at.query.time("since")?,
        upto: at.query.time("upto")?,
        skip: page.skip,
        limit: page.limit,
    };
    let store = &at.hub.parts.activations;
    if page.count {
        if docs {
            let text = "The parameter 'docs' is not permitted with 'count'.";
            return Err(ApiError::Bad(text.to_owned()));
        }
        let all = store.count(namespace, &query).await?;
        return Ok(answer::json(&counted(COLLECTION, all, page.skip)));
    }
    let listed = store.list(namespace, &query).await?;
    Ok(answer::json(&if docs {
        Either::Whole(listed.iter().collect())
    } else {
        let summaries = listed.iter().map(Activation::summary).collect();
        Either::Summaries(Listed::Items(summaries))
    }))
}

async fn read(at: At) -> Result<Response, ApiError> {
    Ok(answer::json(&find(&at).await?))
}

async fn logs(at: At) -> Result<Response, ApiError> {
    Ok(answer::json(&Logs { logs: find(&at).await?.logs }))
}

async fn result(at: At) -> Result<Response, ApiError> {
    let response: ActivationResponse = find(&at).await?.response;
    Ok(answer::json(&response))
}

async fn find(at: &At) -> Result<Activation, ApiError> {
    let namespace = at.own_namespace()?;
    let id: ActivationId = at.names.item()?.parse()?;
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
