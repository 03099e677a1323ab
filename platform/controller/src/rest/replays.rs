//! Replays: a range of the log delivered again to one rule.

use std::sync::Arc;

use axum::{Router, body::Body, response::Response, routing::get};
use evoke_schemas::{EntityName, EntityUid};
use evoke_trigger_engine::record::ReplayRecord;
use http::HeaderMap;
use serde::{Deserialize, de::IntoDeserializer as _};
use serde_json::{Value, json};

use super::{answer, at::At, body, error::ApiError};
use crate::{history::Place, hub::Hub};

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/api/v1/namespaces/{ns}/replays", get(list).post(create))
        .route("/api/v1/namespaces/{ns}/replays/", get(list).post(create))
        .route("/api/v1/namespaces/{ns}/replays/{id}", get(read).delete(cancel))
}

/// What a POST says. An end of the range is a position as text, or a time in milliseconds.
/// Positions are ordered within a partition only, so that one stands for the millisecond in which
/// its event was accepted; `from` and a position as `to` are of the range.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    rule: EntityName,
    from: Value,
    #[serde(default)]
    to: Value,
}

async fn list(at: At) -> Result<Response, ApiError> {
    let page = at.query.page("replays")?;
    let replays = at.hub.history()?.replays(at.own_namespace()?).await?;
    let shown = replays.iter().skip(page.skip).take(page.limit).map(show);
    Ok(answer::json(&shown.collect::<Vec<_>>()))
}

async fn read(at: At) -> Result<Response, ApiError> {
    let id = id(&at)?;
    let replays = at.hub.history()?.replays(at.own_namespace()?).await?;
    let replay = replays.iter().find(|replay| replay.uid == id).ok_or(ApiError::Missing)?;
    Ok(answer::json(&show(replay)))
}

async fn create(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let bytes = at.json(&headers, content).await?;
    let wanted: Wanted =
        serde_json::from_slice(&bytes).map_err(|error| body::unparsable(&error))?;
    let from = place("from", &wanted.from)?.ok_or_else(|| missing("from"))?;
    let to = place("to", &wanted.to)?;
    let namespace = at.own_namespace()?;
    let replay = at.hub.history()?.replay(namespace, &wanted.rule, from, to).await?;
    Ok(answer::accepted(&show(&replay)))
}

async fn cancel(at: At) -> Result<Response, ApiError> {
    let id = id(&at)?;
    let cancelled = at.hub.history()?.cancel(at.own_namespace()?, id).await?;
    Ok(answer::json(&show(&cancelled.ok_or(ApiError::Missing)?)))
}

/// The replay that the path names; what is no id names none.
fn id(at: &At) -> Result<EntityUid, ApiError> {
    let text = at.names.item()?;
    let read: Result<EntityUid, serde::de::value::Error> =
        EntityUid::deserialize(text.into_deserializer());
    read.map_err(|_no_id| ApiError::Missing)
}

fn place(member: &'static str, value: &Value) -> Result<Option<Place>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => {
            number.as_u64().map(|time| Some(Place::Time(time))).ok_or_else(|| missing(member))
        }
        Value::String(text) => match text.parse() {
            Ok(position) => Ok(Some(Place::Position(position))),
            Err(error) => {
                let error: evoke_schemas::position::PositionError = error;
                Err(ApiError::Bad(format!("`{member}`: {error}")))
            }
        },
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(missing(member)),
    }
}

fn missing(member: &str) -> ApiError {
    ApiError::Bad(format!(
        "`{member}` must be a position as `partition:offset`, or a time in epoch milliseconds"
    ))
}

fn show(replay: &ReplayRecord) -> Value {
    let open_end = replay.to_ms == u64::MAX;
    json!({
        "id": replay.uid,
        "rule": replay.rule,
        "state": replay.status,
        "parked": replay.parked,
        "created": replay.created_ms,
        "from": replay.from_ms,
        "to": if open_end { Value::Null } else { replay.to_ms.into() },
    })
}
