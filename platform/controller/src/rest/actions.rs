//! Actions: create, change, read, delete, list; [`invoke`] calls them.

mod exec;
mod invoke;
mod limits;

use std::sync::Arc;

use axum::{Router, body::Body, extract::State, response::Response, routing::get};
use evoke_schemas::{
    Action, FullName, KeyValues, Package,
    action::{EXEC_ANNOTATION, NATIVE_KIND, NETWORK_ANNOTATION, PROVIDE_API_KEY},
};
use evoke_store::{Change, Stored};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use self::exec::NewExec;
use super::{
    answer,
    at::At,
    body,
    entities::{self, Common},
    error::ApiError,
};
use crate::hub::Hub;

/// Annotations that would make an action something that this version does not run.
const LATER: [&str; 5] =
    ["web-export", "raw-http", "require-whisk-auth", "web-custom-options", "conductor"];

pub(super) fn routes() -> Router<Arc<Hub>> {
    let one = || get(read).put(put).delete(delete).post(invoke::post);
    Router::new()
        .route("/api/v1/namespaces/{ns}/actions", get(list))
        .route("/api/v1/namespaces/{ns}/actions/", get(list))
        .route("/api/v1/namespaces/{ns}/actions/{package}/", get(list_package))
        .route("/api/v1/namespaces/{ns}/actions/{name}", one())
        .route("/api/v1/namespaces/{ns}/actions/{package}/{name}", one())
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
    let shown = shown(&at.hub, &action, with_code).await?;
    let text = serde_json::to_vec(&shown).map_err(|error| ApiError::Internal(Box::new(error)))?;
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
    let mut fields = at.object(&headers, content).await?;
    let common = Common::take(&mut fields)?;
    let exec = NewExec::take(&mut fields, &hub.parts.manifest)?;
    let asked = limits::Asked::take(&mut fields)?;
    let removed = limits::names(fields.remove("delAnnotations"))?;
    let most = hub.limits(&name.namespace).code;
    exec.as_ref().map_or(Ok(()), |exec| exec.check_size(most))?;
    common.check_sizes()?;

    let _turn = entities::turn(&hub).await?;
    readable(&at, &name).await?;
    let before = entities::replaced::<Action>(&hub, &name, overwrite).await?;
    let revision = before.as_ref().map(|before| before.revision);
    let before = before.map(|before| before.value);
    let ranges = &hub.parts.config.limits;
    let limits = asked.over(before.as_ref().map(|before| &before.limits), ranges)?;
    hub.check_open()?;
    let exec = match (exec, &before) {
        (Some(exec), _) => exec.keep(&*hub.parts.code).await?,
        (None, Some(before)) => before.exec.clone(),
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
    Ok(answer::json(&shown(hub, action, with_code).await?))
}

async fn shown(hub: &Hub, action: &Action, with_code: bool) -> Result<Value, ApiError> {
    let mut exec = Map::from_iter([
        ("kind".to_owned(), json!(action.exec.kind)),
        ("binary".to_owned(), json!(action.exec.binary)),
    ]);
    if let Some(main) = &action.exec.main {
        exec.insert("main".to_owned(), json!(main));
    }
    if with_code && action.exec.kind != NATIVE_KIND {
        let code = hub.parts.code.get(&action.exec.code).await?;
        exec.insert("code".to_owned(), String::from_utf8_lossy(&code).into());
    }
    Ok(json!({
        "namespace": action.name.path(),
        "name": action.name.name,
        "exec": exec,
        "parameters": action.parameters,
        "annotations": action.annotations,
        "limits": action.limits,
        "version": action.version,
        "publish": action.publish,
        "updated": action.updated,
    }))
}

pub(super) fn summary(action: &Action) -> Value {
    json!({
        "namespace": action.name.path(),
        "name": action.name.name,
        "exec": { "binary": action.exec.binary },
        "annotations": action.annotations,
        "limits": action.limits,
        "version": action.version,
        "publish": action.publish,
        "updated": action.updated,
    })
}
