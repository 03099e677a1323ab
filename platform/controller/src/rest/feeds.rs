//! Feeds: what is wanted of sources, and what they are doing.

use axum::{body::Body, response::Response};
use evoke_feeds::FeedStatus;
use evoke_schemas::{
    EntityName, Feed, FullName, KeyValues, Namespace, ResetTo, limits::MAX_PARAMETER_BYTES,
};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    answer,
    at::At,
    entities::{Listed, counted},
    error::ApiError,
    openapi::{Operation, Routes, flag, page},
};
use crate::{
    feed_wishes::{self, Change, Life, Wish},
    hub::Hub,
};

const COLLECTION: &str = "feeds";

/// What a PUT says. All of it each time: what is absent has its default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FeedPut")]
struct Wanted {
    /// The kind of source.
    provider: String,
    /// A trigger of the same namespace, by its name or `/namespace/name`.
    trigger: String,
    /// The provider's.
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    annotations: KeyValues,
    /// Whether it rests.
    #[serde(default)]
    paused: bool,
}

/// What a POST asks of a feed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "action", deny_unknown_fields)]
#[schemars(rename = "FeedPost")]
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

/// A feed, without its credentials.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Feed")]
struct Shown<'a> {
    namespace: &'a Namespace,
    name: &'a EntityName,
    provider: &'a str,
    trigger: &'a EntityName,
    /// `***` in the place of what looks like a credential.
    parameters: Map<String, Value>,
    annotations: &'a KeyValues,
    paused: bool,
    /// Goes up with each change.
    generation: u64,
    /// Epoch milliseconds.
    updated: u64,
    /// None where nobody runs it.
    status: Option<FeedStatus>,
    /// Feed action of `/whisk.system` that it was made by.
    #[serde(skip_serializing_if = "Option::is_none")]
    feed_action: Option<&'a str>,
}

/// What a PUT answers.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "FeedPutAnswer")]
enum Put<'a> {
    Kept(Box<Shown<'a>>),
    Checked {},
}

pub(super) fn routes() -> Routes {
    type One = Shown<'static>;
    Routes::about("feeds")
        .collection(
            "/api/v1/namespaces/{ns}/feeds",
            [Operation::get("listFeeds", "Lists feeds.", list)
                .with(page())
                .gives::<Listed<One>>("Feeds, the newest first.")],
        )
        .at(
            "/api/v1/namespaces/{ns}/feeds/{name}",
            [
                Operation::get("getFeed", "Shows a feed.", read)
                    .gives::<One>("The feed and what it is doing.")
                    .fails([404]),
                Operation::put("putFeed", "Makes or changes a feed.", put)
                    .with([flag("dryRun", "Whether it is only checked.")])
                    .takes::<Wanted>(json!({
                        "provider": "alarms", "trigger": "hello", "parameters": { "every": "1h" },
                    }))
                    .gives::<Put<'static>>(
                        "The feed as it is kept; `{}` where it was only checked.",
                    )
                    .fails([409, 429, 503]),
                Operation::post("changeFeed", "Pauses, resumes or resets a feed.", post)
                    .takes::<Asked>(json!({ "action": "pause" }))
                    .gives::<One>("The feed as it is kept.")
                    .fails([404, 409, 503]),
                Operation::delete("deleteFeed", "Ends a feed.", delete)
                    .gives::<One>("What was deleted.")
                    .fails([404, 409, 503]),
            ],
        )
}

async fn list(at: At) -> Result<Response, ApiError> {
    let namespace = at.own_namespace()?;
    let page = at.query.page(COLLECTION)?;
    let mut feeds = at.hub.parts.feeds.feeds(Some(namespace)).await?;
    if page.count {
        return Ok(answer::json(&counted(COLLECTION, feeds.len(), page.skip)));
    }
    feeds.sort_by(|one, other| other.updated.cmp(&one.updated).then(one.name.cmp(&other.name)));
    let shown = feeds.iter().skip(page.skip).take(page.limit).map(|feed| show(&at.hub, feed));
    Ok(answer::json(&Listed::Items(shown.collect())))
}

async fn read(at: At) -> Result<Response, ApiError> {
    let feed = feed_wishes::existing(&at.hub, &at.own_entity()?).await?.value;
    Ok(answer::json(&show(&at.hub, &feed)))
}

async fn put(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let wanted: Wanted = at.named("feed", &headers, content).await?;
    let trigger = own_trigger(&wanted.trigger, &name)?;
    let bytes = wanted.annotations.size();
    if bytes > MAX_PARAMETER_BYTES {
        let field = "annotations";
        return Err(ApiError::FieldTooLarge { field, bytes, most: MAX_PARAMETER_BYTES });
    }
    if at.query.flag("dryRun")? {
        at.hub.parts.feed_control.check(&wanted.provider, &wanted.parameters)?;
        return Ok(answer::json(&Put::Checked {}));
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
    Ok(answer::json(&Put::Kept(Box::new(show(&at.hub, &feed)))))
}

async fn post(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
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
    let feed = feed_wishes::change(&at.hub, &name, change).await?;
    Ok(answer::json(&show(&at.hub, &feed)))
}

async fn delete(at: At) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let feed = feed_wishes::existing(&at.hub, &name).await?.value;
    let shown = show(&at.hub, &feed);
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

/// The feed as people see it.
fn show<'a>(hub: &Hub, feed: &'a Feed) -> Shown<'a> {
    Shown {
        namespace: &feed.namespace,
        name: &feed.name,
        provider: &feed.provider,
        trigger: &feed.trigger,
        parameters: masked(&feed.parameters),
        annotations: &feed.annotations,
        paused: feed.paused,
        generation: feed.generation,
        updated: feed.updated,
        status: hub.parts.feed_control.status(feed.uid),
        feed_action: feed.feed_action.as_deref(),
    }
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
