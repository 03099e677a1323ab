//! Supervision with frozen time: restarts, waiting, draining, statuses.

mod ahead;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use evoke_schemas::{Data, EntityName, Event, KeyValues, Namespace, Reset, ResetTo};
use serde_json::json;
use tokio::{sync::watch, time::Instant};

use super::*;
use crate::{
    conformance::TestClock,
    fields::Fields,
    memory::MemorySink,
    provider::{Batch, BatchEnd, FeedContext, Provider, Source, SourceError, Start},
    sink::SinkError,
};

const UID: EntityUid = EntityUid([1; 16]);

/// A source that counts up to what it is told there is; `mode` decides how it misbehaves.
#[derive(Debug)]
struct Counter {
    available: watch::Receiver<u64>,
    opened: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
}

#[derive(Debug)]
struct CounterSource {
    available: watch::Receiver<u64>,
    next: u64,
    mode: String,
    pinned: bool,
    refused: Arc<AtomicU32>,
}

#[async_trait]
impl Provider for Counter {
    const NAME: &'static str = "counter";
    type Parameters = String;

    fn parameters(fields: &mut Fields<'_>) -> Option<String> {
        Some(fields.optional("mode", "a word").unwrap_or_default())
    }

    async fn open(
        &self,
        _feed: FeedContext,
        mode: String,
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        match mode.as_str() {
            "fails" => return Err(SourceError::Retry("no route to it".to_owned())),
            "forbidden" => return Err(SourceError::Waiting("401".to_owned())),
            "hopeless" => return Err(SourceError::Fatal("wrong password".to_owned())),
            _ => {}
        }
        let text = match from {
            Start::Fresh => None,
            Start::After(position) => Some(String::from_utf8(position.to_vec()).unwrap()),
            Start::Reset(to) => {
                let next = if to == ResetTo::Earliest { 0 } else { *self.available.borrow() };
                let (available, refused) = (self.available.clone(), Arc::clone(&self.refused));
                return Ok(Box::new(CounterSource {
                    available,
                    next,
                    mode,
                    pinned: false,
                    refused,
                }));
            }
        };
        let next = text.as_ref().map_or(0, |text| text.parse().unwrap());
        let (available, refused) = (self.available.clone(), Arc::clone(&self.refused));
        Ok(Box::new(CounterSource { available, next, mode, pinned: text.is_some(), refused }))
    }
}

#[async_trait]
impl Source for CounterSource {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if self.mode == "stuck" {
            // A source that does not notice that it is told to end is aborted.
            std::future::pending::<()>().await;
        }
        let from = self.next;
        if std::mem::replace(&mut self.pinned, true) {
            self.available.wait_for(|available| *available > from).await.unwrap();
            assert!(self.mode != "panics", "as it was told");
            if self.mode == "ends" {
                return Ok(None);
            }
            self.next += 1;
        }
        let events = (from..self.next).map(|n| {
            let mut event = Event::new(n.to_string(), "/counter", "count");
            if self.mode == "large" {
                event.data = Data::Text(self.mode.clone());
            }
            event
        });
        Ok(Some(Batch::new(events.collect(), self.next.to_string().into())))
    }

    async fn ended(&mut self, end: BatchEnd) -> Result<(), SourceError> {
        if end != BatchEnd::Kept {
            self.refused.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        if self.mode == "ahead" { 3 } else { 1 }
    }
}

struct Bench {
    supervisor: Arc<Supervisor>,
    sink: Arc<MemorySink>,
    available: watch::Sender<u64>,
    opened: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
}

impl Bench {
    fn new() -> Self {
        let (sink, available) = (MemorySink::new(), watch::Sender::new(0));
        let (opened, refused) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let provider = Counter {
            available: available.subscribe(),
            opened: Arc::clone(&opened),
            refused: Arc::clone(&refused),
        };
        let registry = Arc::new(Registry::new().with(provider));
        let clock = TestClock::at(1_000_000);
        let supervisor = Supervisor::new(registry, Arc::clone(&sink) as Arc<dyn EventSink>, clock);
        Self { supervisor, sink, available, opened, refused }
    }

    async fn apply(&self, generation: u64, mode: &str, paused: bool) {
        self.supervisor.apply(self.feed(generation, mode, paused)).await.unwrap();
    }

    fn feed(&self, generation: u64, mode: &str, paused: bool) -> Feed {
        Feed {
            namespace: Namespace::new("guest").unwrap(),
            name: EntityName::new("f").unwrap(),
            uid: UID,
            generation,
            provider: "counter".to_owned(),
            trigger: EntityName::new("t").unwrap(),
            parameters: json!({"mode": mode}).as_object().unwrap().clone(),
            annotations: KeyValues::default(),
            feed_action: None,
            paused,
            reset: None,
            updated: 0,
        }
    }

