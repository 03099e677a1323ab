//! Actions: create, change, read, delete, list; [`invoke`] calls them.

mod exec;
mod invoke;
mod limits;
mod shown;

use std::sync::Arc;

use axum::{body::Body, extract::State, response::Response};
use evoke_schemas::{
    Action, FullName, KeyValues, Package,
    action::{EXEC_ANNOTATION, NATIVE_KIND, NETWORK_ANNOTATION, PROVIDE_API_KEY},
};
use evoke_store::{Change, Stored};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use self::shown::ActionSummary;
use self::{exec::NewExec, shown::ActionShown};
use super::{
    answer,
    at::At,
    body,
    entities::{self, Common, Listed},
    error::ApiError,
    openapi::{Operation, Routes, flag, page},
};
use crate::hub::Hub;

/// Annotations that would make an action something that this version does not run.
const LATER: [&str; 5] =
    ["web-export", "raw-http", "require-whisk-auth", "web-custom-options", "conductor"];

/// What a PUT says. Other members are left alone, as OpenWhisk does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ActionPut")]
struct Wanted {
    #[serde(flatten)]
    common: Common,
    /// Needed where the action is new.
    #[schemars(with = "Option<exec::Asked>")]
    exec: Option<Value>,
    /// Absent ones stay as they are, or are the defaults.
    #[schemars(with = "Option<limits::Asked>")]
    limits: Option<Value>,
    /// Names of annotations to take away.
    #[schemars(with = "Option<Vec<String>>")]
    del_annotations: Option<Value>,
}

pub(super) fn routes() -> Routes {
    type List = Listed<ActionSummary<'static>>;
    Routes::about("actions")
        .collection(
            "/api/v1/namespaces/{ns}/actions",
            [Operation::get("listActions", "Lists actions, those in packages too.", list)
                .with(page())
                .gives::<List>("Actions, the newest first.")],
        )
        .at(
            "/api/v1/namespaces/{ns}/actions/{package}/",
            [Operation::get(
                "listActionsOfPackage",
                "Lists the actions of a package.",
                list_package,
            )
            .details("The slash at the end belongs to the path.")
            .with(page())
            .gives::<List>("Actions, the newest first.")
            .fails([404, 409])],
        )
        .at(
            "/api/v1/namespaces/{ns}/actions/{name}",
            of_one(["getAction", "putAction", "deleteAction", "invokeAction"]),
        )
        .at(
            "/api/v1/namespaces/{ns}/actions/{package}/{name}",
            of_one([
                "getActionOfPackage",
                "putActionOfPackage",
                "deleteActionOfPackage",
                "invokeActionOfPackage",
            ]),
        )
}

fn of_one([get, change, remove, invoke]: [&'static str; 4]) -> [Operation; 4] {
    type One = ActionShown<'static>;
    [
        Operation::get(get, "Shows an action.", read)
            .with([flag("code", "Whether the code is shown; yes where it is absent.")])
            .gives::<One>("The action, with the parameters of its package.")
            .fails([404, 409]),
        Operation::put(change, "Makes or changes an action.", put)
            .with([flag("overwrite", "Whether one that is there may be changed.")])
            .takes::<Wanted>(json!({
                "exec": {
                    "kind": "nodejs:default",
                    "code": "function main(args) { return { greeting: `Hello ${args.name}` }; }",
                },
                "parameters": [{ "key": "name", "value": "World" }],
            }))
            .gives::<One>("The action as it is kept.")
            .fails([404, 409, 429]),
        Operation::delete(remove, "Deletes an action.", delete)
            .gives::<One>("What was deleted.")
            .fails([404, 409]),
        invoke::described(invoke),
    ]
}

async fn list(at: At) -> Result<Response, ApiError> {
    at.own_namespace()?;
    entities::list::<Action>(&at, None).await
}

async fn list_package(at: At) -> Result<Response, ApiError> {
    let package = at.names.package()?;
    let name = FullName::new(at.names.namespace.clone(), package.clone());
    readable_package(&at, &name).await?;
    entities::list::<Action>(&at, Some(package)).await
}

async fn read(at: At) -> Result<Response, ApiError> {
    let name = at.names.entity()?;
    let with_code = at.query.optional_flag("code")?.unwrap_or(true);
    let package = readable(&at, &name).await?;
    let mut action = entities::existing::<Action>(&at.hub, &name).await?.value;
    if let Some(package) = package {
        let mut parameters = package.parameters;
        parameters.overlay(&action.parameters);
        action.parameters = parameters;
    }
    // A client that takes its answer slowly keeps it in memory.
    let bytes = if with_code { action.exec.code.bytes } else { 0 };
    let room = at.hub.bodies().take(usize::try_from(bytes).unwrap_or(usize::MAX)).await?;
    let text = text(&at.hub, &action, with_code).await?;
    Ok(answer::text_of_json(StatusCode::OK, body::held(text.into(), room)))
}

async fn put(
    at: At,
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let overwrite = at.query.flag("overwrite")?;
    let wanted: Wanted = at.object(&headers, content).await?;
    let mut common = wanted.common;
    let exec = wanted.exec.map(|exec| NewExec::of(exec, &hub.parts.manifest)).transpose()?;
    let asked = limits::Asked::of(wanted.limits)?;
    let removed = limits::names(wanted.del_annotations)?;
    if let Some(exec) = &exec
        && !hub.allows_kind(&name.namespace, exec.kind())
    {
        return Err(ApiError::Kind(exec.kind().to_owned()));
    }
    let most = hub.limits(&name.namespace).code;
    exec.as_ref().map_or(Ok(()), |exec| exec.check_size(most))?;
    common.check_sizes()?;

    let _turn = entities::turn(&hub).await?;
    readable(&at, &name).await?;
    let before = entities::replaced::<Action>(&hub, &name, overwrite).await?;
    let revision = before.as_ref().map(|before| before.revision);
    let before = before.map(|before| before.value);
    common.keep_secrets(before.as_ref().map(|before| &before.parameters))?;
    let ranges = &hub.parts.config.limits;
    let limits = asked.over(before.as_ref().map(|before| &before.limits), ranges)?;
    hub.check_open()?;
    let exec = match (exec, &before) {
        (Some(exec), _) => exec.keep(&*hub.parts.code).await?,
        (None, Some(before)) => exec::still_served(&before.exec, &hub.parts.manifest)?,
        (None, None) => return Err(ApiError::Bad("exec undefined".to_owned())),
    };
    let annotations = annotations(before.as_ref(), &common, &removed, &exec.kind)?;
    let action = Action {
        uid: entities::uid(before.as_ref().map(|before| before.uid)),
        version: common.next_version(before.as_ref().map(|before| before.version)),
        publish: common.publish.or(before.as_ref().map(|before| before.publish)).unwrap_or(false),
        parameters: common
            .parameters
            .or(before.map(|before| before.parameters))
            .unwrap_or_default(),
        updated: at.now_ms(),
        name: name.clone(),
        exec,
        annotations,
        limits,
    };
    let kept = entities::apply(&hub, vec![entities::keep(action.clone(), revision)]).await?;
    hub.parts.invocations.forget(&name);
    if revision.is_some() {
        hub.parts.invocations.retire(action.uid, kept.first().copied());
    }
    show(&hub, &action, true).await
}

async fn delete(at: At) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let _turn = entities::turn(&at.hub).await?;
    readable(&at, &name).await?;
    let Stored { value: action, revision } = entities::existing::<Action>(&at.hub, &name).await?;
    entities::apply(&at.hub, vec![Change::Delete { name: name.clone(), revision }]).await?;
    at.hub.parts.invocations.forget(&name);
    at.hub.parts.invocations.retire(action.uid, None);
    show(&at.hub, &action, true).await
}

