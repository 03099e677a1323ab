//! Triggers: create, change, read, delete, list; [`super::events`] fires them.

mod shown;

use axum::{body::Body, response::Response};
use evoke_schemas::{
    EntityName, FullName, KeyValues, Trigger,
    trigger::{FEED_ANNOTATION, SUBSCRIPTION_ANNOTATION, Subscription, WebhookCredential},
};
use evoke_store::{Change, Stored};
use http::{HeaderMap, HeaderName};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use self::shown::TriggerShown;
pub(super) use self::shown::TriggerSummary;
use super::{
    answer,
    at::At,
    entities::{self, Common, Listed},
    error::ApiError,
    events,
    openapi::{Operation, Routes, flag, page},
};
use crate::hub::Hub;

/// What a PUT says. Other members are left alone, as OpenWhisk does.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "TriggerPut")]
struct Wanted {
    #[serde(flatten)]
    common: Common,
    /// Nothing is kept of it.
    #[schemars(with = "Option<Map<String, Value>>")]
    limits: Option<Value>,
    /// The trigger's own credential. Absent: it stays as it is; null: it is taken away.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<WebhookCredential>")]
    webhook: Option<Value>,
}

/// A member that is there, be it null.
fn given<'de, D: Deserializer<'de>>(member: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(member).map(Some)
}

pub(super) fn routes() -> Routes {
    type One = TriggerShown<'static>;
    Routes::about("triggers")
        .collection(
            "/api/v1/namespaces/{ns}/triggers",
            [Operation::get("listTriggers", "Lists triggers.", list).with(page()).gives::<Listed<
                TriggerSummary<'static>,
            >>(
                "Triggers, the newest first.",
            )],
        )
        .at(
            "/api/v1/namespaces/{ns}/triggers/{name}/handshakes",
            [events::handshake::list_described()],
        )
        .at(
            "/api/v1/namespaces/{ns}/triggers/{name}",
            [
                Operation::get("getTrigger", "Shows a trigger.", read)
                    .gives::<One>("The trigger with its rules.")
                    .fails([404, 409]),
                Operation::put("putTrigger", "Makes or changes a trigger.", put)
                    .with([flag("overwrite", "Whether one that is there may be changed.")])
                    .takes::<Wanted>(json!({
                        "annotations": [
                            { "key": "subscription", "value": { "type": "order.*" } },
                        ],
                    }))
                    .gives::<One>("The trigger as it is kept.")
                    .fails([409, 429]),
                Operation::delete("deleteTrigger", "Deletes a trigger.", delete)
                    .gives::<One>("What was deleted.")
                    .fails([404, 409]),
                events::fire_described(),
                events::handshake::trigger_described(),
            ],
        )
}

async fn list(at: At) -> Result<Response, ApiError> {
    at.own_namespace()?;
    entities::list::<Trigger>(&at, None).await
}

async fn read(at: At) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let trigger = entities::existing::<Trigger>(&at.hub, &name).await?.value;
    show(&at.hub, &trigger).await
}

async fn put(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let overwrite = at.query.flag("overwrite")?;
    let wanted: Wanted = at.object(&headers, content).await?;
    let mut common = wanted.common;
    check_limits(wanted.limits.as_ref())?;
    let webhook = wanted.webhook.map(webhook).transpose()?;
    common.check_sizes()?;

    let _turn = entities::turn(&at.hub).await?;
    let before = entities::replaced::<Trigger>(&at.hub, &name, overwrite).await?;
    if before.is_none() {
        check_feed(common.annotations.as_ref())?;
    }
    let revision = before.as_ref().map(|before| before.revision);
    let old = before.map(|before| before.value);
    common.keep_secrets(old.as_ref().map(|old| &old.parameters))?;
    let trigger = changed(&name, old, common, webhook, at.now_ms())?;
    entities::apply(&at.hub, vec![entities::keep(trigger.clone(), revision)]).await?;
    at.hub.webhooks.put(&trigger);
    at.hub.parts.engine.put_trigger(trigger.clone());
    show(&at.hub, &trigger).await
}

