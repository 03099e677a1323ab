//! Doing what a plan says, entity by entity.

use serde_json::{Value, json};

use super::{
    feed_action::{self, Lifecycle},
    fingerprint::Fingerprints,
    plan::{Change, Step},
    wanted::{Collection, FINGERPRINTS, Wanted},
};
use crate::{
    error::CliError,
    hub::{Hub, delete, post, put},
    name::{Name, text},
    parameters::value_of,
};

/// Does one step.
///
/// # Errors
/// What the hub answers, naming the entity.
pub(super) async fn carry_out(
    hub: &Hub,
    step: &Step,
    project: Option<&str>,
    fingerprints: &mut Fingerprints,
) -> Result<(), CliError> {
    match (&step.change, &step.wanted) {
        (Change::Unchanged | Change::Keep(_), _) => Ok(()),
        (Change::Delete, _) => remove(hub, step).await,
        (Change::Create | Change::Update(_), Some(wanted)) => {
            make(hub, wanted, step, (project, fingerprints)).await
        }
        (Change::Create | Change::Update(_), None) => Ok(()),
    }
}

async fn make(
    hub: &Hub,
    wanted: &Wanted,
    step: &Step,
    (project, fingerprints): (Option<&str>, &mut Fingerprints),
) -> Result<(), CliError> {
    let former = step.current.as_ref();
    let project = project.or(former.and_then(super::difference::project_of));
    let fingerprint = fingerprint(wanted, former, fingerprints)?;
    let mut body = wanted.put_body(project, fingerprint.as_deref());
    complete(&mut body, wanted, former);
    let former_feed = former.map(feed_of).unwrap_or_default();
    let lifecycle = lifecycle(wanted, step, &former_feed);
    let ends_former = lifecycle.map_or(wanted.feed.is_none(), |word| word == Lifecycle::Create);
    if ends_former && !former_feed.is_empty() {
        let action = Name::parse(&former_feed);
        feed_action::call(hub, Lifecycle::Delete, &action, &wanted.name, None).await?;
    }
    let path = wanted.path();
    let request = put(&path).body(body);
    let status = if wanted.is_inactive { "inactive" } else { "active" };
    let request = match wanted.collection {
        Collection::Feeds => request,
        Collection::Rules => request.query("overwrite", true).query("status", status),
        _ => request.query("overwrite", true),
    };
    let saved = hub.ask(request).await?;
    // A hub of OpenWhisk makes every new rule active.
    if wanted.collection == Collection::Rules && text(&saved, "status") != status {
        hub.ask(post(&path).body(json!({ "status": status }))).await?;
    }
    let (Some(lifecycle), Some(feed)) = (lifecycle, &wanted.feed) else { return Ok(()) };
    let told =
        feed_action::call(hub, lifecycle, &feed.action, &wanted.name, Some(&feed.parameters)).await;
    match (told, former) {
        (Err(error), None) => {
            // As other clients do: a trigger that nothing fires must not stay.
            hub.ask(delete(&path)).await?;
            Err(error)
        }
        (Err(error), Some(_)) => {
            // What was not taken must be seen as different by the next apply.
            let body = wanted.put_body(project, None);
            hub.ask(put(&path).body(body).query("overwrite", true)).await?;
            Err(error)
        }
        (Ok(()), _) => Ok(()),
    }
}

/// Members that a PUT has to say, because what is absent stays as it is.
fn complete(body: &mut Value, wanted: &Wanted, former: Option<&Value>) {
    let (Some(former), Some(members)) = (former, body.as_object_mut()) else { return };
    match wanted.collection {
        Collection::Triggers if former.get("webhook").is_some() => {
            members.entry("webhook").or_insert(Value::Null);
        }
        Collection::Actions => {
            let defaults = evoke_schemas::limits::LimitRanges::default().defaults();
            let limits = members.entry("limits").or_insert_with(|| json!({}));
            for (name, default) in [
                ("timeout", defaults.timeout),
                ("memory", defaults.memory),
                ("logs", defaults.logs),
                ("concurrency", defaults.concurrency),
            ] {
                if let Some(limits) = limits.as_object_mut() {
                    limits.entry(name).or_insert_with(|| default.into());
                }
            }
        }
        _ => {}
    }
}

/// The fingerprint that stands there, where it is still right, else a fresh one.
fn fingerprint(
    wanted: &Wanted,
    former: Option<&Value>,
    fingerprints: &mut Fingerprints,
) -> Result<Option<String>, CliError> {
    let Some((name, value)) = &wanted.unseen() else { return Ok(None) };
    let annotations = former.and_then(|former| former.get("annotations"));
    let known = annotations.and_then(|list| value_of(list, FINGERPRINTS));
    let known = known.map(|all| text(all, name)).unwrap_or_default();
    if !known.is_empty() && fingerprints.is_of(known, value) {
        return Ok(Some(known.to_owned()));
    }
    fingerprints.make(value).map(Some)
}

/// What the trigger's feed action has to be told.
fn lifecycle(wanted: &Wanted, step: &Step, former_feed: &str) -> Option<Lifecycle> {
    let feed = wanted.feed.as_ref()?;
    let Change::Update(fields) = &step.change else { return Some(Lifecycle::Create) };
    let is_other = feed.action != Name::parse(former_feed);
    let is_changed = fields.iter().any(|change| matches!(change.field.as_str(), "inputs" | "feed"));
    match (is_other, is_changed) {
        (true, _) => Some(Lifecycle::Create),
        // The hub's own feeds go on where they stand; others need not know UPDATE.
        (false, true) if feed.action.namespace == "whisk.system" => Some(Lifecycle::Update),
        (false, true) => Some(Lifecycle::Create),
        (false, false) => None,
    }
}

/// The feed action that fires a trigger; empty where none does.
fn feed_of(trigger: &Value) -> String {
    let feed = trigger.get("annotations").and_then(|list| value_of(list, "feed"));
    feed.and_then(Value::as_str).unwrap_or_default().to_owned()
}

async fn remove(hub: &Hub, step: &Step) -> Result<(), CliError> {
    let feed = step.current.as_ref().map(feed_of).unwrap_or_default();
    if step.collection == Collection::Triggers && !feed.is_empty() {
        let action = Name::parse(&feed);
        feed_action::call(hub, Lifecycle::Delete, &action, &step.name, None).await?;
    }
    match hub.ask(delete(&step.name.path(step.collection.word()))).await {
        // A trigger takes its feed along; somebody else may have been quicker.
        Ok(_) | Err(CliError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
