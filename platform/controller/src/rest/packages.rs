//! Packages: groups of actions. Bindings are not in this version.

mod shown;

use axum::{body::Body, response::Response};
use evoke_schemas::{Action, EntityName, Namespace, Package};
use evoke_store::{Change, Collection, Entity, EntityQuery, Stored};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) use self::shown::PackageSummary;
use self::shown::{PackageKept, PackageShown};
use super::{
    answer,
    at::At,
    entities::{self, Common, Kind as _, Listed},
    error::ApiError,
    openapi::{Operation, Routes, flag, page},
};
use crate::hub::Hub;

/// A package of this name cannot be made: it stands for "no package" in OpenWhisk's paths.
const RESERVED: &str = "default";

/// What a PUT says. Other members are left alone, as OpenWhisk does.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "PackagePut")]
struct Wanted {
    #[serde(flatten)]
    common: Common,
    /// Must be empty: bindings are not in this version.
    #[schemars(with = "Option<Map<String, Value>>", extend("maxProperties" = 0))]
    binding: Option<Value>,
}

pub(super) fn routes() -> Routes {
    type Kept = PackageKept<'static>;
    Routes::about("packages")
        .collection(
            "/api/v1/namespaces/{ns}/packages",
            [Operation::get("listPackages", "Lists packages; of others those published.", list)
                .with(page())
                .gives::<Listed<PackageSummary<'static>>>("Packages, the newest first.")],
        )
        .at(
            "/api/v1/namespaces/{ns}/packages/{name}",
            [
                Operation::get("getPackage", "Shows a package.", read)
                    .gives::<PackageShown<'static>>("The package with its actions.")
                    .fails([404, 409]),
                Operation::put("putPackage", "Makes or changes a package.", put)
                    .with([flag("overwrite", "Whether one that is there may be changed.")])
                    .takes::<Wanted>(json!({
                        "parameters": [{ "key": "host", "value": "db.example.com" }],
                        "publish": false,
                    }))
                    .gives::<Kept>("The package as it is kept.")
                    .fails([409, 429]),
                Operation::delete("deletePackage", "Deletes a package.", delete)
                    .with([flag("force", "Whether its actions are deleted with it.")])
                    .gives::<Kept>("What was deleted.")
                    .fails([404, 409]),
            ],
        )
}

async fn list(at: At) -> Result<Response, ApiError> {
    if at.is_own() {
        return entities::list::<Package>(&at, None).await;
    }
    // Of others only what is published, so the page is cut after the choice.
    let page = at.query.page(Collection::Packages.as_str())?;
    let query = EntityQuery {
        namespace: at.names.namespace.clone(),
        collection: Collection::Packages,
        package: None,
        skip: 0,
        limit: usize::MAX,
    };
    let all = at.hub.parts.entities.list(&query).await?;
    let public = all.into_iter().filter_map(Package::of).filter(|package| package.publish);
    if page.count {
        let counted = entities::counted(Collection::Packages.as_str(), public.count(), page.skip);
        return Ok(answer::json(&counted));
    }
    let public: Vec<Package> = public.skip(page.skip).take(page.limit).collect();
    Ok(answer::json(&Listed::Items(public.iter().map(Package::summary).collect())))
}

async fn read(at: At) -> Result<Response, ApiError> {
    let name = at.names.entity()?;
    let package = match super::actions::readable_package(&at, &name).await {
        Err(ApiError::Missing) => return Err(ApiError::MissingNamed(name.to_string())),
        found => found?,
    };
    let actions = actions_of(&at.hub, &package.namespace, &package.name).await?;
    Ok(answer::json(&PackageShown::of(&package, &actions)))
}

async fn put(at: At, headers: HeaderMap, content: Body) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let overwrite = at.query.flag("overwrite")?;
    let wanted: Wanted = at.object(&headers, content).await?;
    let mut common = wanted.common;
    check_binding(wanted.binding)?;
    common.check_sizes()?;
    if name.name.as_str() == RESERVED {
        return Err(ApiError::Bad(format!("Package name '{RESERVED}' is reserved.")));
    }

    let _turn = entities::turn(&at.hub).await?;
    let before = entities::replaced::<Package>(&at.hub, &name, overwrite).await?;
    let revision = before.as_ref().map(|before| before.revision);
    let before = before.map(|before| before.value);
    let old = before.as_ref();
    common.keep_secrets(old.map(|old| &old.parameters))?;
    let package = Package {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        uid: entities::uid(old.map(|old| old.uid)),
        version: common.next_version(old.map(|old| old.version)),
        publish: common.publish.or(old.map(|old| old.publish)).unwrap_or(false),
        parameters: common.parameters.or(old.map(|old| old.parameters.clone())).unwrap_or_default(),
        annotations: common
            .annotations
            .or(old.map(|old| old.annotations.clone()))
            .unwrap_or_default(),
        updated: at.now_ms(),
    };
    let kept = entities::apply(&at.hub, vec![entities::keep(package.clone(), revision)]).await?;
    at.hub.parts.invocations.forget(&name);
    if revision.is_some() {
        for action in actions_of(&at.hub, &package.namespace, &package.name).await? {
            at.hub.parts.invocations.retire(action.uid, kept.first().copied());
        }
    }
    Ok(answer::json(&PackageKept::of(&package)))
}

async fn delete(at: At) -> Result<Response, ApiError> {
    let name = at.own_entity()?;
    let force = at.query.flag("force")?;
    let _turn = entities::turn(&at.hub).await?;
    let Stored { value: package, revision } = entities::existing::<Package>(&at.hub, &name).await?;
    let inside = actions_of(&at.hub, &package.namespace, &package.name).await?;
    if !inside.is_empty() && !force {
        return Err(ApiError::PackageNotEmpty(inside.len()));
    }
    let mut changes = vec![Change::Delete { name: name.clone(), revision }];
    for action in &inside {
        if let Some(stored) = at.hub.parts.entities.get(&action.name).await? {
            let name = action.name.clone();
            changes.push(Change::Delete { name, revision: stored.revision });
        }
    }
    entities::apply(&at.hub, changes).await?;
    at.hub.parts.invocations.forget(&name);
    for action in inside {
        at.hub.parts.invocations.retire(action.uid, None);
    }
    Ok(answer::json(&PackageKept::of(&package)))
}

/// The package's actions.
async fn actions_of(
    hub: &Hub,
    namespace: &Namespace,
    package: &EntityName,
) -> Result<Vec<Action>, ApiError> {
    let query = EntityQuery {
        namespace: namespace.clone(),
        collection: Collection::Actions,
        package: Some(package.clone()),
        skip: 0,
        limit: usize::MAX,
    };
    let all = hub.parts.entities.list(&query).await?;
    Ok(all
        .into_iter()
        .filter_map(|entity| if let Entity::Action(action) = entity { Some(action) } else { None })
        .collect())
}

/// `{}` is no binding; a real one is refused.
fn check_binding(binding: Option<Value>) -> Result<(), ApiError> {
    match binding {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(binding)) if binding.is_empty() => Ok(()),
        Some(Value::Object(_)) => Err(ApiError::NotInThisVersion("a package binding".to_owned())),
        Some(_) => Err(ApiError::Malformed("Object expected for `binding`".to_owned())),
    }
}
