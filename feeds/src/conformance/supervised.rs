//! Checks of a source under supervision: guard, full sink, delete, pause, restart.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use evoke_schemas::Feed;

use super::{Bench, FEED, fail, feed, first_ids, flat, ids, open, read, within};
use crate::{
    memory::MemorySink,
    sink::{EventSink, FeedBatch, FeedKey, SinkError},
    status::FeedState,
    supervisor::Supervisor,
};

fn supervise(bench: &dyn Bench, sink: &Arc<MemorySink>) -> Arc<Supervisor> {
    Supervisor::new(bench.registry(), Arc::clone(sink) as Arc<dyn EventSink>, bench.clock())
}

async fn apply(supervisor: &Supervisor, feed: Feed) {
    within(supervisor.apply(feed)).await.unwrap_or_else(|error| fail(&error));
}

/// A supervised feed whose beginning is pinned.
async fn started(bench: &dyn Bench, sink: &Arc<MemorySink>) -> Arc<Supervisor> {
    let supervisor = supervise(bench, sink);
    apply(&supervisor, feed(bench, 1)).await;
    within(sink.wait_for_position(FEED)).await;
    supervisor
}

/// The kept events from `beginning` on are exactly those that the source has, in its order.
async fn check_whole(bench: &dyn Bench, sink: &MemorySink, beginning: Bytes) {
    let kept = sink.events();
    let unique: BTreeSet<_> = kept.iter().map(|event| (&event.source, &event.id)).collect();
    assert_eq!(unique.len(), kept.len(), "an event is kept twice");
    let mut reader = open(bench, Some(beginning)).await;
    let all = flat(&read(reader.as_mut(), kept.len()).await);
    assert_eq!(first_ids(&all, kept.len()), ids(&kept), "an event is lost or out of order");
}

async fn beginning(sink: &MemorySink) -> Bytes {
    let stored = sink.position(FEED).await.unwrap_or_else(|error| fail(&error));
    stored.map(|stored| stored.position).unwrap_or_else(|| fail(&"no position"))
}

async fn produce_and_wait(bench: &dyn Bench, sink: &MemorySink, events: usize) {
    let wanted = sink.events().len() + events;
    tokio::join!(bench.produce(events), within(sink.wait_for(wanted)));
}

pub(super) async fn a_late_second_task_is_refused(bench: &dyn Bench) {
    let sink = MemorySink::new();
    let supervisor = started(bench, &sink).await;
    let position = beginning(&sink).await;
    produce_and_wait(bench, &sink, 2).await;
    let second = supervise(bench, &sink);
    apply(&second, feed(bench, 1)).await;
    produce_and_wait(bench, &sink, 3).await;
    let late = FeedBatch {
        feed: FeedKey { uid: FEED, generation: 1 },
        set_aside: std::collections::BTreeMap::new(),
        payload: evoke_schemas::FeedPayload::CloudEvent,
        revision: 1,
        namespace: feed(bench, 1).namespace,
        trigger: feed(bench, 1).trigger,
        events: Vec::new(),
        position: position.clone(),
    };
    assert_eq!(sink.append(&late).await, Err(SinkError::Superseded));
    tokio::join!(supervisor.shutdown(), second.shutdown());
    check_whole(bench, &sink, position).await;
}

pub(super) async fn a_full_sink_loses_and_doubles_nothing(bench: &dyn Bench) {
    let sink = MemorySink::new();
    let supervisor = started(bench, &sink).await;
    let position = beginning(&sink).await;
    let full = || SinkError::Full { retry_after: Duration::from_millis(30) };
    sink.refuse_next([full(), full()]);
    produce_and_wait(bench, &sink, 3).await;
    assert_eq!(sink.refusals_left(), 0, "the sink was not asked again");
    supervisor.shutdown().await;
    check_whole(bench, &sink, position).await;
}

pub(super) async fn an_unavailable_sink_loses_and_doubles_nothing(bench: &dyn Bench) {
    let sink = MemorySink::new();
    let supervisor = started(bench, &sink).await;
    let position = beginning(&sink).await;
    sink.refuse_next([SinkError::Unavailable("broken".to_owned())]);
    // The batch is kept and the answer lost: reading the position again is what avoids a double.
    sink.lose_answers(1);
    produce_and_wait(bench, &sink, 3).await;
    assert_eq!(sink.refusals_left(), 0, "no error was met");
    supervisor.shutdown().await;
    check_whole(bench, &sink, position).await;
}

pub(super) async fn nothing_comes_after_delete(bench: &dyn Bench) {
    let sink = MemorySink::new();
    let supervisor = started(bench, &sink).await;
    sink.set_open(false);
    let hanging = sink.wait_for_hanging();
    tokio::join!(bench.produce(1), within(hanging));
    let opening = async {
        tokio::task::yield_now().await;
        sink.set_open(true);
    };
    let (removed, ()) = tokio::join!(within(supervisor.remove(FEED)), opening);
    removed.unwrap_or_else(|error| fail(&error));
    let kept = sink.events().len();
    bench.produce(3).await;
    tokio::task::yield_now().await;
    assert_eq!(sink.events().len(), kept, "an event came after DELETE");
    supervisor.shutdown().await;
}

pub(super) async fn nothing_comes_while_paused(bench: &dyn Bench) {
    let sink = MemorySink::new();
    let supervisor = started(bench, &sink).await;
    let position = beginning(&sink).await;
    produce_and_wait(bench, &sink, 1).await;
    apply(&supervisor, Feed { paused: true, ..feed(bench, 2) }).await;
    let state = supervisor.status(FEED).map(|status| status.state);
    assert_eq!(state, Some(FeedState::Paused));
    let kept = sink.events().len();
    bench.produce(3).await;
    tokio::task::yield_now().await;
    assert_eq!(sink.events().len(), kept, "an event came while paused");
    apply(&supervisor, feed(bench, 3)).await;
    within(sink.wait_for(kept + 3)).await;
    supervisor.shutdown().await;
    check_whole(bench, &sink, position).await;
}

pub(super) async fn a_restart_goes_on_where_the_log_stands(bench: &dyn Bench) {
    let sink = MemorySink::new();
    let supervisor = started(bench, &sink).await;
    let position = beginning(&sink).await;
    produce_and_wait(bench, &sink, 2).await;
    supervisor.shutdown().await;
    drop(supervisor);
    bench.produce(2).await;
    let supervisor = supervise(bench, &sink);
    apply(&supervisor, feed(bench, 1)).await;
    produce_and_wait(bench, &sink, 1).await;
    supervisor.shutdown().await;
    check_whole(bench, &sink, position).await;
}

pub(super) async fn refused_credentials_are_told_and_mend_by_themselves(bench: &dyn Bench) {
    let sink = MemorySink::new();
    let supervisor = started(bench, &sink).await;
    let position = beginning(&sink).await;
    produce_and_wait(bench, &sink, 1).await;
    if bench.revoke().await {
        within(supervisor.enters(FEED, FeedState::Waiting)).await;
        let reason = supervisor.status(FEED).and_then(|status| status.reason);
        assert!(reason.is_some_and(|reason| !reason.is_empty()), "waiting for nothing in words");
        bench.mend().await;
        produce_and_wait(bench, &sink, 2).await;
    }
    supervisor.shutdown().await;
    check_whole(bench, &sink, position).await;
}