    fn status(&self) -> FeedStatus {
        self.supervisor.status(UID).unwrap()
    }

    /// The status once something failed.
    async fn tried(&self) -> FeedStatus {
        loop {
            if self.status().last_error.is_some() {
                return self.status();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until(&self, state: FeedState) -> FeedStatus {
        loop {
            if self.status().state == state {
                return self.status();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_flow_and_the_status_tells() {
    let bench = Bench::new();
    bench.apply(1, "", false).await;
    bench.available.send_replace(3);
    bench.sink.wait_for(3).await;
    let status = bench.until(FeedState::Running).await;
    assert_eq!(status.position, Some(json!(3)));
    assert!(status.last_event.is_some_and(|at| at >= 1_000_000));
    assert_eq!((status.last_error, status.next_try), (None, None));
    let ids: Vec<_> = bench.sink.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids, ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_source_is_opened_after_200_ms_doubling() {
    let bench = Bench::new();
    bench.apply(1, "fails", false).await;
    let status = bench.tried().await;
    assert_eq!(status.state, FeedState::Connecting);
    assert_eq!(status.last_error.as_deref(), Some("no route to it"));
    assert!(status.next_try.is_some_and(|at| (1_000_190..=1_000_210).contains(&at)));
    // 200 + 400 + 800 + 1,600 ms: five starts within 3 s, and the sixth at 6.2 s.
    tokio::time::sleep(Duration::from_millis(3_050)).await;
    assert_eq!(bench.opened.load(Ordering::SeqCst), 5);
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    assert_eq!(bench.opened.load(Ordering::SeqCst), 5);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bench.opened.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_source_waits_for_an_update_and_an_ended_one_rests() {
    let bench = Bench::new();
    bench.apply(1, "hopeless", false).await;
    let status = bench.until(FeedState::Failed).await;
    assert_eq!((status.reason.as_deref(), status.next_try), (Some("wrong password"), None));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.opened.load(Ordering::SeqCst), 1);
    bench.apply(2, "ends", false).await;
    bench.available.send_replace(1);
    assert_eq!(bench.until(FeedState::Finished).await.generation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_like_others() {
    let bench = Bench::new();
    bench.apply(1, "panics", false).await;
    bench.available.send_replace(1);
    let status = bench.tried().await;
    assert_eq!(status.reason.as_deref(), Some("its provider panicked"));
    assert!(status.next_try.is_some());
}

#[tokio::test(start_paused = true)]
async fn f29_a_full_sink_is_waited_for_as_it_says() {
    let bench = Bench::new();
    bench.apply(1, "", false).await;
    bench.until(FeedState::Running).await;
    bench.sink.wait_for_position(UID).await;
    bench.sink.refuse_next([SinkError::Full { retry_after: Duration::from_secs(5) }]);
    let before = Instant::now();
    bench.available.send_replace(1);
    let status = bench.until(FeedState::Waiting).await;
    assert_eq!(status.reason.as_deref(), Some("the hub is full"));
    bench.sink.wait_for(1).await;
    assert!(before.elapsed() >= Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(bench.opened.load(Ordering::SeqCst), 1, "waiting is no restart");
}

#[tokio::test(start_paused = true)]
async fn f6_a_missing_trigger_is_waited_for_and_named() {
    let bench = Bench::new();
    bench.apply(1, "", false).await;
    bench.sink.wait_for_position(UID).await;
    let missing = SinkError::NoTrigger(EntityName::new("t").unwrap());
    bench.sink.refuse_next([missing.clone(), missing]);
    bench.available.send_replace(1);
    let status = bench.until(FeedState::Waiting).await;
    assert_eq!(status.reason.as_deref(), Some("trigger `t` does not exist"));
    bench.sink.wait_for(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_told_to_the_source_which_goes_on() {
    let bench = Bench::new();
    bench.apply(1, "", false).await;
    bench.sink.wait_for_position(UID).await;
    let whole = SinkError::Refused { reason: "too large".to_owned(), event: None };
    // An event that has no data cannot be made any smaller.
    let bare = SinkError::Refused { reason: "too large".to_owned(), event: Some(0) };
    bench.sink.refuse_next([whole, bare]);
    bench.available.send_replace(3);
    bench.sink.wait_for(1).await;
    assert_eq!(bench.refused.load(Ordering::SeqCst), 2);
    assert_eq!(bench.sink.events()[0].id, "2");
}

#[tokio::test(start_paused = true)]
async fn f7_an_event_that_is_refused_is_kept_without_its_data_and_the_feed_goes_on() {
    let bench = Bench::new();
    bench.apply(1, "large", false).await;
    bench.sink.wait_for_position(UID).await;
    let refused = SinkError::Refused { reason: "too large".to_owned(), event: Some(0) };
    bench.sink.refuse_next([refused]);
    bench.available.send_replace(2);
    bench.sink.wait_for(2).await;
    assert_eq!(bench.refused.load(Ordering::SeqCst), 0, "its source need not know");
    let kept = bench.sink.events();
    let ids: Vec<&str> = kept.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["0", "1"]);
    assert_eq!(kept[0].data, Data::None);
    assert_eq!(kept[0].attribute("databytes").as_deref(), Some("5"));
    assert_eq!(kept[1].data, Data::Text("large".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_append_that_hangs_is_drained_for_ten_seconds_then_aborted() {
    let bench = Bench::new();
    bench.apply(1, "", false).await;
    bench.sink.wait_for_position(UID).await;
    bench.sink.set_open(false);
    bench.available.send_replace(1);
    bench.sink.wait_for_hanging().await;
    let before = Instant::now();
    bench.supervisor.remove(UID).await.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(10), "{:?}", before.elapsed());
    assert!(before.elapsed() < Duration::from_secs(11), "{:?}", before.elapsed());
    bench.sink.set_open(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.sink.events(), []);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_only_waits_ends_at_once() {
    let bench = Bench::new();
    bench.apply(1, "stuck", false).await;
    while bench.opened.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = Instant::now();
    bench.apply(2, "", false).await;
    assert!(before.elapsed() < Duration::from_millis(100));
    bench.available.send_replace(1);
    bench.sink.wait_for(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_owner_ends_the_task_without_a_restart() {
    let bench = Bench::new();
    bench.apply(1, "", false).await;
    bench.sink.wait_for_position(UID).await;
    bench.sink.refuse_next([SinkError::Superseded]);
    bench.available.send_replace(1);
    let status = bench.until(FeedState::Failed).await;
    assert_eq!(status.reason.as_deref(), Some("another owner took the feed over"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_provider_is_named_with_what_there_is() {
    let bench = Bench::new();
    let error = bench.supervisor.check("kafak", &Map::new()).unwrap_err();
    assert_eq!(error.to_string(), "unknown provider `kafak` (known: counter)");
}

#[tokio::test(start_paused = true)]
async fn f12_a_removed_feed_is_nowhere_and_its_position_is_let_go() {
    let bench = Bench::new();
    bench.apply(1, "", false).await;
    bench.sink.wait_for_position(UID).await;
    bench.supervisor.remove(UID).await.unwrap();
    while bench.supervisor.status(UID).is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(bench.sink.position(UID).await, Err(SinkError::Superseded));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_everything_and_later_wishes_are_refused() {
    let bench = Bench::new();
    bench.apply(1, "", false).await;
    bench.sink.wait_for_position(UID).await;
    bench.supervisor.shutdown().await;
    bench.available.send_replace(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.sink.events(), []);
    assert_eq!(bench.supervisor.remove(UID).await, Err(SupervisorClosed));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_must_mend_is_waited_for_and_mends_itself() {
    let bench = Bench::new();
    bench.apply(1, "forbidden", false).await;
    let status = bench.until(FeedState::Waiting).await;
    assert_eq!((status.reason.as_deref(), status.pinned), (Some("401"), false));
    bench.supervisor.settled(UID, 1).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let tries = bench.opened.load(Ordering::SeqCst);
    assert!((360..=370).contains(&tries), "each 10 s, for ever: {tries}");
    bench.apply(2, "", false).await;
    bench.available.send_replace(1);
    bench.sink.wait_for(1).await;
    let status = bench.until(FeedState::Running).await;
    assert_eq!((status.reason, status.last_error.as_deref()), (None, Some("401")));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_pinned_before_the_wish_is_settled() {
    let bench = Bench::new();
    bench.sink.set_open(false);
    bench.apply(1, "", false).await;
    let settled = bench.supervisor.settled(UID, 1);
    tokio::pin!(settled);
    bench.sink.wait_for_hanging().await;
    let early = tokio::time::timeout(Duration::from_secs(1), settled.as_mut()).await;
    assert!(early.is_err(), "its place is not durable yet");
    bench.sink.set_open(true);
    settled.await;
    assert!(bench.status().pinned);
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_done_once_whatever_comes_after() {
    let bench = Bench::new();
    bench.apply(1, "", false).await;
    bench.available.send_replace(2);
    bench.sink.wait_for(2).await;
    let reset = |generation| Feed {
        reset: Some(Reset { generation: 2, to: ResetTo::Earliest }),
        ..bench.feed(generation, "", false)
    };
    bench.supervisor.apply(reset(2)).await.unwrap();
    bench.sink.wait_for(4).await;
    // The same wish in a later generation, and in a new process, is one that was fulfilled.
    bench.supervisor.apply(reset(3)).await.unwrap();
    bench.supervisor.settled(UID, 3).await;
    bench.available.send_replace(3);
    bench.sink.wait_for(5).await;
    let ids: Vec<_> = bench.sink.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids, ["0", "1", "0", "1", "2"]);
}
