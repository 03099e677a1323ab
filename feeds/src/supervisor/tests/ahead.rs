//! Sources that are read while their former batches are on their way.

use super::*;

/// Ids of what is kept, in order.
fn kept(bench: &Bench) -> Vec<String> {
    bench.sink.events().into_iter().map(|event| event.id).collect()
}

fn numbers(all: impl IntoIterator<Item = u64>) -> Vec<String> {
    all.into_iter().map(|number| number.to_string()).collect()
}

/// Three batches are on their way, at the shut door of the sink.
async fn three_hang(bench: &Bench, available: u64) {
    bench.sink.set_open(false);
    bench.available.send_replace(available);
    while bench.sink.hanging() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_batches_as_the_source_allows_are_on_their_way() {
    for (mode, most) in [("", 1), ("ahead", 3)] {
        let bench = Bench::new();
        bench.apply(1, mode, false).await;
        bench.sink.wait_for_position(UID).await;
        bench.sink.set_open(false);
        bench.available.send_replace(9);
        bench.sink.wait_for_hanging().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.sink.hanging(), most, "mode `{mode}`");
        bench.sink.set_open(true);
        bench.sink.wait_for(9).await;
        assert_eq!(kept(&bench), numbers(0..9));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_a_batch_that_is_not_kept_comes_after_it_once() {
    let full = || SinkError::Full { retry_after: Duration::from_millis(30) };
    let none = || SinkError::NoTrigger(EntityName::new("t").unwrap());
    let lost = || SinkError::Unavailable("broken".to_owned());
    let faults = [
        vec![full()],
        vec![full(), full(), full(), none()],
        vec![none(), none()],
        vec![lost()],
        vec![full(), full(), full(), lost()],
        vec![lost(), full(), none(), lost(), full()],
    ];
    for errors in faults {
        let bench = Bench::new();
        bench.apply(1, "ahead", false).await;
        bench.sink.wait_for_position(UID).await;
        bench.available.send_replace(3);
        bench.sink.wait_for(3).await;
        three_hang(&bench, 20).await;
        bench.sink.refuse_next(errors.clone());
        bench.sink.lose_answers(1);
        bench.sink.set_open(true);
        bench.sink.wait_for(20).await;
        assert_eq!(kept(&bench), numbers(0..20), "{errors:?}");
        assert_eq!(bench.sink.refusals_left(), 0);
        let status = bench.until(FeedState::Running).await;
        assert_eq!(status.position, Some(json!(20)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_a_batch_that_its_source_passes_over_is_kept() {
    let bench = Bench::new();
    bench.apply(1, "ahead", false).await;
    bench.sink.wait_for_position(UID).await;
    three_hang(&bench, 9).await;
    bench.sink.refuse_next([SinkError::Refused { reason: "too large".to_owned(), event: None }]);
    bench.sink.set_open(true);
    bench.sink.wait_for(8).await;
    assert_eq!(kept(&bench), numbers(1..9));
    assert_eq!(bench.refused.load(Ordering::SeqCst), 1);
    bench.available.send_replace(20);
    bench.sink.wait_for(19).await;
    assert_eq!(kept(&bench), numbers(1..20), "revisions go on");
}

#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_all_that_is_on_its_way() {
    let bench = Bench::new();
    bench.apply(1, "ahead", false).await;
    bench.sink.wait_for_position(UID).await;
    three_hang(&bench, 9).await;
    let pausing = bench.apply(2, "ahead", true);
    let opening = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.sink.set_open(true);
    };
    tokio::join!(pausing, opening);
    bench.until(FeedState::Paused).await;
    assert_eq!(kept(&bench), numbers(0..3));
    bench.apply(3, "ahead", false).await;
    bench.sink.wait_for(9).await;
    assert_eq!(kept(&bench), numbers(0..9));
}
