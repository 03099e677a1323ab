//! Rules: from a trigger to an action.

mod shown;

use axum::{body::Body, response::Response};
use evoke_schemas::{
    Action, DeliveryPolicy, EntityUid, FullName, KeyValues, Rule, RuleStatus, Trigger,
    rule::DELIVERY_ANNOTATION,
};
use evoke_store::{Change, Stored};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::shown::RuleShown;
pub(super) use self::shown::{Reference, RuleSummary};
use super::{
    actions, answer,
    at::At,
    entities::{self, Common, Listed},
    error::ApiError,
    openapi::{Answer, Content, Operation, Routes, flag, page, query},
    query::Query,
};
use crate::hub::Hub;

/// What a PUT says. Other members are left alone, as OpenWhisk does; `status` is one of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "RulePut")]
struct Wanted {
    #[serde(flatten)]
    common: Common,
    /// Needed where the rule is new.
    #[schemars(with = "Option<Named>")]
    trigger: Option<Value>,
    /// Needed where the rule is new.
    #[schemars(with = "Option<Named>")]
    action: Option<Value>,
}

/// A trigger or action that a body names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Named")]
enum Named {
    /// `/namespace/[package/]name`; `_` is the caller's own namespace.
    Whole(#[schemars(example = "/_/orders")] String),
    /// In two parts, as answers have it.
    Parts {
        /// `namespace[/package]`
        path: String,
        /// The entity.
        name: String,
    },
}

/// What a POST says.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "RulePost")]
struct Asked {
    #[schemars(required, with = "RuleStatus")]
    status: Option<Value>,
}

pub(super) fn routes() -> Routes {
    type One = RuleShown<'static>;
    Routes::about("rules")
        .collection(
            "/api/v1/namespaces/{ns}/rules",
            [Operation::get("listRules", "Lists rules.", list).with(page()).gives::<Listed<
                RuleSummary<'static>,
            >>(
                "Rules, the newest first.",
            )],
        )
        .at(
            "/api/v1/namespaces/{ns}/rules/{name}",
            [
                Operation::get("getRule", "Shows a rule.", read)
                    .gives::<One>("The rule.")
                    .fails([404, 409]),
                Operation::put("putRule", "Makes or changes a rule.", put)
                    .details("A new rule is active. Its annotation `delivery` is its policy.")
                    .with([
                        flag("overwrite", "Whether one that is there may be changed."),
                        query(
                            "status",
                            "Status after it; without it a new rule is active, and another stays as it is.",
                            json!({ "type": "string", "enum": ["active", "inactive"] }),
                        ),
                    ])
                    .takes::<Wanted>(json!({ "trigger": "/_/orders", "action": "/_/hello" }))
                    .gives::<One>("The rule as it is kept.")
                    .fails([404, 409, 429]),
                Operation::delete("deleteRule", "Deletes a rule.", delete)
                    .gives::<One>("What was deleted, inactive.")
                    .fails([404, 409]),
                Operation::post("setRuleStatus", "Makes a rule active or inactive.", set_status)
                    .takes::<Asked>(json!({ "status": "inactive" }))
                    .answers(Answer::new(200, "`OK`: it is so.").with(Content::of::<String>(PLAIN)))
                    .fails([404, 409]),
            ],
        )
}

/// The media type of what is no JSON.
const PLAIN: &str = "text/plain";

async fn list(at: At) -> Result<Response, ApiError> {
    at.own_namespace()?;
    entities::list::<Rule>(&at, None).await
}

async fn read(at: At) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let rule = entities::existing::<Rule>(&at.hub, &name).await?.value;
    let trigger = trigger_of(&at.hub, &rule).await?;
    Ok(answer::json(&RuleShown::of(&rule, status(&rule, trigger.as_ref()))))
}

