//! OpenWhisk's life cycle of feeds, as the parameters of a feed action ask for it, over ours.
//!
//! Source: `spec/feeds-and-cloudevents.md` 1.1 to 1.3. Of ours, not of OpenWhisk's providers:
//! PAUSE, UNPAUSE and RESET are done, UPDATE takes every parameter, and READ has a member `evoke`.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use evoke_feeds::{FeedAction, FeedRefusal, FeedState, FeedStatus};
use evoke_schemas::{EntityName, Feed, FullName, KeyValues, Namespace, ResetTo};
use evoke_store::StoreError;
use serde_json::{Map, Value, json};

use crate::{
    feed_wishes::{self, Change, Life, Wish},
    hub::Hub,
    rest::ApiError,
};

/// Parameters of the protocol, and of the way to OpenWhisk's providers: no feed's own.
const PROTOCOL: [&str; 7] = [
    "lifecycleEvent",
    "triggerName",
    "authKey",
    "apihost",
    "endpoint",
    "bluemixServiceName",
    "__ow_headers",
];
/// What a feed action can be asked for.
const EVENTS: &str = "CREATE, READ, UPDATE, DELETE, PAUSE, UNPAUSE, RESET";

type Members = Map<String, Value>;

/// One request to a feed action.
struct Request<'a> {
    hub: &'a Arc<Hub>,
    action: &'a dyn FeedAction,
    /// The trigger, and the feed that has its name.
    name: FullName,
    parameters: Members,
}

/// Does what the parameters ask for and gives the action's result: an error is one, too.
pub(super) async fn run(
    hub: &Arc<Hub>,
    action: &dyn FeedAction,
    caller: &Namespace,
    mut parameters: Members,
) -> Members {
    let event = parameters.get("lifecycleEvent").and_then(Value::as_str).map(str::to_uppercase);
    let done = match trigger(hub, caller, &parameters).await {
        Ok(name) => {
            parameters.retain(|name, _| !PROTOCOL.contains(&name.as_str()));
            let request = Request { hub, action, name, parameters };
            request.answer(event.as_deref().unwrap_or_default()).await
        }
        Err(refusal) => Err(refusal),
    };
    done.unwrap_or_else(|refusal| action.refused(&refusal))
}

/// The trigger that is asked about, of whose namespace the key must be.
async fn trigger(
    hub: &Hub,
    caller: &Namespace,
    parameters: &Members,
) -> Result<FullName, FeedRefusal> {
    let text = parameters.get("triggerName").and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() {
        return Err(FeedRefusal::bad("no trigger name parameter was provided"));
    }
    let wrong = |why: &dyn std::fmt::Display| {
        FeedRefusal::bad(format!("`triggerName` must be `/namespace/trigger`: {why}"))
    };
    let name = if text.contains('/') {
        FullName::parse(text, caller).map_err(|error| wrong(&error))?
    } else {
        let name = EntityName::new(text).map_err(|error| wrong(&error))?;
        FullName::new(caller.clone(), name)
    };
    if name.package.is_some() {
        return Err(wrong(&"a trigger is in no package"));
    }
    let of_key = match parameters.get("authKey").and_then(Value::as_str) {
        // Who calls without one is known all the same.
        None => Some(caller.clone()),
        Some(key) => match key.split_once(':') {
            Some((uuid, key)) => {
                let known = hub.parts.identities.authenticate(uuid, key).await;
                known.map_err(failed)?.map(|identity| identity.namespace.clone())
            }
            None => None,
        },
    };
    if of_key.as_ref() == Some(&name.namespace) {
        Ok(name)
    } else {
        let message = format!("`authKey` is not authorized for trigger `/{name}`");
        Err(FeedRefusal { status: 401, message })
    }
}

