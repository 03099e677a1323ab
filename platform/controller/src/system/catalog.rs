//! What is in the hub's own packages, as entities.

use std::{collections::BTreeMap, sync::Arc};

use evoke_feeds::{ActionCard, FeedAction, NativeAction, PackageCard};
use evoke_schemas::{
    Action, EntityName, EntityUid, FullName, KeyValues, NameError, Namespace, Package, SemVer,
    action::{CodeRef, EXEC_ANNOTATION, Exec, NATIVE_KIND, PROVIDE_API_KEY},
    limits::LimitRanges,
};
use evoke_store::Entity;
use serde_json::{Value, json};

use super::Does;

/// Namespace of OpenWhisk's own packages, and of ours.
pub(super) const NAMESPACE: &str = "whisk.system";

/// Packages and actions by name, and what the actions do.
pub(super) fn catalog(
    packages: &[PackageCard],
    feeds: Vec<Arc<dyn FeedAction>>,
    actions: Vec<Arc<dyn NativeAction>>,
    now_ms: u64,
) -> (BTreeMap<FullName, Entity>, BTreeMap<FullName, Does>) {
    let (mut entities, mut does) = (BTreeMap::new(), BTreeMap::new());
    for card in packages {
        match package(card, now_ms) {
            Ok((name, package)) => {
                entities.insert(name, Entity::Package(package));
            }
            Err(error) => tracing::error!(package = card.name, %error, "no name of a package"),
        }
    }
    let feeds = feeds.into_iter().map(|feed| (feed.card(), Does::Feeds(feed)));
    let actions = actions.into_iter().map(|action| (action.card(), Does::Work(action)));
    for (card, work) in feeds.chain(actions) {
        match action(&card, &work, now_ms) {
            Ok(action) if entities.contains_key(&package_of(&action.name)) => {
                does.insert(action.name.clone(), work);
                entities.insert(action.name.clone(), Entity::Action(action));
            }
            Ok(action) => tracing::error!(action = %action.name, "its package is not known"),
            Err(error) => tracing::error!(action = card.name, %error, "no name of an action"),
        }
    }
    (entities, does)
}

/// The name of the package of an action, or the name itself.
pub(super) fn package_of(name: &FullName) -> FullName {
    let package = name.package.clone().unwrap_or_else(|| name.name.clone());
    FullName::new(name.namespace.clone(), package)
}

fn package(card: &PackageCard, now_ms: u64) -> Result<(FullName, Package), NameError> {
    let name = FullName::new(Namespace::new(NAMESPACE)?, EntityName::new(card.name)?);
    let package = Package {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        uid: uid(&name),
        version: SemVer::FIRST,
        publish: true,
        parameters: KeyValues::default(),
        annotations: KeyValues::from_iter([("description".to_owned(), json!(card.description))]),
        updated: now_ms,
    };
    Ok((name, package))
}

fn action(card: &ActionCard, does: &Does, now_ms: u64) -> Result<Action, NameError> {
    let name = FullName {
        namespace: Namespace::new(NAMESPACE)?,
        package: Some(EntityName::new(card.package)?),
        name: EntityName::new(card.name)?,
    };
    let parameters = card.parameters.iter().map(
        |one| json!({"name": one.name, "required": one.required, "description": one.description}),
    );
    let mut annotations = KeyValues::from_iter([
        ("description".to_owned(), json!(card.description)),
        ("parameters".to_owned(), parameters.collect::<Vec<Value>>().into()),
        (EXEC_ANNOTATION.to_owned(), json!(NATIVE_KIND)),
        (PROVIDE_API_KEY.to_owned(), json!(false)),
    ]);
    if matches!(does, Does::Feeds(_)) {
        annotations.set("feed", true);
    }
    Ok(Action {
        uid: uid(&name),
        exec: Exec {
            kind: NATIVE_KIND.to_owned(),
            code: CodeRef { hash: String::new(), bytes: 0 },
            main: None,
            binary: false,
        },
        parameters: KeyValues::default(),
        annotations,
        limits: LimitRanges::default().defaults(),
        version: SemVer::FIRST,
        publish: false,
        updated: now_ms,
        name,
    })
}

/// The same in every life of the hub, so that deliveries under way find the action again.
fn uid(name: &FullName) -> EntityUid {
    let hash = blake3::hash(name.to_string().as_bytes());
    let mut uid = [0; 16];
    for (to, from) in uid.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    EntityUid(uid)
}
