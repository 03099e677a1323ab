//! Accepted events, listed and explained.

use axum::response::Response;
use evoke_schemas::{
    EntityName, Event, FullName, Position, position::PositionError, trace::Tracer,
};
use evoke_trigger_engine::{Engine, Target};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::{
    history::{Accounted, Erased, EventQuery, Why},
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
    /// The trace that it belongs to.
    #[serde(rename = "traceId")]
    trace_id: String,
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

/// An event that was erased.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ErasedEvent")]
struct ShownErased {
    #[serde(serialize_with = "answer::as_text")]
    #[schemars(with = "Position")]
    position: Position,
    erased: Erased,
}

/// An event, or what is left of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "EventOrErased")]
enum Read<'a> {
    Event(Shown<'a>),
    Erased(ShownErased),
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
                .with(Content::json::<Read<'static>>())
                .headers(&["X-Evoke-Position"]),
        )
        .fails([404, 503])
}

pub(super) fn erase_described() -> Operation {
    Operation::delete("eraseEvent", "Erases an event with everything that was made of it.", erase)
        .answers(
            Answer::new(200, "It is in no file any more.")
                .with(Content::json::<ShownErased>())
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
    let (events, engine) = (history.events(namespace, &query).await?, &at.hub.parts.engine);
    let items = events.iter().map(|event| Summary::of(event, engine));
    Ok(answer::json(&Listed::Items(items.collect())))
}

async fn read(at: At) -> Result<Response, ApiError> {
    let (namespace, position) = (at.own_namespace()?, position(&at)?);
    let history = at.hub.history()?;
    let Some(event) = history.event(namespace, position).await? else {
        let erased = history.erased(namespace, position).await?.ok_or(ApiError::Missing)?;
        return Ok(shown_erased(position, erased));
    };
    let summary = Summary::of(&event, &at.hub.parts.engine);
    let shown = Read::Event(Shown { summary, why: &event.why });
    Ok(answer::with_position(answer::json(&shown), position))
}

/// Erases a person's event, and everything that was made of it.
async fn erase(at: At) -> Result<Response, ApiError> {
    let (namespace, position) = (at.own_namespace()?, position(&at)?);
    let erased = at.hub.history()?.erase(namespace, position, &at.caller.subject).await?;
    Ok(shown_erased(position, erased.ok_or(ApiError::Missing)?))
}

fn position(at: &At) -> Result<Position, ApiError> {
    let read: Result<Position, PositionError> = at.names.item()?.parse();
    read.map_err(|error| ApiError::Bad(error.to_string()))
}

fn shown_erased(position: Position, erased: Erased) -> Response {
    let shown = Read::Erased(ShownErased { position, erased });
    answer::with_position(answer::json(&shown), position)
}

impl<'a> Summary<'a> {
    fn of(accounted: &'a Accounted, engine: &Engine) -> Self {
        let stored = &accounted.event;
        let traceparent = stored.event.attribute("traceparent");
        let log = engine.log_uid(accounted.position);
        let trace = Tracer::default().of_event(traceparent.as_deref(), log, accounted.position);
        Self {
            position: accounted.position,
            accepted: accounted.accepted_ms,
            subject: &stored.subject,
            trace_id: trace.accept.trace.to_string(),
            event: &stored.event,
            triggers: stored.triggers.iter().map(|trigger| &trigger.name).collect(),
            action: match &stored.target {
                Target::Action(action) => Some(action),
                Target::Trigger(_) | Target::Hub => None,
            },
        }
    }
}
