//! What every entity store and feed store must do.

#![expect(clippy::cognitive_complexity, reason = "each assertion counts as a branch")]

use evoke_schemas::{
    DeliveryPolicy, EntityName, EntityUid, Feed, FullName, KeyValues, Namespace, Package, Rule,
    RuleStatus, Secret, SemVer, Trigger, trigger::WebhookCredential,
};

use super::{Change, Collection, Entity, EntityQuery, EntityStore, Expect, FeedStore, Revision};
use crate::StoreError;

fn ns() -> Namespace {
    Namespace::new("guest").unwrap()
}

fn named(name: &str) -> EntityName {
    EntityName::new(name).unwrap()
}

pub(crate) fn trigger(name: &str, updated: u64) -> Trigger {
    Trigger {
        namespace: ns(),
        name: named(name),
        uid: EntityUid::fresh(),
        parameters: KeyValues::default(),
        annotations: KeyValues::default(),
        subscription: None,
        webhook: Some(WebhookCredential::Bearer { token: Secret::new("hunter2") }),
        version: SemVer::FIRST,
        publish: false,
        updated,
        had_rules: false,
    }
}

fn package(name: &str, updated: u64) -> Entity {
    Entity::Package(Package {
        namespace: ns(),
        name: named(name),
        uid: EntityUid::fresh(),
        parameters: KeyValues::default(),
        annotations: KeyValues::default(),
        version: SemVer::FIRST,
        publish: false,
        updated,
    })
}

fn rule(name: &str, trigger: &Trigger) -> Entity {
    let at = |name: &str| FullName::new(ns(), named(name));
    Entity::Rule(Rule {
        namespace: ns(),
        name: named(name),
        uid: EntityUid::fresh(),
        trigger: at(trigger.name.as_str()),
        trigger_uid: trigger.uid,
        action: at("a"),
        status: RuleStatus::Active,
        delivery: DeliveryPolicy::default(),
        annotations: KeyValues::default(),
        version: SemVer::FIRST,
        publish: false,
        updated: 5,
    })
}

fn put(entity: Entity, expect: Expect) -> Change {
    Change::Put { entity: Box::new(entity), expect }
}

fn query(collection: Collection) -> EntityQuery {
    EntityQuery { namespace: ns(), collection, package: None, skip: 0, limit: 10 }
}

async fn names(store: &dyn EntityStore, query: EntityQuery) -> Vec<String> {
    let listed = store.list(&query).await.unwrap();
    listed.iter().map(|entity| entity.full_name().to_string()).collect()
}

/// The suite of [`EntityStore`]; the store must be empty.
pub(crate) async fn entities(store: &dyn EntityStore) {
    compare_and_set(store).await;
    all_or_nothing(store).await;
    newest_first(store).await;
    rules_by_trigger(store).await;
}

async fn compare_and_set(store: &dyn EntityStore) {
    let first = package("p", 1);
    let name = first.full_name();
    let old = store.apply(vec![put(first.clone(), Expect::New)]).await.unwrap()[0];
    assert_eq!(store.get(&name).await.unwrap().unwrap().value, first);
    let again = store.apply(vec![put(first.clone(), Expect::New)]).await;
    assert!(matches!(again, Err(StoreError::Conflict(what)) if what == "guest/p"));
    let new = store.apply(vec![put(package("p", 2), Expect::At(old))]).await.unwrap()[0];
    assert!(new > old);
    let late = store.apply(vec![put(first.clone(), Expect::At(old))]).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))));
    assert_eq!(store.get(&name).await.unwrap().unwrap().revision, new);
    store.apply(vec![Change::Delete { name: name.clone(), revision: new }]).await.unwrap();
    assert!(store.get(&name).await.unwrap().is_none());
    let reborn = store.apply(vec![put(first, Expect::New)]).await.unwrap()[0];
    assert!(reborn > new, "a revision must not come back");
    store.apply(vec![Change::Delete { name, revision: reborn }]).await.unwrap();
}

async fn all_or_nothing(store: &dyn EntityStore) {
    let changes = vec![
        put(package("x", 1), Expect::New),
        put(package("y", 1), Expect::At(Revision(u64::MAX))),
    ];
    assert!(matches!(store.apply(changes).await, Err(StoreError::Conflict(_))));
    assert_eq!(names(store, query(Collection::Packages)).await, Vec::<String>::new());
}

