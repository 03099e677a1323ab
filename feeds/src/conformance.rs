//! What every provider must do, run through the contract.
//!
//! Call [`all`] from a test of the provider, with a [`Bench`] that can make its source have events.

mod reading;
mod supervised;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use evoke_schemas::{EntityName, EntityUid, Event, Feed, KeyValues, Namespace, ResetTo};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::{
    clock::Clock,
    memory::MemorySink,
    provider::{Batch, BatchEnd, Deliveries, FeedContext, Source, Start},
    registry::Registry,
    report::Report,
    sink::FeedKey,
};

/// How long anything may take before the suite calls it stuck.
const STUCK: Duration = Duration::from_secs(60);
/// Most events of one batch.
const MAX_EVENTS: usize = 1_000;
/// Events that a source is made to have at once, to see how many it yields.
const MANY_EVENTS: usize = 1_200;

/// A source under test, with the means to make it have events.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The provider's name in the table.
    fn provider(&self) -> &'static str;

    /// The table it is in.
    fn registry(&self) -> Arc<Registry>;

    /// Parameters of a feed that skips nothing when it is opened late.
    fn parameters(&self) -> Map<String, Value>;

    /// The clock that the source is given.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Makes the source have at least this many more events, and returns when it has.
    async fn produce(&self, events: usize);

    /// A reset to before everything that was produced; none where the source keeps nothing.
    fn back(&self) -> Option<ResetTo> {
        None
    }

    /// From now on the source refuses the feed's credentials, until [`Bench::mend`]; `false`
    /// where it has none that it could refuse.
    async fn revoke(&self) -> bool {
        false
    }

    /// The credentials are good again.
    async fn mend(&self) {}
}

/// Runs every check, each on a fresh bench from `build`.
///
/// # Panics
/// Where the provider does not conform.
pub async fn all<B, F>(build: impl Fn() -> F)
where
    B: Bench,
    F: Future<Output = B>,
{
    check_reading(&build).await;
    check_supervised(&build).await;
}

async fn check_reading<B: Bench, F: Future<Output = B>>(build: &impl Fn() -> F) {
    reading::parameters_that_nobody_knows_are_refused(&build().await);
    reading::the_first_batch_pins_the_beginning(&build().await).await;
    reading::reopening_gives_exactly_what_comes_after(&build().await).await;
    reading::a_batch_that_was_not_kept_comes_again(&build().await).await;
    reading::waiting_can_be_given_up_at_any_time(&build().await).await;
    reading::batches_are_bounded(&build().await).await;
    reading::a_reset_reads_again_under_new_ids(&build().await).await;
}

async fn check_supervised<B: Bench, F: Future<Output = B>>(build: &impl Fn() -> F) {
    supervised::a_late_second_task_is_refused(&build().await).await;
    supervised::a_full_sink_loses_and_doubles_nothing(&build().await).await;
    supervised::an_unavailable_sink_loses_and_doubles_nothing(&build().await).await;
    supervised::nothing_comes_after_delete(&build().await).await;
    supervised::nothing_comes_while_paused(&build().await).await;
    supervised::a_restart_goes_on_where_the_log_stands(&build().await).await;
    supervised::refused_credentials_are_told_and_mend_by_themselves(&build().await).await;
}

/// A clock that goes with tokio's time (which a test may freeze) and steps when it is told.
#[derive(Debug)]
pub struct TestClock {
    start: Instant,
    base_ms: AtomicI64,
}

impl TestClock {
    /// A clock that shows `now_ms` now. Call it inside a tokio runtime.
    #[must_use]
    pub fn at(now_ms: i64) -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), base_ms: AtomicI64::new(now_ms) })
    }

    /// Sets the clock forward or back.
    pub fn step(&self, by_ms: i64) {
        self.base_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        let passed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = self.base_ms.load(Ordering::SeqCst).saturating_add(passed);
        u64::try_from(now).unwrap_or(0)
    }
}

const FEED: EntityUid = EntityUid([5; 16]);

fn feed(bench: &dyn Bench, generation: u64) -> Feed {
    Feed {
        namespace: name(Namespace::new("guest")),
        name: name(EntityName::new("the feed")),
        uid: FEED,
        generation,
        provider: bench.provider().to_owned(),
        trigger: name(EntityName::new("target")),
        parameters: bench.parameters(),
        annotations: KeyValues::default(),
        feed_action: None,
        paused: false,
        reset: None,
        updated: 0,
    }
}

fn context(bench: &dyn Bench, generation: u64) -> FeedContext {
    let feed = feed(bench, generation);
    FeedContext {
        key: FeedKey { uid: FEED, generation },
        namespace: feed.namespace.clone(),
        name: feed.name,
        payload: evoke_schemas::FeedPayload::CloudEvent,
        clock: bench.clock(),
        deliveries: Deliveries::new(MemorySink::new(), feed.namespace, feed.trigger),
        report: Report::unread(),
    }
}

async fn open(bench: &dyn Bench, position: Option<Bytes>) -> Box<dyn Source> {
    open_at(bench, 1, position.map_or(Start::Fresh, Start::After)).await
}

async fn open_at(bench: &dyn Bench, generation: u64, from: Start) -> Box<dyn Source> {
    let registry = bench.registry();
    let provider = registry.get(bench.provider()).unwrap_or_else(|error| fail(&error));
    let opened = provider.open(context(bench, generation), &bench.parameters(), from).await;
    opened.unwrap_or_else(|error| fail(&error))
}

async fn next(source: &mut dyn Source) -> Batch {
    let next = within(source.next()).await.unwrap_or_else(|error| fail(&error));
    next.unwrap_or_else(|| fail(&"the source ended"))
}

/// The next batches, all kept, until there are this many events.
async fn read(source: &mut dyn Source, events: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    while batches.iter().map(|batch| batch.events.len()).sum::<usize>() < events {
        batches.push(next(source).await);
        source.ended(BatchEnd::Kept).await.unwrap_or_else(|error| fail(&error));
    }
    batches
}

/// A source just opened at the present, and the position that its first batch pinned.
async fn pinned(bench: &dyn Bench) -> (Box<dyn Source>, Bytes) {
    let mut source = open(bench, None).await;
    let first = next(source.as_mut()).await;
    source.ended(BatchEnd::Kept).await.unwrap_or_else(|error| fail(&error));
    (source, first.position)
}

fn ids(events: &[Event]) -> Vec<String> {
    first_ids(events, events.len())
}

fn first_ids(events: &[Event], count: usize) -> Vec<String> {
    events.iter().take(count).map(|event| event.id.clone()).collect()
}

fn flat(batches: &[Batch]) -> Vec<Event> {
    batches.iter().flat_map(|batch| batch.events.iter().cloned()).collect()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(STUCK, future).await.unwrap_or_else(|late| fail(&late))
}

fn name<T, E: std::fmt::Display>(made: Result<T, E>) -> T {
    made.unwrap_or_else(|error| fail(&error))
}

#[expect(clippy::panic, reason = "a suite speaks by panicking")]
fn fail<T>(what: &dyn std::fmt::Display) -> T {
    panic!("{what}")
}

#[cfg(test)]
mod tests;