async fn put(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let overwrite = at.query.flag("overwrite")?;
    let asked_status = queried_status(&at.query)?;
    let wanted: Wanted = at.object(&headers, content).await?;
    let mut common = wanted.common;
    let trigger = reference(wanted.trigger, &at)?;
    let action = reference(wanted.action, &at)?;
    common.check_sizes()?;

    let _turn = entities::turn(&at.hub).await?;
    let before = entities::replaced::<Rule>(&at.hub, &name, overwrite).await?;
    let revision = before.as_ref().map(|before| before.revision);
    let old = before.map(|before| before.value);
    let trigger = trigger.or(old.as_ref().map(|old| old.trigger.clone()));
    let action = action.or(old.as_ref().map(|old| old.action.clone()));
    let (Some(trigger), Some(action)) = (trigger, action) else {
        return Err(ApiError::Bad("rule requires a valid trigger and a valid action".to_owned()));
    };
    if trigger.namespace != at.caller.namespace {
        return Err(ApiError::Forbidden(trigger.to_string()));
    }
    actions::may_refer_to(&at, &action).await?;
    let linked = linked_trigger(&at.hub, &trigger).await?;
    check_action(&at.hub, &action).await?;
    let annotations = common
        .annotations
        .take()
        .or(old.as_ref().map(|old| old.annotations.clone()))
        .unwrap_or_default();
    let delivery = delivery(&at.hub, &annotations, &trigger).await?;
    let rule = Rule {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        uid: entities::uid(old.as_ref().map(|old| old.uid)),
        status: match asked_status {
            Some(status) => status,
            None => status_after(&at.hub, old.as_ref()).await?,
        },
        trigger_uid: linked.value.uid,
        version: common.next_version(old.as_ref().map(|old| old.version)),
        publish: common.publish.or(old.as_ref().map(|old| old.publish)).unwrap_or(false),
        updated: at.now_ms(),
        trigger,
        action,
        delivery,
        annotations,
    };
    keep(&at.hub, &rule, revision, linked).await?;
    Ok(answer::json(&RuleShown::of(&rule, rule.status)))
}

async fn delete(at: At) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let _turn = entities::turn(&at.hub).await?;
    let Stored { value: rule, revision } = entities::existing::<Rule>(&at.hub, &name).await?;
    entities::apply(&at.hub, vec![Change::Delete { name, revision }]).await?;
    at.hub.parts.engine.remove_rule(&rule.namespace, &rule.name);
    Ok(answer::json(&RuleShown::of(&rule, RuleStatus::Inactive)))
}

async fn set_status(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let wanted = wanted_status(at.object::<Asked>(&headers, content).await?)?;
    let _turn = entities::turn(&at.hub).await?;
    let Stored { value: mut rule, revision } = entities::existing::<Rule>(&at.hub, &name).await?;
    let trigger = entities::find::<Trigger>(&at.hub, &rule.trigger).await.ok().flatten();
    if status(&rule, trigger.as_ref().map(|trigger| &trigger.value)) != wanted {
        let trigger = trigger.ok_or(ApiError::RuleWithoutTrigger)?;
        rule.status = wanted;
        rule.trigger_uid = trigger.value.uid;
        keep(&at.hub, &rule, Some(revision), trigger).await?;
    }
    Ok(answer::plain("OK"))
}

/// Keeps a rule, and that its trigger has had one; then both are in the index.
async fn keep(
    hub: &Hub,
    rule: &Rule,
    revision: Option<evoke_store::Revision>,
    trigger: Stored<Trigger>,
) -> Result<(), ApiError> {
    let mut changes = vec![entities::keep(rule.clone(), revision)];
    if !trigger.value.had_rules {
        let marked = Trigger { had_rules: true, ..trigger.value };
        changes.push(entities::keep(marked, Some(trigger.revision)));
    }
    entities::apply(hub, changes).await?;
    hub.parts.engine.put_rule(rule.clone());
    Ok(())
}

/// The trigger or action that a member names.
fn reference(value: Option<Value>, at: &At) -> Result<Option<FullName>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    let is_object = value.is_object();
    let text = match serde_json::from_value(value) {
        Ok(Named::Whole(text)) => text,
        Ok(Named::Parts { path, name }) => format!("{path}/{name}"),
        Err(_) if is_object => return Err(malformed("Expected a path and a name")),
        Err(_) => return Err(malformed("Expected a fully qualified name")),
    };
    FullName::parse(&text, &at.caller.namespace)
        .map(Some)
        .map_err(|error| malformed(&error.to_string()))
}

