//! What is wanted of feeds, changed: one way for every face, so that store and supervisor agree.

use std::{sync::Arc, time::Duration};

use evoke_schemas::{
    EntityName, EntityUid, Feed, FullName, KeyValues, Namespace, Reset, ResetTo, Trigger,
};
use evoke_store::{Expect, Stored};
use serde_json::{Map, Value};

use crate::{
    hub::Hub,
    rest::{ApiError, entities},
};

/// Longest wait of an answer for the feed's place to be durable.
const PINNED_WITHIN: Duration = Duration::from_secs(5);

/// A feed as somebody wants it. All of it each time.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) namespace: Namespace,
    pub(crate) name: EntityName,
    pub(crate) provider: String,
    pub(crate) trigger: EntityName,
    pub(crate) parameters: Map<String, Value>,
    pub(crate) annotations: KeyValues,
    pub(crate) feed_action: Option<String>,
    pub(crate) paused: bool,
    pub(crate) life: Life,
}

/// Whether a feed that is there goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Where it stands, if its source is the same.
    Same,
    /// From where a new one begins.
    New,
}

/// A change of a feed that is there. Idempotent, but for a reset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// Rest; what comes meanwhile is read afterwards.
    Pause,
    /// Go on.
    Resume,
    /// Read from elsewhere.
    Reset(ResetTo),
}

/// Makes or changes a feed.
///
/// # Errors
/// [`ApiError::Bad`] with every mistake in the parameters, or naming a trigger that is not there;
/// [`ApiError::Exists`] for the name of a feed that another face made.
pub(crate) async fn put(hub: &Arc<Hub>, wish: Wish) -> Result<Feed, ApiError> {
    hub.parts.feed_control.check(&wish.provider, &wish.parameters)?;
    let inside = Arc::clone(hub);
    let feed = unbroken(async move { put_in_turn(&inside, wish).await }).await?;
    settled(hub, &feed).await;
    Ok(feed)
}

async fn put_in_turn(hub: &Hub, wish: Wish) -> Result<Feed, ApiError> {
    let _turn = entities::turn(hub).await?;
    let at_trigger = FullName::new(wish.namespace.clone(), wish.trigger.clone());
    if !matches!(entities::find::<Trigger>(hub, &at_trigger).await, Ok(Some(_))) {
        return Err(ApiError::Bad(format!("trigger /{at_trigger} does not exist")));
    }
    let before = hub.parts.feeds.feed(&wish.namespace, &wish.name).await?;
    let expect = before.as_ref().map_or(Expect::New, |before| Expect::At(before.revision));
    hub.check_open()?;
    if before.is_none() {
        entities::check_room(hub, &wish.namespace, 1).await?;
    }
    let old = before.map(|before| before.value);
    if old.as_ref().is_some_and(|old| old.feed_action.is_some() != wish.feed_action.is_some()) {
        return Err(ApiError::Exists);
    }
    // Another source is another feed: it must not go on where the former stood.
    let same = old.as_ref().filter(|old| {
        let source = old.provider == wish.provider && old.feed_action == wish.feed_action;
        source && wish.life == Life::Same
    });
    let feed = Feed {
        uid: same.map_or_else(EntityUid::fresh, |old| old.uid),
        generation: same.map_or(1, |old| old.generation + 1),
        namespace: wish.namespace,
        name: wish.name,
        provider: wish.provider,
        trigger: wish.trigger,
        parameters: wish.parameters,
        annotations: wish.annotations,
        feed_action: wish.feed_action,
        paused: wish.paused,
        reset: same.and_then(|old| old.reset.clone()),
        updated: hub.parts.clock.now_ms(),
    };
    hub.parts.feeds.put_feed(feed.clone(), expect).await?;
    if let Some(former) = old.filter(|old| old.uid != feed.uid) {
        hub.parts.feed_control.remove(former.uid).await?;
    }
    hub.parts.feed_control.apply(feed.clone()).await?;
    Ok(feed)
}

/// Changes what is wanted of a feed that is there.
///
/// # Errors
/// [`ApiError::Missing`].
pub(crate) async fn change(
    hub: &Arc<Hub>,
    name: &FullName,
    change: Change,
) -> Result<Feed, ApiError> {
    let (inside, name) = (Arc::clone(hub), name.clone());
    let feed = unbroken(async move {
        let hub = &inside;
        let _turn = entities::turn(hub).await?;
        let Stored { value: old, revision } = existing(hub, &name).await?;
        let generation = old.generation + 1;
        let (paused, reset) = match change {
            Change::Pause | Change::Resume if (change == Change::Pause) == old.paused => {
                return Ok(old);
            }
            Change::Pause => (true, old.reset),
            Change::Resume => (false, old.reset),
            Change::Reset(to) => (old.paused, Some(Reset { generation, to })),
        };
        let updated = hub.parts.clock.now_ms();
        let feed = Feed { generation, paused, reset, updated, ..old };
        hub.parts.feeds.put_feed(feed.clone(), Expect::At(revision)).await?;
        hub.parts.feed_control.apply(feed.clone()).await?;
        Ok(feed)
    })
    .await?;
    settled(hub, &feed).await;
    Ok(feed)
}

/// Ends a feed that is there.
///
/// # Errors
/// [`ApiError::Missing`].
pub(crate) async fn delete(hub: &Arc<Hub>, name: &FullName) -> Result<Feed, ApiError> {
    let (inside, name) = (Arc::clone(hub), name.clone());
    unbroken(async move {
        let hub = &inside;
        let _turn = entities::turn(hub).await?;
        let Stored { value: feed, revision } = existing(hub, &name).await?;
        hub.parts.feeds.delete_feed(&feed.namespace, &feed.name, revision).await?;
        hub.parts.feed_control.remove(feed.uid).await?;
        Ok(feed)
    })
    .await
}

/// The feed of that name.
///
/// # Errors
/// [`ApiError::Missing`].
pub(crate) async fn existing(hub: &Hub, name: &FullName) -> Result<Stored<Feed>, ApiError> {
    let found = hub.parts.feeds.feed(&name.namespace, &name.name).await?;
    found.ok_or(ApiError::Missing)
}

/// Returns once the feed's place is durable, or after a while. Others need not wait for the
/// feed's source, so that the turn is over by now.
async fn settled(hub: &Hub, feed: &Feed) {
    let settled = hub.parts.feed_control.settled(feed.uid, feed.generation);
    if tokio::time::timeout(PINNED_WITHIN, settled).await.is_err() {
        tracing::debug!(feed = %feed.name, "the answer does not wait for the feed's place");
    }
}

/// A client that goes away in between must not leave the store and the supervisor at odds.
async fn unbroken<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(ApiError::Internal(Box::new(error))),
    }
}