impl Request<'_> {
    async fn answer(self, event: &str) -> Result<Members, FeedRefusal> {
        match event {
            "CREATE" => self.create().await,
            "READ" => Ok(self.read(&self.feed().await?)),
            "UPDATE" => self.update().await,
            "DELETE" => {
                self.feed().await?;
                feed_wishes::delete(self.hub, &self.name).await.map_err(refusal)?;
                Ok(self.action.done())
            }
            "PAUSE" => self.change(Change::Pause).await,
            "UNPAUSE" => self.change(Change::Resume).await,
            "RESET" => {
                let to = self.parameters.get("to").cloned().unwrap_or_default();
                let to: ResetTo = serde_json::from_value(to).map_err(|error| {
                    FeedRefusal::bad(format!(
                        "`to` must be `earliest`, `latest`, {{\"time\": milliseconds}} or \
                         {{\"position\": …}} ({error})"
                    ))
                })?;
                self.change(Change::Reset(to)).await
            }
            _ => Err(FeedRefusal::bad(format!("`lifecycleEvent` must be one of {EVENTS}"))),
        }
    }

    async fn create(self) -> Result<Members, FeedRefusal> {
        let parameters = self.action.create(&self.parameters)?;
        let wish = self.wish(parameters, false, Life::New, self.path());
        let feed = feed_wishes::put(self.hub, wish).await.map_err(refusal)?;
        // Clients take the trigger away again when CREATE fails, so it must not succeed with what
        // its caller has to mend.
        let now = self.hub.parts.feed_control.status(feed.uid);
        if let Some(now) = now.filter(|now| now.state == FeedState::Waiting && !now.pinned) {
            feed_wishes::delete(self.hub, &self.name).await.map_err(refusal)?;
            return Err(FeedRefusal::bad(now.reason.unwrap_or_default()));
        }
        Ok(self.action.created(&uuid::Uuid::from_bytes(feed.uid.0).to_string()))
    }

    async fn update(self) -> Result<Members, FeedRefusal> {
        let feed = self.feed().await?;
        let parameters = self.action.update(&feed.parameters, &self.parameters)?;
        let made_by = feed.feed_action.unwrap_or_default();
        let wish = self.wish(parameters, feed.paused, Life::Same, made_by);
        feed_wishes::put(self.hub, wish).await.map_err(refusal)?;
        Ok(self.action.done())
    }

    async fn change(self, change: Change) -> Result<Members, FeedRefusal> {
        self.feed().await?;
        feed_wishes::change(self.hub, &self.name, change).await.map_err(refusal)?;
        Ok(self.action.done())
    }

    fn wish(&self, parameters: Members, paused: bool, life: Life, made_by: String) -> Wish {
        Wish {
            namespace: self.name.namespace.clone(),
            name: self.name.name.clone(),
            provider: self.action.provider().to_owned(),
            trigger: self.name.name.clone(),
            parameters,
            annotations: KeyValues::default(),
            feed_action: Some(made_by),
            paused,
            life,
        }
    }

    /// The action within `/whisk.system`.
    fn path(&self) -> String {
        let card = self.action.card();
        format!("{}/{}", card.package, card.name)
    }

    /// The feed of the trigger, if this action's package made it.
    async fn feed(&self) -> Result<Feed, FeedRefusal> {
        let missing = || FeedRefusal {
            status: 404,
            message: format!("trigger `/{}` has no feed of `{}`", self.name, self.path()),
        };
        match feed_wishes::existing(self.hub, &self.name).await {
            Ok(feed) if self.is_of_package(&feed.value) => Ok(feed.value),
            Ok(_) | Err(ApiError::Missing) => Err(missing()),
            Err(error) => Err(refusal(error)),
        }
    }

    fn is_of_package(&self, feed: &Feed) -> bool {
        let package = feed.feed_action.as_ref().and_then(|action| action.split_once('/'));
        package.is_some_and(|(package, _)| package == self.action.card().package)
    }

    fn read(&self, feed: &Feed) -> Members {
        let mut config = self.action.identity(&self.name);
        config.extend(self.action.config(&feed.parameters));
        let now = self.hub.parts.feed_control.status(feed.uid);
        Map::from_iter([
            ("config".to_owned(), config.into()),
            ("status".to_owned(), status(feed, now.as_ref())),
            ("evoke".to_owned(), json!(now)),
        ])
    }
}

/// OpenWhisk's status: whether it is active, since when, and why it is not (1.3).
fn status(feed: &Feed, now: Option<&FeedStatus>) -> Value {
    let reason = |kind: &str, message: &str| Some(json!({"kind": kind, "message": message}));
    let why = now.and_then(|now| now.reason.as_deref());
    let reason = match now.map(|now| now.state) {
        _ if feed.paused => reason("ADMIN", "paused"),
        Some(FeedState::Finished) => reason("AUTO", why.unwrap_or("nothing more will come")),
        Some(FeedState::Failed) => reason("AUTO", why.unwrap_or("the feed failed")),
        // What waits goes on by itself: `evoke` tells for what.
        _ => None,
    };
    let changed = i64::try_from(feed.updated).ok().and_then(DateTime::from_timestamp_millis);
    let mut status = json!({
        "active": reason.is_none(),
        "dateChanged": feed.updated,
        "dateChangedISO": changed.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
    });
    if let (Some(reason), Some(members)) = (reason, status.as_object_mut()) {
        members.insert("reason".to_owned(), reason);
    }
    status
}

fn refusal(error: ApiError) -> FeedRefusal {
    let status = match &error {
        ApiError::Bad(_) => 400,
        ApiError::Missing => 404,
        ApiError::Exists => 409,
        ApiError::Unavailable(_) => 503,
        _ => 500,
    };
    let message = match error {
        ApiError::Exists => "a feed of the trigger's name was made by other means".to_owned(),
        other => other.to_string(),
    };
    FeedRefusal { status, message }
}

fn failed(error: StoreError) -> FeedRefusal {
    refusal(error.into())
}