/// The annotations after a change: the old without the removed, under the new; the kind always,
/// and at creation that the key is not given.
fn annotations(
    before: Option<&Action>,
    common: &Common,
    removed: &[String],
    kind: &str,
) -> Result<KeyValues, ApiError> {
    let mut all = before.map(|before| before.annotations.clone()).unwrap_or_default();
    for key in removed {
        all.remove(key);
    }
    if let Some(new) = &common.annotations {
        all.overlay(new);
    }
    if before.is_none() && all.get(PROVIDE_API_KEY).is_none() {
        all.set(PROVIDE_API_KEY, false);
    }
    all.set(EXEC_ANNOTATION, kind);
    if let Some(key) = LATER.into_iter().find(|key| all.is_truthy(key)) {
        return Err(ApiError::NotInThisVersion(format!("annotation `{key}`")));
    }
    match all.get(NETWORK_ANNOTATION).map(Value::as_str) {
        None | Some(Some("none" | "egress")) => Ok(all),
        Some(_) => Err(ApiError::Bad(format!(
            "annotation `{NETWORK_ANNOTATION}` must be `egress` or `none`"
        ))),
    }
}

/// The package of an action that the caller may read, where it is in one.
async fn readable(at: &At, name: &FullName) -> Result<Option<Package>, ApiError> {
    match &name.package {
        None if at.is_own() => Ok(None),
        None => Err(ApiError::Forbidden(name.to_string())),
        Some(package) => {
            let package = FullName::new(name.namespace.clone(), package.clone());
            readable_package(at, &package).await.map(Some)
        }
    }
}

/// A package whose actions the caller may read and call.
pub(super) async fn readable_package(at: &At, name: &FullName) -> Result<Package, ApiError> {
    let own = name.namespace == at.caller.namespace;
    match entities::find::<Package>(&at.hub, name).await {
        Ok(Some(Stored { value, .. })) if own || value.publish => Ok(value),
        Ok(None) if own => Err(ApiError::Missing),
        Err(error) if own => Err(error),
        // Who does not own the namespace does not learn what is there.
        Ok(_) | Err(_) => Err(ApiError::Forbidden(name.to_string())),
    }
}

/// Whether the caller may read an action that something of theirs names.
pub(super) async fn may_refer_to(at: &At, name: &FullName) -> Result<(), ApiError> {
    match &name.package {
        _ if name.namespace == at.caller.namespace => Ok(()),
        None => Err(ApiError::Forbidden(name.to_string())),
        Some(package) => {
            let package = FullName::new(name.namespace.clone(), package.clone());
            readable_package(at, &package).await.map(|_package| ())
        }
    }
}

async fn show(hub: &Hub, action: &Action, with_code: bool) -> Result<Response, ApiError> {
    Ok(answer::text_of_json(StatusCode::OK, text(hub, action, with_code).await?))
}

/// The action as its JSON.
async fn text(hub: &Hub, action: &Action, with_code: bool) -> Result<Vec<u8>, ApiError> {
    let code = if with_code && action.exec.kind != NATIVE_KIND {
        Some(hub.parts.code.get(&action.exec.code).await?)
    } else {
        None
    };
    let code = code.as_deref().map(String::from_utf8_lossy);
    serde_json::to_vec(&ActionShown::of(action, code))
        .map_err(|error| ApiError::Internal(Box::new(error)))
}
