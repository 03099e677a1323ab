//! Feeds: what is wanted of sources, and what they are doing.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response, routing::get};
use evoke_schemas::{EntityName, EntityUid, Feed, FullName, Reset, ResetTo, Trigger};
use evoke_store::{Expect, Stored};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{answer, at::At, entities, error::ApiError};
use crate::{feed_control::FeedRefused, hub::Hub};

const COLLECTION: &str = "feeds";
/// Longest wait of an answer for the feed's place to be durable.
const PINNED_WITHIN: Duration = Duration::from_secs(5);

/// What a PUT says. All of it each time: what is absent has its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    provider: String,
    trigger: String,
    #[serde(default)]
    parameters: Map<String, Value>,
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
    let feed = existing(&at).await?.value;
    Ok(answer::json(&show(&at.hub, &feed)))
}

async fn put(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let fields = Value::Object(at.object(&headers, content).await?);
    let wanted: Wanted = serde_json::from_value(fields)
        .map_err(|error| ApiError::Malformed(format!("Unexpected feed: {error}")))?;
    at.hub.parts.feed_control.check(&wanted.provider, &wanted.parameters)?;
    let trigger = own_trigger(&wanted.trigger, &name)?;

    let turn = entities::turn(&at.hub).await?;
    let at_trigger = FullName::new(name.namespace.clone(), trigger.clone());
    if !matches!(entities::find::<Trigger>(&at.hub, &at_trigger).await, Ok(Some(_))) {
        return Err(ApiError::Bad(format!("trigger /{at_trigger} does not exist")));
    }
    let before = at.hub.parts.feeds.feed(&name.namespace, &name.name).await?;
    let expect = before.as_ref().map_or(Expect::New, |before| Expect::At(before.revision));
    let old = before.map(|before| before.value);
    // Another source is another feed: it must not go on where the former stood.
    let same = old.as_ref().filter(|old| old.provider == wanted.provider);
    let feed = Feed {
        uid: same.map_or_else(EntityUid::fresh, |old| old.uid),
        generation: same.map_or(1, |old| old.generation + 1),
        namespace: name.namespace,
        name: name.name,
        provider: wanted.provider,
        trigger,
        parameters: wanted.parameters,
        feed_action: None,
        paused: wanted.paused,
        reset: same.and_then(|old| old.reset.clone()),
        updated: at.now_ms(),
    };
    at.hub.parts.feeds.put_feed(feed.clone(), expect).await?;
    if let Some(former) = old.filter(|old| old.uid != feed.uid) {
        at.hub.parts.feed_control.remove(former.uid).await?;
    }
    at.hub.parts.feed_control.apply(feed.clone()).await?;
    // Others need not wait for the feed's source.
    drop(turn);
    Ok(settled(&at, &feed).await)
}

/// The feed once its place is durable, or as it is after a while.
async fn settled(at: &At, feed: &Feed) -> Response {
    let settled = at.hub.parts.feed_control.settled(feed.uid, feed.generation);
    if tokio::time::timeout(PINNED_WITHIN, settled).await.is_err() {
        tracing::debug!(feed = %feed.name, "the answer does not wait for the feed's place");
    }
    answer::json(&show(&at.hub, feed))
}

async fn post(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let fields = Value::Object(at.object(&headers, content).await?);
    let asked: Asked = serde_json::from_value(fields).map_err(|error| {
        let want = "`action` must be `pause`, `resume` or `reset`; a reset has `to`: `earliest`, \
                    `latest`, {\"time\": milliseconds} or {\"position\": …}";
        ApiError::Malformed(format!("{want} ({error})"))
    })?;
    let turn = entities::turn(&at.hub).await?;
    let Stored { value: old, revision } = existing(&at).await?;
    let generation = old.generation + 1;
    let (paused, reset) = match asked {
        Asked::Pause {} | Asked::Resume {} if matches!(asked, Asked::Pause {}) == old.paused => {
            return Ok(answer::json(&show(&at.hub, &old)));
        }
        Asked::Pause {} => (true, old.reset),
        Asked::Resume {} => (false, old.reset),
        Asked::Reset { to } => (old.paused, Some(Reset { generation, to })),
    };
    let feed = Feed { generation, paused, reset, updated: at.now_ms(), ..old };
    at.hub.parts.feeds.put_feed(feed.clone(), Expect::At(revision)).await?;
    at.hub.parts.feed_control.apply(feed.clone()).await?;
    drop(turn);
    Ok(settled(&at, &feed).await)
}

async fn delete(at: At) -> Result<Response, ApiError> {
    let _turn = entities::turn(&at.hub).await?;
    let Stored { value: feed, revision } = existing(&at).await?;
    let shown = show(&at.hub, &feed);
    at.hub.parts.feeds.delete_feed(&feed.namespace, &feed.name, revision).await?;
    at.hub.parts.feed_control.remove(feed.uid).await?;
    Ok(answer::json(&shown))
}

async fn existing(at: &At) -> Result<Stored<Feed>, ApiError> {
    let name = at.own_entity()?;
    let found = at.hub.parts.feeds.feed(&name.namespace, &name.name).await?;
    found.ok_or(ApiError::Missing)
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
    json!({
        "namespace": feed.namespace,
        "name": feed.name,
        "provider": feed.provider,
        "trigger": feed.trigger,
        "parameters": masked(&feed.parameters),
        "paused": feed.paused,
        "generation": feed.generation,
        "updated": feed.updated,
        "status": hub.parts.feed_control.status(feed.uid),
    })
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

impl From<FeedRefused> for ApiError {
    fn from(refused: FeedRefused) -> Self {
        match refused {
            FeedRefused::Parameters(_) => Self::Bad(refused.to_string()),
            FeedRefused::Closed => Self::Unavailable(refused.to_string()),
        }
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
