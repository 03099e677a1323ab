//! Dead letters: deliveries that were given up; replayed or discarded.

use std::sync::Arc;

use axum::{Router, body::Body, response::Response, routing::get};
use evoke_schemas::{ActivationId, EntityName};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{answer, at::At, body, error::ApiError};
use crate::{
    history::{DeadLetter, DeadLetterQuery, HistoryError, Settle, Which},
    hub::Hub,
};

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/api/v1/namespaces/{ns}/deadletters", get(list).post(settle_rule))
        .route("/api/v1/namespaces/{ns}/deadletters/", get(list).post(settle_rule))
        .route("/api/v1/namespaces/{ns}/deadletters/{id}", get(read).post(settle_one))
}

/// What a POST says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    action: Verb,
    #[serde(default)]
    rule: Option<EntityName>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Replay,
    Discard,
}

async fn list(at: At) -> Result<Response, ApiError> {
    let page = at.query.page("deadletters")?;
    let rule = at.query.get("rule").filter(|name| !name.is_empty());
    let rule = rule.map(|name| EntityName::new(&name)).transpose()?;
    let query = DeadLetterQuery { rule, skip: page.skip, limit: page.limit };
    let letters = at.hub.history()?.dead_letters(at.own_namespace()?, &query).await?;
    Ok(answer::json(&letters.iter().map(summary).collect::<Vec<_>>()))
}

async fn read(at: At) -> Result<Response, ApiError> {
    let id: ActivationId = at.names.item()?.parse()?;
    let letter = at.hub.history()?.dead_letter(at.own_namespace()?, id).await?;
    let letter = letter.ok_or(ApiError::Missing)?;
    let mut shown = summary(&letter);
    shown.insert("position".to_owned(), json!(letter.held.id.position.to_string()));
    shown.insert("accepted".to_owned(), json!(letter.held.accepted_ms));
    shown.insert("made".to_owned(), json!(letter.held.attempts.made));
    shown.insert("event".to_owned(), json!(letter.event.as_ref().map(|stored| &stored.event)));
    Ok(answer::json(&shown))
}

async fn settle_one(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let id: ActivationId = at.names.item()?.parse()?;
    let order = order(&at, &headers, content).await?;
    if order.rule.is_some() {
        return Err(ApiError::Malformed("Unexpected `rule`: the path names one".to_owned()));
    }
    settle(&at, Which::One(id), order.action).await
}

async fn settle_rule(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let order = order(&at, &headers, content).await?;
    let rule = order.rule.ok_or_else(|| ApiError::Malformed("Expected `rule`".to_owned()))?;
    settle(&at, Which::Rule(rule), order.action).await
}

async fn order(at: &At, headers: &HeaderMap, content: Body) -> Result<Order, ApiError> {
    let bytes = at.json(headers, content).await?;
    serde_json::from_slice(&bytes).map_err(|error| body::unparsable(&error))
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
    Ok(answer::json(&json!({ "count": count })))
}

fn summary(letter: &DeadLetter) -> Map<String, Value> {
    let held = &letter.held;
    let stored = letter.event.as_ref();
    let action = stored.and_then(|stored| {
        let mut rules = stored.triggers.iter().flat_map(|trigger| &trigger.rules);
        rules.find(|rule| rule.uid == held.id.rule).map(|rule| &rule.action)
    });
    Map::from_iter([
        ("activationId".to_owned(), json!(letter.activation_id)),
        ("time".to_owned(), json!(held.at_ms)),
        ("rule".to_owned(), json!(held.rule)),
        ("action".to_owned(), json!(action)),
        ("reason".to_owned(), json!(held.death.as_ref().map(|death| death.reason))),
        ("attempts".to_owned(), json!(held.attempts.notes)),
        ("eventId".to_owned(), json!(stored.map(|stored| &stored.event.id))),
    ])
}

impl From<HistoryError> for ApiError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::NoRule(_) | HistoryError::Range(_) => Self::Bad(error.to_string()),
            HistoryError::Unavailable(_) => {
                tracing::error!(%error, cause = ?error, "history cannot be read or changed");
                Self::Unavailable("The event log is not available.".to_owned())
            }
        }
    }
}
