//! Accepted events, listed and explained.

use axum::response::Response;
use evoke_schemas::{EntityName, Position};
use evoke_trigger_engine::{Target, record::StoredEvent};
use serde_json::{Map, Value, json};

use crate::{
    history::{Accounted, EventQuery},
    rest::{answer, at::At, error::ApiError},
};

pub(super) async fn list(at: At) -> Result<Response, ApiError> {
    let page = at.query.page("events")?;
    let trigger = at.query.get("trigger").filter(|name| !name.is_empty());
    let trigger = trigger.map(|name| EntityName::new(&name)).transpose()?;
    let query = EventQuery {
        trigger,
        since: at.query.time("since")?,
        upto: at.query.time("upto")?,
        skip: page.skip,
        limit: page.limit,
    };
    let events = at.hub.history()?.events(at.own_namespace()?, &query).await?;
    Ok(answer::json(&events.iter().map(show).collect::<Vec<_>>()))
}

pub(super) async fn read(at: At) -> Result<Response, ApiError> {
    let text = at.names.item()?;
    let position: Position =
        text.parse().map_err(|error: evoke_schemas::position::PositionError| {
            ApiError::Bad(error.to_string())
        })?;
    let found = at.hub.history()?.event(at.own_namespace()?, position).await?;
    let event = found.ok_or(ApiError::Missing)?;
    let mut shown = show(&event);
    shown.insert("why".to_owned(), json!(event.why));
    Ok(answer::with_position(answer::json(&shown), position))
}

fn show(accounted: &Accounted) -> Map<String, Value> {
    let stored = &accounted.event;
    let mut shown = Map::from_iter([
        ("position".to_owned(), json!(accounted.position.to_string())),
        ("accepted".to_owned(), json!(accounted.accepted_ms)),
        ("subject".to_owned(), json!(stored.subject)),
        ("event".to_owned(), json!(stored.event)),
        ("triggers".to_owned(), json!(triggers(stored))),
    ]);
    if let Target::Action(action) = &stored.target {
        shown.insert("action".to_owned(), json!(action));
    }
    shown
}

fn triggers(stored: &StoredEvent) -> Vec<&EntityName> {
    stored.triggers.iter().map(|trigger| &trigger.name).collect()
}
