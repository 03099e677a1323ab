//! Dead letters: deliveries that were given up; replayed or discarded.

use axum::{body::Body, response::Response};
use evoke_schemas::{ActivationId, EntityName, Event, FullName, Position};
use evoke_trigger_engine::record::{AttemptNote, Reason};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    answer,
    at::At,
    entities::{Listed, counted},
    error::ApiError,
    openapi::{Operation, Routes, page, query},
};
use crate::history::{DeadLetter, DeadLetterQuery, HistoryError, Settle, Which};

const COLLECTION: &str = "deadletters";

/// What a POST asks of one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SettleOne")]
struct One {
    action: Verb,
}

/// What a POST asks of all of a rule.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SettleRule")]
struct OfRule {
    action: Verb,
    rule: EntityName,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Settle")]
enum Verb {
    /// Deliver again; the attempts go on.
    Replay,
    /// Let go for ever.
    Discard,
}

/// How many were settled.
#[derive(Debug, Serialize, JsonSchema)]
struct Settled {
    count: usize,
}

/// A dead letter as lists show it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeadLetterSummary")]
struct Summary<'a> {
    activation_id: ActivationId,
    /// When it died, epoch milliseconds.
    time: u64,
    /// None for an accepted invocation.
    rule: Option<&'a EntityName>,
    /// None where the event cannot be read.
    action: Option<&'a FullName>,
    reason: Option<Reason>,
    /// First and latest attempts that failed.
    attempts: &'a [AttemptNote],
    /// None where the event cannot be read.
    event_id: Option<&'a str>,
}

/// A dead letter.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
struct Shown<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    /// Where its event stands.
    #[serde(serialize_with = "answer::as_text")]
    #[schemars(with = "Position")]
    position: Position,
    /// When the event was accepted, epoch milliseconds.
    accepted: u64,
    /// Attempts made in all.
    made: u32,
    /// None where it cannot be read.
    event: Option<&'a Event>,
}

pub(super) fn routes() -> Routes {
    Routes::about("deadletters")
        .collection(
            "/api/v1/namespaces/{ns}/deadletters",
            [
                Operation::get("listDeadLetters", "Lists dead letters.", list)
                    .with(page())
                    .with([query(
                        "rule",
                        "Only of this rule.",
                        json!({ "$ref": "#/components/schemas/EntityName" }),
                    )])
                    .gives::<Listed<Summary<'static>>>("Dead letters, the newest first.")
                    .fails([503]),
                Operation::post("settleDeadLetters", "Settles all of a rule.", settle_rule)
                    .takes::<OfRule>(json!({ "action": "replay", "rule": "orders-hello" }))
                    .gives::<Settled>("How many were settled.")
                    .fails([503]),
            ],
        )
        .at(
            "/api/v1/namespaces/{ns}/deadletters/{activation}",
            [
                Operation::get("getDeadLetter", "Shows a dead letter with its event.", read)
                    .gives::<Shown<'static>>("The dead letter.")
                    .fails([404, 503]),
                Operation::post("settleDeadLetter", "Settles one.", settle_one)
                    .takes::<One>(json!({ "action": "replay" }))
                    .gives::<Settled>("One was settled.")
                    .fails([404, 503]),
            ],
        )
}

async fn list(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let page = at.query.page(COLLECTION)?;
    let rule = at.query.name("rule")?;
    let history = at.hub.history()?;
    if page.count {
        let all = history.count_dead_letters(namespace, rule.as_ref()).await?;
        return Ok(answer::json(&counted(COLLECTION, all, page.skip)));
    }
    let query = DeadLetterQuery { rule, skip: page.skip, limit: page.limit };
    let letters = history.dead_letters(namespace, &query).await?;
    Ok(answer::json(&Listed::Items(letters.iter().map(Summary::of).collect())))
}

async fn read(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let id: ActivationId = at.names.item()?.parse()?;
    let letter = at.hub.history()?.dead_letter(namespace, id).await?;
    let letter = letter.ok_or(ApiError::Missing)?;
    Ok(answer::json(&Shown {
        summary: Summary::of(&letter),
        position: letter.held.id.position,
        accepted: letter.held.accepted_ms,
        made: letter.held.attempts.made,
        event: letter.event.as_ref().map(|stored| &stored.event),
    }))
}

async fn settle_one(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    at.own_namespace()?;
    let id: ActivationId = at.names.item()?.parse()?;
    let order: One = at.named("order", &headers, content).await?;
    settle(&at, Which::One(id), order.action).await
}

async fn settle_rule(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    at.own_namespace()?;
    let order: OfRule = at.named("order", &headers, content).await?;
    settle(&at, Which::Rule(order.rule), order.action).await
}

async fn settle(at: &At, which: Which, verb: Verb) -> Result<Response, ApiError> {
    let how = match verb {
        Verb::Replay => Settle::Replay,
        Verb::Discard => Settle::Discard,
    };
    let count = at.hub.history()?.settle(at.own_namespace()?, &which, how).await?;
    if count == 0 && matches!(which, Which::One(_)) {
        return Err(ApiError::Missing);
    }
    Ok(answer::json(&Settled { count }))
}

impl<'a> Summary<'a> {
    fn of(letter: &'a DeadLetter) -> Self {
        let held = &letter.held;
        let stored = letter.event.as_ref();
        let action = stored.and_then(|stored| {
            let mut rules = stored.triggers.iter().flat_map(|trigger| &trigger.rules);
            rules.find(|rule| rule.uid == held.id.rule).map(|rule| &rule.action)
        });
        Self {
            activation_id: letter.activation_id,
            time: held.at_ms,
            rule: held.rule.as_ref(),
            action,
            reason: held.death.as_ref().map(|death| death.reason),
            attempts: &held.attempts.notes,
            event_id: stored.map(|stored| stored.event.id.as_str()),
        }
    }
}

impl From<HistoryError> for ApiError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::NoRule(_) | HistoryError::Range(_) => Self::Bad(error.to_string()),
            HistoryError::Busy(reason) => Self::Unavailable(reason),
            HistoryError::Unavailable(_) => {
                tracing::error!(%error, cause = ?error, "history cannot be read or changed");
                Self::Unavailable("The event log is not available.".to_owned())
            }
        }
    }
}