async fn newest_first(store: &dyn EntityStore) {
    let changes = [("b", 3), ("c", 1), ("d", 2)].map(|(n, at)| put(package(n, at), Expect::New));
    let revisions = store.apply(changes.to_vec()).await.unwrap();
    let all = query(Collection::Packages);
    assert_eq!(names(store, all.clone()).await, ["guest/b", "guest/d", "guest/c"]);
    store.apply(vec![put(package("c", 9), Expect::At(revisions[1]))]).await.unwrap();
    assert_eq!(names(store, all.clone()).await, ["guest/c", "guest/b", "guest/d"]);
    let part = EntityQuery { skip: 1, limit: 1, ..all.clone() };
    assert_eq!(names(store, part.clone()).await, ["guest/b"]);
    assert_eq!(store.count(&part).await.unwrap(), 3);
    let other = EntityQuery { namespace: Namespace::new("gues").unwrap(), ..all };
    assert_eq!(names(store, other).await, Vec::<String>::new());
    assert_eq!(store.all(Collection::Packages).await.unwrap().len(), 3);
    for name in ["f", "e", "g"] {
        store.apply(vec![put(package(name, 9), Expect::New)]).await.unwrap();
    }
    let part = EntityQuery { limit: 4, ..query(Collection::Packages) };
    assert_eq!(names(store, part).await, ["guest/g", "guest/e", "guest/f", "guest/c"]);
}

async fn rules_by_trigger(store: &dyn EntityStore) {
    let (one, other) = (trigger("t", 1), trigger("u", 1));
    let changes = vec![
        put(Entity::Trigger(one.clone()), Expect::New),
        put(Entity::Trigger(other.clone()), Expect::New),
        put(rule("r1", &one), Expect::New),
        put(rule("r2", &one), Expect::New),
    ];
    let revisions = store.apply(changes).await.unwrap();
    let of = async |trigger: &Trigger| -> Vec<String> {
        let rules = store.rules_of(trigger.uid).await.unwrap();
        rules.iter().map(|rule| rule.name.to_string()).collect()
    };
    assert_eq!(of(&one).await, ["r1", "r2"]);
    store.apply(vec![put(rule("r1", &other), Expect::At(revisions[2]))]).await.unwrap();
    assert_eq!((of(&one).await, of(&other).await), (vec!["r2".into()], vec!["r1".into()]));
    let stored = store.get(&FullName::new(ns(), named("t"))).await.unwrap().unwrap();
    assert_eq!(stored.value, Entity::Trigger(one.clone()), "with its credential");
    let plain = Trigger { webhook: None, ..one };
    let change = put(Entity::Trigger(plain.clone()), Expect::At(stored.revision));
    store.apply(vec![change]).await.unwrap();
    let stored = store.get(&FullName::new(ns(), named("t"))).await.unwrap().unwrap();
    assert_eq!(stored.value, Entity::Trigger(plain), "the credential is gone");
}

/// The suite of [`FeedStore`]; the store must have no feeds.
pub(crate) async fn feeds(store: &dyn FeedStore) {
    let feed = Feed {
        namespace: ns(),
        name: named("f"),
        uid: EntityUid::fresh(),
        generation: 1,
        provider: "alarms".to_owned(),
        trigger: named("t"),
        parameters: serde_json::Map::from_iter([("every".to_owned(), "1s".into())]),
        annotations: KeyValues::default(),
        feed_action: None,
        paused: false,
        reset: None,
        updated: 1,
    };
    let revision = store.put_feed(feed.clone(), Expect::New).await.unwrap();
    let again = store.put_feed(feed.clone(), Expect::New).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    let stored = store.feed(&ns(), &feed.name).await.unwrap().unwrap();
    assert_eq!((stored.value, stored.revision), (feed.clone(), revision));
    let next = Feed { generation: 2, ..feed.clone() };
    let revision = store.put_feed(next.clone(), Expect::At(revision)).await.unwrap();
    assert_eq!(store.feeds(Some(&ns())).await.unwrap(), std::slice::from_ref(&next));
    assert_eq!(store.feeds(None).await.unwrap(), [next]);
    assert!(store.feeds(Some(&Namespace::new("gues").unwrap())).await.unwrap().is_empty());
    let late = store.delete_feed(&ns(), &feed.name, Revision(0)).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))));
    store.delete_feed(&ns(), &feed.name, revision).await.unwrap();
    assert!(store.feed(&ns(), &feed.name).await.unwrap().is_none());
}
