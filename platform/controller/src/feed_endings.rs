//! Triggers whose feed has ended: deleted, where that was asked for, once every event is delivered.

use std::{sync::Arc, time::Duration};

use evoke_feeds::{FeedState, WhenEnded};
use evoke_schemas::{Feed, FullName, Rule, Trigger};
use evoke_store::{Change, Stored};
use tokio_util::sync::CancellationToken;

use crate::{
    hub::Hub,
    rest::{ApiError, entities},
};

/// How often it is looked again at what is still being delivered.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Deletes until it is stopped. Once for a hub, whose engine delivers.
pub async fn delete_ended(hub: Arc<Hub>, stop: CancellationToken) {
    loop {
        let left = match sweep(&hub).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "what is to be deleted after its feed stays for now");
                true
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = hub.parts.feed_control.an_ending() => {}
            () = tokio::time::sleep(LOOK_AGAIN), if left => {}
        }
    }
}

/// Deletes what is free to go; whether something is left that is not yet.
async fn sweep(hub: &Hub) -> Result<bool, ApiError> {
    let mut left = false;
    for feed in hub.parts.feeds.feeds(None).await? {
        let status = hub.parts.feed_control.status(feed.uid);
        let is_over = status.is_some_and(|status| {
            status.state == FeedState::Finished && status.generation == feed.generation
        });
        let wanted = hub.parts.feed_control.when_ended(&feed);
        if is_over && wanted != WhenEnded::Keep {
            left |= !delete(hub, &feed, wanted).await?;
        }
    }
    Ok(left)
}

/// Whether it could go: not while an event of the trigger is under way or a dead letter.
async fn delete(hub: &Hub, feed: &Feed, wanted: WhenEnded) -> Result<bool, ApiError> {
    let _turn = entities::turn(hub).await?;
    let Some(Stored { value: now, revision }) =
        hub.parts.feeds.feed(&feed.namespace, &feed.name).await?
    else {
        return Ok(true);
    };
    if now != *feed {
        return Ok(true);
    }
    let owed = hub.parts.engine.owed(&feed.namespace, &feed.trigger).await;
    if owed.map_err(|error| ApiError::Unavailable(error.to_string()))? != (0, 0) {
        return Ok(false);
    }
    let name = FullName::new(feed.namespace.clone(), feed.trigger.clone());
    if let Some(trigger) = entities::find::<Trigger>(hub, &name).await? {
        let rules = match wanted {
            WhenEnded::DeleteTriggerAndRules => {
                hub.parts.entities.rules_of(trigger.value.uid).await?
            }
            WhenEnded::DeleteTrigger | WhenEnded::Keep => Vec::new(),
        };
        forget(hub, name, trigger, rules).await?;
    }
    // Last: a hub that ends in between finds the feed, and goes on.
    hub.parts.feeds.delete_feed(&feed.namespace, &feed.name, revision).await?;
    hub.parts.feed_control.remove(feed.uid).await?;
    tracing::info!(feed = %feed.name, trigger = %feed.trigger, "deleted after the feed's end");
    Ok(true)
}

/// Takes the trigger and these rules away together.
async fn forget(
    hub: &Hub,
    name: FullName,
    trigger: Stored<Trigger>,
    rules: Vec<Rule>,
) -> Result<(), ApiError> {
    let mut changes = vec![Change::Delete { name, revision: trigger.revision }];
    for rule in &rules {
        let name = FullName::new(rule.namespace.clone(), rule.name.clone());
        if let Some(Stored { revision, .. }) = entities::find::<Rule>(hub, &name).await? {
            changes.push(Change::Delete { name, revision });
        }
    }
    entities::apply(hub, changes).await?;
    for rule in rules {
        hub.parts.engine.remove_rule(&rule.namespace, &rule.name);
    }
    let trigger = trigger.value;
    hub.webhooks.remove(&trigger.namespace, &trigger.name);
    hub.parts.engine.remove_trigger(&trigger.namespace, &trigger.name);
    Ok(())
}
