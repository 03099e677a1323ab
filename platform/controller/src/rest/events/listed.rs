//! Accepted events, listed and explained.

use axum::response::Response;
use evoke_schemas::{EntityName, Event, FullName, Position, position::PositionError};
use evoke_trigger_engine::Target;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::{
    history::{Accounted, EventQuery, Why},
    rest::{
        answer,
        at::At,
        entities::{Listed, counted},
        error::ApiError,
        openapi::{Answer, Content, Operation, page, query},
    },
};

const COLLECTION: &str = "events";

/// An accepted event as lists show it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EventSummary")]
pub(super) struct Summary<'a> {
    #[serde(serialize_with = "answer::as_text")]
    #[schemars(with = "Position")]
    position: Position,
    /// When it was accepted, epoch milliseconds.
    accepted: u64,
    /// Who sent it.
    subject: &'a str,
    event: &'a Event,
    /// Those that it fired.
    triggers: Vec<&'a EntityName>,
    /// The action, where it is an accepted invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a FullName>,
}

/// An accepted event, explained.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AcceptedEvent")]
struct Shown<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    /// What each rule decided, and what became of it.
    why: &'a [Why],
}

pub(super) fn list_described() -> Operation {
    let time = json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX });
    Operation::get("listEvents", "Lists accepted events.", list)
        .with(page())
        .with([
            query(
                "trigger",
                "Only those that fired this trigger.",
                json!({ "$ref": "#/components/schemas/EntityName" }),
            ),
            query("since", "Only those accepted then or later, epoch milliseconds.", time.clone()),
            query("upto", "Only those accepted then or before, epoch milliseconds.", time),
        ])
        .gives::<Listed<Summary<'static>>>("Events, the newest first.")
        .fails([503])
}

pub(super) fn read_described() -> Operation {
    Operation::get("getEvent", "Shows an accepted event and what became of it.", read)
        .answers(
            Answer::new(200, "The event.")
                .with(Content::json::<Shown<'static>>())
                .headers(&["X-Evoke-Position"]),
        )
        .fails([404, 503])
}

async fn list(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let page = at.query.page(COLLECTION)?;
    let query = EventQuery {
        trigger: at.query.name("trigger")?,
        since: at.query.time("since")?,
        upto: at.query.time("upto")?,
        skip: page.skip,
        limit: page.limit,
    };
    let history = at.hub.history()?;
    if page.count {
        let all = history.count_events(namespace, &query).await?;
        return Ok(answer::json(&counted(COLLECTION, all, page.skip)));
    }
    let events = history.events(namespace, &query).await?;
    Ok(answer::json(&Listed::Items(events.iter().map(Summary::of).collect())))
}

async fn read(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let read: Result<Position, PositionError> = at.names.item()?.parse();
    let position = read.map_err(|error| ApiError::Bad(error.to_string()))?;
    let found = at.hub.history()?.event(namespace, position).await?;
    let event = found.ok_or(ApiError::Missing)?;
    let shown = Shown { summary: Summary::of(&event), why: &event.why };
    Ok(answer::with_position(answer::json(&shown), position))
}

impl<'a> Summary<'a> {
    fn of(accounted: &'a Accounted) -> Self {
        let stored = &accounted.event;
        Self {
            position: accounted.position,
            accepted: accounted.accepted_ms,
            subject: &stored.subject,
            event: &stored.event,
            triggers: stored.triggers.iter().map(|trigger| &trigger.name).collect(),
            action: match &stored.target {
                Target::Action(action) => Some(action),
                Target::Trigger(_) | Target::Hub => None,
            },
        }
    }
}
