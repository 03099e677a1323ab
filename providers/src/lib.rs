//! One event source each, behind the contract of the feed room.
//!
//! Invariant: a provider knows its source and nothing of rules, actions or the platform.
//!
//! To add one: a file with an `impl Provider` and its bench, and a line in [`registry`] (CONTRIBUTING.md
//! shows it); for OpenWhisk's clients, a line in [`feed_actions`].

pub mod alarms;
#[cfg(feature = "couchdb")]
pub mod couchdb;
#[cfg(feature = "kafka")]
pub mod kafka;

use std::sync::Arc;

use evoke_feeds::{FeedAction, NativeAction, PackageCard, Registry};

/// Every provider there is.
#[must_use]
pub fn registry() -> Registry {
    let table = Registry::new().with(alarms::Alarms::default());
    #[cfg(feature = "couchdb")]
    let table = table.with(couchdb::CouchDb::default());
    #[cfg(feature = "kafka")]
    let table = table.with(kafka::Kafka);
    table
}

/// The packages of `/whisk.system` that the providers fill.
#[must_use]
pub fn packages() -> Vec<PackageCard> {
    vec![
        PackageCard { name: "alarms", description: alarms::PACKAGE },
        #[cfg(feature = "couchdb")]
        PackageCard { name: "cloudant", description: couchdb::PACKAGE },
        #[cfg(feature = "couchdb")]
        PackageCard { name: "couchdb", description: couchdb::PACKAGE },
        #[cfg(feature = "kafka")]
        PackageCard { name: "messaging", description: kafka::PACKAGE },
    ]
}

/// How OpenWhisk's clients make feeds.
#[must_use]
pub fn feed_actions() -> Vec<Arc<dyn FeedAction>> {
    let mut actions: Vec<Arc<dyn FeedAction>> = alarms::feed_actions().collect();
    #[cfg(feature = "couchdb")]
    actions.extend(couchdb::feed_actions());
    #[cfg(feature = "kafka")]
    actions.extend(kafka::feed_actions());
    actions
}

/// What the hub runs without a sandbox.
///
/// # Errors
/// What an action needs and cannot be had.
pub fn native_actions() -> Result<Vec<Arc<dyn NativeAction>>, Box<dyn std::error::Error>> {
    let mut actions: Vec<Arc<dyn NativeAction>> = Vec::new();
    #[cfg(feature = "couchdb")]
    actions.extend(couchdb::native_actions()?);
    #[cfg(feature = "kafka")]
    actions.extend(kafka::native_actions());
    Ok(actions)
}