async fn linked_trigger(hub: &Hub, name: &FullName) -> Result<Stored<Trigger>, ApiError> {
    match entities::find::<Trigger>(hub, name).await {
        Ok(Some(trigger)) => Ok(trigger),
        Ok(None) => Err(ApiError::Bad(format!("trigger /{name} does not exist"))),
        Err(ApiError::OtherCollection) => Err(ApiError::Bad(format!("/{name} is not a trigger"))),
        Err(error) => Err(error),
    }
}

async fn check_action(hub: &Hub, name: &FullName) -> Result<(), ApiError> {
    match entities::find::<Action>(hub, name).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(ApiError::Bad(format!("action /{name} does not exist"))),
        Err(ApiError::OtherCollection) => Err(ApiError::Bad(format!("/{name} is not an action"))),
        Err(error) => Err(error),
    }
}

/// The annotation `delivery`, read strictly.
async fn delivery(
    hub: &Hub,
    annotations: &KeyValues,
    trigger: &FullName,
) -> Result<DeliveryPolicy, ApiError> {
    let wrong = |text: String| ApiError::Bad(format!("annotation `{DELIVERY_ANNOTATION}`: {text}"));
    let Some(value) = annotations.get(DELIVERY_ANNOTATION) else {
        return Ok(DeliveryPolicy::default());
    };
    let policy: DeliveryPolicy =
        serde_json::from_value(value.clone()).map_err(|error| wrong(error.to_string()))?;
    policy.check().map_err(|error| ApiError::Bad(error.to_string()))?;
    if let Some(name) = &policy.dead_letter_trigger {
        let name = FullName::new(trigger.namespace.clone(), name.clone());
        if name == *trigger {
            let text = "`deadLetterTrigger` may not be the rule's own trigger";
            return Err(wrong(text.to_owned()));
        }
        if !matches!(entities::find::<Trigger>(hub, &name).await, Ok(Some(_))) {
            return Err(wrong(format!("`deadLetterTrigger`: trigger /{name} does not exist")));
        }
    }
    Ok(policy)
}

/// The status after a change: a new rule's is active, an old one's is carried over, where its
/// link still holds.
async fn status_after(hub: &Hub, old: Option<&Rule>) -> Result<RuleStatus, ApiError> {
    match old {
        None => Ok(RuleStatus::Active),
        Some(old) => Ok(status(old, trigger_of(hub, old).await?.as_ref())),
    }
}

async fn trigger_of(hub: &Hub, rule: &Rule) -> Result<Option<Trigger>, ApiError> {
    match entities::find::<Trigger>(hub, &rule.trigger).await {
        Ok(found) => Ok(found.map(|stored| stored.value)),
        Err(ApiError::OtherCollection) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Active only while linked to this very life of its trigger.
fn status(rule: &Rule, trigger: Option<&Trigger>) -> RuleStatus {
    let linked = |uid: EntityUid| uid == rule.trigger_uid;
    if trigger.is_some_and(|trigger| linked(trigger.uid)) {
        rule.status
    } else {
        RuleStatus::Inactive
    }
}

fn state(text: &str) -> Result<RuleStatus, String> {
    match text {
        "active" => Ok(RuleStatus::Active),
        "inactive" => Ok(RuleStatus::Inactive),
        _ => Err(format!("{text} is not a recognized rule state")),
    }
}

/// The status that a PUT asks for, so that a rule can be made that never was active.
fn queried_status(query: &Query) -> Result<Option<RuleStatus>, ApiError> {
    let Some(text) = query.get("status").filter(|text| !text.is_empty()) else { return Ok(None) };
    state(&text).map(Some).map_err(|detail| ApiError::Query { name: "status", detail })
}

fn wanted_status(asked: Asked) -> Result<RuleStatus, ApiError> {
    match asked.status {
        Some(Value::String(text)) => state(&text)
            .map_err(|wrong| ApiError::Malformed(format!("requirement failed: {wrong}"))),
        Some(_) => Err(malformed("Expected a string for `status`")),
        None => Err(malformed("Object is missing required member 'status'")),
    }
}

fn malformed(text: &str) -> ApiError {
    ApiError::Malformed(text.to_owned())
}