async fn delete(at: At) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let _turn = entities::turn(&at.hub).await?;
    let Stored { value: trigger, revision } = entities::existing::<Trigger>(&at.hub, &name).await?;
    let shown = show(&at.hub, &trigger).await?;
    entities::apply(&at.hub, vec![Change::Delete { name, revision }]).await?;
    at.hub.webhooks.remove(&trigger.namespace, &trigger.name);
    at.hub.handshakes.forget(&trigger.namespace, &trigger.name);
    at.hub.parts.engine.remove_trigger(&trigger.namespace, &trigger.name);
    Ok(shown)
}

/// The trigger after a change. `webhook` is absent, taken away or set.
fn changed(
    name: &FullName,
    old: Option<Trigger>,
    common: Common,
    webhook: Option<Option<WebhookCredential>>,
    now_ms: u64,
) -> Result<Trigger, ApiError> {
    let old = old.as_ref();
    let version = common.next_version(old.map(|old| old.version));
    let annotations =
        common.annotations.or(old.map(|old| old.annotations.clone())).unwrap_or_default();
    Ok(Trigger {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        uid: entities::uid(old.map(|old| old.uid)),
        parameters: common.parameters.or(old.map(|old| old.parameters.clone())).unwrap_or_default(),
        subscription: subscription(&annotations)?,
        annotations,
        webhook: webhook.unwrap_or_else(|| old.and_then(|old| old.webhook.clone())),
        version,
        publish: common.publish.or(old.map(|old| old.publish)).unwrap_or(false),
        updated: now_ms,
        had_rules: old.is_some_and(|old| old.had_rules),
    })
}

/// OpenWhisk keeps no limits of triggers, but wants an object.
fn check_limits(limits: Option<&Value>) -> Result<(), ApiError> {
    match limits {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => Err(ApiError::Malformed("Object expected for `limits`".to_owned())),
    }
}

/// At creation the name of a feed must be a path.
fn check_feed(annotations: Option<&KeyValues>) -> Result<(), ApiError> {
    let wrong = || ApiError::Bad("Feed name is not valid".to_owned());
    match annotations.and_then(|annotations| annotations.get(FEED_ANNOTATION)) {
        None => Ok(()),
        Some(Value::String(path)) => {
            let path = path.strip_prefix('/').unwrap_or(path);
            let legal = |part| EntityName::new(part).is_ok();
            if path.split('/').all(legal) { Ok(()) } else { Err(wrong()) }
        }
        Some(_) => Err(wrong()),
    }
}

/// The annotation `subscription`, read strictly.
fn subscription(annotations: &KeyValues) -> Result<Option<Subscription>, ApiError> {
    let Some(value) = annotations.get(SUBSCRIPTION_ANNOTATION) else { return Ok(None) };
    let read: Result<Subscription, _> = serde_json::from_value(value.clone());
    read.map(Some)
        .map_err(|error| ApiError::Bad(format!("annotation `{SUBSCRIPTION_ANNOTATION}`: {error}")))
}

/// The member `webhook`, read strictly; null takes the credential away.
fn webhook(value: Value) -> Result<Option<WebhookCredential>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    let mut credential: WebhookCredential = serde_json::from_value(value).map_err(|_secret| {
        ApiError::Bad(
            "`webhook` must be {\"bearer\":{\"token\":…}} or {\"hmac\":{\"secret\":…,\"header\":…}}"
                .to_owned(),
        )
    })?;
    let empty = match &mut credential {
        WebhookCredential::Bearer { token } => token.reveal().is_empty(),
        WebhookCredential::Hmac { secret, header } => {
            header.make_ascii_lowercase();
            if HeaderName::try_from(header.as_str()).is_err() {
                let text = format!("`webhook`: `{header}` is no name of a header");
                return Err(ApiError::Bad(text));
            }
            secret.reveal().is_empty()
        }
    };
    if empty {
        return Err(ApiError::Bad("`webhook`: the secret may not be empty".to_owned()));
    }
    Ok(Some(credential))
}

async fn show(hub: &Hub, trigger: &Trigger) -> Result<Response, ApiError> {
    let rules = hub.parts.entities.rules_of(trigger.uid).await?;
    Ok(answer::json(&TriggerShown::of(trigger, &rules)))
}
