//! Feeds: what is wanted of sources, and what they are doing.

use std::sync::Arc;

use axum::{Router, body::Body, response::Response, routing::get};
use evoke_schemas::{EntityName, Feed, FullName, KeyValues, ResetTo, limits::MAX_PARAMETER_BYTES};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{answer, at::At, error::ApiError};
use crate::{
    feed_wishes::{self, Change, Life, Wish},
    hub::Hub,
};

const COLLECTION: &str = "feeds";

/// What a PUT says. All of it each time: what is absent has its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    provider: String,
    trigger: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    annotations: KeyValues,
    #[serde(default)]
    paused: bool,
}

/// What a POST asks of a feed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", tag = "action", deny_unknown_fields)]
enum Asked {
    /// Rest; what comes meanwhile is read afterwards.
    Pause {},
    /// Go on.
    Resume {},
    /// Read from elsewhere.
    Reset {
        /// From where.
        to: ResetTo,
    },
}

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/api/v1/namespaces/{ns}/feeds", get(list))
        .route("/api/v1/namespaces/{ns}/feeds/", get(list))
        .route("/api/v1/namespaces/{ns}/feeds/{name}", get(read).put(put).post(post).delete(delete))
}

async fn list(at: At) -> Result<Response, ApiError> {
    let page = at.query.page(COLLECTION)?;
    let feeds = at.hub.parts.feeds.feeds(Some(at.own_namespace()?)).await?;
    if page.count {
        return Ok(answer::json(&json!({ COLLECTION: feeds.len().saturating_sub(page.skip) })));
    }
    let shown = feeds.iter().skip(page.skip).take(page.limit).map(|feed| show(&at.hub, feed));
    Ok(answer::json(&shown.collect::<Vec<Value>>()))
}

async fn read(at: At) -> Result<Response, ApiError> {
    let feed = feed_wishes::existing(&at.hub, &at.own_entity()?).await?.value;
    Ok(answer::json(&show(&at.hub, &feed)))
}

async fn put(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let fields = Value::Object(at.object(&headers, content).await?);
    let wanted: Wanted = serde_json::from_value(fields)
        .map_err(|error| ApiError::Malformed(format!("Unexpected feed: {error}")))?;
    let trigger = own_trigger(&wanted.trigger, &name)?;
    let bytes = wanted.annotations.size();
    if bytes > MAX_PARAMETER_BYTES {
        let field = "annotations";
        return Err(ApiError::FieldTooLarge { field, bytes, most: MAX_PARAMETER_BYTES });
    }
    if at.query.flag("dryRun")? {
        at.hub.parts.feed_control.check(&wanted.provider, &wanted.parameters)?;
        return Ok(answer::json(&json!({})));
    }
    let wish = Wish {
        namespace: name.namespace,
        name: name.name,
        provider: wanted.provider,
        trigger,
        parameters: wanted.parameters,
        annotations: wanted.annotations,
        feed_action: None,
        paused: wanted.paused,
        life: Life::Same,
    };
    let feed = feed_wishes::put(&at.hub, wish).await?;
    Ok(answer::json(&show(&at.hub, &feed)))
}

async fn post(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let fields = Value::Object(at.object(&headers, content).await?);
    let asked: Asked = serde_json::from_value(fields).map_err(|error| {
        let want = "`action` must be `pause`, `resume` or `reset`; a reset has `to`: `earliest`, \
                    `latest`, {\"time\": milliseconds} or {\"position\": …}";
        ApiError::Malformed(format!("{want} ({error})"))
    })?;
    let change = match asked {
        Asked::Pause {} => Change::Pause,
        Asked::Resume {} => Change::Resume,
        Asked::Reset { to } => Change::Reset(to),
    };
    let feed = feed_wishes::change(&at.hub, &at.own_entity()?, change).await?;
    Ok(answer::json(&show(&at.hub, &feed)))
}

async fn delete(at: At) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let shown = show(&at.hub, &feed_wishes::existing(&at.hub, &name).await?.value);
    feed_wishes::delete(&at.hub, &name).await?;
    Ok(answer::json(&shown))
}

/// A trigger of the feed's own namespace, by its name or its full name.
fn own_trigger(text: &str, feed: &FullName) -> Result<EntityName, ApiError> {
    if !text.contains('/') {
        return Ok(EntityName::new(text)?);
    }
    let full = FullName::parse(text, &feed.namespace)
        .map_err(|error| ApiError::Malformed(error.to_string()))?;
    if full.namespace == feed.namespace && full.package.is_none() {
        Ok(full.name)
    } else {
        Err(ApiError::Bad(format!("`trigger` must be of namespace `{}`", feed.namespace)))
    }
}

/// The feed as people see it, without its credentials.
fn show(hub: &Hub, feed: &Feed) -> Value {
    let mut shown = json!({
        "namespace": feed.namespace,
        "name": feed.name,
        "provider": feed.provider,
        "trigger": feed.trigger,
        "parameters": masked(&feed.parameters),
        "annotations": feed.annotations,
        "paused": feed.paused,
        "generation": feed.generation,
        "updated": feed.updated,
        "status": hub.parts.feed_control.status(feed.uid),
    });
    if let (Some(action), Some(members)) = (&feed.feed_action, shown.as_object_mut()) {
        members.insert("feedAction".to_owned(), action.as_str().into());
    }
    shown
}

/// Parts of names of parameters that hold credentials.
const SECRET: [&str; 7] = ["auth", "credential", "key", "pass", "secret", "token", "cert"];
const MASK: &str = "***";

/// Parameters without what looks like a credential: by the name, or the user's part of a URL.
fn masked(parameters: &Map<String, Value>) -> Map<String, Value> {
    let one = |(name, value): (&String, &Value)| {
        let lower = name.to_ascii_lowercase();
        let secret = !value.is_boolean() && SECRET.iter().any(|part| lower.contains(part));
        (name.clone(), if secret { MASK.into() } else { masked_value(value) })
    };
    parameters.iter().map(one).collect()
}

fn masked_value(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(masked(members)),
        Value::Array(items) => items.iter().map(masked_value).collect(),
        Value::String(text) => match text.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                match authority.rsplit_once('@') {
                    Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}").into(),
                    None => value.clone(),
                }
            }
            None => value.clone(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        let parameters = json!({
            "url": "http://me:hunter2@host:5984/db/x@y", "plain": "http://host/a@b", "every": "1s",
            "password": "hunter2", "sasl": {"Token": "hunter2", "mechanism": "PLAIN"},
            "brokers": ["k://u:hunter2@b1", "b2:9092"], "apiKey": {"id": "hunter2"}, "n": 1,
        });
        let Value::Object(parameters) = parameters else { unreachable!() };
        assert_eq!(
            Value::Object(masked(&parameters)),
            json!({
                "url": "http://***@host:5984/db/x@y", "plain": "http://host/a@b", "every": "1s",
                "password": "***", "sasl": {"Token": "***", "mechanism": "PLAIN"},
                "brokers": ["k://***@b1", "b2:9092"], "apiKey": "***", "n": 1,
            })
        );
    }
}
