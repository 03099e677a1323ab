//! Replays: a range of the log delivered again to one rule.

use axum::{body::Body, response::Response};
use evoke_schemas::{EntityName, EntityUid, Position, position::PositionError};
use evoke_trigger_engine::record::{ReplayRecord, ReplayStatus};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IntoDeserializer as _};
use serde_json::{Value, json};

use super::{
    answer,
    at::At,
    entities::{Listed, counted},
    error::ApiError,
    openapi::{Answer, Content, Operation, Routes, page},
};
use crate::history::Place;

const COLLECTION: &str = "replays";

/// What a POST says. An end of the range is a position as text, or a time in milliseconds.
/// Positions are ordered within a partition only, so that one stands for the millisecond in which
/// its event was accepted; `from` and a position as `to` are of the range.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ReplayPost")]
struct Wanted {
    rule: EntityName,
    #[schemars(with = "End")]
    from: Value,
    /// Absent: what is there now.
    #[serde(default)]
    #[schemars(with = "Option<End>")]
    to: Value,
}

/// An end of a range.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ReplayEnd")]
enum End {
    /// An event, as `partition:offset`.
    Position(#[schemars(with = "Position")] String),
    /// Epoch milliseconds.
    Time(u64),
}

/// A replay.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Replay")]
struct Shown<'a> {
    id: EntityUid,
    rule: &'a EntityName,
    state: ReplayStatus,
    /// Deliveries made so far.
    parked: u64,
    /// Epoch milliseconds.
    created: u64,
    /// Epoch milliseconds.
    from: u64,
    /// Epoch milliseconds, not of the range; none for what was there when it was made.
    to: Option<u64>,
}

pub(super) fn routes() -> Routes {
    type One = Shown<'static>;
    Routes::about("replays")
        .collection(
            "/api/v1/namespaces/{ns}/replays",
            [
                Operation::get("listReplays", "Lists replays.", list)
                    .with(page())
                    .gives::<Listed<One>>("Replays, the newest first.")
                    .fails([503]),
                Operation::post("createReplay", "Delivers a range again to one rule.", create)
                    .takes::<Wanted>(
                        json!({ "rule": "orders-hello", "from": 1_700_000_000_000_u64 }),
                    )
                    .answers(Answer::new(202, "The replay has begun.").with(Content::json::<One>()))
                    .fails([503]),
            ],
        )
        .at(
            "/api/v1/namespaces/{ns}/replays/{replay}",
            [
                Operation::get("getReplay", "Shows a replay.", read)
                    .gives::<One>("The replay.")
                    .fails([404, 503]),
                Operation::delete("cancelReplay", "Stops a replay.", cancel)
                    .details("What was not dispatched is not. What is stopped already stays so.")
                    .gives::<One>("The replay as it stands.")
                    .fails([404, 503]),
            ],
        )
}

async fn list(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let page = at.query.page(COLLECTION)?;
    let replays = at.hub.history()?.replays(namespace).await?;
    if page.count {
        return Ok(answer::json(&counted(COLLECTION, replays.len(), page.skip)));
    }
    let shown = replays.iter().skip(page.skip).take(page.limit).map(Shown::of);
    Ok(answer::json(&Listed::Items(shown.collect())))
}

async fn read(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let id = id(&at)?;
    let replays = at.hub.history()?.replays(namespace).await?;
    let replay = replays.iter().find(|replay| replay.uid == id).ok_or(ApiError::Missing)?;
    Ok(answer::json(&Shown::of(replay)))
}

async fn create(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let wanted: Wanted = at.named("replay", &headers, content).await?;
    let from = place("from", wanted.from)?.ok_or_else(|| wrong("from"))?;
    let to = place("to", wanted.to)?;
    let replay = at.hub.history()?.replay(namespace, &wanted.rule, from, to).await?;
    Ok(answer::accepted(&Shown::of(&replay)))
}

async fn cancel(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let id = id(&at)?;
    let cancelled = at.hub.history()?.cancel(namespace, id).await?;
    Ok(answer::json(&Shown::of(&cancelled.ok_or(ApiError::Missing)?)))
}

/// The replay that the path names; what is no id names none.
fn id(at: &At) -> Result<EntityUid, ApiError> {
    let text = at.names.item()?;
    let read: Result<EntityUid, serde::de::value::Error> =
        EntityUid::deserialize(text.into_deserializer());
    read.map_err(|_no_id| ApiError::Missing)
}

fn place(member: &'static str, value: Value) -> Result<Option<Place>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    match serde_json::from_value(value) {
        Ok(End::Time(time)) => Ok(Some(Place::Time(time))),
        Ok(End::Position(text)) => match text.parse() {
            Ok(position) => Ok(Some(Place::Position(position))),
            Err(error) => {
                let error: PositionError = error;
                Err(ApiError::Bad(format!("`{member}`: {error}")))
            }
        },
        Err(_neither) => Err(wrong(member)),
    }
}

fn wrong(member: &str) -> ApiError {
    ApiError::Bad(format!(
        "`{member}` must be a position as `partition:offset`, or a time in epoch milliseconds"
    ))
}

impl<'a> Shown<'a> {
    fn of(replay: &'a ReplayRecord) -> Self {
        Self {
            id: replay.uid,
            rule: &replay.rule,
            state: replay.status,
            parked: replay.parked,
            created: replay.created_ms,
            from: replay.from_ms,
            to: (replay.to_ms != u64::MAX).then_some(replay.to_ms),
        }
    }
}
